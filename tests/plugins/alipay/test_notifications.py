"""A form is accepted if Alipay signed it for us, and counts only if it is about the instruction."""

import json
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import refundry_alipay
from refundry.gateway import Gateway
from refundry.plugin_host import load_plugins
from refundry.provider import Forged, Informational, Notification, Pending, Resend, Succeeded, Unknown, Unreadable
from refundry_alipay import certificates, signing
from refundry_alipay.interpretation import DBACK_FAILED
from refundry_alipay.provider import AlipayProvider
from tests.plugins.alipay.given import (
    APP,
    AT,
    BASE,
    BY_MERCHANT,
    HERE,
    INSTRUCTION,
    OUT_TRADE,
    SELLER,
    certificate_pems,
    certified,
    form,
    merchant_key,
    notification,
    private_pem,
    provider,
    provider_key,
    public_pem,
    raw_values,
    read_notification,
    sample_fields,
    signed_form,
)

PARTIAL = sample_fields("notification_partial")
RAW = form(PARTIAL)
ALIPAY = provider()
IN_GBK = provider(charset="gbk")


# --- refunds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", ["notification_partial", "notification_full"])
def test_success(scenario: str) -> None:
    """A genuine notification whose sum is this refund settles it; the money's facts are kept, the buyer's are not."""
    verified = ALIPAY.parse_notification(notification(form(sample_fields(scenario))))
    outcome = verified.read(INSTRUCTION)

    assert INSTRUCTION.refund_request_id == verified.refund_request_id
    assert AT + timedelta(seconds=2) == verified.at
    assert isinstance(outcome, Succeeded)
    assert (INSTRUCTION.amount, "2026-11-22T12:00:01.123+08:00") == (outcome.amount, outcome.settled_at)
    kept = set(outcome.details or {})
    assert {"refund_fee", "total_amount", "fund_bill_list", "out_trade_no", "trade_status"} <= kept
    assert not kept & {"buyer_id", "subject", "sign", "notify_id", "app_id", "gmt_refund"}


def test_the_sum_of_several_refunds() -> None:
    """A sum that is more than this refund says that Alipay has it, and no more: it is asked about."""
    assert isinstance(read_notification("notification_among_others"), Pending)


@pytest.mark.parametrize(
    "scenario",
    [
        "notification_of_less",
        "notification_of_no_amount",
        "notification_of_another_trade",
        "notification_without_trade",
        "notification_of_an_open_trade",
    ],
)
def test_contradictions(scenario: str) -> None:
    """A notification that contradicts itself or the order decides nothing and flags the refund for review."""
    outcome = read_notification(scenario)

    assert isinstance(outcome, Unknown)
    assert Resend.NEVER is outcome.resend
    assert outcome.review is not None


def test_another_order() -> None:
    """Read against another refund it means nothing; by the merchant's number it means the same."""
    assert isinstance(read_notification("notification_partial", BY_MERCHANT), Succeeded)
    other = attrs.evolve(INSTRUCTION, refund_request_id="HZ01RF002")
    assert isinstance(read_notification("notification_partial", other), Unknown)
    assert isinstance(read_notification("message_bank_refused", other), Unknown)


@pytest.mark.parametrize(
    "scenario",
    [
        "notification_of_a_payment",
        "notification_of_a_timeout",
        "notification_without_number",
        "message_of_another_kind",
    ],
)
def test_what_speaks_of_no_refund(scenario: str) -> None:
    """A payment, a time-out, a refund without a number and other messages name no refund, and are acknowledged."""
    verified = ALIPAY.parse_notification(notification(form(sample_fields(scenario))))

    assert verified.refund_request_id is None
    assert b"success" == verified.acknowledgement.body


async def test_a_payment_is_acknowledged_and_not_kept(tmp_path: Path) -> None:
    """The gateway answers what speaks of no refund, so that it stops coming; an unknown refund it keeps."""
    (tmp_path / "key.pem").write_bytes(private_pem(merchant_key()))
    (tmp_path / "alipay.pem").write_bytes(public_pem(provider_key()))
    config = tmp_path / "refundry.toml"
    config.write_text(
        f'[accounts.shop-cn]\nprovider = "alipay"\nbase_url = "{BASE}"\napp_id = "{APP}"\n'
        'private_key = "key.pem"\nprovider_public_key = "alipay.pem"\n'
    )
    async with Gateway.open(config, plugins=load_plugins((), [refundry_alipay]), create=True) as gateway:
        for scenario, kept in (("notification_of_a_payment", 0), ("notification_partial", 1)):
            reply = await gateway.receive_notification("shop-cn", notification(form(sample_fields(scenario))))
            assert b"success" == reply.body
            assert kept == len(await gateway.journal.unmatched())


