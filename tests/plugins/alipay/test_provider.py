"""Orders become exact requests, and answers become outcomes only when they are Alipay's and about this order."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
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
    Provider,
    PublicKeyPem,
    RefundInstruction,
    Resend,
    ReviewReason,
    Scope,
    Secret,
    Succeeded,
    Terms,
    Unknown,
)
from refundry.refund.policy import check_limits
from refundry_alipay import certificates, signing
from refundry_alipay.codes import REFUND_CODES
from refundry_alipay.interpretation import DBACK_FAILED, with_offset
from refundry_alipay.provider import PLUGIN, QUERY, REFUND, build
from tests.plugins import limits
from tests.plugins.alipay.given import (
    APP,
    AT,
    BASE,
    BY_MERCHANT,
    DETAILS,
    INSTRUCTION,
    OUT_TRADE,
    TRADE,
    answer,
    body,
    certificate,
    certificate_pems,
    certified,
    content_of,
    failure,
    merchant_key,
    private_pem,
    provider,
    provider_key,
    query_of,
    read_inquiry,
    read_refund,
    sample,
    sample_fields,
    signed,
)

ALIPAY = provider()
AFTER, NEVER = Resend.AFTER_NOT_FOUND, Resend.NEVER


# --- requests ---------------------------------------------------------------------------------------------------------


def test_it_is_a_provider_and_a_listener() -> None:
    """The class has every member that the gateway asks for."""
    assert isinstance(ALIPAY, Provider)
    assert isinstance(ALIPAY, NotificationHandler)
    assert f"{APP} at {BASE}" == ALIPAY.identity


def test_refund_body() -> None:
    """The body is `biz_content` alone: compact JSON in a fixed order, percent-encoded, and nothing of the moment."""
    instruction = attrs.evolve(INSTRUCTION, reason="正常退款")
    raw = provider(query_options=("refund_detail_item_list", "gmt_refund_pay")).refund(instruction, AT).body

    assert raw.startswith(b"biz_content=%7B%22out_request_no%22%3A%22HZ01RF001%22%2C")
    expected = {
        "out_request_no": "HZ01RF001",
        "trade_no": TRADE,
        "refund_amount": "12.33",
        "refund_reason": "正常退款",
        "query_options": ["refund_detail_item_list"],
    }
    assert expected == content_of(raw)
    assert list(expected) == list(content_of(raw))


def test_what_is_absent_is_not_sent() -> None:
    """Neither a reason nor options that are not there are written."""
    raw = provider(query_options=()).refund(INSTRUCTION, AT).body

    assert {"out_request_no", "trade_no", "refund_amount"} == set(content_of(raw))
    assert {"out_request_no", "trade_no"} == set(content_of(provider(query_options=()).inquire(INSTRUCTION, AT).body))


def test_the_merchant_s_number() -> None:
    """A payment that is named by the merchant's order number is refunded and queried by it."""
    for call in (ALIPAY.refund(BY_MERCHANT, AT), ALIPAY.inquire(BY_MERCHANT, AT)):
        content = content_of(call.body)
        assert OUT_TRADE == content["out_trade_no"]
        assert "trade_no" not in content


def test_inquiry_body() -> None:
    """A query names the trade and our number, and asks for what the account wants to know."""
    expected = {
        "out_request_no": "HZ01RF001",
        "trade_no": TRADE,
        "query_options": ["refund_detail_item_list", "gmt_refund_pay", "deposit_back_info"],
    }
    assert expected == content_of(ALIPAY.inquire(INSTRUCTION, AT).body)


def test_details_are_sent() -> None:
    """Every further field is in its place, and options that are given replace the account's."""
    raw = ALIPAY.refund(attrs.evolve(INSTRUCTION, details=dict(reversed(DETAILS.items()))), AT).body

    content = content_of(raw)
    assert content == content | DETAILS
    assert raw == ALIPAY.refund(attrs.evolve(INSTRUCTION, details=DETAILS), AT).body


def test_options_of_one_refund() -> None:
    """A refund may have its own query_options and notify_url: the query asks for all, the refund for what it knows."""
    options = ["gmt_refund_pay", "deposit_back_info_list", "refund_voucher_detail_list"]
    details = {"query_options": options, "notify_url": "https://shop.example/own"}
    instruction = attrs.evolve(INSTRUCTION, details=details)
    account = provider(notify_url="https://shop.example/account")
    account.check(instruction)
    request = account.refund(instruction, AT).sign()

    assert "https://shop.example/own" == check_signature(request.url, request.body)["notify_url"]
    assert ["refund_voucher_detail_list"] == content_of(request.body)["query_options"]
    assert "notify_url" not in content_of(request.body)
    assert options == content_of(account.inquire(instruction, AT).body)["query_options"]


