"""A notification is accepted if it is signed for us, and settles if it reports success of the instruction."""

import json
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refundry.provider import Forged, Notification, Resend, Succeeded, Unknown, Unreadable
from refundry_alphapay import signing
from tests.plugins.alphapay.given import (
    HERE,
    INSTRUCTION,
    MERCHANT,
    NOTIFY,
    REFUND_ID,
    notification,
    provider,
    provider_key,
    public_pem,
    read_notification,
    sample,
    signed_headers,
)

BODY = sample("notification_success")
GOOD = notification(BODY)
ALPHAPAY = provider()


def test_success() -> None:
    """A genuine success about the order settles it."""
    verified = ALPHAPAY.parse_notification(GOOD)

    assert INSTRUCTION.refund_request_id == verified.refund_request_id
    read = verified.read(INSTRUCTION)
    assert isinstance(read, Succeeded)
    assert (INSTRUCTION.amount, REFUND_ID) == (read.amount, read.provider_refund_id)
    assert {"refundTime", "refund"} == set(read.details or {})


def test_the_official_sdk_s() -> None:
    """The notification that AlphaPay's own software signed is accepted, and settles its refund."""
    (case,) = json.loads((HERE / "vectors.json").read_bytes())["notifications"]
    keys: dict[str, Any] = json.loads((HERE / "vector_keys.json").read_bytes())
    headers = {
        "Merchant-Code": case["merchant_code"],
        "Request-Time": case["request_time"],
        "Nonce": case["nonce"],
        "Signature": case["signature_header"],
    }
    message = Notification("POST", case["path"], tuple(headers.items()), case["body"].encode())
    alphapay = provider(provider_public_key=keys["provider"]["public_spki_pem"].encode())

    assert isinstance(alphapay.parse_notification(message).read(INSTRUCTION), Succeeded)
    with pytest.raises(Forged):
        provider(provider_public_key=public_pem()).parse_notification(message)


@pytest.mark.parametrize(
    "scenario", ["notification_failed", "notification_in_process", "notification_of_another_amount"]
)
def test_contradictions(scenario: str) -> None:
    """A notification of anything but this success decides nothing and flags the refund; an inquiry decides."""
    outcome = read_notification(sample(scenario))

    assert isinstance(outcome, Unknown)
    assert Resend.NEVER is outcome.resend
    assert outcome.review is not None


def test_without_an_amount() -> None:
    """A success that does not say of how much settles nothing."""
    assert isinstance(read_notification(sample("notification_without_amount")), Unknown)


@pytest.mark.parametrize(
    "changes", [{"refund_request_id": "R-2"}, {"provider_refund_id": "another"}, {"payment": "another"}]
)
def test_another_order(changes: dict[str, Any]) -> None:
    """Read against another refund, with another id, refundId or payment, it means nothing."""
    assert isinstance(read_notification(BODY, attrs.evolve(INSTRUCTION, **changes)), Unknown)


def test_acknowledgement() -> None:
    """The answer is the exact body that integrations give."""
    expected = b'{"result":{"resultCode":"SUCCESS","resultStatus":"S","resultMessage":"success"}}'
    acknowledgement = ALPHAPAY.parse_notification(GOOD).acknowledgement

    assert (200, expected) == (acknowledgement.status, acknowledgement.body)
    assert (("content-type", "application/json"),) == acknowledgement.headers


@pytest.mark.parametrize(
    ("time", "moment"),
    [
        ("2026-11-22T04:01:02+00:00", datetime(2026, 11, 22, 4, 1, 2, tzinfo=UTC)),
        ("2026-11-22T04:01:02.345Z", datetime(2026, 11, 22, 4, 1, 2, 345000, tzinfo=UTC)),
        ("2026-11-22T04:01:02", None),
        ("yesterday", None),
    ],
)
def test_moment(time: str, moment: datetime | None) -> None:
    """The time is read where it names a moment; one that names none is still verified."""
    assert moment == ALPHAPAY.parse_notification(notification(BODY, time)).at


def without(name: str) -> Notification:
    return attrs.evolve(GOOD, headers=[pair for pair in GOOD.headers if pair[0] != name])


