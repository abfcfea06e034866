"""What the tests of the Alipay plugin start from: keys made now, one order, and answers signed like Alipay's."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from refundry.money import Money
from refundry.provider import (
    Answer,
    HttpUrl,
    Notification,
    Outcome,
    PublicKeyPem,
    RefundInstruction,
    Request,
    Secret,
)
from refundry_alipay import signing
from refundry_alipay.provider import PLUGIN, QUERY, REFUND, AlipayProvider, build
from refundry_alipay.settings import AlipaySettings

HERE = Path(__file__).parent
APP = "2021000000000000"
SELLER = "2088102146225135"
BASE = HttpUrl("https://openapi.alipay.com/gateway.do")
TRADE = "2014112611001004680073956707"
OUT_TRADE = "20150320010101001"
AT = datetime(2026, 11, 22, 4, 0, 0, tzinfo=UTC)
INSTRUCTION = RefundInstruction("HZ01RF001", TRADE, Money(1233, "CNY", 2))
BY_MERCHANT = RefundInstruction("HZ01RF001", f"merchant:{OUT_TRADE}", Money(1233, "CNY", 2))
DETAILS: dict[str, Any] = {
    "refund_currency": "CNY",
    "query_options": ["refund_voucher_detail_list"],
    "refund_goods_detail": [
        {"goods_id": "g1", "refund_amount": "12.3", "out_certificate_no_list": ["a"], "quantity": 1}
    ],
    "refund_royalty_parameters": [{"royalty_type": "transfer", "trans_out": "2088", "amount": "0.1", "desc": "分账"}],
    "related_settle_confirm_no": "s" * 64,
    "operator_id": "o" * 30,
    "store_id": "s" * 32,
    "terminal_id": "t" * 32,
    "org_pid": "p" * 16,
}
"""Every further field of a refund request, in the order in which it is written."""


@cache
def merchant_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@cache
def provider_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def private_pem(key: Any, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    pem: bytes = key.private_bytes(Encoding.PEM, form, NoEncryption())
    return pem


def public_pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def certificate(key: Any, signer: Any, serial: int, issuer: str = "Lab Root CA R1") -> bytes:
    """Make a certificate of `key` as the issuer would."""
    names = [x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"), x509.NameAttribute(NameOID.COMMON_NAME, issuer)]
    built = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"subject {serial}")]))
        .issuer_name(x509.Name(names))
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(AT)
        .not_valid_after(AT + timedelta(days=1))
    )
    return built.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM)


@cache
def certificate_pems() -> Mapping[str, PublicKeyPem]:
    """Return the three files of certificate mode."""
    return {
        "app_cert": PublicKeyPem(certificate(merchant_key(), provider_key(), 11)),
        "provider_cert": PublicKeyPem(certificate(provider_key(), provider_key(), 12)),
        "root_cert": PublicKeyPem(certificate(provider_key(), provider_key(), 13)),
    }


def settings(**changes: Any) -> AlipaySettings:
    given: dict[str, Any] = {
        "base_url": BASE,
        "app_id": APP,
        "private_key": Secret(private_pem(merchant_key())),
        "provider_public_key": PublicKeyPem(public_pem(provider_key())),
    }
    return AlipaySettings(**(given | changes))


def provider(**changes: Any) -> AlipayProvider:
    return build(settings(**changes), PLUGIN.terms)


@cache
def plain() -> AlipayProvider:
    """Return the provider without changes: to load a private key takes longer than a test."""
    return provider()


def certified(**changes: Any) -> AlipayProvider:
    return provider(provider_public_key=None, **(dict(certificate_pems()) | changes))


def sample(scenario: str) -> bytes:
    return (HERE / "samples" / f"{scenario}.json").read_bytes().strip()


def sample_fields(scenario: str) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(sample(scenario))
    return fields


def failure(code: str, sub_code: str | None = None) -> bytes:
    node = {"code": code, "msg": "m", "sub_code": sub_code, "sub_msg": "原因"}
    return json.dumps({name: value for name, value in node.items() if value is not None}, ensure_ascii=False).encode()


def body(method: str, node: bytes, alongside: Mapping[str, str] | None = None, name: str | None = None) -> bytes:
    """Write the answer to a method, unsigned unless `alongside` holds a signature."""
    members = "".join(f",{json.dumps(key)}:{json.dumps(value)}" for key, value in (alongside or {}).items())
    return b'{"' + (name or signing.node_name(method)).encode() + b'":' + node + members.encode() + b"}"


def signed(method: str, node: bytes, cert_sn: str | None = None, name: str | None = None) -> bytes:
    alongside = {"sign": signing.sign(provider_key(), node)} | ({} if cert_sn is None else {"alipay_cert_sn": cert_sn})
    return body(method, node, alongside, name)


def answer(raw: bytes) -> Answer:
    return Answer(200, [("content-type", "text/html;charset=utf-8")], raw)


def read_refund(node: bytes, instruction: RefundInstruction = INSTRUCTION) -> Outcome:
    return plain().refund(instruction, AT).read(answer(signed(REFUND, node)))


def read_inquiry(node: bytes, instruction: RefundInstruction = INSTRUCTION) -> Outcome:
    return plain().inquire(instruction, AT).read(answer(signed(QUERY, node)))


def raw_values(params: Mapping[str, str], charset: str = "utf-8") -> dict[str, bytes]:
    """Return the values of a form as its bytes."""
    return {name: value.encode(charset) for name, value in params.items()}


def form(params: Mapping[str, str], charset: str = "utf-8", keep_empty: bool = True) -> bytes:
    """Write a form as Alipay posts it, signed."""
    return signed_form(raw_values(params, charset), keep_empty=keep_empty)


def signed_form(values: Mapping[str, bytes], **signed: bool) -> bytes:
    """Write a form of raw values, signed as `signing.notification_content` describes."""
    content = signing.notification_content(values, **signed)
    return urlencode({**values, "sign": signing.sign(provider_key(), content)}).encode()


def notification(raw: bytes, content_type: str = "application/x-www-form-urlencoded") -> Notification:
    headers = [("content-type", content_type)]
    return Notification("POST", "/notifications/shop-cn", headers, raw)


def read_notification(scenario: str, instruction: RefundInstruction = INSTRUCTION) -> Outcome:
    return plain().parse_notification(notification(form(sample_fields(scenario)))).read(instruction)


def query_of(request: Request) -> dict[str, str]:
    """Return the common parameters of a request."""
    return dict(parse_qsl(urlsplit(request.url).query, strict_parsing=True))


def content_of(raw: bytes, charset: str = "utf-8") -> dict[str, Any]:
    """Return the biz_content of a request's body."""
    ((name, value),) = parse_qsl(raw.decode(), strict_parsing=True, encoding=charset, errors="strict")
    assert "biz_content" == name
    content: dict[str, Any] = json.loads(value)
    return content