def test_a_resend_is_the_same_bytes() -> None:
    """What was sent is sent again as it was, and signed as it was, at another time."""
    sent = provider(query_options=()).refund(INSTRUCTION, AT).body
    instruction = attrs.evolve(INSTRUCTION, sent=sent)

    call = ALIPAY.refund(instruction, AT + timedelta(days=1))
    assert sent == call.body == call.sign().body
    check_signature(call.sign().url, sent)


def check_signature(url: str, raw: bytes, charset: str = "utf-8") -> dict[str, str]:
    """Verify a request as Alipay would; give its common parameters."""
    query = signing.read_form(url.partition("?")[2].encode(), charset)
    sent = query | signing.read_form(raw, charset)
    signing.verify(merchant_key().public_key(), sent["sign"], signing.request_content(sent, charset))
    return query


def test_common_parameters() -> None:
    """They are in the query with the signature over all of them and the body, and the token is in the form alone."""
    call = provider(app_auth_token="T1").refund(INSTRUCTION, AT + timedelta(microseconds=999_999))
    request = call.sign()

    assert ("POST", str(BASE)) == (request.method, request.url.partition("?")[0])
    query = check_signature(request.url, request.body)
    del query["sign"]
    assert query == {
        "app_id": APP,
        "method": "alipay.trade.refund",
        "format": "JSON",
        "charset": "utf-8",
        "sign_type": "RSA2",
        "timestamp": "2026-11-22 12:00:00",
        "version": "1.0",
    }
    assert b"app_auth_token=T1&" + call.body == request.body
    assert (("content-type", "application/x-www-form-urlencoded;charset=utf-8"),) == request.headers
    assert "alipay.trade.fastpay.refund.query" == query_of(ALIPAY.inquire(INSTRUCTION, AT).sign())["method"]


def test_notify_url_goes_with_refunds() -> None:
    """An address for notifications is signed and sent with a refund, and not with a query."""
    reply = provider(notify_url="https://shop.example/n?a=1&b=2")

    request = reply.refund(INSTRUCTION, AT).sign()
    assert "https://shop.example/n?a=1&b=2" == check_signature(request.url, request.body)["notify_url"]
    assert "notify_url" not in query_of(reply.inquire(INSTRUCTION, AT).sign())


def test_gbk() -> None:
    """In GBK the whole request is GBK: the body, what is signed, and the names of the charset."""
    instruction = attrs.evolve(INSTRUCTION, reason="正常退款 & 100%")
    request = provider(charset="gbk").refund(instruction, AT).sign()

    assert "正常退款 & 100%" == content_of(request.body, "gbk")["refund_reason"]
    assert b"%D5%FD%B3%A3" in request.body
    assert "gbk" == check_signature(request.url, request.body, "gbk")["charset"]
    assert ("content-type", "application/x-www-form-urlencoded;charset=gbk") in request.headers


def test_certificate_mode() -> None:
    """The names of our certificate and of the roots are signed and sent; the log names our certificate."""
    call = certified().refund(INSTRUCTION, AT)
    request = call.sign()

    query = check_signature(request.url, request.body)
    app = certificates.serial_number(certificates.load(bytes(certificate_pems()["app_cert"]), ""))
    root = certificates.root_serial_number(bytes(certificate_pems()["root_cert"]), "")
    assert (app, root) == (query["app_cert_sn"], query["alipay_root_cert_sn"])
    assert (app, None) == (call.key_version, ALIPAY.refund(INSTRUCTION, AT).key_version)


@given(
    st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    st.integers(1, 10**15 - 1),
    st.none() | st.text(st.characters(codec="gbk", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=256),
    st.datetimes(timezones=st.just(UTC)),
    st.sampled_from(["utf-8", "gbk"]),
)
def test_equal_orders_give_equal_bytes(id: str, fen: int, reason: str | None, at: datetime, charset: str) -> None:
    """Nothing but the order decides the body, and the amount in it is exact yuan with two decimals."""
    instruction = RefundInstruction(id, TRADE, Money(fen, "CNY", 2), reason)
    alipay = IN[charset]
    alipay.check(instruction)

    raw = alipay.refund(instruction, AT).body
    assert raw == alipay.refund(attrs.evolve(instruction), at).body
    content = content_of(raw, charset)
    assert (id, f"{fen // 100}.{fen % 100:02}", reason or None) == (
        content["out_request_no"],
        content["refund_amount"],
        content.get("refund_reason"),
    )


IN = {charset: provider(charset=charset) for charset in ("utf-8", "gbk")}


# --- checks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"refund_request_id": ""}, "refund_request_id"),
        ({"refund_request_id": "a" * 65}, "refund_request_id"),
        ({"refund_request_id": "a b"}, "refund_request_id"),
        ({"refund_request_id": "退"}, "refund_request_id"),
        ({"refund_request_id": "a\n"}, "refund_request_id"),
        ({"refund_request_id": "١"}, "refund_request_id"),
        ({"payment": ""}, "payment"),
        ({"payment": "p" * 65}, "payment"),
        ({"payment": "merchant:"}, "payment"),
        ({"payment": "merchant:" + "T" * 65}, "payment"),
        ({"amount": Money(0, "CNY", 2)}, "amount"),
        ({"amount": Money(100, "CNY", 0)}, "amount"),
        ({"amount": Money(10**15, "CNY", 2)}, "amount"),
        ({"amount": Money(100, "USD", 2)}, "currency"),
        ({"amount": Money(100, "JPY", 0)}, "currency"),
        ({"reason": "r" * 257}, "reason"),
        ({"details": {"refund_amount": "1"}}, "details.refund_amount"),
    ],
)
def test_orders_that_alipay_cannot_take(changes: dict[str, Any], field: str) -> None:
    """An order outside Alipay's rules is refused by the name of its field, before anything is stored."""
    with pytest.raises(Invalid) as caught:
        limits.check(ALIPAY, attrs.evolve(INSTRUCTION, **changes))

    assert field == caught.value.field