def test_acknowledgement() -> None:
    """The answer is the seven bytes that Alipay asks for."""
    acknowledgement = ALIPAY.parse_notification(notification(RAW)).acknowledgement

    assert (200, b"success") == (acknowledgement.status, acknowledgement.body)
    assert (("content-type", "text/plain"),) == acknowledgement.headers


@pytest.mark.parametrize("time", ["", "yesterday", "2026-11-22T12:00:02", "2026-13-01 00:00:00"])
def test_a_time_that_is_none(time: str) -> None:
    """A notification without a readable time is accepted, and ends nothing because it is not fresh."""
    assert ALIPAY.parse_notification(notification(form(PARTIAL | {"notify_time": time}))).at is None


# --- the bank ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scenario", "code"),
    [
        ("message_bank_refused", "DBACK_F"),
        ("message_bank_took", "DBACK_S"),
        ("message_bank_lower_case", "DBACK_S"),
        ("message_bank_unlisted", "DBACK_X"),
    ],
)
def test_the_bank_s_part_is_noted(scenario: str, code: str) -> None:
    """What the buyer's bank did is noted with all that was said of it, and moves nothing."""
    verified = ALIPAY.parse_notification(notification(form(sample_fields(scenario))))
    outcome = verified.read(INSTRUCTION)

    assert (INSTRUCTION.refund_request_id, b"success") == (verified.refund_request_id, verified.acknowledgement.body)
    assert isinstance(outcome, Informational)
    assert code == outcome.code
    assert json.loads(sample_fields(scenario)["biz_content"]) == outcome.details


def test_a_bank_that_refuses_says_where_the_money_is() -> None:
    """People read that the money is in the buyer's balance and that the refund stays done."""
    outcome = read_notification("message_bank_refused")

    assert isinstance(outcome, Informational)
    assert DBACK_FAILED == outcome.cause


def test_the_bank_s_part_of_another_trade() -> None:
    """A message about another trade under our number is a contradiction."""
    outcome = read_notification("message_of_another_trade")

    assert isinstance(outcome, Unknown)
    assert outcome.review is not None


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"out_request_no":"a","out_request_no":"b"}'])
def test_messages_that_cannot_be_read(content: str) -> None:
    """A signed message without what it must have is unreadable."""
    params = sample_fields("message_bank_refused") | {"biz_content": content}

    with pytest.raises(Unreadable):
        ALIPAY.parse_notification(notification(form(params)))
    with pytest.raises(Unreadable):
        ALIPAY.parse_notification(notification(form(sample_fields("message_without_number"))))


# --- who says so ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, 1])
def test_the_vectors(index: int) -> None:
    """The notifications of the vectors are Alipay's under their key, the one in GBK too, and forged under another."""
    vector = json.loads((HERE / "vectors.json").read_bytes())["notifications"][index]
    key = json.loads((HERE / "vector_keys.json").read_bytes())["provider"]["public_spki_b64"].encode()
    raw = vector["raw_form_body"].encode()

    verified = provider(provider_public_key=key, seller_id=SELLER).parse_notification(notification(raw))
    assert isinstance(verified.read(INSTRUCTION), Succeeded)
    with pytest.raises(Forged):
        ALIPAY.parse_notification(notification(raw))


SUBJECT = "退款测试"


@pytest.mark.parametrize("named", ["utf-8", "GBK", "gb2312", "GB18030", "UTF-8", "rot13", None])
@pytest.mark.parametrize("written", ["utf-8", "gbk", "gb18030"])
@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain; charset=GBK", ""])
def test_charsets(named: str | None, written: str, content_type: str) -> None:
    """A genuine form is read whatever charset it is in, names, or names only in its Content-Type."""
    given_names = {name: value for name, value in PARTIAL.items() if name != "charset"}
    params = given_names | ({} if named is None else {"charset": named}) | {"subject": SUBJECT}
    raw = form(params, written)

    for account in (ALIPAY, IN_GBK):
        found = account.parse_notification(notification(raw, content_type))
        assert isinstance(found.read(INSTRUCTION), Succeeded)
        with pytest.raises(Forged):
            account.parse_notification(notification(raw.replace(b"refund_fee=12.33", b"refund_fee=99.00")))


