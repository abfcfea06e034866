"""Orders become exact requests, and answers become outcomes only when they are Antom's and about this order."""

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
    Blocked,
    DefinitiveFailure,
    HttpUrl,
    NotFound,
    NotificationHandler,
    Outcome,
    Pending,
    Provider,
    PublicKeyPem,
    Quote,
    RefundInstruction,
    Resend,
    ReviewReason,
    Scope,
    Secret,
    Succeeded,
    Terms,
    Unknown,
)
from refundry_antom import signing
from refundry_antom.provider import PLUGIN, build
from tests.plugins import limits
from tests.plugins.antom import given as start
from tests.plugins.antom.given import (
    AT,
    BASE,
    CLIENT,
    INQUIRE,
    INSTRUCTION,
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
ANTOM = provider()


# --- requests ---------------------------------------------------------------------------------------------------------


def test_it_is_a_provider_and_a_listener() -> None:
    """The class has every member that the gateway asks for."""
    assert isinstance(provider(), Provider)
    assert isinstance(provider(), NotificationHandler)
    assert f"{CLIENT} at {BASE}" == provider().identity


def test_refund_body() -> None:
    """The body is compact JSON in a fixed order with every scalar a string."""
    instruction = attrs.evolve(INSTRUCTION, reason="Größe passt nicht")
    body = provider(notify_url="https://shop.example/n").refund(instruction, AT).body

    expected = (
        '{"refundRequestId":"REFUND_20261122_0001","paymentId":"20261122194010800100188000000000001",'
        '"refundAmount":{"currency":"USD","value":"1000"},"refundReason":"Größe passt nicht",'
        '"refundNotifyUrl":"https://shop.example/n"}'
    )
    assert expected.encode() == body


def test_what_is_absent_is_not_sent() -> None:
    """Neither a reason nor a notification address that is not there is written."""
    assert {"refundRequestId", "paymentId", "refundAmount"} == set(json.loads(provider().refund(INSTRUCTION, AT).body))


def test_inquiry_body() -> None:
    """An inquiry names our id alone, also when Antom's own is known."""
    assert b'{"refundRequestId":"REFUND_20261122_0001"}' == provider().inquire(KNOWN, AT).body


def test_a_resend_is_the_same_bytes() -> None:
    """What was sent is sent again as it was, even if it would be written otherwise today."""
    instruction = attrs.evolve(INSTRUCTION, sent=b'{"old": "spelling"}')

    assert b'{"old": "spelling"}' == provider(notify_url="https://new.example").refund(instruction, AT).body
    assert b'{"old": "spelling"}' == provider().refund(instruction, AT).sign().body


@pytest.mark.parametrize(
    ("client", "path"),
    [
        ("SANDBOX_5X", "/ams/sandbox/api/v1/payments/"),
        ("5X", "/ams/api/v1/payments/"),
        ("sandbox_5X", "/ams/api/v1/payments/"),
    ],
)
def test_addresses(client: str, path: str) -> None:
    """A client of the sandbox uses the sandbox's path on the same host, and every request is a POST."""
    antom = provider(client_id=client)

    request = antom.refund(INSTRUCTION, AT).sign()
    assert ("POST", f"{BASE}{path}refund") == (request.method, request.url)
    assert f"{BASE}{path}inquiryRefund" == antom.inquire(INSTRUCTION, AT).sign().url


@pytest.mark.parametrize("at", [AT, AT.astimezone(timezone(timedelta(hours=8))), AT + timedelta(microseconds=999_999)])
def test_headers(at: datetime) -> None:
    """The signature is over what is sent; the time is whole seconds in UTC with its offset."""
    request = provider(key_version=3, agent_token="T1").refund(INSTRUCTION, at).sign()
    headers = dict(request.headers)

    assert "2026-11-22T04:00:00+00:00" == headers["request-time"]
    assert CLIENT == headers["client-id"]
    assert "application/json; charset=UTF-8" == headers["content-type"]
    assert "T1" == headers["agent-token"]
    content = signing.content("POST", REFUND, CLIENT, headers["request-time"], request.body)
    signing.verify(merchant_key().public_key(), headers["signature"], content, key_version=3)


def test_no_agent_token_no_header() -> None:
    """The header of an agent is there only where one is configured."""
    assert "agent-token" not in dict(provider().refund(INSTRUCTION, AT).sign().headers)


@given(
    st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    st.integers(1, 10**16 - 1),
    st.none() | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=256),
    st.datetimes(timezones=st.just(UTC)),
)
def test_equal_orders_give_equal_bytes(id: str, minor: int, reason: str | None, at: datetime) -> None:
    """Nothing but the order decides the body: not the moment, not the day's mood."""
    instruction = RefundInstruction(id, "P1", Money(minor, "EUR", 2), reason)
    provider_ = ANTOM
    provider_.check(instruction)

    assert provider_.refund(instruction, AT).body == provider_.refund(attrs.evolve(instruction), at).body
    body = json.loads(provider_.refund(instruction, AT).body)
    assert (id, str(minor), reason or None) == (
        body["refundRequestId"],
        body["refundAmount"]["value"],
        body.get("refundReason"),
    )


