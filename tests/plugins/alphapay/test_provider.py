"""Orders become exact requests, and answers become outcomes only when they are AlphaPay's and about this order."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refundry.errors import Invalid
from refundry.money import Money
from refundry.provider import (
    Answer,
    DefinitiveFailure,
    HttpUrl,
    NotificationHandler,
    Pending,
    Provider,
    PublicKeyPem,
    RefundInstruction,
    Resend,
    ReviewReason,
    Secret,
    Succeeded,
    Unknown,
)
from refundry_alphapay import signing
from refundry_alphapay.provider import PLUGIN, build
from tests.plugins import limits
from tests.plugins.alphapay import given as start
from tests.plugins.alphapay.given import (
    AT,
    BASE,
    INQUIRE,
    INSTRUCTION,
    MERCHANT,
    REFUND,
    REFUND_ID,
    answer,
    merchant_key,
    provider,
    read_inquiry,
    read_refund,
    sample,
)

KNOWN = attrs.evolve(INSTRUCTION, provider_refund_id=REFUND_ID)
ALPHAPAY = provider()


# --- requests ---------------------------------------------------------------------------------------------------------


def test_it_is_a_provider_and_a_listener() -> None:
    """The class has every member that the gateway asks for."""
    assert isinstance(ALPHAPAY, Provider)
    assert isinstance(ALPHAPAY, NotificationHandler)
    assert f"{MERCHANT} at {BASE}" == ALPHAPAY.identity


def test_refund_body() -> None:
    """The body is compact JSON in a fixed order, with the amount in minor units as a string and its currency."""
    instruction = attrs.evolve(INSTRUCTION, reason="Größe passt nicht")
    body = provider(notify_url="https://shop.example/n").refund(instruction, AT).body

    expected = (
        '{"paymentId":"2506031505244756658153857","refundRequestId":"R-20261122-0001","refund":{"refundAmount":'
        '{"value":"100","currency":"CAD"},"description":"Größe passt nicht","notifyUrl":"https://shop.example/n"}}'
    )
    assert expected.encode() == body


def test_what_is_absent_is_not_sent() -> None:
    """Neither a description nor a notification address that is not there is written."""
    assert {"refundAmount"} == set(json.loads(ALPHAPAY.refund(INSTRUCTION, AT).body)["refund"])


def test_inquiry_body() -> None:
    """An inquiry names our id alone until AlphaPay's own is known, and both from then on."""
    assert b'{"refundRequestId":"R-20261122-0001"}' == ALPHAPAY.inquire(INSTRUCTION, AT).body
    expected = f'{{"refundId":"{REFUND_ID}","refundRequestId":"R-20261122-0001"}}'
    assert expected.encode() == ALPHAPAY.inquire(KNOWN, AT).body


def test_what_was_sent_is_what_would_be_sent() -> None:
    """Given the bytes of the first attempt, those are sent, even if they would be written otherwise today."""
    instruction = attrs.evolve(INSTRUCTION, sent=b'{"old": "spelling"}')

    assert b'{"old": "spelling"}' == provider(notify_url="https://new.example").refund(instruction, AT).body
    assert b'{"old": "spelling"}' == ALPHAPAY.refund(instruction, AT).sign().body


@pytest.mark.parametrize("at", [AT, AT.astimezone(timezone(timedelta(hours=8))), AT + timedelta(microseconds=999_999)])
@pytest.mark.parametrize(("operation", "path"), [("refund", REFUND), ("inquire", INQUIRE)])
def test_headers(at: datetime, operation: str, path: str) -> None:
    """The signature is over what is sent; the time is whole seconds in UTC; names are spelt as documented."""
    call = getattr(provider(key_version=3), operation)(INSTRUCTION, at)
    request = call.sign()
    headers = dict(request.headers)

    assert ["Content-Type", "Accept", "Merchant-Code", "Request-Time", "Nonce", "Signature"] == list(headers)
    assert ("POST", f"{BASE}{path}") == (request.method, request.url)
    assert ("2026-11-22T04:00:00+00:00", MERCHANT) == (headers["Request-Time"], headers["Merchant-Code"])
    assert "application/json; charset=UTF-8" == headers["Content-Type"]
    assert headers["Signature"].startswith("algorithm=RS256,keyVersion=3,signature=")
    content = signing.content("POST", path, MERCHANT, headers["Request-Time"], headers["Nonce"], request.body)
    signing.verify(merchant_key().public_key(), headers["Signature"], content, key_version=3)
    assert "3" == call.key_version