@pytest.mark.parametrize(
    "changes",
    [
        {"refund_request_id": "a" * 64},
        {"payment": "p" * 64},
        {"payment": "merchant:" + "T" * 64},
        {"payment": "merchant:2026/11#1"},
        {"amount": Money(1, "CNY", 2)},
        {"amount": Money(10**15 - 1, "CNY", 2)},
        {"reason": "退" * 256},
        {"reason": "😀"},
        {"reason": ""},
        {"reason": "a\nb"},
        {"payment": "P.1/2#3"},
        {"payment": "merchant:订单 1"},
        {"refund_request_id": "R.1/2#3"},
        {"details": {"refund_goods_detail": [{"goods_name": "商品\u3000一"}]}},
        {"details": DETAILS},
    ],
)
def test_orders_at_the_edge(changes: dict[str, Any]) -> None:
    """An order just inside the rules is taken."""
    limits.check(ALIPAY, attrs.evolve(INSTRUCTION, **changes))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"reason": "😀"}, "reason"),
        ({"payment": "merchant:😀"}, "payment"),
        ({"details": {"refund_goods_detail": [{"goods_name": "😀"}]}}, "details"),
    ],
)
def test_characters_that_gbk_cannot_hold(changes: dict[str, Any], field: str) -> None:
    """In GBK a character that it does not have is refused by field and code point; in UTF-8 it is taken."""
    instruction = attrs.evolve(INSTRUCTION, **changes)
    IN["utf-8"].check(instruction)
    with pytest.raises(Invalid, match="U\\+1F600, which gbk cannot hold") as caught:
        IN["gbk"].check(instruction)
    assert field == caught.value.field
    IN["gbk"].check(attrs.evolve(INSTRUCTION, reason="退款 é"))


@pytest.mark.parametrize(("name", "accepted"), [("商品\u3000一", True), ("商品\u00a0一", False)])
def test_spaces_that_are_not_ascii_in_gbk(name: str, accepted: bool) -> None:
    """A space of another script is text like any other: it is sent in GBK if GBK has it, and refused if not."""
    instruction = attrs.evolve(INSTRUCTION, details={"refund_goods_detail": [{"goods_name": name}]})
    if accepted:
        IN["gbk"].check(instruction)
        (goods,) = content_of(IN["gbk"].refund(instruction, AT).body, "gbk")["refund_goods_detail"]
        assert {"goods_name": name} == goods
    else:
        with pytest.raises(Invalid, match="U\\+00A0, which gbk cannot hold"):
            IN["gbk"].check(instruction)


