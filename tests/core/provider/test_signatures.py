"""RSA keys come from PEM, unlocked and long enough; a signature has one spelling and one meaning."""

from base64 import b64encode
from datetime import UTC, datetime
from functools import cache
from typing import Any

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from refundry.errors import Forged, Invalid
from refundry.provider import Answer, Outcome, Pending, ReviewReason, Secret, Unknown, Unreadable, signatures


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


LOCKED_PKCS1 = merchant_key().private_bytes(
    Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"x")
)
FROM, UNTIL = datetime(2020, 1, 1, tzinfo=UTC), datetime(2049, 1, 1, tzinfo=UTC)
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Acme")])
CERTIFICATE = (
    x509.CertificateBuilder(NAME, NAME, merchant_key().public_key(), 1, FROM, UNTIL)
    .sign(merchant_key(), SHA256())
    .public_bytes(Encoding.PEM)
)


def bare(pem: bytes) -> bytes:
    return b"".join(line for line in pem.splitlines() if not line.startswith(b"-----"))


@pytest.mark.parametrize("encoding", [None, "identity", "Identity", ""])
@pytest.mark.parametrize("error", [Forged("the signature does not fit"), Unreadable("not JSON")])
def test_a_plain_message_keeps_its_cause(encoding: str | None, error: Exception) -> None:
    """What cannot be verified although it is not encoded keeps its own cause."""
    headers = [] if encoding is None else [("Content-Encoding", encoding)]
    with pytest.raises(type(error), match=str(error)), signatures.naming_encoding(Answer(200, headers, b"")):
        raise error


def test_an_encoded_message_names_the_encoding() -> None:
    """A message that something on the path compressed says so; one that verifies nevertheless is believed."""
    message = Answer(200, [("content-encoding", "gzip")], b"\x1f\x8b")
    outcome = signatures.read_verified(message, refuse, believe, lambda error: signatures.distrusted(error, "Acme"))
    page = signatures.read_verified(attrs.evolve(message, status=502), refuse, believe, never)

    assert [False, False] == [isinstance(one, Unknown) and one.answered for one in (outcome, page)]

    assert isinstance(outcome, Unknown)
    assert "Content-Encoding: 'gzip'" in outcome.cause
    assert outcome.review is ReviewReason.UNVERIFIED_ANSWER
    assert believe(b"") == signatures.read_verified(message, lambda answer: answer.body, believe, never)


def refuse(answer: Answer) -> bytes:
    raise Unreadable("not JSON")


def believe(body: bytes) -> Outcome:
    return Pending("WORKING")


def never(error: Exception) -> Unknown:
    raise AssertionError("it verified")


def labeled(label: bytes, pem: bytes) -> bytes:
    return b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (label, bare(pem), label)


def forms(pem: bytes, *labels: bytes) -> list[bytes]:
    """Return a key under each label, and as consoles, editors and environment variables write it."""
    return [
        pem,
        bare(pem),
        bare(pem) + b"\r\n",
        pem.replace(b"\n", b"\r\n"),
        pem.replace(b"\n", b"\\n"),
        pem.replace(b"\n", b"\\r\\n"),
        b"\xef\xbb\xbf" + pem,
        b"Bag Attributes\n" + pem,
        *(labeled(label, pem) for label in labels),
    ]


@pytest.mark.parametrize("kind", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_private_key_forms(kind: PrivateFormat) -> None:
    """A private key is read in PKCS#8 and PKCS#1, under either label, as bare base64 and with escaped line ends."""
    for data in forms(private_pem(merchant_key(), kind), b"PRIVATE KEY", b"RSA PRIVATE KEY"):
        assert merchant_key().private_numbers() == signatures.load_private_key(data, "private_key").private_numbers()


@pytest.mark.parametrize("kind", [PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1])
def test_public_key_forms(kind: PublicFormat) -> None:
    """A public key is read in the same forms."""
    expected = merchant_key().public_key()
    for data in forms(expected.public_bytes(Encoding.PEM, kind), b"PUBLIC KEY", b"RSA PUBLIC KEY"):
        assert expected.public_numbers() == signatures.load_public_key(data, "provider_public_key").public_numbers()


def test_the_merchants_own_key_is_not_the_providers() -> None:
    """The public key of `private_key` is refused as the provider's by the name of its setting."""
    secret = Secret(private_pem(merchant_key()))
    with pytest.raises(Invalid, match="merchant's own public key") as refused:
        signatures.load_keys(secret, public_pem(merchant_key()))

    assert "provider_public_key" == refused.value.field
    assert signatures.load_keys(None, public_pem(merchant_key()))[0] is None


@pytest.mark.parametrize(
    ("pem", "rule"),
    [
        (b"", "is neither PEM nor the base64 of a private key"),
        (b"canary-7f3a", "is neither PEM nor the base64"),
        (b64encode(b"canary7f3a"), "is neither PEM nor the base64"),
        (private_pem(merchant_key())[:400], "is neither PEM nor the base64"),
        (public_pem(merchant_key()), "is a public key; it must be a private key"),
        (bare(public_pem(merchant_key())), "is a public key; it must be a private key"),
        (labeled(b"CERTIFICATE", public_pem(merchant_key())), "is a public key"),
        (labeled(b"OPENSSH PRIVATE KEY", b"canary7f3a"), "block OPENSSH PRIVATE KEY"),
        (private_pem(merchant_key()).replace(b"M", b"!"), "block PRIVATE KEY"),
        (LOCKED_PKCS1, "without a password"),
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
        (b"", "is neither PEM nor the base64 of a public key"),
        (private_pem(merchant_key()), "is a private key; it must be a public key"),
        (bare(private_pem(merchant_key())), "is a private key; it must be a public key"),
        (CERTIFICATE, "is a certificate; it must be a public key"),
        (public_pem(EC), "is not an RSA key"),
        (public_pem(SMALL), "1024 bits"),
    ],
)
def test_public_keys_that_are_refused(pem: bytes, rule: str) -> None:
    """The same rules hold for the provider's public key."""
    with pytest.raises(Invalid, match=rule) as caught:
        signatures.load_public_key(pem, "provider_public_key")

    assert "provider_public_key" == caught.value.field