# --- checks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"refund_request_id": ""}, "refund_request_id"),
        ({"refund_request_id": "a" * 65}, "refund_request_id"),
        ({"refund_request_id": "a b"}, "refund_request_id"),
        ({"refund_request_id": "a\n"}, "refund_request_id"),
        ({"refund_request_id": "é"}, "refund_request_id"),
        ({"refund_request_id": "١"}, "refund_request_id"),
        ({"payment": ""}, "payment"),
        ({"payment": "p" * 65}, "payment"),
        ({"payment": "merchant:T1"}, "payment"),
        ({"amount": Money(0, "EUR", 2)}, "amount"),
        ({"amount": Money(10**16, "EUR", 2)}, "amount"),
        ({"amount": Money(100, "EUR", 0)}, "amount"),
        ({"amount": Money(100, "JPY", 2)}, "amount"),
        ({"amount": Money(150, "IDR", 2)}, "amount"),
        ({"amount": Money(100, "XYZ", 2)}, "currency"),
        ({"reason": "r" * 257}, "reason"),
    ],
)
def test_orders_that_antom_cannot_take(changes: dict[str, Any], field: str) -> None:
    """An order outside Antom's rules is refused by the name of its field, before anything is stored."""
    with pytest.raises(Invalid) as caught:
        limits.check(provider(), attrs.evolve(INSTRUCTION, **changes))

    assert field == caught.value.field


@pytest.mark.parametrize(
    "changes",
    [
        {"refund_request_id": "a" * 64},
        {"payment": "p" * 64},
        {"payment": "P.1/2 #3"},
        {"amount": Money(1, "EUR", 2)},
        {"amount": Money(10**16 - 1, "EUR", 2)},
        {"amount": Money(100, "IDR", 2)},
        {"amount": Money(1, "JPY", 0)},
        {"amount": Money(1, "BHD", 3)},
        {"reason": "r" * 256},
        {"reason": "👩\u200d👧 نام\u200cها"},
        {"reason": ""},
        {"reason": "a\nb"},
    ],
)
def test_orders_at_the_edge(changes: dict[str, Any]) -> None:
    """An order just inside the rules is taken."""
    limits.check(provider(), attrs.evolve(INSTRUCTION, **changes))


@pytest.mark.parametrize(("currency", "places"), [("CLP", 0), ("VND", 0), ("TWD", 2), ("IDR", 2), ("KWD", 3)])
def test_exponents(currency: str, places: int) -> None:
    """Antom's own table comes first, ISO 4217 after it."""
    assert places == provider().exponent(currency)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"base_url": HttpUrl("https://open-de-global.alipay.com/ams")}, "base_url"),
        ({"base_url": HttpUrl("open-de-global.alipay.com")}, "base_url"),
        ({"client_id": ""}, "client_id"),
        ({"client_id": "a.b"}, "client_id"),
        ({"client_id": "a\r\nb"}, "client_id"),
        ({"key_version": -1}, "key_version"),
        ({"provider_key_version": 10**9}, "provider_key_version"),
        ({"notify_url": "shop.example/n"}, "notify_url"),
        ({"notify_url": "https://shop.example/" + "n" * 1024}, "notify_url"),
        ({"notify_url": "https://shop.example/a b"}, "notify_url"),
        ({"agent_token": "canary-7f3a\r\n"}, "agent_token"),
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
    antom = provider(private_key=None)

    assert isinstance(antom.refund(INSTRUCTION, AT).read(answer(REFUND, sample("refund_success"))), Succeeded)
    with pytest.raises(Invalid) as caught:
        antom.refund(INSTRUCTION, AT).sign()
    assert "private_key" == caught.value.field


