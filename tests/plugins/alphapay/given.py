"""What the tests of the AlphaPay plugin start from: keys made now, one order, and answers signed like AlphaPay's."""

import json
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
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
from refundry_alphapay import signing
from refundry_alphapay.provider import TERMS, AlphaPayProvider, AlphaPaySettings, build

HERE = Path(__file__).parent
MERCHANT = "CXVJIU"
BASE = HttpUrl("https://openapi.alphapay.ca")
REFUND = "/api/v2.0/payments/refund"
INQUIRE = "/api/v2.0/payments/inquiryRefund"
NOTIFY = "/notifications/shop-ca?from=alphapay"
TIME = "2026-11-22T04:00:01+00:00"
NONCE = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
AT = datetime(2026, 11, 22, 4, 0, 0, tzinfo=UTC)
REFUND_ID = "7b46758a464c42e8b8ffcbe779c2299f"
INSTRUCTION = RefundInstruction("R-20261122-0001", "2506031505244756658153857", Money(100, "CAD", 2))


@cache
def merchant_key() -> RSAPrivateKey:
    return generate_private_key(65537, 2048)


@cache
def provider_key() -> RSAPrivateKey:
    return generate_private_key(65537, 2048)


def private_pem() -> bytes:
    return merchant_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem() -> bytes:
    return provider_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def provider(**changes: Any) -> AlphaPayProvider:
    given: dict[str, Any] = {
        "base_url": BASE,
        "merchant_code": MERCHANT,
        "private_key": Secret(private_pem()),
        "provider_public_key": PublicKeyPem(public_pem()),
    }
    return build(AlphaPaySettings(**(given | changes)), TERMS)


def sample(scenario: str) -> bytes:
    return (HERE / "samples" / f"{scenario}.json").read_bytes()


def result(code: str, status: str) -> bytes:
    return json.dumps({"result": {"resultCode": code, "resultStatus": status, "resultMessage": "m"}}).encode()


def signed_headers(
    path: str, body: bytes, time_header: str = "Response-Time", time: str = TIME, nonce: str = NONCE
) -> list[tuple[str, str]]:
    content = signing.content("POST", path, MERCHANT, time, nonce, body)
    signature = signing.sign(provider_key(), content)
    return [("Signature", signature), (time_header, time), ("Nonce", nonce), ("Content-Type", "application/json")]


def answer(path: str, body: bytes) -> Answer:
    return Answer(200, signed_headers(path, body), body)


def notification(body: bytes, time: str = TIME) -> Notification:
    headers = [*signed_headers(NOTIFY, body, "Request-Time", time), ("Merchant-Code", MERCHANT)]
    return Notification("POST", NOTIFY, headers, body)


def refund(instruction: RefundInstruction = INSTRUCTION) -> ProviderCall:
    return provider().refund(instruction, AT)


def read_refund(body: bytes, instruction: RefundInstruction = INSTRUCTION) -> Outcome:
    return refund(instruction).read(answer(REFUND, body))


def read_inquiry(body: bytes, instruction: RefundInstruction = INSTRUCTION) -> Outcome:
    return provider().inquire(instruction, AT).read(answer(INQUIRE, body))


def read_notification(body: bytes, instruction: RefundInstruction = INSTRUCTION) -> Outcome:
    return provider().parse_notification(notification(body)).read(instruction)