def test_every_call_has_its_nonce() -> None:
    """The same call made at two moments, and two calls made at one, carry different nonces."""
    calls = [ALPHAPAY.inquire(INSTRUCTION, AT), ALPHAPAY.inquire(INSTRUCTION, AT + timedelta(microseconds=1))]
    nonces = {dict(call.sign().headers)["Nonce"] for call in [*calls, ALPHAPAY.refund(INSTRUCTION, AT)]}

    assert 3 == len(nonces)


@given(
    st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    st.integers(1, 9_999_999),
    st.none() | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=128),
    st.datetimes(timezones=st.just(UTC)),
)
def test_equal_orders_give_equal_bytes(id: str, minor: int, reason: str | None, at: datetime) -> None:
    """Nothing but the order decides the body, and every order in the limits can be written."""
    instruction = RefundInstruction(id, "P1", Money(minor, "CAD", 2), reason)
    limits.check(ALPHAPAY, instruction)

    assert ALPHAPAY.refund(instruction, AT).body == ALPHAPAY.refund(attrs.evolve(instruction), at).body
    body = json.loads(ALPHAPAY.refund(instruction, AT).body)
    assert (id, str(minor), reason or None) == (
        body["refundRequestId"],
        body["refund"]["refundAmount"]["value"],
        body["refund"].get("description"),
    )


# --- checks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"refund_request_id": ""}, "refund_request_id"),
        ({"refund_request_id": "a" * 65}, "refund_request_id"),
        ({"refund_request_id": "a b"}, "refund_request_id"),
        ({"refund_request_id": "é"}, "refund_request_id"),
        ({"payment": ""}, "payment"),
        ({"payment": "merchant:T1"}, "payment"),
        ({"amount": Money(0, "CAD", 2)}, "amount"),
        ({"amount": Money(10_000_000, "CAD", 2)}, "amount"),
        ({"amount": Money(100, "CAD", 0)}, "amount"),
        ({"amount": Money(100, "XYZ", 2)}, "currency"),
        ({"reason": "r" * 129}, "reason"),
        ({"details": {"captureId": "c"}}, "details.captureId"),
        ({"details": {"description": "c"}}, "details.description"),
        ({"details": {"notifyUrl": 1}}, "details.notifyUrl"),
        ({"details": {"notifyUrl": "x"}}, "details.notifyUrl"),
    ],
)
def test_orders_that_alphapay_cannot_take(changes: dict[str, Any], field: str) -> None:
    """An order outside AlphaPay's rules is refused by the name of its field, before anything is stored."""
    with pytest.raises(Invalid) as caught:
        limits.check(ALPHAPAY, attrs.evolve(INSTRUCTION, **changes))

    assert field == caught.value.field


@pytest.mark.parametrize(
    "changes",
    [
        {"refund_request_id": "a" * 64},
        {"amount": Money(1, "CAD", 2)},
        {"amount": Money(9_999_999, "CAD", 2)},
        {"amount": Money(1, "JPY", 0)},
        {"reason": "r" * 128},
        {"reason": "👩\u200d👧 退款"},
        {"reason": ""},
        {"reason": "a\nb"},
        {"payment": "P.1/2 #3"},
        {"refund_request_id": "R.1/2#3"},
        {"details": {}},
        {"details": {"notifyUrl": "https://shop.example/own"}},
    ],
)
def test_orders_at_the_edge(changes: dict[str, Any]) -> None:
    """An order just inside the rules is taken."""
    limits.check(ALPHAPAY, attrs.evolve(INSTRUCTION, **changes))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"base_url": HttpUrl("https://openapi.alphapay.ca/api")}, "base_url"),
        ({"base_url": HttpUrl("openapi.alphapay.ca")}, "base_url"),
        ({"merchant_code": ""}, "merchant_code"),
        ({"merchant_code": "a.b"}, "merchant_code"),
        ({"merchant_code": "a\r\nb"}, "merchant_code"),
        ({"key_version": -1}, "key_version"),
        ({"provider_key_version": 10**9}, "provider_key_version"),
        ({"notify_url": "shop.example/n"}, "notify_url"),
        ({"notify_url": "https://shop.example/" + "n" * 1024}, "notify_url"),
        ({"private_key": Secret(b"canary-7f3a")}, "private_key"),
        ({"provider_public_key": PublicKeyPem(b"canary-7f3a")}, "provider_public_key"),
    ],
)
def test_settings_that_are_wrong(changes: dict[str, Any], field: str) -> None:
    """A wrong setting is named with its rule, and its value is not shown."""
    with pytest.raises(Invalid) as caught:
        provider(**changes)

    assert field == caught.value.field
    assert "canary" not in str(caught.value)


