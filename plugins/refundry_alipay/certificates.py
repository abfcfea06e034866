"""Alipay's certificate mode: the serial numbers by which it and we name certificates.

The rule of this module: it names certificates and takes their keys; which one to trust, the configuration says. Source:
Alipay Open Platform, "Public key certificates", and the helpers of its official SDKs.
"""

import hashlib
import re
from typing import Final

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509 import Certificate, load_pem_x509_certificate

from refundry.errors import Invalid
from refundry.provider import signatures

_BLOCK: Final = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_RSA_SIGNED: Final = "1.2.840.113549.1.1."
"""What the identifiers of all RSA signatures begin with; Alipay's bundle has roots of other kinds too."""


def load(pem: bytes, field: str) -> Certificate:
    """Read the first certificate of a PEM file; `Invalid` names `field`."""
    return _load_all(pem, field)[0]


def public_key(certificate: Certificate, field: str) -> RSAPublicKey:
    """Return the RSA key of a certificate; `Invalid` names `field`."""
    try:
        key = certificate.public_key()
    except Exception:  # An algorithm that the library does not know.
        key = None
    if not isinstance(key, RSAPublicKey):
        raise Invalid(field, "has no RSA key")
    signatures.check_size(key.key_size, field)
    return key


def serial_number(certificate: Certificate) -> str:
    """Return Alipay's name of a certificate: MD5 over the issuer as in RFC 2253 and the decimal serial number."""
    named = f"{certificate.issuer.rfc4514_string()}{certificate.serial_number}"
    return hashlib.md5(named.encode(), usedforsecurity=False).hexdigest()


def root_serial_number(pem: bytes, field: str) -> str:
    """Return Alipay's name of a bundle of roots: the names of those that are signed with RSA, in their order."""
    roots = _load_all(pem, field)
    numbers = [serial_number(root) for root in roots if _is_rsa(root)]
    if not numbers:
        raise Invalid(field, "has no root certificate that is signed with RSA")
    return "_".join(numbers)


def _is_rsa(certificate: Certificate) -> bool:
    return certificate.signature_algorithm_oid.dotted_string.startswith(_RSA_SIGNED)


def _load_all(pem: bytes, field: str) -> list[Certificate]:
    try:
        found = [load_pem_x509_certificate(block) for block in _BLOCK.findall(signatures.pem_text(pem))]
    except ValueError:
        raise Invalid(field, "holds a certificate that cannot be read") from None
    if not found:
        raise Invalid(field, "is not a certificate in PEM (BEGIN CERTIFICATE)")
    return found
