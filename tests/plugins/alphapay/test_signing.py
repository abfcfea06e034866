"""The signature is over the raw bytes, in one spelling, with one algorithm.

The vectors were made by the SignatureTool of AlphaPay's official SDK for Java (alphapayit/openapi-sdk-java at 7e78504)
and are the independent partner here: that SDK is source for Java that no package registry has, so tests cannot fetch
it. The path in the content of a notification is inferred; see the vector's own `status`.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from refundry.errors import Forged
from refundry.provider import signatures
from refundry_alphapay import signing
from tests.plugins.alphapay.given import AT, HERE, MERCHANT, merchant_key, provider_key

VECTORS: dict[str, Any] = json.loads((HERE / "vectors.json").read_bytes())
KEYS: dict[str, Any] = json.loads((HERE / "vector_keys.json").read_bytes())
CONTENT = signing.content("POST", "/p?q=1", MERCHANT, "2026-11-22T04:00:00+00:00", "n1", b'{"a":"b"}')


def vector(case: dict[str, str], time: str, signer: str) -> tuple[RSAPublicKey, str, bytes]:
    key = signatures.load_public_key(KEYS[signer]["public_spki_pem"].encode(), signer)
    header = case.get("signature_header", f"algorithm=RS256,keyVersion=1,signature={case['signature']}")
    return key, header, content_of(case, time)


def content_of(case: dict[str, str], time: str) -> bytes:
    head = case["method"], case["path"], case["merchant_code"], case[time], case["nonce"]
    return signing.content(*head, case["body"].encode())


CASES = [
    *(pytest.param(vector(case, "request_time", "merchant"), id=case["name"]) for case in VECTORS["requests"]),
    *(pytest.param(vector(case, "response_time", "provider"), id=case["name"]) for case in VECTORS["responses"]),
    *(pytest.param(vector(case, "request_time", "provider"), id=case["name"]) for case in VECTORS["notifications"]),
]
FORGED = [pytest.param(vector(case, "response_time", "provider"), id=case["name"]) for case in VECTORS["negative"]]


def test_there_are_vectors() -> None:
    """Nothing below is empty."""
    assert (4, 1) == (len(CASES), len(FORGED))


@pytest.mark.parametrize("case", CASES)
def test_what_the_official_sdk_signed_is_accepted(case: tuple[RSAPublicKey, str, bytes]) -> None:
    """Requests, responses and notifications signed by AlphaPay's own software verify."""
    signing.verify(*case, key_version=1)


@pytest.mark.parametrize("case", FORGED)
def test_what_the_official_sdk_refuses_is_refused(case: tuple[RSAPublicKey, str, bytes]) -> None:
    """A changed amount is forged."""
    with pytest.raises(Forged):
        signing.verify(*case)


@pytest.mark.parametrize("case", VECTORS["requests"], ids=lambda case: case["name"])
def test_content(case: dict[str, str]) -> None:
    """The signed content is exactly the one that the official SDK signs."""
    assert case["content_to_sign"].encode() == content_of(case, "request_time")


def test_header_we_send() -> None:
    """The header is what the official SDK's parser can read: three parts by comma, two of the third by `=`."""
    header = signing.sign(merchant_key(), CONTENT, key_version=7)
    algorithm, version, signature = header.split(",")

    assert ("algorithm=RS256", "keyVersion=7") == (algorithm, version)
    name, encoded = signature.split("=")
    assert "signature" == name
    assert not set("+/=") & set(encoded)
    assert encoded.endswith("%3D%3D")


HEADER = signing.sign(merchant_key(), CONTENT)


def test_spellings_that_are_accepted() -> None:
    """With or without spaces after the commas, and with percent-hex in either case."""
    head, encoded = HEADER.split("signature=")
    lower = encoded.replace("%2B", "%2b").replace("%2F", "%2f").replace("%3D", "%3d")

    for spelling in (HEADER, HEADER.replace(",", ", "), f"{head}signature={lower}"):
        signing.verify(merchant_key().public_key(), spelling, CONTENT)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "signature=",
        HEADER.replace("RS256", "RSA256"),
        HEADER.replace("RS256", "none"),
        HEADER.replace("algorithm=RS256,", ""),
        HEADER.replace("keyVersion=1,", ""),
        HEADER.replace("%2B", "+").replace("%2F", "/").replace("%3D", "="),
        HEADER.replace("%3D%3D", "=="),
        HEADER.replace("%3D", ""),
        HEADER + "," + HEADER,
    ],
)
def test_headers_that_are_refused(header: str | None) -> None:
    """Another algorithm (Antom's, too), a missing part and raw base64 are forged."""
    with pytest.raises(Forged):
        signing.verify(merchant_key().public_key(), header, CONTENT)


def test_key_version_and_key() -> None:
    """Another version than the configured one, and another key, are refused."""
    signing.verify(merchant_key().public_key(), HEADER, CONTENT, 1)

    with pytest.raises(Forged):
        signing.verify(merchant_key().public_key(), HEADER, CONTENT, 2)
    with pytest.raises(Forged):
        signing.verify(provider_key().public_key(), HEADER, CONTENT)


@settings(max_examples=100)
@given(st.data())
def test_every_flipped_bit_is_refused(data: st.DataObject) -> None:
    """No bit of the signed content, nor of the signature, can change unseen."""
    victim = bytearray(CONTENT)
    position = data.draw(st.integers(0, len(victim) - 1))
    victim[position] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(Forged):
        signing.verify(merchant_key().public_key(), HEADER, bytes(victim))


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40), st.text(max_size=40), st.binary(max_size=80))
def test_content_takes_anything(path: str, merchant: str, time: str, nonce: str, body: bytes) -> None:
    """The content of a hostile message can be built, whatever its headers hold."""
    assert signing.content("POST", path, merchant, time, nonce, body).endswith(body)


moments = st.datetimes(timezones=st.just(UTC))


@given(st.lists(st.tuples(st.sampled_from(["/refund", "/inquiry"]), st.binary(max_size=20), moments), unique=True))
def test_no_two_calls_have_one_nonce(calls: list[tuple[str, bytes, datetime]]) -> None:
    """Calls that differ in path, body or moment have different nonces of 32 hex digits."""
    nonces = {signing.nonce(MERCHANT, path, body, at) for path, body, at in calls}

    assert len(calls) == len(nonces)
    assert all(len(nonce) == 32 and set(nonce) <= set("0123456789abcdef") for nonce in nonces)


def test_a_nonce_is_of_one_call() -> None:
    """The same call has the same nonce, so signing it twice is harmless; a microsecond later it is another."""
    one = signing.nonce(MERCHANT, "/refund", b"{}", AT)

    assert one == signing.nonce(MERCHANT, "/refund", b"{}", AT)
    assert one != signing.nonce(MERCHANT, "/refund", b"{}", AT + timedelta(microseconds=1))
    assert one != signing.nonce("OTHER", "/refund", b"{}", AT)