def test_reading_needs_no_private_key() -> None:
    """An audit reads old answers without the key; sending without it is refused by the setting's name."""
    alphapay = provider(private_key=None)

    assert isinstance(alphapay.inquire(INSTRUCTION, AT).read(answer(INQUIRE, sample("inquiry_success"))), Succeeded)
    with pytest.raises(Invalid) as caught:
        alphapay.refund(INSTRUCTION, AT).sign()
    assert "private_key" == caught.value.field


def test_nothing_shows_a_secret() -> None:
    """No repr of the settings, the provider, an exchange or a request holds a line of a key."""
    secret = start.private_pem().decode().splitlines()[1]
    parts = (ALPHAPAY.settings, ALPHAPAY, ALPHAPAY.refund(INSTRUCTION, AT), ALPHAPAY.settings.private_key)
    shown = "".join(map(repr, parts))

    assert secret not in shown
    assert "BEGIN" not in shown


# --- answers: what the samples mean -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scenario",
    [
        "refund_accepted",
        "refund_accepted_value_only",
        "refund_accepted_unlisted_code",
        "refund_accepted_with_status",
        "refund_accepted_without_echo",
        "refund_accepted_without_refund_id",
        "refund_unknown_with_refund_id",
    ],
)
def test_accepted_is_not_paid(scenario: str) -> None:
    """Whatever else it says, a reply that takes the refund makes it pending under AlphaPay's id, never settled."""
    outcome = read_refund(sample(scenario))

    assert isinstance(outcome, Pending)
    assert (None if "without" in scenario else REFUND_ID) == outcome.provider_refund_id


ECHOED: dict[str, Any] = {
    "refundTime": "2026-11-22T04:00:30Z",
    "refund": {"description": "Test refund", "notifyUrl": "https://shop.example/notifications/shop-ca"},
}
"""What the samples have besides ids, amount and status."""


def test_success() -> None:
    """An inquiry that says SUCCESS about exactly this order settles it, with AlphaPay's id; its time is a detail."""
    expected = Succeeded(INSTRUCTION.amount, REFUND_ID, details=ECHOED)

    assert expected == read_inquiry(sample("inquiry_success"))
    assert expected == read_inquiry(sample("inquiry_success"), KNOWN)
    bare = attrs.evolve(expected, details={"refundTime": ECHOED["refundTime"]})
    assert bare == read_inquiry(sample("inquiry_success_value_only"))
    assert expected == read_inquiry(sample("inquiry_success_unlisted_code"))


def test_unknown_fields_are_details() -> None:
    """Undocumented fields, or of another shape, reach the settled outcome where they stood."""
    outcome = read_inquiry(sample("inquiry_success_unknown_fields"))
    unusual = read_inquiry(sample("inquiry_success_unusual_time"))

    assert isinstance(outcome, Succeeded)
    assert {
        "refundTime": "2026-11-22T04:00:30Z",
        "walletBrand": {"name": "x", "tiers": ["a", 1, None]},
        "result": {"traceId": "t1"},
        "refund": ECHOED["refund"] | {"fee": "3", "refundAmount": {"precision": "2"}},
    } == outcome.details
    assert isinstance(unusual, Succeeded)
    assert (None, {"refundTime": 20261122, "refund": ECHOED["refund"] | {"description": ["unusual"]}}) == (
        unusual.settled_at,
        unusual.details,
    )


def test_in_process_and_failed() -> None:
    """The two other documented states are pending, with AlphaPay's id, and definitively failed."""
    pending, failed = read_inquiry(sample("inquiry_in_process")), read_inquiry(sample("inquiry_failed"))

    assert isinstance(pending, Pending)
    assert ("REFUND_IN_PROCESS", REFUND_ID) == (pending.code, pending.provider_refund_id)
    assert isinstance(failed, DefinitiveFailure)
    assert "FAILED" == failed.code


