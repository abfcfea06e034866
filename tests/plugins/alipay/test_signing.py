"""What is signed is what was sent: against the vectors of Alipay's own SDK, and against forgeries."""

import json
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refundry.errors import Forged
from refundry.provider import signatures
from refundry.provider.strict_json import MAX_BYTES, Unreadable
from refundry_alipay import charsets, signing
from refundry_alipay.provider import QUERY, REFUND
from tests.plugins.alipay.given import HERE, body, merchant_key, provider_key, raw_values

VECTORS = json.loads((HERE / "vectors.json").read_bytes())
PUBLIC = json.loads((HERE / "vector_keys.json").read_bytes())
MERCHANT = signatures.load_public_key(PUBLIC["merchant"]["public_spki_pem"].encode(), "merchant")
PROVIDER = signatures.load_public_key(PUBLIC["provider"]["public_spki_b64"].encode(), "provider")
METHODS = {signing.node_name(method): method for method in (REFUND, QUERY)}


def named(vectors: list[dict[str, Any]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", vectors, ids=[vector["name"] for vector in vectors])


# --- the official SDK's vectors ---------------------------------------------------------------------------------------


@named(VECTORS["requests"])
def test_requests_of_the_official_sdk(vector: dict[str, Any]) -> None:
    """The content of a request is the SDK's to the byte, and the SDK's signature of it verifies."""
    content = signing.request_content(vector["params"], "utf-8")

    assert vector["content_to_sign"].encode() == content
    signing.verify(MERCHANT, vector["sign"], content)


@named(VECTORS["responses"])
def test_answers_of_the_official_sdk(vector: dict[str, Any]) -> None:
    """The node of an answer is found as raw text, and the signature next to it verifies."""
    answer = signing.read_answer(vector["raw_body"].encode(), METHODS[vector["response_key"]])

    assert (vector["response_key"], vector["signed_text"].encode(), vector["sign"], None) == (
        answer.name,
        answer.node,
        answer.sign,
        answer.cert_sn,
    )
    signing.verify(PROVIDER, answer.sign, answer.node)


@named(VECTORS["notifications"])
def test_notifications_of_the_official_sdk(vector: dict[str, Any]) -> None:
    """A form is read in the charset that it names, GBK as well as UTF-8, and its signature verifies."""
    raw = vector["raw_form_body"].encode()
    fields = signing.form_fields(raw)
    charset = fields["charset"].decode()
    params = charsets.decoded(fields, charset)

    assert vector["charset"] == charset
    assert vector["params"] == params
    content = signing.notification_content(fields)
    assert vector["content_signed"].encode(charset) == content
    signing.verify(PROVIDER, params["sign"], content)


@named(VECTORS["negative"])
def test_tampered_notifications(vector: dict[str, Any]) -> None:
    """A changed amount does not verify."""
    with pytest.raises(Forged):
        signing.verify(PROVIDER, vector["params"]["sign"], signing.notification_content(raw_values(vector["params"])))


# --- contents ---------------------------------------------------------------------------------------------------------


def test_what_a_request_signs() -> None:
    """All but `sign` and what is empty, `sign_type` included, by code point, raw and joined."""
    params = {"b": "2&=%", "sign": "x", "a": "", "sign_type": "RSA2", "Z": "é"}

    assert "Z=é&b=2&=%&sign_type=RSA2".encode() == signing.request_content(params, "utf-8")


def test_what_a_notification_signs() -> None:
    """Never `sign`, and `sign_type` and what is empty as asked; the values are the bytes that were sent."""
    params = {"b": b"\x80\xff", "sign": b"x", "a": b"", "sign_type": b"RSA2"}

    assert b"a=&b=\x80\xff" == signing.notification_content(params)
    assert b"b=\x80\xff" == signing.notification_content(params, keep_empty=False)
    assert b"a=&b=\x80\xff&sign_type=RSA2" == signing.notification_content(params, with_sign_type=True)


@pytest.mark.parametrize("charset", ["latin-1", "utf-16", "rot13", "", "gb18030", "utf_8"])
def test_charsets_that_alipay_does_not_take(charset: str) -> None:
    """No request is written in another charset, and no message is read by any codec that it may name."""
    with pytest.raises(Unreadable, match="charset"):
        charsets.codec_of(charset)
    assert charsets.text_of(b"\xcd\xcb", charset) == ("gb18030", "退")


# --- answers ----------------------------------------------------------------------------------------------------------

NODES = [
    '{"code":"10000"}',
    '{ "code" : "10000" ,\n"a":{"b":[1,{"c":"}"}]} }',
    r'{"sub_msg":"a } and a { and \"quoted\" }} and \\","u":"\u9000\/"}',
    '{"sub_msg":"alipay_trade_refund_response\\":{","sign":"inner"}',
    "{}",
    '{"a":1.50,"b":10000000000000000000}',
]


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("charset", ["utf-8", "gbk"])
def test_the_node_is_the_raw_text(node: str, charset: str) -> None:
    """Braces in strings, escapes, spaces and numbers stay as they came, wherever the node is."""
    raw = node.replace("a }", "退款 }").encode(charset)
    before = body(REFUND, raw, {"sign": "s", "alipay_cert_sn": "c"})
    after = b'{"sign":"s" , "alipay_cert_sn":"c","alipay_trade_refund_response" :\n ' + raw + b" }"

    for whole in (before, after):
        answer = signing.read_answer(whole, REFUND, charset)
        assert (raw, "s", "c") == (answer.node, answer.sign, answer.cert_sn)
        assert ("alipay_trade_refund_response", raw) == signing.response_node(whole, REFUND, charset)


def test_gbk_bytes_that_look_like_ascii() -> None:
    """Characters of GBK whose second byte is a backslash or a brace neither escape nor close anything."""
    unusual = b"\x81\x5c\x81\x7b\x81\x7d".decode("gbk")
    raw = json.dumps({"sub_msg": unusual}, ensure_ascii=False).encode("gbk")

    assert raw == signing.response_node(body(REFUND, raw), REFUND, "gbk")[1]


@pytest.mark.parametrize("account", ["utf-8", "gbk"])
@pytest.mark.parametrize("written", ["utf-8", "gbk"])
def test_an_answer_in_another_charset(account: str, written: str) -> None:
    """An answer in GBK is read although the account is in UTF-8, and the other way around."""
    raw = '{"code":"40004","sub_msg":"业务处理失败，请重试"}'.encode(written)  # Alipay's own comma

    found = signing.response_node(body(REFUND, raw), REFUND, account)[1]
    assert raw == found
    assert "40004" == signing.read_node(found, account)["code"]


@given(
    st.text(st.characters(codec="gbk")),
    st.text(st.characters(codec="gbk")),
    st.sampled_from(["utf-8", "gbk"]),
    st.sampled_from(["utf-8", "gbk"]),
)
def test_no_text_adds_a_field_in_another_charset(first: str, second: str, written: str, account: str) -> None:
    """Whatever texts an answer has, read in another charset it has the same fields, or it is unreadable."""
    node = {"code": "40004", "first": first, "second": second, "z": "1"}
    raw = json.dumps(node, ensure_ascii=False).encode(written)
    try:
        found = signing.response_node(body(REFUND, raw), REFUND, account)[1]
        read = signing.read_node(found, account)
    except Unreadable:
        return
    assert raw == found
    assert list(node) == list(read)
    assert ("40004", "1") == (read["code"], read["z"])


def test_the_node_of_an_error() -> None:
    """A failure of the gateway may come in `error_response`."""
    assert ("error_response", b'{"code":"40002"}') == signing.response_node(
        body(REFUND, b'{"code":"40002"}', name="error_response"), REFUND
    )


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"null",
        b"<html>",
        b'{"sign":"s"}',
        b'{"alipay_trade_refund_response":"encrypted"}',
        b'{"alipay_trade_refund_response":[{"code":"1"}]}',
        b'{"alipay_trade_refund_response":null}',
        b'{"alipay_trade_refund_response":{"code":"1"},"sign":7}',
        b'{"alipay_trade_refund_response":{"code":"1"},"alipay_cert_sn":{}}',
        b'{"alipay_trade_refund_response":{"code":"1"},"alipay_trade_refund_response":{"code":"2"}}',
        b'{"alipay_trade_refund_response":{"code":"1"},"alipay_trade\\u005frefund_response":{"code":"2"}}',
        b'{"alipay_trade_refund_response":{"code":"1","code":"2"}}',
        b'{"alipay_trade_refund_response":{"code":"1"},"error_response":{"code":"2"}}',
        b'{"alipay_trade_refund_response":{"code":"1"},"sign":"a","sign":"b"}',
        b'{"alipay_trade_fastpay_refund_query_response":{"code":"1"}}',
        b'{"ALIPAY_TRADE_REFUND_RESPONSE":{"code":"1"}}',
        b'{"alipay_trade_refund_response":{"code":"1"}',
        b'{"alipay_trade_refund_response":{"code":"1"}}}',
        b'{"alipay_trade_refund_response":{"code":NaN}}',
        b'{"alipay_trade_refund_response":{"a":"\xff"}}',
        b'{"alipay_trade_refund_response":{"a":"\\ud800"}}',
        b'{"alipay_trade_refund_response":' + b'{"a":' * 40 + b"1" + b"}" * 41,
        b'{"alipay_trade_refund_response":{"a":"' + b"x" * MAX_BYTES + b'"}}',
    ],
)
def test_answers_with_no_one_node(raw: bytes) -> None:
    """A body with no such node, with two, or with two meanings is unreadable."""
    with pytest.raises(Unreadable):
        signing.read_answer(raw, REFUND)


