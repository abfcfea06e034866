"""The signature is over the raw bytes, in one spelling, with one algorithm."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from refundry.errors import Forged
from refundry.provider import signatures
from refundry_antom import signing
from tests.plugins.antom.given import HERE, merchant_key, provider_key

VECTORS: dict[str, Any] = json.loads((HERE / "vectors.json").read_bytes())
KEYS: dict[str, Any] = json.loads((HERE / "vector_keys.json").read_bytes())
CONTENT = signing.content("POST", "/p?q=1", "C1", "2026-11-22T04:00:00+00:00", b'{"a":"b"}')


def vector(case: dict[str, str], time: str, signer: str) -> tuple[RSAPublicKey, str, bytes]:
    key = signatures.load_public_key(KEYS[signer]["public_spki_pem"].encode(), signer)
    content = signing.content(case["method"], case["path"], case["client_id"], case[time], case["body"].encode())
    return key, case["signature_header"], content


CASES = [
    *(pytest.param(vector(case, "request_time", "merchant"), id=case["name"]) for case in VECTORS["requests"]),
    *(pytest.param(vector(case, "response_time", "provider"), id=case["name"]) for case in VECTORS["responses"]),
    *(pytest.param(vector(case, "request_time", "provider"), id=case["name"]) for case in VECTORS["notifications"]),
]
FORGED = [pytest.param(vector(case, "request_time", "provider"), id=case["name"]) for case in VECTORS["negative"]]


@pytest.mark.parametrize("case", CASES)
def test_what_the_official_sdk_signed_is_accepted(case: tuple[RSAPublicKey, str, bytes]) -> None:
    """Requests, responses and notifications signed by Antom's own software verify, in either time format."""
    signing.verify(*case)


@pytest.mark.parametrize("case", FORGED)
def test_what_the_official_sdk_refuses_is_refused(case: tuple[RSAPublicKey, str, bytes]) -> None:
    """A changed amount, and a body that means the same in other bytes, are forged."""
    with pytest.raises(Forged):
        signing.verify(*case)


@pytest.mark.parametrize("case", VECTORS["requests"], ids=lambda case: case["name"])
def test_content(case: dict[str, str]) -> None:
    """The signed content is exactly the one that the official SDK signs."""
    content = signing.content("POST", case["path"], case["client_id"], case["request_time"], case["body"].encode())

    assert case["content_to_sign"].encode() == content


def test_header_we_send() -> None:
    """The header names the algorithm and the version, and its signature is percent-encoded base64."""
    header = signing.sign(merchant_key(), CONTENT, key_version=7)
    read = signatures.parse_header(header)

    assert header.startswith("algorithm=RSA256, keyVersion=7, signature=")
    assert not set("+/") & set(header.removeprefix("algorithm=RSA256, keyVersion=7, signature="))
    assert ("RSA256", "7", 344) == (read.algorithm, read.key_version, len(read.signature))


def test_spellings_that_are_accepted() -> None:
    """With or without spaces after the commas, and with percent-hex in either case."""
    header = signing.sign(merchant_key(), CONTENT)
    head, encoded = header.split("signature=")
    lower = encoded.replace("%2B", "%2b").replace("%2F", "%2f").replace("%3D", "%3d")

    for spelling in (header, header.replace(", ", ","), f"{head}signature={lower}"):
        signing.verify(merchant_key().public_key(), spelling, CONTENT)


HEADER = signing.sign(merchant_key(), CONTENT)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "signature=",
        HEADER.replace("RSA256", "RSA1"),
        HEADER.replace("RSA256", "none"),
        HEADER.replace("algorithm=RSA256, ", ""),
        HEADER.replace("keyVersion=1, ", ""),
        HEADER.replace("keyVersion=1", "keyVersion=01"),
        HEADER.replace("%2B", "+").replace("%2F", "/").replace("%3D", "="),
        HEADER.replace("%3D%3D", "=="),
        HEADER.replace("%3D", ""),
        HEADER + " ",
        HEADER + "\n",
        HEADER + "," + HEADER,
        HEADER.replace("signature=", "signature=" + "A" * 5000),
    ],
)
def test_headers_that_are_refused(header: str | None) -> None:
    """Another algorithm, a missing part, raw base64 and anything around it are forged."""
    with pytest.raises(Forged):
        signing.verify(merchant_key().public_key(), header, CONTENT)


def test_base64_has_one_spelling() -> None:
    """A signature whose last base64 digit carries other unused bits is refused, though it decodes to the same."""
    last = HEADER[-7]
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    other = next(c for c in digits if c != last and digits.index(c) // 16 == digits.index(last) // 16)

    with pytest.raises(Forged):
        signing.verify(merchant_key().public_key(), f"{HEADER[:-7]}{other}%3D%3D", CONTENT)


def test_key_version() -> None:
    """Where one version of the provider's key is configured, a signature that names another is refused."""
    signing.verify(merchant_key().public_key(), HEADER, CONTENT, 1)

    with pytest.raises(Forged):
        signing.verify(merchant_key().public_key(), HEADER, CONTENT, 2)


def test_another_key() -> None:
    """A signature with another key is forged."""
    with pytest.raises(Forged):
        signing.verify(provider_key().public_key(), HEADER, CONTENT)


@settings(max_examples=150)
@given(st.data())
def test_every_flipped_bit_is_refused(data: st.DataObject) -> None:
    """No bit of the signed content, nor of the header, can change unseen; the version is not signed and set apart."""
    in_header = data.draw(st.booleans())
    victim = bytearray(HEADER.encode() if in_header else CONTENT)
    position = data.draw(st.integers(0, len(victim) - 1))
    victim[position] ^= 1 << data.draw(st.integers(0, 7))
    header = bytes(victim).decode("latin-1") if in_header else HEADER
    # Percent-hex is the one thing that has two spellings.
    if in_header and header.upper() == HEADER.upper() and HEADER[position - 2 : position].startswith("%"):
        return

    with pytest.raises(Forged):
        signing.verify(merchant_key().public_key(), header, CONTENT if in_header else bytes(victim), key_version=1)


@given(st.text(max_size=300))
def test_any_text_is_no_header(text: str) -> None:
    """Reading a header ends in a header or in `Forged`."""
    with pytest.raises(Forged):
        signing.verify(merchant_key().public_key(), text, CONTENT)


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40), st.binary(max_size=80))
def test_content_takes_anything(path: str, client: str, time: str, body: bytes) -> None:
    """The content of a hostile message can be built, whatever its headers hold."""
    assert signing.content("POST", path, client, time, body).endswith(body)