@pytest.mark.parametrize("scenario", ["inquiry_refused", "inquiry_refused_without_code"])
def test_an_inquiry_that_fails_is_unknown(scenario: str) -> None:
    """F to an inquiry, with whatever code, proves nothing, needs review and shows what was reported."""
    outcome = read_inquiry(sample(scenario), KNOWN)

    assert isinstance(outcome, Unknown)
    assert (ReviewReason.UNDOCUMENTED_ANSWER, Resend.AFTER_NOT_FOUND) == (outcome.review, outcome.resend)
    assert "the response does not say which" in outcome.cause


def test_a_refusal_is_shown_to_operators() -> None:
    """F to a refund decides nothing, forbids sending it again, and shows AlphaPay's own message to operators."""
    outcome = read_refund(sample("refund_failure"))

    assert isinstance(outcome, Unknown)
    assert ("ORDER_PAID", Resend.NEVER) == (outcome.code, outcome.resend)
    assert outcome.review is not None
    assert "'F'/'ORDER_PAID'" in outcome.cause
    assert "the order 已支付" == outcome.provider_message


AFTER, NEVER = Resend.AFTER_NOT_FOUND, Resend.NEVER


@pytest.mark.parametrize(
    ("scenario", "resend", "review"),
    [
        ("refund_of_another_refund", AFTER, True),
        ("refund_of_another_payment", NEVER, True),
        ("refund_of_another_amount", NEVER, True),
        ("refund_of_another_currency", NEVER, True),
        ("refund_of_another_refund_id", NEVER, True),
        ("refund_amount_as_number", AFTER, True),
        ("refund_unknown", NEVER, False),
        ("refund_failure_described", NEVER, True),
        ("refund_success_as_failure", NEVER, True),
        ("refund_status_of_another_kind", AFTER, False),
        ("refund_without_result", AFTER, True),
        ("inquiry_success_without_amount", NEVER, True),
        ("inquiry_success_without_echo", AFTER, True),
        ("inquiry_success_of_another_refund", AFTER, True),
        ("inquiry_success_of_another_refund_id", NEVER, True),
        ("inquiry_success_of_another_payment", NEVER, True),
        ("inquiry_success_of_another_amount", NEVER, True),
        ("inquiry_success_of_another_currency", NEVER, True),
        ("inquiry_failed_of_another_refund", AFTER, True),
        ("inquiry_fail_of_antom", AFTER, False),
        ("inquiry_without_status", AFTER, True),
        ("inquiry_unlisted_status", AFTER, False),
        ("inquiry_refused_but_described", NEVER, True),
        ("inquiry_success_code_with_failure", NEVER, True),
        ("inquiry_unknown", AFTER, False),
        ("inquiry_unknown_but_described", AFTER, False),
    ],
)
def test_answers_that_decide_nothing(scenario: str, resend: Resend, review: bool) -> None:
    """A signed answer that is not understood or not about this order is unknown, and flagged if money may be gone."""
    read = read_refund if scenario.startswith("refund") else read_inquiry

    outcome = read(sample(scenario), KNOWN)

    assert isinstance(outcome, Unknown)
    assert (resend, review) == (outcome.resend, outcome.review is not None)


# --- answers: who says so ---------------------------------------------------------------------------------------------

GOOD = answer(INQUIRE, sample("inquiry_success"))


def replaced(name: str, value: str | None) -> list[tuple[str, str]]:
    headers = [pair for pair in GOOD.headers if pair[0] != name]
    return headers if value is None else [*headers, (name, value)]


def doubled(name: str) -> list[tuple[str, str]]:
    return [*GOOD.headers, *(pair for pair in GOOD.headers if pair[0] == name)]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        replaced("Signature", None),
        replaced("Signature", ""),
        doubled("Signature"),
        replaced("Response-Time", None),
        replaced("Response-Time", "2026-11-22T04:00:02+00:00"),
        replaced("Response-Time", ""),
        doubled("Response-Time"),
        replaced("Nonce", None),
        replaced("Nonce", "0f1e2d3c4b5a69788796a5b4c3d2e1f1"),
        replaced("Nonce", ""),
        doubled("Nonce"),
        [*GOOD.headers, ("Merchant-Code", "OTHER")],
        [*GOOD.headers, ("Merchant-Code", MERCHANT), ("merchant-code", "OTHER")],
    ],
)
@pytest.mark.parametrize("scenario", ["inquiry_success", "inquiry_failed"])
def test_unsigned_answers(scenario: str, headers: list[tuple[str, str]]) -> None:
    """An answer without one of the three headers, or with a wrong one, is unknown; the official SDK believes some."""
    outcome = ALPHAPAY.inquire(INSTRUCTION, AT).read(Answer(200, headers, sample(scenario)))

    assert isinstance(outcome, Unknown)
    assert AFTER is outcome.resend
    assert outcome.review is not None
    assert (None, None) == (outcome.code, outcome.scope)


