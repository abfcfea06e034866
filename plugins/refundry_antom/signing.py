"""Antom's signature: RSA over the method, the path, the client, the time and the raw body.

The rule of this module: the signature covers the bytes that were transmitted, never a text rebuilt from what was
read in them. Source: Antom, "Sign a request and verify the signature".
"""

from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from refundry.provider import signatures

ALGORITHM: Final = "RSA256"
"""The only algorithm that is accepted, whatever a header names."""


def content(method: str, path: str, client_id: str, time: str, body: bytes) -> bytes:
    """Return the bytes that are signed. `path` includes the query; `time` is the header's text, in either format."""
    head = f"{method} {path}\n{client_id}.{time}."
    # Header values that are not UTF-8 arrive as surrogates: the content then has no valid signature, without raising.
    return head.encode("utf-8", "surrogatepass") + body


def sign(key: RSAPrivateKey, content: bytes, key_version: int | str = 1) -> str:
    """Sign `content` and return the complete value of the header."""
    return signatures.SignatureHeader(ALGORITHM, str(key_version), signatures.sign(key, content)).written()


def verify(key: RSAPublicKey, header: str | None, content: bytes, key_version: int | str | None = None) -> None:
    """Raise `Forged` unless `header` is the signature of `content` by the owner of `key`.

    `key_version`, if given, is the only version that is accepted: the version itself is not part of what is signed.
    """
    signatures.verify_header(key, header, content, ALGORITHM, key_version)