@pytest.mark.parametrize(
    "message",
    [
        without("Signature"),
        without("Merchant-Code"),
        without("Request-Time"),
        without("Nonce"),
        attrs.evolve(GOOD, headers=[*GOOD.headers, GOOD.headers[0]]),
        attrs.evolve(GOOD, headers=[*without("Merchant-Code").headers, ("Merchant-Code", "OTHER")]),
        attrs.evolve(GOOD, headers=[*without("Nonce").headers, ("Nonce", "another")]),
        attrs.evolve(GOOD, method="PUT"),
        attrs.evolve(GOOD, path=NOTIFY.replace("shop-ca", "shop-us")),
        attrs.evolve(GOOD, path=NOTIFY.split("?")[0]),
        attrs.evolve(GOOD, body=BODY.replace(b'"100"', b'"900"')),
        attrs.evolve(GOOD, body=BODY.replace(b"\n", b"")),
    ],
)
def test_forged(message: Notification) -> None:
    """Without its signature, for another merchant, method or path, or in other bytes, it is forged."""
    with pytest.raises(Forged):
        ALPHAPAY.parse_notification(message)


def test_another_s() -> None:
    """A genuine notification for another merchant of AlphaPay is not ours, whatever merchant it is made to name."""
    content = signing.content("POST", NOTIFY, "OTHER", "2026-11-22T04:00:01+00:00", "n1", BODY)
    headers = {
        "Request-Time": "2026-11-22T04:00:01+00:00",
        "Nonce": "n1",
        "Signature": signing.sign(provider_key(), content),
    }
    for merchant in ("OTHER", MERCHANT):
        message = Notification("POST", NOTIFY, tuple({**headers, "Merchant-Code": merchant}.items()), BODY)
        with pytest.raises(Forged):
            ALPHAPAY.parse_notification(message)


def test_a_reply_is_no_notification() -> None:
    """The genuine answer to an inquiry, replayed to us by a third party, is forged: another path is signed."""
    headers = signed_headers("/api/v2.0/payments/inquiryRefund", sample("inquiry_success"), "Request-Time")

    with pytest.raises(Forged):
        ALPHAPAY.parse_notification(
            Notification("POST", NOTIFY, [*headers, ("Merchant-Code", MERCHANT)], sample("inquiry_success"))
        )


@pytest.mark.parametrize("body", [sample("notification_of_a_payment"), sample("refund_accepted"), b"[]", b"{}", b""])
def test_genuine_and_unreadable(body: bytes) -> None:
    """A signed notification of another kind, or without a required field, is unreadable."""
    with pytest.raises(Unreadable):
        ALPHAPAY.parse_notification(notification(body))


def test_header_names_in_any_case() -> None:
    """The names of the headers may come in any case."""
    message = attrs.evolve(GOOD, headers=[(name.upper(), value) for name, value in GOOD.headers])

    assert INSTRUCTION.refund_request_id == ALPHAPAY.parse_notification(message).refund_request_id


@given(st.integers(0, len(BODY) - 1), st.integers(0, 7))
def test_no_flipped_notification_is_accepted(at: int, bit: int) -> None:
    """A notification with any bit of its body changed is forged."""
    body = BODY[:at] + bytes([BODY[at] ^ 1 << bit]) + BODY[at + 1 :]

    with pytest.raises(Forged):
        ALPHAPAY.parse_notification(attrs.evolve(GOOD, body=body))


@given(st.text(), st.text(), st.lists(st.tuples(st.text(max_size=12), st.text())), st.binary(max_size=99))
def test_hearing_anything(method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> None:
    """Any request at all is forged: nothing else is raised."""
    for more in ([], [("Merchant-Code", MERCHANT)]):
        with pytest.raises(Forged):
            ALPHAPAY.parse_notification(Notification(method, path, [*headers, *more], body))


def test_behind_a_web_server_that_shortens_the_path() -> None:
    """The path of the configured address counts as well as the path that reached us, and no other one does."""
    behind = provider(notify_url=f"https://shop.example{NOTIFY}")
    shortened = attrs.evolve(GOOD, path="/shop")

    assert INSTRUCTION.refund_request_id == behind.parse_notification(shortened).refund_request_id
    with pytest.raises(Forged):
        provider(notify_url="https://shop.example/other").parse_notification(shortened)
    with pytest.raises(Forged):
        provider(notify_url=None).parse_notification(shortened)