json_values = st.recursive(
    st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6
)


@given(st.dictionaries(st.text(), json_values), st.sampled_from([None, 1]), st.booleans())
def test_the_node_of_any_object(value: dict[str, Any], indent: int | None, escaped: bool) -> None:
    """Whatever JSON a node is and however it is written, its own bytes come back."""
    try:
        raw = json.dumps(value, indent=indent, ensure_ascii=escaped).encode()
        name, node = signing.response_node(body(QUERY, raw, {"sign": "s"}), QUERY)
    except (UnicodeEncodeError, Unreadable):
        return
    assert (signing.node_name(QUERY), raw) == (name, node)


@given(st.binary(max_size=200), st.sampled_from(["utf-8", "gbk"]))
def test_reading_any_bytes(raw: bytes, charset: str) -> None:
    """Any bytes at all are an answer or unreadable; nothing else is raised."""
    for whole in (raw, body(REFUND, raw)):
        with suppress(Unreadable):
            signing.read_answer(whole, REFUND, charset)


# --- forms ------------------------------------------------------------------------------------------------------------


@given(
    st.dictionaries(st.from_regex(r"[a-z_]{1,12}", fullmatch=True), st.text(st.characters(codec="gbk")), max_size=8),
    st.sampled_from(["utf-8", "gbk"]),
)
def test_forms_survive_the_way(params: dict[str, str], charset: str) -> None:
    """What a form holds is read back, in either charset."""
    assert params == signing.read_form(urlencode(params, encoding=charset).encode(), charset)