def test_nothing_shows_a_secret() -> None:
    """No repr of the settings, the provider, an exchange or a request holds a line of a key or the token."""
    antom = provider(agent_token="canary-7f3a")
    secret = start.private_pem(merchant_key()).decode().splitlines()[1]
    shown = "".join(map(repr, (antom.settings, antom, antom.refund(INSTRUCTION, AT), antom.settings.private_key)))

    assert "canary" not in shown
    assert secret not in shown
    assert "BEGIN" not in shown


# --- answers: what the samples mean -----------------------------------------------------------------------------------


def test_success() -> None:
    """A signed success about exactly this order settles it, with Antom's id and words for the time."""
    expected = Succeeded(INSTRUCTION.amount, REFUND_ID, "2026-11-21T20:00:01-08:00")

    assert expected == read_refund(sample("refund_success"))


@pytest.mark.parametrize(
    ("outcome", "details"),
    [
        (
            read_refund(sample("refund_success_fx")),
            {"acquirerReferenceNo": "ARN1", "actualRefundAmount": {"currency": "USD", "value": "990"}},
        ),
        (read_inquiry(sample("inquiry_success")), {"arn": "A1", "rrn": "R1"}),
    ],
    ids=["reply", "inquiry"],
)
def test_exchange_rate(outcome: Outcome, details: dict[str, Any]) -> None:
    """The quote and the settlement amount are read in the settlement currency; trace numbers are details."""
    assert isinstance(outcome, Succeeded)
    assert Money(7790, "HKD", 2) == outcome.settlement_amount
    expected = Quote("USD/HKD", "7.79", "Q1", "2026-11-21T19:00:00-08:00", "2026-11-21T21:00:00-08:00", "true")
    assert expected == outcome.quote
    assert details == outcome.details


def test_unknown_fields_are_details() -> None:
    """Undocumented fields reach the settled outcome, wherever they stood."""
    outcome = read_refund(sample("refund_success_unknown_fields"))

    expected = {
        "walletBrand": {"name": "x", "tiers": ["a", 1, None]},
        "result": {"traceId": "t1"},
        "refundAmount": {"precision": "2"},
    }
    assert isinstance(outcome, Succeeded)
    assert expected == outcome.details


def test_an_unusual_settlement_does_not_hide_the_refund() -> None:
    """An invalid settlement amount and an incomplete quote are kept as they came."""
    outcome = read_refund(sample("refund_success_odd_settlement"))

    assert isinstance(outcome, Succeeded)
    assert (None, None) == (outcome.settlement_amount, outcome.quote)
    expected = {
        "grossSettlementAmount": {"currency": "HKD", "value": "77.90"},
        "settlementQuote": {"quotePrice": 7},
    }
    assert expected == outcome.details


AFTER, NEVER = Resend.AFTER_NOT_FOUND, Resend.NEVER


