"""What the tests of the Antom plugin start from: keys made now, one order, and answers signed like Antom's."""

import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from refundry.money import Money
from refundry.provider import (
    Answer,
    HttpUrl,
    Notification,
    Outcome,
    ProviderCall,
    PublicKeyPem,
    RefundInstruction,
    Secret,
)
from refundry_antom import signing
from refundry_antom.provider import PLUGIN, AntomProvider, AntomSettings, build

HERE = Path(__file__).parent
CLIENT = "SANDBOX_5X00000000000000"
BASE = HttpUrl("https://open-de-global.alipay.com")
REFUND = "/ams/sandbox/api/v1/payments/refund"
INQUIRE = "/ams/sandbox/api/v1/payments/inquiryRefund"
NOTIFY = "/notifications/shop-eu?from=antom"
TIME = "2026-11-22T04:00:01Z"
AT = datetime(2026, 11, 22, 4, 0, 0, tzinfo=UTC)
REFUND_ID = "20261122194010801300188000000000009"
INSTRUCTION = RefundInstruction("REFUND_20261122_0001", "20261122194010800100188000000000001", Money(1000, "USD", 2))
DETAILS: dict[str, Any] = {
    "referenceRefundId": "r" * 64,
    "captureId": "c" * 64,
    "actualRefundAmount": {"currency": "EUR", "value": "99"},
    "isAsyncRefund": "true",
    "extendInfo": '{"k":"v"}',
    "metadata": "Größe 😀",
    "refundDetails": [{"refundAmount": {"currency": "EUR", "value": "100"}, "refundFrom": "SELLER"}],
    "goods": [{"goodsName": "x", "goodsUnitAmount": {"currency": "EUR", "value": "0"}, "crossSell": {"priceId": "1"}}],
    "refundToBankInfo": {"bankCode": "B", "accountHolderName": {"firstName": "A"}, "accountNo": "1"},
    "splitDetails": [{"splitTo": "SELLER", "splitAmount": {"currency": "IDR", "value": "100"}, "description": "d"}],
    "customizedInfo": {"customizedField1": "f"},
    "refundSourceAccountNo": "A1",
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


def settings(**changes: Any) -> AntomSettings:
    given: dict[str, Any] = {
        "base_url": BASE,
        "client_id": CLIENT,
        "private_key": Secret(private_pem(merchant_key())),
        "provider_public_key": PublicKeyPem(public_pem(provider_key())),
    }
    return AntomSettings(**(given | changes))


def provider(**changes: Any) -> AntomProvider:
    return build(settings(**changes), PLUGIN.terms)


def sample(scenario: str) -> bytes:
    return (HERE / "samples" / f"{scenario}.json").read_bytes()


def result(code: str, status: str) -> bytes:
    return json.dumps({"result": {"resultCode": code, "resultStatus": status, "resultMessage": "m"}}).encode()


def signed_headers(
    path: str, body: bytes, time_header: str = "response-time", time: str = TIME
) -> list[tuple[str, str]]:
    content = signing.content("POST", path, CLIENT, time, body)
    signature = signing.sign(provider_key(), content)
    return [("signature", signature), (time_header, time), ("client-id", CLIENT), ("content-type", "application/json")]


def answer(path: str, body: bytes) -> Answer:
    return Answer(200, signed_headers(path, body), body)


def notification(body: bytes, time: str = TIME) -> Notification:
    return Notification("POST", NOTIFY, signed_headers(NOTIFY, body, "Request-Time", time), body)


def refund(instruction: RefundInstruction = INSTRUCTION) -> ProviderCall:
    return provider().refund(instruction, AT)


def read_refund(body: bytes, instruction: RefundInstruction = INSTRUCTION) -> Outcome:
    return provider().refund(instruction, AT).read(answer(REFUND, body))


def read_inquiry(body: bytes, instruction: RefundInstruction = INSTRUCTION) -> Outcome:
    return provider().inquire(instruction, AT).read(answer(INQUIRE, body))


def read_notification(body: bytes, instruction: RefundInstruction = INSTRUCTION) -> Outcome:
    return provider().parse_notification(notification(body)).read(instruction)
