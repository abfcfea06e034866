"""Antom's own software accepts what we sign, and we accept what it signs."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat

from refundry.provider import Answer, Notification, Succeeded
from tests.plugins.antom.given import (
    AT,
    CLIENT,
    INQUIRE,
    INSTRUCTION,
    NOTIFY,
    REFUND,
    merchant_key,
    private_pem,
    provider,
    provider_key,
    public_pem,
    sample,
    signed_headers,
)
from tests.plugins.antom.peers import run_with_sdk

pytestmark = [pytest.mark.peer, pytest.mark.slow]

SCRIPT = """
import json, sys
from com.alipay.ams.api.tools.signature_tool import sign, verify
from com.alipay.ams.api.tools.webhook_tool import check_signature
from rsa import VerificationError

def verdict(call, *arguments):
    try:
        return bool(call(*arguments))
    except VerificationError:
        return False

calls = {"sign": sign, "verify": lambda *a: verdict(verify, *a), "webhook": lambda *a: verdict(check_signature, *a)}
print(json.dumps([calls[name](*arguments) for name, *arguments in json.load(sys.stdin)]))
"""
TIMES = ["2026-11-22T12:00:01+08:00", "2026-11-22T04:00:01Z", "1795320001000"]


def bare(pem: bytes) -> str:
    """Return a key as the SDK wants it: base64 without the lines around it."""
    return "".join(pem.decode().splitlines()[1:-1])


OUR_KEY = bare(public_pem(merchant_key()))
ITS_KEY = bare(private_pem(provider_key(), PrivateFormat.TraditionalOpenSSL))
ITS_PUBLIC_KEY = bare(public_pem(provider_key()))


def sdk(*calls: list[str]) -> list[Any]:
    answers: list[Any] = json.loads(run_with_sdk(SCRIPT, stdin=json.dumps(calls)))
    return answers


def test_the_sdk_verifies_our_requests() -> None:
    """Both requests verify in the SDK, and a changed body does not."""
    signed = {REFUND: provider().refund(INSTRUCTION, AT), INQUIRE: provider().inquire(INSTRUCTION, AT)}
    calls = []
    for path, call in signed.items():
        request = call.sign()
        headers = dict(request.headers)
        signature = headers["signature"].split("signature=")[1]
        start = ["verify", "POST", path, CLIENT, headers["request-time"]]
        calls += [
            [*start, request.body.decode(), signature, OUR_KEY],
            [*start, request.body.decode().replace("0001", "0002"), signature, OUR_KEY],
        ]

    assert [True, False, True, False] == sdk(*calls)


def test_we_verify_what_the_sdk_signs() -> None:
    """A response signed by the SDK settles, in every format of the time and with umlauts in the body."""
    body = sample("refund_success").replace(b"success.", "größer".encode())
    signatures = sdk(*(["sign", "POST", REFUND, CLIENT, time, body.decode(), ITS_KEY] for time in TIMES))

    for time, signature in zip(TIMES, signatures, strict=True):
        headers = [("signature", f"algorithm=RSA256,keyVersion=1,signature={signature}"), ("response-time", time)]
        assert isinstance(provider().refund(INSTRUCTION, AT).read(Answer(200, headers, body)), Succeeded)


def test_the_plugin_accepts_what_the_sdk_signs() -> None:
    """A notification signed by the SDK is accepted, in every format of the time and in lower-case hex."""
    body = sample("notification_success")
    signatures = sdk(*(["sign", "POST", NOTIFY, CLIENT, time, body.decode(), ITS_KEY] for time in TIMES))

    for time, signature in zip(TIMES, signatures, strict=True):
        lower = signature.replace("%2B", "%2b").replace("%2F", "%2f").replace("%3D", "%3d")
        headers = [
            ("Signature", f"algorithm=RSA256, keyVersion=1, signature={lower}"),
            ("Request-Time", time),
            ("client-id", CLIENT),
        ]
        verified = provider().parse_notification(Notification("POST", NOTIFY, headers, body))
        assert isinstance(verified.read(INSTRUCTION), Succeeded)


def test_the_sdk_accepts_what_the_plugin_accepts() -> None:
    """The SDK's check of webhooks and ours agree about a genuine and about a forged notification."""
    body = sample("notification_success")
    headers = dict(signed_headers(NOTIFY, body, "request-time"))
    start = ["webhook", "POST", NOTIFY, CLIENT, headers["request-time"]]

    assert [True, False] == sdk(
        [*start, body.decode(), headers["signature"], ITS_PUBLIC_KEY],
        [*start, body.decode().replace("1000", "9000"), headers["signature"], ITS_PUBLIC_KEY],
    )
