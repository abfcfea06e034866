"""RSA signatures as payment providers use them: PKCS#1 v1.5 with SHA-256, keys from PEM, signatures in base64.

The rule of this module: a signature has one spelling, a key is an RSA key of at least 2048 bits, and no error ever
quotes a key. What is signed, and in which header it travels, is for each provider to say.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final, TypeVar
from urllib.parse import quote_plus

import attrs
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key
from cryptography.x509 import load_der_x509_certificate, load_der_x509_csr

from refundry.errors import Forged, Invalid
from refundry.provider.interface import Answer, Notification, Secret
from refundry.provider.outcomes import Outcome, ReviewReason, Scope, Unknown
from refundry.provider.strict_json import Unreadable
from refundry.provider.validation import shown, target_of

MIN_KEY_BITS: Final = 2048

_MAX_HEADER: Final = 4096
# What follows a `%` is checked when it is decoded: checking it here would cost an alternative per character.
_HEADER: Final = re.compile(
    r"algorithm=([A-Za-z0-9]{1,32}), *keyVersion=(0|[1-9][0-9]{0,8}), *signature=([A-Za-z0-9%]+)",
    re.ASCII,
)
# Java's URLEncoder escapes just three characters of base64; some write the hex digits in lower case.
_LOWER: Final = (("%2b", "+"), ("%2f", "/"), ("%3d", "="))
_PADDING: Final = padding.PKCS1v15()
_HASH: Final = hashes.SHA256()


# --- signatures -------------------------------------------------------------------------------------------------------


def sign(key: RSAPrivateKey, content: bytes) -> str:
    """Sign `content`; give the signature in base64."""
    return base64.b64encode(key.sign(content, _PADDING, _HASH)).decode("ascii")


def verify(key: RSAPublicKey, signature: str, content: bytes) -> None:
    """Raise `Forged` unless `signature`, in base64, is that of `content` by the owner of `key`."""
    try:
        raw = binascii.a2b_base64(signature, strict_mode=True)
    except ValueError:
        raise Forged("the signature is not base64") from None
    if binascii.b2a_base64(raw, newline=False).decode("ascii") != signature:
        raise Forged("the signature is not written in the one way base64 has")
    try:
        key.verify(raw, content, _PADDING, _HASH)
    except InvalidSignature:
        raise Forged("the signature does not fit the message") from None


# --- the header that several providers write --------------------------------------------------------------------------


@attrs.frozen(slots=True)
class SignatureHeader:
    """The three parts of `algorithm=.., keyVersion=.., signature=..`; the signature is in base64."""

    algorithm: str
    key_version: str
    signature: str

    def written(self, separator: str = ", ") -> str:
        """Return the value of the header; the signature is percent-encoded in it."""
        parts = (
            f"algorithm={self.algorithm}",
            f"keyVersion={self.key_version}",
            f"signature={quote_plus(self.signature)}",
        )
        return separator.join(parts)


def parse_header(header: str) -> SignatureHeader:
    """Read `algorithm=.., keyVersion=.., signature=..`, with or without spaces; `Forged` if it is anything else.

    The signature must be base64 in percent-encoding: a bare `+` would read as a space elsewhere, so it is refused.
    """
    match = _HEADER.fullmatch(header) if len(header) <= _MAX_HEADER else None
    if match is None:
        raise Forged("the signature header cannot be read")
    algorithm, key_version, signature = match.groups()
    signature = signature.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=")
    if "%" in signature:
        for escape, character in _LOWER:
            signature = signature.replace(escape, character)
    return SignatureHeader(algorithm, key_version, signature)


def verify_header(
    key: RSAPublicKey, header: str | None, content: bytes, algorithm: str, key_version: int | str | None = None
) -> None:
    """Raise `Forged` unless `header` names `algorithm` and is the signature of `content` by the owner of `key`.

    `key_version`, if given, is the only version that is accepted: the version itself is not part of what is signed.
    """
    if header is None:
        raise Forged("no signature header, or more than one")
    parts = parse_header(header)
    if parts.algorithm != algorithm:
        raise Forged(f"the signature's algorithm is not {algorithm}")
    if key_version is not None and parts.key_version != str(key_version):
        raise Forged("the signature was made with another version of the key than the configured one")
    verify(key, parts.signature, content)


# --- messages that are believed only if they are signed ---------------------------------------------------------------

_Verified = TypeVar("_Verified")


def read_verified(
    answer: Answer,
    verify: Callable[[Answer], _Verified],
    interpret: Callable[[_Verified], Outcome],
    distrust: Callable[[Exception], Unknown],
) -> Outcome:
    """Return the outcome of an answer, which says nothing unless it is signed by the provider.

    `verify` raises `Forged` or `Unreadable` unless the provider signed the raw bytes; what it returns is passed to
    `interpret`. `distrust` returns the outcome of an answer that failed verification; it may use `distrusted`.
    """
    if answer.status != 200:
        return Unknown(f"HTTP status {answer.status}", answered=False)
    try:
        with naming_encoding(answer):
            verified = verify(answer)
    except (Forged, Unreadable) as error:
        return attrs.evolve(distrust(error), answered=False)
    try:
        return interpret(verified)
    except Unreadable as error:
        return Unknown(f"cannot be read: {error}", review=ReviewReason.UNREADABLE_ANSWER)


@contextmanager
def naming_encoding(message: Answer | Notification) -> Iterator[None]:
    """Add the Content-Encoding of a message that cannot be verified to its cause, if it has one.

    Refundry asks for `identity`, and providers sign what they send: only something on the path encodes a body.
    """
    try:
        yield
    except (Forged, Unreadable) as error:
        encoding = message.header("content-encoding") or "identity"
        if encoding.strip().lower() == "identity":
            raise
        text = f"its body is encoded (Content-Encoding: {shown(encoding)}), and only the plain bytes are signed"
        raise Forged(f"{text}; a proxy on the path must not compress them") from error


def distrusted(
    error: Exception, provider: str, *, claim: str | None = None, rejected_key: str | None = None
) -> Unknown:
    """Return the outcome of an answer that the provider did not sign: a reason to inquire, and to flag it for review.

    `claim` is what the answer claims, for the operator only. `rejected_key` names the settings to check if the claim
    suggests that the provider cannot verify our signature: some providers do not sign that answer, so the whole account
    waits.
    """
    cause = f"not signed by {provider}: {error}"
    if claim is not None:
        cause += f"; it claims {claim}, which proves nothing"
    if rejected_key is not None:
        advice = f"{provider} seems unable to verify Refundry's signature: check {rejected_key}."
        return Unknown(cause, review=ReviewReason.BLOCKED_ACCOUNT, advice=advice, scope=Scope.ACCOUNT)
    advice = "Check the provider's key in the configuration; if it is right, something on the path is altering answers."
    return Unknown(cause, review=ReviewReason.UNVERIFIED_ANSWER, advice=advice)


def verify_either_path(
    notification: Notification, notify_url: str | None, verify: Callable[[str], _Verified]
) -> _Verified:
    """Return what `verify` returns for the path that the notification arrived at or, if that fails, `notify_url`'s.

    Raises `Forged` if it accepts neither.

    The provider signs the path of the URL that it was given, and a web server in front of the gateway may have
    shortened it. The key and the client id bind either path to this account.
    """
    try:
        return verify(notification.path)
    except Forged:
        signed = notification.path if notify_url is None else target_of(notify_url)
        if signed == notification.path:
            raise
        return verify(signed)


# --- keys -------------------------------------------------------------------------------------------------------------

_BLOCK: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_LOADERS: Final[Mapping[str, Callable[[bytes], object]]] = MappingProxyType(
    {
        "a private key": lambda der: load_der_private_key(der, None),
        "a public key": load_der_public_key,
        "a certificate": load_der_x509_certificate,
        "a certificate request": load_der_x509_csr,
    }
)


def load_keys(private_key: Secret | None, public_key: bytes) -> tuple[RSAPrivateKey | None, RSAPublicKey]:
    """Return the keys of an account from `private_key`, if it has one, and `provider_public_key`."""
    private = None if private_key is None else load_private_key(private_key.reveal(), "private_key")
    public = load_public_key(bytes(public_key), "provider_public_key")
    check_provider_key(public, None if private is None else private.public_key(), "provider_public_key")
    return private, public


def check_provider_key(provider: RSAPublicKey, merchant: RSAPublicKey | None, field: str) -> None:
    """Raise `Invalid` if the provider's key is the merchant's own: every answer would then be "not signed"."""
    if merchant is not None and provider.public_numbers() == merchant.public_numbers():
        raise Invalid(field, "is the merchant's own public key, that of private_key; the provider has another one")


def require_private_key(key: RSAPrivateKey | None) -> RSAPrivateKey:
    """Return the key; raise `Invalid` if the account has none, as when the log is only read."""
    if key is None:
        raise Invalid("private_key", "is needed to send")
    return key


def load_private_key(data: bytes, field: str) -> RSAPrivateKey:
    """Read an RSA private key without a password: PKCS#8 or PKCS#1, in PEM with either label or in bare base64.

    `Invalid` names `field` and what it holds instead, and never shows the key.
    """
    key = _load(data, field, "a private key")
    if not isinstance(key, RSAPrivateKey):
        raise Invalid(field, "is not an RSA key")
    check_size(key.key_size, field)
    return key


def load_public_key(data: bytes, field: str) -> RSAPublicKey:
    """Read an RSA public key: SPKI or PKCS#1, in PEM with either label or in bare base64; `Invalid` names `field`."""
    key = _load(data, field, "a public key")
    if not isinstance(key, RSAPublicKey):
        raise Invalid(field, "is not an RSA key")
    check_size(key.key_size, field)
    return key