def test_exponents() -> None:
    """The yuan has two decimals, and no other currency is refunded."""
    assert 2 == ALIPAY.exponent("CNY")
    with pytest.raises(Invalid, match="^currency: must be CNY"):
        ALIPAY.exponent("HKD")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"base_url": HttpUrl("https://openapi.alipay.com")}, "base_url"),
        ({"base_url": HttpUrl("https://openapi.alipay.com/gateway.do?charset=utf-8")}, "base_url"),
        ({"base_url": HttpUrl("openapi.alipay.com/gateway.do")}, "base_url"),
        ({"app_id": ""}, "app_id"),
        ({"app_id": "2" * 33}, "app_id"),
        ({"app_id": "a b"}, "app_id"),
        ({"seller_id": "canary"}, "seller_id"),
        ({"app_auth_token": "canary\r\n"}, "app_auth_token"),
        ({"app_auth_token": "c" * 41}, "app_auth_token"),
        ({"charset": "latin-1"}, "charset"),
        ({"charset": "UTF-8"}, "charset"),
        ({"query_options": ("canary",)}, "query_options"),
        ({"query_options": ("gmt_refund_pay", "gmt_refund_pay")}, "query_options"),
        ({"notify_url": "shop.example/n"}, "notify_url"),
        ({"notify_url": "https://shop.example/" + "n" * 256}, "notify_url"),
        ({"private_key": Secret(b"canary-7f3a")}, "private_key"),
        ({"provider_public_key": PublicKeyPem(b"canary-7f3a")}, "provider_public_key"),
        ({"provider_public_key": None}, "provider_public_key"),
        (dict(certificate_pems()), "app_cert"),
        ({"root_cert": certificate_pems()["root_cert"]}, "root_cert"),
        ({"provider_public_key": None, "app_cert": certificate_pems()["app_cert"]}, "provider_cert"),
        ({"provider_public_key": None, "provider_cert": certificate_pems()["provider_cert"]}, "app_cert"),
        ({"provider_public_key": None} | dict(certificate_pems()) | {"root_cert": None}, "root_cert"),
        ({"provider_public_key": None} | dict(certificate_pems()) | {"app_cert": PublicKeyPem(b"canary")}, "app_cert"),
        (
            {"provider_public_key": None} | dict(certificate_pems()) | {"root_cert": PublicKeyPem(b"canary")},
            "root_cert",
        ),
        (
            {"provider_public_key": None}
            | dict(certificate_pems())
            | {"app_cert": certificate_pems()["provider_cert"]},
            "app_cert",
        ),
    ],
)
def test_settings_that_are_wrong(changes: dict[str, Any], field: str) -> None:
    """A wrong setting, a half mode and two modes at once are named with their rule, and no value is shown."""
    with pytest.raises(Invalid) as caught:
        provider(**changes)

    assert field == caught.value.field
    assert "canary" not in str(caught.value)


def test_all_query_options_are_taken() -> None:
    """Every option that Alipay describes may be set; a refund is asked for those that it knows."""
    options = (
        "refund_detail_item_list",
        "gmt_refund_pay",
        "deposit_back_info",
        "refund_voucher_detail_list",
        "deposit_back_info_list",
    )
    alipay = provider(query_options=options)

    assert list(options) == content_of(alipay.inquire(INSTRUCTION, AT).body)["query_options"]
    expected = ["refund_detail_item_list", "deposit_back_info", "refund_voucher_detail_list"]
    assert expected == content_of(alipay.refund(INSTRUCTION, AT).body)["query_options"]


@pytest.mark.parametrize("make", [provider, certified])
def test_reading_needs_no_private_key(make: Any) -> None:
    """An audit reads old answers without the key; sending without it is refused by the setting's name."""
    alipay = make(private_key=None)

    raw = signed(REFUND, sample("refund_success"), own_serial())
    assert isinstance(alipay.refund(INSTRUCTION, AT).read(answer(raw)), Succeeded)
    with pytest.raises(Invalid) as caught:
        alipay.refund(INSTRUCTION, AT).sign()
    assert "private_key" == caught.value.field


def test_nothing_shows_a_secret() -> None:
    """No repr of the settings, the provider, an exchange or a request's body holds a line of a key or the token."""
    alipay = certified(app_auth_token="canary-7f3a")
    secret = private_pem(merchant_key()).decode().splitlines()[1]
    shown = "".join(map(repr, (alipay.settings, alipay, alipay.refund(INSTRUCTION, AT), alipay.settings.private_key)))

    assert "canary" not in shown
    assert secret not in shown
    assert "BEGIN" not in shown


# --- answers: what the samples mean -----------------------------------------------------------------------------------


def test_success() -> None:
    """A refund that moved money now is settled, with the time in Beijing's offset and without who the buyer is."""
    outcome = read_refund(sample("refund_success"))

    details = {"out_trade_no": OUT_TRADE, "refund_fee": "12.33", "send_back_fee": "12.33"}
    expected = Succeeded(INSTRUCTION.amount, settled_at="2026-11-22T12:00:01+08:00", details=details)
    assert attrs.evolve(expected, payment_alias=f"merchant:{OUT_TRADE}") == outcome


def test_success_among_others() -> None:
    """A sum of all refunds of the trade that exceeds this one is not a contradiction: there were others."""
    outcome = read_refund(sample("refund_success_among_others"))

    assert isinstance(outcome, Succeeded)
    assert outcome.details is not None
    assert (INSTRUCTION.amount, "100.20") == (outcome.amount, outcome.details["refund_fee"])


@pytest.mark.parametrize("scenario", ["inquiry_success", "inquiry_success_lower_case"])
def test_inquiry_success(scenario: str) -> None:
    """A query that says success about exactly this refund settles it, in either case of letters."""
    expected = Succeeded(INSTRUCTION.amount, details={"out_trade_no": OUT_TRADE, "total_amount": "100.20"})

    assert attrs.evolve(expected, payment_alias=f"merchant:{OUT_TRADE}") == read_inquiry(sample(scenario))