@pytest.mark.parametrize("charset", ["GBK", "GB18030"])
def test_the_euro_sign_in_one_byte(charset: str) -> None:
    """The euro sign as Windows writes it in GBK, 0x80, neither makes a form unreadable nor its signature wrong."""
    values = raw_values(PARTIAL | {"charset": charset, "subject": SUBJECT}, "gbk")
    raw = signed_form(values | {"subject": values["subject"] + b" 5\x80 \x81\x80"})

    assert isinstance(ALIPAY.parse_notification(notification(raw)).read(INSTRUCTION), Succeeded)


def test_a_form_in_no_charset() -> None:
    """A form whose bytes are text in no charset of Alipay is unreadable, although it is signed."""
    with pytest.raises(Unreadable):
        ALIPAY.parse_notification(notification(signed_form(raw_values(PARTIAL) | {"subject": b"\xff\xff"})))


SERIAL = "a" * 32


@pytest.mark.parametrize("certificate", [{}, {"alipay_cert_sn": SERIAL}])
@pytest.mark.parametrize("keep_empty", [True, False])
def test_the_signature_may_cover_sign_type(certificate: dict[str, str], keep_empty: bool) -> None:
    """A form is accepted whether its signature covers sign_type or not."""
    values = raw_values(PARTIAL | certificate)
    for with_sign_type in (True, False):
        raw = signed_form(values, keep_empty=keep_empty, with_sign_type=with_sign_type)
        assert isinstance(ALIPAY.parse_notification(notification(raw)).read(INSTRUCTION), Succeeded)


def test_no_mixture_of_the_forms_that_are_signed() -> None:
    """If the signature covers sign_type, it covers the name of the certificate too, and sign_type is the signed one."""
    signed = signed_form(raw_values(PARTIAL), with_sign_type=True)

    for mixed in (signed + b"&alipay_cert_sn=" + SERIAL.encode(), signed.replace(b"sign_type=RSA2&", b"")):
        with pytest.raises(Forged):
            ALIPAY.parse_notification(notification(mixed))


def test_an_undocumented_name_without_a_value_is_not_left_out() -> None:
    """A bit that is flipped between a name and its value is found everywhere, also where the name is not signed."""
    body = form(PARTIAL)
    for place in (at for at, byte in enumerate(body) if byte == ord("=")):
        altered = body[:place] + bytes([body[place] ^ 0x10]) + body[place + 1 :]
        with pytest.raises((Forged, Unreadable)):
            ALIPAY.parse_notification(notification(altered))


@pytest.mark.parametrize("keep_empty", [True, False])
def test_empty_values(keep_empty: bool) -> None:
    """A form with empty values is accepted whether Alipay signed them or left them out."""
    assert "" == PARTIAL["body"]

    assert isinstance(
        ALIPAY.parse_notification(notification(form(PARTIAL, keep_empty=keep_empty))).read(INSTRUCTION), Succeeded
    )


def test_certificate_mode() -> None:
    """A form may name Alipay's certificate, signed or not; another than the configured one is refused."""
    serial = certificates.serial_number(certificates.load(bytes(certificate_pems()["provider_cert"]), ""))
    named = PARTIAL | {"alipay_cert_sn": serial}
    alongside = RAW + b"&alipay_cert_sn=" + serial.encode()

    for raw in (RAW, form(named), alongside):
        assert INSTRUCTION.refund_request_id == certified().parse_notification(notification(raw)).refund_request_id
    with pytest.raises(Forged, match="another certificate"):
        certified().parse_notification(notification(form(PARTIAL | {"alipay_cert_sn": "0" * 32})))


