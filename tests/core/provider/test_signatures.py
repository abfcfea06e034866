"""RSA keys come from PEM, unlocked and long enough; a signature has one spelling and one meaning."""

from base64 import b64encode
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st

from refundry.errors import Forged, Invalid
from refundry.provider import signatures


@cache
def merchant_key() -> RSAPrivateKey:
    return generate_private_key(65537, 2048)


def private_pem(key: Any, kind: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    pem: bytes = key.private_bytes(Encoding.PEM, kind, NoEncryption())
    return pem


def public_pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


CONTENT = b"what is signed"
SIGNATURE = signatures.sign(merchant_key(), CONTENT)


def public() -> RSAPublicKey:
    return signatures.load_public_key(public_pem(merchant_key()), "provider_public_key")


@given(st.binary(max_size=200))
def test_what_is_signed_is_verified(content: bytes) -> None:
    """Any bytes can be signed, and verify as they are and in no other form."""
    signature = signatures.sign(merchant_key(), content)

    signatures.verify(public(), signature, content)
    with pytest.raises(Forged):
        signatures.verify(public(), signature, content + b" ")


@given(st.text(max_size=400))
def test_any_text_is_no_signature(text: str) -> None:
    """Anything in place of a signature ends in `Forged`."""
    with pytest.raises(Forged):
        signatures.verify(public(), text, CONTENT)


@pytest.mark.parametrize("spoil", [" {}", "{}\n", "{}=", "{}===="])
def test_a_signature_has_one_spelling(spoil: str) -> None:
    """Spaces, line ends and more padding than base64 has are refused, though they decode to the same."""
    with pytest.raises(Forged):
        signatures.verify(public(), spoil.format(SIGNATURE), CONTENT)


@given(st.text("AZaz09", min_size=1, max_size=32), st.integers(0, 999_999_999), st.binary(min_size=1), st.booleans())
def test_the_header_survives_the_way(algorithm: str, version: int, raw: bytes, spaces: bool) -> None:
    """What is written as a header is read back the same, with spaces and without."""
    header = signatures.SignatureHeader(algorithm, str(version), b64encode(raw).decode())

    assert header == signatures.parse_header(header.written(", " if spaces else ","))


PKCS1 = private_pem(merchant_key(), PrivateFormat.TraditionalOpenSSL)
LOCKED = merchant_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
EC = ec.generate_private_key(ec.SECP256R1())
SMALL = load_pem_private_key(private_pem(generate_private_key(65537, 1024)), None)


@pytest.mark.parametrize("pem", [private_pem(merchant_key()), PKCS1], ids=["pkcs8", "pkcs1"])
def test_private_key_forms(pem: bytes) -> None:
    """Both PEM forms of an RSA key are read."""
    assert 2048 == signatures.load_private_key(pem, "private_key").key_size


@pytest.mark.parametrize(
    ("pem", "rule"),
    [
        (b"", "is not a PEM"),
        (b"canary-7f3a", "is not a PEM"),
        (public_pem(merchant_key()), "is not a PEM private key"),
        (LOCKED, "without a password"),
        (private_pem(EC), "is not an RSA key"),
        (private_pem(SMALL), "1024 bits"),
    ],
)
def test_private_keys_that_are_refused(pem: bytes, rule: str) -> None:
    """What is not an unlocked RSA key of 2048 bits is refused by the name of its setting, and not shown."""
    with pytest.raises(Invalid, match=rule) as caught:
        signatures.load_private_key(pem, "private_key")

    assert "private_key" == caught.value.field
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("pem", "rule"),
    [
        (b"", "is not a PEM"),
        (private_pem(merchant_key()), "is not a PEM public key"),
        (public_pem(EC), "is not an RSA key"),
        (public_pem(SMALL), "1024 bits"),
    ],
)
def test_public_keys_that_are_refused(pem: bytes, rule: str) -> None:
    """The same rules hold for the provider's public key."""
    with pytest.raises(Invalid, match=rule) as caught:
        signatures.load_public_key(pem, "provider_public_key")

    assert "provider_public_key" == caught.value.field