@pytest.mark.parametrize(
    ("scenario", "resend", "review"),
    [
        ("refund_success_without_echo", NEVER, True),
        ("refund_success_of_another_refund", AFTER, True),
        ("refund_success_of_another_payment", NEVER, True),
        ("refund_success_of_another_amount", NEVER, True),
        ("refund_success_of_another_currency", NEVER, True),
        ("refund_success_amount_as_number", AFTER, True),
        ("refund_success_as_failure", NEVER, True),
        ("refund_balance_as_success", NEVER, True),
        ("refund_unlisted_success", NEVER, False),
        ("refund_unlisted_failure", NEVER, True),
        ("refund_unlisted_unknown", AFTER, False),
        ("refund_status_of_another_kind", AFTER, False),
        ("refund_without_result", AFTER, True),
        ("inquiry_unlisted_status", AFTER, False),
        ("inquiry_fail_without_echo", AFTER, True),
        ("inquiry_fail_of_another_refund", AFTER, True),
        ("inquiry_success_of_another_refund_id", NEVER, True),
        ("inquiry_success_of_another_amount", NEVER, True),
        ("inquiry_not_exist_but_described", NEVER, True),
        ("inquiry_unlisted_failure", AFTER, True),
        ("inquiry_unlisted_success", AFTER, True),
    ],
)
def test_answers_that_decide_nothing(scenario: str, resend: Resend, review: bool) -> None:
    """A signed answer that is not understood or not about this order is unknown, and flagged if money may be gone."""
    read = read_refund if scenario.startswith("refund") else read_inquiry

    outcome = read(sample(scenario), KNOWN)

    assert isinstance(outcome, Unknown)
    assert (resend, review) == (outcome.resend, outcome.review is not None)


def test_pending() -> None:
    """A refund in process is pending and keeps Antom's id, from the reply and from the inquiry."""
    reply = read_refund(sample("refund_in_process"))
    inquiry = read_inquiry(sample("inquiry_processing"))

    assert isinstance(reply, Pending)
    assert isinstance(inquiry, Pending)
    assert ("REFUND_IN_PROCESS", REFUND_ID) == (reply.code, reply.provider_refund_id)
    assert ("PROCESSING", REFUND_ID) == (inquiry.code, inquiry.provider_refund_id)


def test_refund_status_fail() -> None:
    """The inquiry that says FAIL about exactly this refund is definitive."""
    outcome = read_inquiry(sample("inquiry_fail"))

    assert isinstance(outcome, DefinitiveFailure)
    assert "FAIL" == outcome.code


def test_not_exist() -> None:
    """ORDER_NOT_EXIST is "not found" from an inquiry, and a wrong payment id from a refund."""
    assert isinstance(read_inquiry(sample("inquiry_not_exist")), NotFound)
    assert isinstance(read_refund(sample("inquiry_not_exist")), Blocked)


# --- answers: who says so ---------------------------------------------------------------------------------------------


def replaced(name: str, value: str | None) -> list[tuple[str, str]]:
    headers = [pair for pair in start.signed_headers(REFUND, sample("refund_success")) if pair[0] != name]
    return headers if value is None else [*headers, (name, value)]


def doubled(name: str) -> list[tuple[str, str]]:
    headers = start.signed_headers(REFUND, sample("refund_success"))
    return headers + [pair for pair in headers if pair[0] == name]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        replaced("signature", None),
        replaced("signature", ""),
        doubled("signature"),
        replaced("response-time", None),
        replaced("response-time", "2026-11-22T04:00:02Z"),
        replaced("response-time", ""),
        doubled("response-time"),
        replaced("client-id", "SANDBOX_OTHER"),
        [*doubled("client-id"), ("Client-Id", "SANDBOX_OTHER")],
    ],
)
@pytest.mark.parametrize("scenario", ["refund_success", "refund_unlisted_failure"])
def test_unsigned_answers(scenario: str, headers: list[tuple[str, str]]) -> None:
    """An answer whose signature is absent, wrong or for another client is unknown, success and failure alike."""
    outcome = start.refund().read(Answer(200, headers, sample(scenario)))

    assert isinstance(outcome, Unknown)
    assert AFTER is outcome.resend
    assert outcome.review is not None
    assert (None, None) == (outcome.code, outcome.scope)


def test_an_absent_client_id_is_ours() -> None:
    """The signature binds the answer to our client id, whether the header is there or not, in any case of letters."""
    headers = [(name.upper(), value) for name, value in replaced("client-id", None)]

    assert isinstance(start.refund().read(Answer(200, headers, sample("refund_success"))), Succeeded)


def test_hearsay() -> None:
    """What an unsigned answer claims is shown to operators, and decides nothing."""
    outcome = start.refund().read(Answer(200, [], start.result("INVALID_SIGNATURE", "F")))

    assert isinstance(outcome, Unknown)
    assert "claims INVALID_SIGNATURE, which proves nothing" in outcome.cause