def signed_by(key: object, params: dict[str, str]) -> bytes:
    content = signing.notification_content(raw_values(params))
    return urlencode({**params, "sign": signing.sign(key, content)}).encode()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        urlencode(PARTIAL).encode(),
        urlencode(PARTIAL | {"sign": "AAAA"}).encode(),
        signed_by(merchant_key(), PARTIAL),
        RAW.replace(b"refund_fee=12.33", b"refund_fee=99.00"),
        RAW.replace(b"&refund_fee=12.33", b""),
        RAW + b"&further=1",
        form(PARTIAL | {"sign_type": "RSA"}),
        form(PARTIAL | {"sign_type": ""}),
        form(PARTIAL | {"app_id": "2021000000000001"}),
        form(PARTIAL | {"app_id": ""}),
        form({name: value for name, value in PARTIAL.items() if name != "app_id"}),
    ],
)
def test_forged(raw: bytes) -> None:
    """Without its signature, in other words, by another algorithm or for another app, it is forged."""
    with pytest.raises(Forged):
        ALIPAY.parse_notification(notification(raw))


def test_another_seller() -> None:
    """Where the seller is configured, another one's notification is forged; a message that names none is accepted."""
    for seller_id, verified in ((SELLER, True), ("2088000000000000", False)):
        account = provider(seller_id=seller_id)
        if verified:
            account.parse_notification(notification(RAW))
        else:
            with pytest.raises(Forged, match="another seller"):
                account.parse_notification(notification(RAW))
        account.parse_notification(notification(form(sample_fields("message_bank_took"))))


@pytest.mark.parametrize(
    "raw",
    [
        RAW + b"&refund_fee=99.00",
        RAW + b"&r%65fund_fee=12.33",
        RAW + b"&a=%",
        RAW + b"&a=%zz",
        RAW + b"&a=" + b"x" * 65_536,
    ],
)
def test_two_meanings(raw: bytes) -> None:
    """A form that says something twice, escapes badly or is too long has no one meaning."""
    with pytest.raises(Unreadable):
        ALIPAY.parse_notification(notification(raw))


@given(st.integers(0, len(RAW) - 1), st.integers(0, 7))
def test_no_flipped_notification_is_believed(at: int, bit: int) -> None:
    """A form with any bit changed is refused, or still says the same thing."""
    flipped = RAW[:at] + bytes([RAW[at] ^ 1 << bit]) + RAW[at + 1 :]
    with suppress(Forged, Unreadable):
        assert same(ALIPAY, flipped)


def same(account: AlipayProvider, raw: bytes) -> bool:
    """Whether a form that is believed means what the genuine one means."""
    found, expected = account.parse_notification(notification(raw)), account.parse_notification(notification(RAW))
    return (found.refund_request_id, found.at, found.read(INSTRUCTION)) == (
        expected.refund_request_id,
        expected.at,
        expected.read(INSTRUCTION),
    )


@given(st.text(), st.text(), st.lists(st.tuples(st.text(max_size=12), st.text())), st.binary(max_size=99))
def test_hearing_anything(method: str, path: str, headers: list[tuple[str, str]], raw: bytes) -> None:
    """Any request at all is forged or unreadable: nothing else is raised."""
    for whole in (raw, b"sign=AAAA&a=" + raw, f"app_id={APP}&charset=gbk&".encode() + raw):
        with pytest.raises((Forged, Unreadable)):
            ALIPAY.parse_notification(Notification(method, path, headers, whole))


names = st.sampled_from([name for name in PARTIAL if name not in ("app_id", "charset", "sign_type")])
values = st.sampled_from(["", "12.33", "12.34", "HZ01RF001", "TRADE_SUCCESS", OUT_TRADE, PARTIAL["trade_no"]])


@given(st.dictionaries(names, values))
def test_settled_only_on_the_whole_echo(changes: dict[str, str]) -> None:
    """However a signed notification is mixed, it settles only with our number, our trade and exactly our amount."""
    params = PARTIAL | changes
    verified = ALIPAY.parse_notification(notification(form(params)))

    if isinstance(verified.read(INSTRUCTION), Succeeded):
        assert INSTRUCTION.refund_request_id == params["out_biz_no"]
        assert (INSTRUCTION.payment, "12.33") == (params["trade_no"], params["refund_fee"])
        assert params["trade_status"] == "TRADE_SUCCESS"


def test_the_right_key_signs_the_right_words() -> None:
    """The test's own signature is the one that a genuine form has: nothing else makes it acceptable."""
    params = signing.read_form(RAW, "utf-8")

    expected = signing.sign(provider_key(), signing.notification_content(raw_values(PARTIAL)))
    assert expected == params["sign"]