def test_headers_in_any_case() -> None:
    """The names of the headers may come in any case, and the merchant may be named or not."""
    headers = [(name.lower(), value) for name, value in GOOD.headers]

    for more in ([], [("MERCHANT-CODE", MERCHANT)]):
        message = attrs.evolve(GOOD, headers=[*headers, *more])
        assert isinstance(ALPHAPAY.inquire(INSTRUCTION, AT).read(message), Succeeded)


def test_hearsay() -> None:
    """What an unsigned answer claims is shown to operators, and decides nothing."""
    outcome = start.refund().read(Answer(200, [], start.result("SIGN_ERROR", "F")))

    assert isinstance(outcome, Unknown)
    assert "it claims 'F'/'SIGN_ERROR': 'm', which proves nothing" in outcome.cause


def test_the_answer_to_another_call() -> None:
    """A signed answer to the inquiry is not an answer to the refund: the path is part of what is signed."""
    outcome = start.refund().read(answer(INQUIRE, sample("refund_accepted")))

    assert isinstance(outcome, Unknown)


@pytest.mark.parametrize("header", ["Response-Time", "Nonce"])
def test_the_borders_between_time_nonce_and_body_are_fixed(header: str) -> None:
    """A piece of a signed body cannot be moved into a header to make another body of the rest."""
    body = b'{"a":"b.' + sample("inquiry_success") + b'"}'
    moved = [
        (name, value + '.{"a":"b' if name == header else value) for name, value in start.signed_headers(INQUIRE, body)
    ]

    outcome = ALPHAPAY.inquire(INSTRUCTION, AT).read(Answer(200, moved, body.removeprefix(b'{"a":"b.')))

    assert isinstance(outcome, Unknown)
    assert header.lower() in outcome.cause


def test_provider_key_version() -> None:
    """Where one version of AlphaPay's key is configured, an answer that names another is not believed."""
    assert isinstance(provider(provider_key_version=1).inquire(INSTRUCTION, AT).read(GOOD), Succeeded)
    assert isinstance(provider(provider_key_version=2).inquire(INSTRUCTION, AT).read(GOOD), Unknown)


@pytest.mark.parametrize("status", [201, 204, 301, 307, 400, 401, 403, 404, 429, 500, 502, 503])
def test_other_http_statuses(status: int) -> None:
    """Whatever an answer with another status than 200 says, it decides nothing."""
    outcome = ALPHAPAY.inquire(INSTRUCTION, AT).read(attrs.evolve(GOOD, status=status))

    assert Unknown(f"HTTP status {status}") == outcome


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>bad gateway</html>",
        b"[]",
        b"{",
        b"\xff",
        b"[" * 10_000,
        b'{"result":NaN}',
        b'{"x":"' + b"y" * 70_000 + b'"}',
        sample("inquiry_success").replace(b'"resultStatus": "S"', b'"resultStatus": "F", "resultStatus": "S"'),
    ],
)
def test_signed_nonsense(body: bytes) -> None:
    """Bytes that are not one readable object are unknown, even if they are signed, and the refund is flagged."""
    outcome = read_inquiry(body)

    assert isinstance(outcome, Unknown)
    assert outcome.cause.startswith("cannot be read")
    assert ReviewReason.UNREADABLE_ANSWER is outcome.review


@settings(max_examples=100)
@given(st.data())
def test_no_cut_or_flipped_answer_is_believed(data: st.DataObject) -> None:
    """An answer cut anywhere, or with any bit changed, is unknown."""
    at = data.draw(st.integers(0, len(GOOD.body) - 1))
    bit = data.draw(st.none() | st.integers(0, 7))
    body = GOOD.body[:at] if bit is None else GOOD.body[:at] + bytes([GOOD.body[at] ^ 1 << bit]) + GOOD.body[at + 1 :]

    assert isinstance(ALPHAPAY.inquire(INSTRUCTION, AT).read(attrs.evolve(GOOD, body=body)), Unknown)


header = st.tuples(st.sampled_from(["Signature", "Response-Time", "Nonce", "Merchant-Code"]) | st.text(), st.text())


