"""AlphaPay's signature: RSA over the method, the path, the merchant, the time, the nonce and the raw body.

The rule of this module: the signature covers the bytes that were transmitted, never a text rebuilt from what was
read in them. Sources: AlphaPay's page "Sign" and the SignatureTool of its official SDK, which made the test vectors.
"""

import hashlib
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from refundry.provider import signatures

ALGORITHM: Final = "RS256"
"""The only algorithm that is accepted, whatever a header names."""
_NONCE_LENGTH: Final = 32


def content(method: str, path: str, merchant_code: str, time: str, nonce: str, body: bytes) -> bytes:
    """Return the bytes that are signed. `path` includes the query; `time` and `nonce` are the texts of the headers."""
    head = f"{method} {path}\n{merchant_code}.{time}.{nonce}."
    # Header values that are not UTF-8 arrive as surrogates: the content then has no valid signature, without raising.
    return head.encode("utf-8", "surrogatepass") + body


def sign(key: RSAPrivateKey, content: bytes, key_version: int | str = 1) -> str:
    """Sign `content` and return the complete value of the header, in the one spelling that the official SDK can read.

    The SDK splits it at each comma, takes the third part and splits that at `=` into exactly two.
    """
    return signatures.SignatureHeader(ALGORITHM, str(key_version), signatures.sign(key, content)).written(separator=",")


def verify(key: RSAPublicKey, header: str | None, content: bytes, key_version: int | str | None = None) -> None:
    """Raise `Forged` unless `header` is the signature of `content` by the owner of `key`.

    `key_version`, if given, is the only version that is accepted: the version itself is not part of what is signed.
    """
    signatures.verify_header(key, header, content, ALGORITHM, key_version)


def nonce(merchant_code: str, path: str, body: bytes, at: datetime) -> str:
    """Return the nonce of one call: 32 hex digits, another one for every call.

    A plugin has no randomness, and needs none here: the nonce must be new, not secret, for the signature covers it. Two
    calls of one merchant with the same path and the same bytes differ in the microsecond in which they were made.
    """
    call = "\n".join((merchant_code, path, at.isoformat(timespec="microseconds"), "")).encode("utf-8")
    return hashlib.sha256(call + body).hexdigest()[:_NONCE_LENGTH]