@pytest.mark.parametrize(
    "raw",
    [
        b"a=1&a=2",
        b"a=1&%61=2",
        b"a=%",
        b"a=%2",
        b"a=%zz",
        b"a=%ff",
        "a=退".encode(),
        b"%e9=1",
        b"a=" + b"x" * MAX_BYTES,
        b"&".join(b"a%d=1" % number for number in range(signing.MAX_FIELDS + 1)),
    ],
)
def test_forms_that_are_refused(raw: bytes) -> None:
    """A form that says something twice, escapes badly, is in another charset or is too long is unreadable."""
    with pytest.raises(Unreadable):
        signing.read_form(raw, "utf-8")


@given(st.binary(max_size=200), st.sampled_from(["utf-8", "gbk"]))
def test_reading_any_form(raw: bytes, charset: str) -> None:
    """Any bytes at all are a form or unreadable; nothing else is raised."""
    with suppress(Unreadable):
        signing.read_form(raw, charset)
    try:
        fields = signing.form_fields(raw)
    except Unreadable:
        return
    signing.notification_content(fields)
    with suppress(Unreadable):
        charsets.decoded(fields, charset)


# --- signatures and keys ----------------------------------------------------------------------------------------------


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_a_signature_is_of_one_content(content: bytes, other: bytes) -> None:
    """A signature verifies its own content and no other."""
    signature = signing.sign(provider_key(), content)
    signing.verify(provider_key().public_key(), signature, content)

    if other != content:
        with pytest.raises(Forged):
            signing.verify(provider_key().public_key(), signature, other)


@pytest.mark.parametrize("signature", [None, "", "x", "AAAA", "é", "A" * 344, " "])
def test_no_signature(signature: str | None) -> None:
    """What is absent, no base64 or no signature is forged."""
    with pytest.raises(Forged):
        signing.verify(provider_key().public_key(), signature, b"x")


def test_another_key() -> None:
    """Our own signature is not Alipay's."""
    with pytest.raises(Forged):
        signing.verify(provider_key().public_key(), signing.sign(merchant_key(), b"x"), b"x")
