"""The keys and certificates of a simulated Alipay and its one app.

The rule of this module: nothing is overwritten; the certificates are made together and are about the keys next to them.
Serial numbers are computed independently here, so that they check those of the plugin.
"""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from refundry.errors import Invalid
from refundry.provider.signatures import load_public_key
from refundry.testing.simulator import settings
from refundry.testing.simulator.settings import KEY_BITS, Keys

APP_ID: Final = "2021000000000000"
"""The one app that there is."""
_FROM: Final = datetime(2020, 1, 1, tzinfo=UTC)
_UNTIL: Final = datetime(2049, 12, 31, tzinfo=UTC)
_Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
_RSA: Final = "1.2.840.113549.1.1"


@attrs.frozen
class AlipayKeys(Keys):
    """The key files, and the three certificate files of certificate mode."""

    @property
    def app_cert(self) -> Path:
        """Return the certificate of the app's key: appCertPublicKey in Alipay's console."""
        return self.directory / "app_cert.pem"

    @property
    def alipay_cert(self) -> Path:
        """Return the certificate of Alipay's key: alipayCertPublicKey in Alipay's console."""
        return self.directory / "alipay_cert.pem"

    @property
    def root_cert(self) -> Path:
        """Return Alipay's root certificates, several in one file: alipayRootCert in Alipay's console."""
        return self.directory / "alipay_root_cert.pem"


def make_keys(directory: Path) -> AlipayKeys:
    """Make keys as `refundry.testing.simulator.settings.make_keys` does, and certificates.

    The certificates are created if all three are missing.
    """
    settings.make_keys(directory)
    keys = AlipayKeys(directory)
    pairs = {keys.app_cert: keys.merchant_public, keys.alipay_cert: keys.provider_public}
    there = [path.exists() for path in (*pairs, keys.root_cert)]
    if not any(there):
        _make_certificates(keys)
    elif not all(there):
        raise Invalid("keys", f"some of the certificates in {directory} are there; give all three or none")
    for certificate, public in pairs.items():
        _check(certificate, public)
    return keys


def _check(certificate: Path, public: Path) -> None:
    try:
        its = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    except ValueError:
        raise Invalid("keys", f"{certificate} is not a PEM certificate") from None
    if its != load_public_key(public.read_bytes(), public.name):
        raise Invalid("keys", f"{certificate} is not about {public.name}")


def _make_certificates(keys: AlipayKeys) -> None:
    issuer, root = _name("CN", "Simulated Root CA R1"), _rsa_key()
    other, elliptic = _name("CN", "Simulated Root CA R2"), _name("CN", "Simulated Root CA E1")
    # The last root has no part in the serial number, as the one with China's own algorithm in Alipay's file.
    made: list[tuple[x509.Name, _Key]] = [
        (issuer, root),
        (other, root),
        (elliptic, ec.generate_private_key(ec.SECP256R1())),
    ]
    roots = [_certificate(name, key.public_key(), name, key, serial) for serial, (name, key) in enumerate(made, 1)]
    keys.root_cert.write_bytes(b"\n".join(roots))
    about = {keys.app_cert: (APP_ID, keys.merchant_public), keys.alipay_cert: ("Alipay", keys.provider_public)}
    for serial, (path, (subject, public)) in enumerate(about.items(), 0x2026112200000001):
        key = load_public_key(public.read_bytes(), public.name)
        path.write_bytes(_certificate(_name("CN", subject), key, issuer, root, serial))


def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)


def _name(country: str, common: str) -> x509.Name:
    parts = {
        NameOID.COUNTRY_NAME: country,
        NameOID.ORGANIZATION_NAME: "Refundry",
        NameOID.ORGANIZATIONAL_UNIT_NAME: "Certification Authority",
        NameOID.COMMON_NAME: common,
    }
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in parts.items()])


def _certificate(
    subject: x509.Name,
    public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    key: _Key,
    serial: int,
) -> bytes:
    builder = x509.CertificateBuilder(issuer, subject, public, serial, _FROM, _UNTIL)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


# --- serial numbers ---------------------------------------------------------------------------------------------------


def cert_sn(pem: bytes) -> str:
    """Return Alipay's serial number of a certificate: the MD5 of its issuer, most special first, and its serial."""
    return _sn(x509.load_pem_x509_certificate(pem))


def root_sn(pem: bytes) -> str:
    """Return Alipay's serial number of a file of roots: those of all that are signed with RSA."""
    roots = x509.load_pem_x509_certificates(pem)
    return "_".join(_sn(root) for root in roots if root.signature_algorithm_oid.dotted_string.startswith(_RSA))


def _sn(certificate: x509.Certificate) -> str:
    issuer = ",".join(f"{_SHORT[part.oid]}={part.value!s}" for part in reversed(list(certificate.issuer)))
    written = f"{issuer}{certificate.serial_number}"
    return hashlib.md5(written.encode(), usedforsecurity=False).hexdigest()


_SHORT: Final = {
    NameOID.COMMON_NAME: "CN",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
    NameOID.ORGANIZATION_NAME: "O",
    NameOID.COUNTRY_NAME: "C",
}
