"""A notification is accepted if it is signed for us, and counts only if it is about the instruction."""

from datetime import UTC, datetime

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refundry.provider import DefinitiveFailure, Forged, Notification, Resend, Succeeded, Unknown, Unreadable
from tests.plugins.antom.given import (
    INSTRUCTION,
    NOTIFY,
    REFUND_ID,
    notification,
    provider,
    read_notification,
    sample,
    signed_headers,
)

BODY = sample("notification_success")
GOOD = notification(BODY)
ANTOM = provider()


def test_success() -> None:
    """A genuine success about the order settles it."""
    verified = ANTOM.parse_notification(GOOD)

    assert INSTRUCTION.refund_request_id == verified.refund_request_id
    assert Succeeded(INSTRUCTION.amount, REFUND_ID, "2026-11-21T20:01:00-08:00") == verified.read(INSTRUCTION)


def test_failure() -> None:
    """A genuine failure is definitive and keeps the code."""
    outcome = read_notification(sample("notification_fail"))

    assert isinstance(outcome, DefinitiveFailure)
    assert "PROCESS_FAIL" == outcome.code


@pytest.mark.parametrize(
    "scenario",
    [
        "notification_fail_with_success",
        "notification_success_with_failure",
        "notification_processing",
        "notification_of_another_amount",
    ],
)
def test_contradictions(scenario: str) -> None:
    """A notification that contradicts itself or the order decides nothing and flags the refund for review."""
    outcome = read_notification(sample(scenario))

    assert isinstance(outcome, Unknown)
    assert Resend.NEVER is outcome.resend
    assert outcome.review is not None


def test_another_order() -> None:
    """Read against another refund, with another id or another refundId, it means nothing."""
    for instruction in (
        attrs.evolve(INSTRUCTION, refund_request_id="REFUND_2"),
        attrs.evolve(INSTRUCTION, provider_refund_id="another"),
    ):
        assert isinstance(read_notification(BODY, instruction), Unknown)


def test_acknowledgement() -> None:
    """The answer is the exact body that Antom asks for."""
    expected = b'{"result":{"resultCode":"SUCCESS","resultStatus":"S","resultMessage":"success"}}'
    acknowledgement = ANTOM.parse_notification(GOOD).acknowledgement

    assert (200, expected) == (acknowledgement.status, acknowledgement.body)
    assert (("content-type", "application/json"),) == acknowledgement.headers


@pytest.mark.parametrize(
    ("time", "moment"),
    [
        ("2019-07-12T12:08:56+05:30", datetime(2019, 7, 12, 6, 38, 56, tzinfo=UTC)),
        ("2026-11-22T04:01:02Z", datetime(2026, 11, 22, 4, 1, 2, tzinfo=UTC)),
        ("1685599933871", datetime(2023, 6, 1, 6, 12, 13, 871000, tzinfo=UTC)),
        ("2019-07-12T12:08:56", None),
        ("yesterday", None),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)
def test_moment(time: str, moment: datetime | None) -> None:
    """Either time format is read; a time without a zone counts as missing, and the signature is still verified."""
    assert moment == ANTOM.parse_notification(notification(BODY, time)).at


def without(name: str) -> Notification:
    return attrs.evolve(GOOD, headers=[pair for pair in GOOD.headers if pair[0] != name])


@pytest.mark.parametrize(
    "message",
    [
        without("signature"),
        without("client-id"),
        without("Request-Time"),
        attrs.evolve(GOOD, headers=[*GOOD.headers, GOOD.headers[0]]),
        attrs.evolve(GOOD, headers=[*without("client-id").headers, ("client-id", "SANDBOX_OTHER")]),
        attrs.evolve(GOOD, method="PUT"),
        attrs.evolve(GOOD, path=NOTIFY.replace("shop-eu", "shop-us")),
        attrs.evolve(GOOD, path=NOTIFY.split("?")[0]),
        attrs.evolve(GOOD, body=BODY.replace(b'"1000"', b'"9000"')),
        attrs.evolve(GOOD, body=BODY.replace(b"\n", b"")),
        attrs.evolve(GOOD, headers=signed_headers("/elsewhere", BODY, "Request-Time")),
    ],
)
def test_forged(message: Notification) -> None:
    """Without its signature, for another client, method or path, or in other bytes, it is forged."""
    with pytest.raises(Forged):
        ANTOM.parse_notification(message)


@pytest.mark.parametrize("body", [sample("notification_of_a_payment"), sample("refund_success"), b"[]", b"{}", b""])
def test_genuine_and_unreadable(body: bytes) -> None:
    """A signed notification of another kind, or without a required field, is unreadable."""
    with pytest.raises(Unreadable):
        ANTOM.parse_notification(notification(body))


def test_header_names_in_any_case() -> None:
    """The names of the headers may come in any case."""
    message = attrs.evolve(GOOD, headers=[(name.title(), value) for name, value in GOOD.headers])

    assert INSTRUCTION.refund_request_id == ANTOM.parse_notification(message).refund_request_id


@given(st.integers(0, len(BODY) - 1), st.integers(0, 7))
def test_no_flipped_notification_is_accepted(at: int, bit: int) -> None:
    """A notification with any bit of its body changed is forged."""
    body = BODY[:at] + bytes([BODY[at] ^ 1 << bit]) + BODY[at + 1 :]

    with pytest.raises(Forged):
        ANTOM.parse_notification(attrs.evolve(GOOD, body=body))


@given(st.text(), st.text(), st.lists(st.tuples(st.text(max_size=12), st.text())), st.binary(max_size=99))
def test_hearing_anything(method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> None:
    """Any request at all is forged: nothing else is raised."""
    for more in ([], [("client-id", ANTOM.settings.client_id)]):
        with pytest.raises(Forged):
            ANTOM.parse_notification(Notification(method, path, [*headers, *more], body))


def test_behind_a_web_server_that_shortens_the_path() -> None:
    """The path of the configured address counts as well as the path that reached us, and no other one does."""
    behind = provider(notify_url=f"https://shop.example{NOTIFY}")
    shortened = attrs.evolve(GOOD, path="/notifications/shop")

    assert INSTRUCTION.refund_request_id == behind.parse_notification(shortened).refund_request_id
    with pytest.raises(Forged):
        provider(notify_url="https://shop.example/other").parse_notification(shortened)
    with pytest.raises(Forged):
        provider(notify_url=None).parse_notification(shortened)