@given(st.integers(100, 599) | st.just(200), st.lists(header, max_size=5), st.binary(max_size=99))
def test_reading_never_raises(status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    """Any status, headers and bytes at all end in `Unknown`, for both calls."""
    for call in (ALPHAPAY.refund(INSTRUCTION, AT), ALPHAPAY.inquire(INSTRUCTION, AT)):
        assert isinstance(call.read(Answer(status, headers, body)), Unknown)


WORDS = st.sampled_from(
    [
        "SUCCESS",
        "FAILED",
        "REFUND_IN_PROCESS",
        "S",
        "F",
        "U",
        INSTRUCTION.refund_request_id,
        INSTRUCTION.payment,
        REFUND_ID,
    ]
)
FIELDS = ["refundRequestId", "refundId", "paymentId", "refundTime", "refundStatus", "novelty"]
AMOUNTS = [
    None,
    {"value": "100", "currency": "CAD"},
    {"value": "100"},
    {"value": "1"},
    {"value": "100", "currency": "X"},
]


@given(
    st.dictionaries(st.sampled_from(FIELDS), WORDS | st.none() | st.integers() | st.just({})),
    WORDS,
    st.sampled_from("SFU"),
    st.sampled_from(AMOUNTS),
)
def test_settled_only_on_the_whole_echo(fields: dict[str, Any], code: str, status: str, amount: Any) -> None:
    """However the fields are mixed, only an inquiry settles or fails, and only by refundStatus about our id."""
    body = fields | {"result": {"resultCode": code, "resultStatus": status}, "refund": {"refundAmount": amount}}
    raw = json.dumps(body).encode()

    assert isinstance(ALPHAPAY.refund(INSTRUCTION, AT).read(answer(REFUND, raw)), Pending | Unknown)
    outcome = ALPHAPAY.inquire(INSTRUCTION, AT).read(answer(INQUIRE, raw))
    if isinstance(outcome, Succeeded | DefinitiveFailure):
        assert "S" == status
        assert INSTRUCTION.refund_request_id == fields["refundRequestId"]
        assert ("SUCCESS" if isinstance(outcome, Succeeded) else "FAILED") == fields["refundStatus"]
    if isinstance(outcome, Succeeded):
        assert amount in ({"value": "100", "currency": "CAD"}, {"value": "100"})
        assert INSTRUCTION.payment == fields["paymentId"]


def test_a_success_of_no_payment() -> None:
    """A success under our id that names no payment settles nothing, and nothing is sent again."""
    success = json.loads(sample("inquiry_success"))
    del success["paymentId"]

    outcome = read_inquiry(json.dumps(success).encode())

    assert isinstance(outcome, Unknown)
    assert NEVER is outcome.resend


# --- the plugin -------------------------------------------------------------------------------------------------------


def test_plugin() -> None:
    """The plugin comes through its hook under the name that refundry.toml uses, with both tables of codes."""
    import refundry_alphapay

    assert [PLUGIN] == refundry_alphapay.refundry_providers()
    assert ("alphapay", {"refund", "inquire"}) == (PLUGIN.name, set(PLUGIN.codes))
    assert PLUGIN.build is build


def test_terms() -> None:
    """The terms say what AlphaPay does not promise: nothing is resent automatically, and inquiries use our own id."""
    assert frozenset() == PLUGIN.terms.resend_after
    assert not PLUGIN.terms.replays_refusals
    assert "refund_request_id" in PLUGIN.terms.inquire_by
    assert 128 == PLUGIN.terms.reason_length


def test_the_simulator_is_not_loaded_with_the_plugin() -> None:
    """Using the provider does not import the simulator."""
    script = (
        "import sys, refundry_alphapay as a; a.refundry_providers();"
        " print('refundry_alphapay.simulator' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert "False\n" == done.stdout


def test_a_failure_keeps_what_alphapay_reports() -> None:
    """Id, time, description and address are those of the failure; a description that is our reason is left out."""
    outcome = read_inquiry(sample("inquiry_failed"))
    ours = read_inquiry(sample("inquiry_failed"), attrs.evolve(INSTRUCTION, reason=ECHOED["refund"]["description"]))

    assert isinstance(outcome, DefinitiveFailure)
    assert isinstance(ours, DefinitiveFailure)
    assert REFUND_ID == outcome.provider_refund_id
    assert {"refundTime", "refund"} == set(outcome.details or {})
    assert ECHOED["refund"] == (outcome.details or {})["refund"]
    assert "description" not in (ours.details or {})["refund"]