def test_by_the_merchant_s_number() -> None:
    """A refund by the merchant's number is compared by that, and keeps Alipay's."""
    for outcome in (
        read_refund(sample("refund_success"), BY_MERCHANT),
        read_inquiry(sample("inquiry_success"), BY_MERCHANT),
    ):
        assert isinstance(outcome, Succeeded)
        assert outcome.details is not None
        assert TRADE == outcome.details["trade_no"] == outcome.payment_alias
        assert "out_trade_no" not in outcome.details
    other = attrs.evolve(BY_MERCHANT, payment="merchant:T2")
    assert isinstance(read_inquiry(sample("inquiry_success"), other), Unknown)


def test_everything_that_alipay_says_is_kept() -> None:
    """Royalties, funds, vouchers, fees and the bank's part reach the settled outcome as they came."""
    content = sample_fields("inquiry_with_everything")
    outcome = read_inquiry(sample("inquiry_with_everything"))

    assert isinstance(outcome, Succeeded)
    assert "2014-11-27T15:45:57+08:00" == outcome.settled_at
    left_out = {"code", "msg", "trade_no", "out_request_no", "refund_amount", "refund_status", "gmt_refund_pay"}
    assert {name: value for name, value in content.items() if name not in left_out} == outcome.details


def test_unknown_and_unusual_fields_are_details() -> None:
    """Undocumented fields, and parts of another shape, reach the outcome as they came; the buyer does not."""
    unknown = read_refund(sample("refund_success_unknown_fields"))
    unusual = read_refund(sample("refund_success_unusual_parts"))

    assert isinstance(unknown, Succeeded)
    assert unknown.details is not None
    assert {"brand": "x", "tiers": ["a", 1, None]} == unknown.details["wallet"]
    assert [{"fund_channel": "COUPON", "amount": "2.33", "trace": "t1"}] == unknown.details["refund_detail_item_list"]
    assert isinstance(unusual, Succeeded)
    assert unusual.details == {
        "out_trade_no": OUT_TRADE,
        "refund_fee": "12.33",
        "send_back_fee": "12.33",
        "gmt_refund_pay": "yesterday",
        "refund_detail_item_list": {"fund_channel": "COUPON"},
        "refund_charge_info_list": [{"refund_charge_fee": 1}],
    }
    assert unusual.settled_at is None


def test_a_bank_that_returns_the_money() -> None:
    """A refund that the bank refused stays settled, and says where the money is."""
    outcome = read_inquiry(sample("inquiry_bank_returned"))

    assert isinstance(outcome, Succeeded)
    assert outcome.details is not None
    assert DBACK_FAILED == outcome.details["bank_return"]
    assert "F" == outcome.details["deposit_back_info"]["dback_status"]


@pytest.mark.parametrize(
    ("scenario", "resend", "review"),
    [
        ("refund_repeated", AFTER, False),
        ("refund_accepted", AFTER, False),
        ("refund_accepted_empty", AFTER, False),
        ("refund_success_of_less", NEVER, True),
        ("refund_success_of_nothing", NEVER, True),
        ("refund_success_of_no_amount", NEVER, True),
        ("refund_success_of_another_trade", NEVER, True),
        ("refund_success_without_trade", NEVER, True),
        ("refund_success_without_amount", NEVER, True),
        ("refund_success_in_dollars", NEVER, True),
        ("refund_success_with_sub_code", NEVER, True),
        ("refund_success_unlisted_sub_code", NEVER, True),
        ("refund_success_amount_as_number", AFTER, True),
        ("refund_success_amount_as_fraction", AFTER, True),
        ("refund_success_odd_change", NEVER, True),
        ("refund_unlisted_failure", NEVER, True),
        ("refund_unlisted_gateway_code", NEVER, True),
        ("refund_failed_without_reason", NEVER, True),
        ("refund_finished_with_another_code", NEVER, True),
        ("refund_failed_of_another_trade", NEVER, True),
        ("refund_without_code", AFTER, True),
        ("inquiry_success_of_another_refund", AFTER, True),
        ("inquiry_success_of_another_amount", NEVER, True),
        ("inquiry_success_of_another_trade", NEVER, True),
        ("inquiry_success_without_number", NEVER, True),
        ("inquiry_success_without_amount", NEVER, True),
        ("inquiry_success_without_trade", NEVER, True),
        ("inquiry_success_amount_as_number", AFTER, True),
        ("inquiry_success_amount_as_fraction", AFTER, True),
        ("inquiry_not_done_but_paid", NEVER, True),
        ("inquiry_not_done_of_another_refund", AFTER, True),
        ("inquiry_unlisted_status", AFTER, False),
        ("inquiry_unlisted_failure", AFTER, True),
        ("inquiry_finished_with_another_code", NEVER, True),
    ],
)
def test_answers_that_decide_nothing(scenario: str, resend: Resend, review: bool) -> None:
    """A signed answer that is not understood or not about this order is unknown, and flagged if money may be gone."""
    read = read_refund if scenario.startswith("refund") else read_inquiry

    outcome = read(sample(scenario))

    assert isinstance(outcome, Unknown)
    assert (resend, review) == (outcome.resend, outcome.review is not None)