def pem_text(data: bytes) -> bytes:
    """Return PEM as it was meant: line ends that an environment variable holds as two characters become line ends."""
    return data.replace(b"\\r", b"").replace(b"\\n", b"\n").removeprefix(b"\xef\xbb\xbf").strip()


def _load(data: bytes, field: str, wanted: str) -> object:
    """Return what the DER holds. Its label is not read: tools mix labels up."""
    text = pem_text(data)
    blocks: list[tuple[bytes, bytes]] = _BLOCK.findall(text)
    if any(b"ENCRYPTED" in label or b"ENCRYPTED" in body for label, body in blocks):
        raise Invalid(field, f"needs a password; it must be {wanted} without a password")
    bodies = [body for _, body in blocks] or [text]
    # The wanted kind first: whatever else is there only serves the message.
    for kind in sorted(_LOADERS, key=lambda kind: kind != wanted):
        found = next((value for body in bodies if (value := _read_as(kind, body)) is not None), None)
        if found is not None and kind != wanted:
            raise Invalid(field, f"is {kind}; it must be {wanted}")
        if found is not None:
            return found
    if blocks:
        raise Invalid(field, f"has a block {blocks[0][0].decode('ascii')} that is not {wanted} and cannot be read")
    raise Invalid(field, f"is neither PEM nor the base64 of {wanted}")


def _read_as(kind: str, body: bytes) -> object:
    try:
        return _LOADERS[kind](base64.b64decode(b"".join(body.split()), validate=True))
    except Exception:  # The library raises several kinds, some of them quoting the input.
        return None


def check_size(bits: int, field: str) -> None:
    """Raise `Invalid` for a key that is too short to mean anything."""
    if bits < MIN_KEY_BITS:
        raise Invalid(field, f"has {bits} bits; a key needs at least {MIN_KEY_BITS}")