@pytest.mark.parametrize("call", [ANTOM.refund, ANTOM.inquire], ids=["refund", "inquire"])
@pytest.mark.parametrize("code", ["INVALID_SIGNATURE", "SIGNATURE_INVALID", "KEY_NOT_FOUND"])
def test_a_wrong_key_of_ours_is_the_account_s_trouble(call: Any, code: str) -> None:
    """An unsigned answer that refuses our key proves nothing, and puts the account on hold until an operator acts."""
    outcome = call(INSTRUCTION, AT).read(Answer(200, [("client-id", CLIENT)], start.result(code, "F")))

    assert isinstance(outcome, Unknown)
    assert (AFTER, Scope.ACCOUNT, None) == (outcome.resend, outcome.scope, outcome.code)
    assert ReviewReason.BLOCKED_ACCOUNT is outcome.review
    assert code in outcome.cause
    assert "check private_key and key_version" in (outcome.advice or "")


KEY_REFUSED = start.result("INVALID_SIGNATURE", "F")


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (200, [("Signature", "")], KEY_REFUSED),
        (200, [("signature", "algorithm=RSA256,keyVersion=1,signature=AAAA"), ("response-time", "1")], KEY_REFUSED),
        (200, [("signature", "a"), ("signature", "b")], KEY_REFUSED),
        (401, [], KEY_REFUSED),
        (200, [], start.result("INVALID_SIGNATURE", "U")),
        (200, [], start.result("INVALID_SIGNATURE", "S")),
        (200, [], start.result("ACCESS_DENIED", "F")),
        (200, [], KEY_REFUSED[:-1]),
        (200, [], b'{"result":"INVALID_SIGNATURE"}'),
        (200, [], b'["INVALID_SIGNATURE"]'),
    ],
)
def test_no_other_unsigned_answer_stops_the_account(status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    """With a signature header of any kind, another status, code or text, an unsigned answer concerns one refund."""
    outcome = start.refund().read(Answer(status, headers, body))

    assert isinstance(outcome, Unknown)
    assert outcome.scope is None


def test_the_answer_to_another_call() -> None:
    """A signed answer to the inquiry is not an answer to the refund: the path is part of what is signed."""
    outcome = start.refund().read(answer(INQUIRE, sample("refund_success")))

    assert isinstance(outcome, Unknown)


def test_the_border_between_time_and_body_is_fixed() -> None:
    """A piece of a signed body cannot be moved into the time header to make another body of the rest."""
    body = b'{"a":"b.' + sample("refund_success") + b'"}'
    headers = start.signed_headers(REFUND, body)
    moved = [(name, value + '.{"a":"b' if name == "response-time" else value) for name, value in headers]

    outcome = start.refund().read(Answer(200, moved, body.removeprefix(b'{"a":"b.')))

    assert isinstance(outcome, Unknown)
    assert "response-time" in outcome.cause


def test_provider_key_version() -> None:
    """Where one version of Antom's key is configured, an answer that names another is not believed."""
    good = answer(REFUND, sample("refund_success"))

    assert isinstance(provider(provider_key_version=1).refund(INSTRUCTION, AT).read(good), Succeeded)
    assert isinstance(provider(provider_key_version=2).refund(INSTRUCTION, AT).read(good), Unknown)


@pytest.mark.parametrize("status", [201, 204, 301, 307, 400, 401, 403, 404, 429, 500, 502, 503])
def test_other_http_statuses(status: int) -> None:
    """Whatever an answer with another status than 200 says, it decides nothing."""
    good = answer(REFUND, sample("refund_success"))

    assert Unknown(f"HTTP status {status}") == start.refund().read(attrs.evolve(good, status=status))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>bad gateway</html>",
        b"[]",
        b"{",
        b"\xff",
        b"[" * 10_000,
        b'{"a":' * 10_000,
        b'{"result":NaN}',
        b'{"x":"' + b"y" * 70_000 + b'"}',
        sample("refund_success").replace(b'"resultStatus": "S"', b'"resultStatus": "F", "resultStatus": "S"'),
    ],
)
def test_signed_nonsense(body: bytes) -> None:
    """Bytes that are not one readable object are unknown, even when they are signed."""
    outcome = read_refund(body)

    assert isinstance(outcome, Unknown)
    assert outcome.cause.startswith("cannot be read")
    assert ReviewReason.UNREADABLE_ANSWER is outcome.review