@pytest.mark.parametrize(
    ("scenario", "code"),
    [
        ("inquiry_not_done", "NO_REFUND_STATUS"),
        ("inquiry_not_done_with_echo", "NO_REFUND_STATUS"),
        ("inquiry_not_done_empty", "NO_REFUND_STATUS"),
        ("inquiry_not_done_with_error", "SELLER_BALANCE_NOT_ENOUGH"),
    ],
)
def test_no_refund_status(scenario: str, code: str) -> None:
    """A query without refund_status means "not received, or failed": the same number may go out again."""
    outcome = read_inquiry(sample(scenario))

    assert isinstance(outcome, NotFound)
    assert code == outcome.code


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2014-11-27 15:45:57", "2014-11-27T15:45:57+08:00"),
        ("2026-11-22 12:00:01.123", "2026-11-22T12:00:01.123+08:00"),
        ("2026-02-29 12:00:01", None),
        ("2026-11-22T12:00:01", None),
        ("2026-11-22 12:00:01 ", None),
        ("２026-11-22 12:00:01", None),
        ("", None),
        (None, None),
    ],
)
def test_times(text: str | None, written: str | None) -> None:
    """Alipay's times have no zone; they are Beijing's, and written with its offset."""
    assert written == with_offset(text)


# --- answers: who says so ---------------------------------------------------------------------------------------------

NODE = sample("refund_success")
GOOD = signed(REFUND, NODE)


def own_serial() -> str:
    return certificates.serial_number(certificates.load(bytes(certificate_pems()["provider_cert"]), ""))


@pytest.mark.parametrize(
    "raw",
    [
        body(REFUND, NODE),
        body(REFUND, NODE, {"sign": ""}),
        body(REFUND, NODE, {"sign": "AAAA"}),
        body(REFUND, NODE, {"sign": signing.sign(merchant_key(), NODE)}),
        body(REFUND, NODE, {"sign": signing.sign(provider_key(), NODE + b" ")}),
        body(REFUND, NODE.replace(b"12.33", b"99.99"), {"sign": signing.sign(provider_key(), NODE)}),
        signed(QUERY, NODE),
        signed(REFUND, NODE).replace(b"\n", b""),
        GOOD[:-1],
        GOOD.replace(b'"fund_change"', b'"fund_change":"Y","fund_change"'),
        b"<html>502</html>",
        b"",
    ],
)
def test_unsigned_answers(raw: bytes) -> None:
    """An answer whose signature is absent, wrong, of other bytes or for another call decides nothing."""
    outcome = ALIPAY.refund(INSTRUCTION, AT).read(answer(raw))

    assert isinstance(outcome, Unknown)
    assert (AFTER, None, None) == (outcome.resend, outcome.code, outcome.scope)
    assert outcome.review is not None


@pytest.mark.parametrize("status", [100, 201, 204, 302, 400, 404, 500, 502])
def test_other_statuses(status: int) -> None:
    """A gateway answers with status 200; any other came from elsewhere, whatever its body contains."""
    outcome = ALIPAY.refund(INSTRUCTION, AT).read(attrs.evolve(answer(GOOD), status=status))

    assert Unknown(f"HTTP status {status}") == outcome


def test_spelling_does_not_matter_to_the_signature() -> None:
    """Members in any order, spaces between them and the signature before the node are read."""
    sign = json.dumps(signing.sign(provider_key(), NODE)).encode()
    raw = b'{ "sign" : ' + sign + b',\n"alipay_trade_refund_response" :' + NODE + b"}"

    assert isinstance(ALIPAY.refund(INSTRUCTION, AT).read(answer(raw)), Succeeded)


def test_an_answer_in_gbk() -> None:
    """An answer in GBK, signed over those bytes, is believed and read, whatever the charset of the account."""
    node = json.dumps(sample_fields("refund_success") | {"store_name": "证大五道口店"}, ensure_ascii=False).encode(
        "gbk"
    )
    raw = signed(REFUND, node)

    for account in IN.values():
        outcome = account.refund(INSTRUCTION, AT).read(answer(raw))
        assert isinstance(outcome, Succeeded)
        assert outcome.details is not None
        assert "证大五道口店" == outcome.details["store_name"]


def test_a_signed_error_node() -> None:
    """A signed failure in `error_response` is trusted: the account waits for an operator."""
    raw = signed(REFUND, failure("40002", "isv.invalid-signature"), name="error_response")
    outcome = ALIPAY.refund(INSTRUCTION, AT).read(answer(raw))

    assert "blocked" == outcome.kind
    assert isinstance(ALIPAY.inquire(INSTRUCTION, AT).read(answer(raw)), type(outcome))


@pytest.mark.parametrize(("cert_sn", "settles"), [("own", True), (None, False), ("", False), ("0" * 32, False)])
def test_the_certificate_of_an_answer(cert_sn: str | None, settles: bool) -> None:
    """In certificate mode an answer must name the certificate that it is verified with."""
    named = own_serial() if cert_sn == "own" else cert_sn
    outcome = certified().refund(INSTRUCTION, AT).read(answer(signed(REFUND, NODE, named)))

    assert settles == isinstance(outcome, Succeeded)
    if isinstance(outcome, Unknown):
        assert "not signed with provider_cert" in outcome.cause


def test_another_certificate_s_signature() -> None:
    """Naming the right certificate is not enough: its key must have signed."""
    third = rsa.generate_private_key(65537, 2048)
    other = certified(provider_cert=PublicKeyPem(certificate(third, provider_key(), 12)))
    outcome = other.refund(INSTRUCTION, AT).read(answer(signed(REFUND, NODE, own_serial())))

    assert isinstance(outcome, Unknown)
    assert "does not fit" in outcome.cause


@pytest.mark.parametrize("sub_code", ["isv.invalid-app-id", "isv.invalid-signature"])
@pytest.mark.parametrize("call", [(ALIPAY.refund, REFUND), (ALIPAY.inquire, QUERY)], ids=["refund", "inquire"])
@pytest.mark.parametrize("node", [None, "error_response"])
def test_an_app_that_alipay_does_not_know(call: Any, sub_code: str, node: str | None) -> None:
    """An unsigned answer that refuses our app proves nothing, and puts the account on hold until an operator acts."""
    ask, method = call
    outcome = ask(INSTRUCTION, AT).read(answer(body(method, failure("40002", sub_code), name=node)))

    assert isinstance(outcome, Unknown)
    assert (AFTER, Scope.ACCOUNT, None) == (outcome.resend, outcome.scope, outcome.code)
    assert f"it claims {sub_code}, which proves nothing" in outcome.cause
    assert ReviewReason.BLOCKED_ACCOUNT is outcome.review


@pytest.mark.parametrize(
    "raw",
    [
        body(REFUND, failure("40002", "isv.invalid-app-id"), {"sign": "AAAA"}),
        body(REFUND, failure("40002", "isv.invalid-charset")),
        body(REFUND, failure("40004", "ACQ.TRADE_HAS_FINISHED")),
        body(REFUND, failure("20000")),
        body(REFUND, b'{"sub_code":["isv.invalid-app-id"]}'),
        body(QUERY, failure("40002", "isv.invalid-app-id")),
    ],
)
def test_no_other_unsigned_answer_stops_the_account(raw: bytes) -> None:
    """With a signature of any kind, another code or for another call, an unbelieved answer concerns one refund."""
    outcome = ALIPAY.refund(INSTRUCTION, AT).read(answer(raw))

    assert isinstance(outcome, Unknown)
    assert (AFTER, None) == (outcome.resend, outcome.scope)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 7))
def test_no_flipped_answer_settles_otherwise(at: int, bit: int) -> None:
    """An answer with any bit changed is unknown, or still says the same thing."""
    flipped = GOOD[:at] + bytes([GOOD[at] ^ 1 << bit]) + GOOD[at + 1 :]
    outcome = ALIPAY.refund(INSTRUCTION, AT).read(answer(flipped))

    assert isinstance(outcome, Unknown) or outcome == ALIPAY.refund(INSTRUCTION, AT).read(answer(GOOD))


@given(st.integers(0, 999), st.binary(max_size=200))
def test_reading_anything(status: int, raw: bytes) -> None:
    """Any bytes at all, with any status, are unknown: nothing else is raised."""
    for call, method in ((ALIPAY.refund, REFUND), (ALIPAY.inquire, QUERY)):
        for whole in (raw, body(method, raw), signed(method, raw)):
            assert isinstance(call(INSTRUCTION, AT).read(Answer(status, [], whole)), Unknown)


TEXTS = st.sampled_from(
    ["10000", "20000", "40004", "Y", "N", "", "12.33", "12.34", "REFUND_SUCCESS", "HZ01RF001", TRADE]
)
FIELDS = [
    "sub_code",
    "trade_no",
    "out_trade_no",
    "fund_change",
    "refund_fee",
    "refund_currency",
    "out_request_no",
    "refund_amount",
    "refund_status",
    "gmt_refund_pay",
]