@settings(max_examples=100)
@given(st.data())
def test_no_cut_or_flipped_answer_is_believed(data: st.DataObject) -> None:
    """An answer cut anywhere, or with any bit changed, is unknown."""
    good = answer(REFUND, sample("refund_success"))
    at = data.draw(st.integers(0, len(good.body) - 1))
    bit = data.draw(st.none() | st.integers(0, 7))
    body = good.body[:at] if bit is None else good.body[:at] + bytes([good.body[at] ^ 1 << bit]) + good.body[at + 1 :]

    assert isinstance(start.refund().read(attrs.evolve(good, body=body)), Unknown)


@pytest.mark.parametrize("options", [{"indent": 1}, {"sort_keys": True}, {"separators": (",", ":")}])
def test_other_bytes_of_the_same_meaning(options: dict[str, Any]) -> None:
    """A re-encoded body is not what was signed."""
    good = answer(REFUND, sample("refund_success"))
    again = json.dumps(json.loads(good.body), **options).encode()

    assert again != good.body
    assert isinstance(start.refund().read(attrs.evolve(good, body=again)), Unknown)


header = st.tuples(st.sampled_from(["signature", "response-time", "client-id", "x"]) | st.text(max_size=9), st.text())


@given(st.integers(100, 599) | st.just(200), st.lists(header, max_size=5), st.binary(max_size=99))
def test_reading_never_raises(status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    """Any status, headers and bytes at all end in `Unknown`, for both calls."""
    for call in (ANTOM.refund(INSTRUCTION, AT), ANTOM.inquire(INSTRUCTION, AT)):
        assert isinstance(call.read(Answer(status, headers, body)), Unknown)


PARTS = st.sampled_from(
    [
        "SUCCESS",
        "FAIL",
        "PROCESSING",
        "REFUND_IN_PROCESS",
        "ORDER_NOT_EXIST",
        "S",
        "F",
        "U",
        INSTRUCTION.refund_request_id,
    ]
)
FIELDS = ["refundRequestId", "refundId", "paymentId", "refundTime", "refundStatus", "grossSettlementAmount", "metadata"]


@given(
    st.dictionaries(st.sampled_from(FIELDS), PARTS | st.none() | st.integers() | st.just({})),
    PARTS,
    PARTS,
    st.sampled_from([None, {"currency": "USD", "value": "1000"}, {"currency": "USD", "value": "1"}]),
)
def test_settled_only_on_the_whole_echo(fields: dict[str, Any], code: str, status: str, amount: Any) -> None:
    """However the fields of a signed answer are mixed, it settles only when it names our id, amount and currency."""
    body = fields | {"result": {"resultCode": code, "resultStatus": status}, "refundAmount": amount}
    raw = json.dumps(body).encode()

    for call, path in ((ANTOM.refund, REFUND), (ANTOM.inquire, INQUIRE)):
        outcome = call(INSTRUCTION, AT).read(answer(path, raw))
        if isinstance(outcome, Succeeded):
            assert INSTRUCTION.refund_request_id == fields["refundRequestId"]
            assert {"currency": "USD", "value": "1000"} == amount
            assert ("SUCCESS", "S") == (code, status)
            assert INSTRUCTION.amount == outcome.amount


# --- the plugin -------------------------------------------------------------------------------------------------------


def test_plugin() -> None:
    """The plugin comes through its hook under the name that refundry.toml uses, with both tables of codes."""
    import refundry_antom

    assert [PLUGIN] == refundry_antom.refundry_providers()
    assert ("antom", {"refund", "inquire"}) == (PLUGIN.name, set(PLUGIN.codes))
    assert ("refund_request_id",) == PLUGIN.terms.inquire_by
    assert PLUGIN.build is build
    assert isinstance(PLUGIN.terms, Terms)


def test_the_simulator_is_not_loaded_with_the_plugin() -> None:
    """Using the provider imports neither the simulator nor a web server."""
    script = "import sys, refundry_antom as a; a.refundry_providers(); print('refundry_antom.simulator' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert "False\n" == done.stdout