@given(st.dictionaries(st.sampled_from(FIELDS), TEXTS | st.none() | st.integers()), TEXTS)
def test_settled_only_on_the_whole_echo(fields: dict[str, Any], code: str) -> None:
    """However the fields of a signed answer are mixed, it settles only on all that it can say of this order."""
    node = json.dumps(fields | {"code": code}).encode()

    if isinstance(read_refund(node), Succeeded):
        assert ("10000", "Y", TRADE) == (code, fields["fund_change"], fields["trade_no"])
        assert fields["refund_fee"] in ("12.33", "12.34")
    if isinstance(read_inquiry(node), Succeeded):
        assert ("10000", "REFUND_SUCCESS", TRADE) == (code, fields["refund_status"], fields["trade_no"])
        assert ("12.33", "HZ01RF001") == (fields["refund_amount"], fields["out_request_no"])


# --- the plugin -------------------------------------------------------------------------------------------------------


def test_plugin() -> None:
    """The plugin comes through its hook under the name that refundry.toml uses, with both tables of codes."""
    import refundry_alipay

    assert [PLUGIN] == refundry_alipay.refundry_providers()
    assert ("alipay", {"refund", "inquire"}) == (PLUGIN.name, set(PLUGIN.codes))
    assert PLUGIN.codes["refund"] is REFUND_CODES
    assert PLUGIN.build is build


def test_terms() -> None:
    """Never before ten seconds, by our number alone, resent under the same number, and a refusal is not final."""
    terms = PLUGIN.terms

    assert isinstance(terms, Terms)
    assert 10 == terms.first_inquiry == terms.not_found_interval == min(terms.inquiry_intervals)
    assert ("refund_request_id",) == terms.inquire_by
    assert {Resend.SAME, AFTER} == terms.resend_after
    assert (False, None) == (terms.replays_refusals, terms.id_horizon)
    assert (64, 64, 256) == (terms.id_length, terms.payment_length, terms.reason_length)
    check_limits(attrs.evolve(INSTRUCTION, payment="merchant:" + "T" * 64), terms)


def test_the_simulator_is_not_loaded_with_the_plugin() -> None:
    """Using the provider imports neither the simulator nor a web server."""
    script = (
        "import sys, refundry_alipay as a; a.refundry_providers(); print('refundry_alipay.simulator' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert "False\n" == done.stdout


# --- what Alipay writes besides ---------------------------------------------------------------------------------------


def test_a_failure_keeps_alipays_own_words() -> None:
    """The sub-code and the sub-message are the provider's message, and further fields are details."""
    node = {"code": "40004", "msg": "Business Failed", "sub_code": "ACQ.TRADE_HAS_FINISHED", "sub_msg": "交易已完结"}
    outcome = read_refund(json.dumps(node | {"refund_fee": "0.00", "buyer_logon_id": "a***@x"}).encode())

    assert isinstance(outcome, DefinitiveFailure)
    assert "ACQ.TRADE_HAS_FINISHED: 交易已完结" == outcome.provider_message
    assert {"refund_fee": "0.00"} == outcome.details


def test_a_message_that_repeats_the_signed_request_is_left_out() -> None:
    """Alipay repeats what it verified in the sub-message of a wrong signature: a token and the reason are in it."""
    text = "验签出错, 待验签字符串: app_auth_token=canary-7f3a&app_id=1&biz_content={canary}"
    node = {"code": "40002", "msg": "Invalid Arguments", "sub_code": "isv.invalid-signature", "sub_msg": text}
    outcome = read_refund(json.dumps(node, ensure_ascii=False).encode())

    assert isinstance(outcome, Blocked)
    assert "isv.invalid-signature" == outcome.provider_message
    assert "canary" not in repr(outcome)


def test_what_only_repeats_the_reason_is_left_out() -> None:
    """The reason can be erased and an event cannot; another reason than ours is kept."""
    order = attrs.evolve(INSTRUCTION, reason="too small")
    node = json.loads(sample("inquiry_success")) | {"refund_reason": "too small"}

    same, other = read_inquiry(json.dumps(node).encode(), order), read_inquiry(json.dumps(node).encode())

    assert isinstance(same, Succeeded)
    assert isinstance(other, Succeeded)
    assert "refund_reason" not in (same.details or {})
    assert "too small" == (other.details or {})["refund_reason"]


@pytest.mark.parametrize("written", [None, "", "transfer"])
def test_an_empty_royalty_type_is_a_transfer(written: str | None) -> None:
    """The document's default for a share without a type."""
    share = {"refund_amount": "10", "result_code": "success", "royalty_type": written}
    node = json.loads(sample("inquiry_success")) | {"refund_royaltys": [share]}

    outcome = read_inquiry(json.dumps(node).encode())

    assert isinstance(outcome, Succeeded)
    assert ["transfer"] == [item["royalty_type"] for item in (outcome.details or {})["refund_royaltys"]]
