"""Certificates are named as Alipay names them."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from refundry.errors import Invalid
from refundry_alipay import certificates
from tests.plugins.alipay.given import HERE, certificate, certificate_pems, merchant_key

VECTORS = json.loads((HERE / "cert_vectors.json").read_bytes())


def test_serial_numbers_of_the_sdks() -> None:
    """The names of the two certificates and of the bundle are those that Alipay's SDKs compute."""
    app = certificates.load(VECTORS["app_cert"].encode(), "app_cert")
    alipay = certificates.load(VECTORS["alipay_cert"].encode(), "provider_cert")

    assert VECTORS["app_cert_sn"] == certificates.serial_number(app)
    assert VECTORS["alipay_cert_sn"] == certificates.serial_number(alipay)
    assert VECTORS["alipay_root_cert_sn"] == certificates.root_serial_number(
        VECTORS["root_bundle"].encode(), "root_cert"
    )
    assert VECTORS["app_cert_sn_input"] == f"{app.issuer.rfc4514_string()}{app.serial_number}"


def test_roots_of_other_kinds_are_left_out() -> None:
    """A root that is signed with an elliptic curve has no part in the name; a bundle of such roots has none."""
    curve = ec.generate_private_key(ec.SECP256R1())
    other = certificate(curve, curve, 14)
    root = bytes(certificate_pems()["root_cert"])

    expected = certificates.root_serial_number(root, "root_cert")
    assert expected == certificates.root_serial_number(other + root + other, "root_cert")
    with pytest.raises(Invalid, match="root_cert: has no root"):
        certificates.root_serial_number(other, "root_cert")


def test_the_first_certificate_counts() -> None:
    """A file that holds the chain too is read as its first certificate."""
    files = certificate_pems()
    chain = bytes(files["app_cert"]) + bytes(files["root_cert"])

    assert certificates.load(bytes(files["app_cert"]), "app_cert") == certificates.load(chain, "app_cert")
    assert merchant_key().public_key() == certificates.public_key(certificates.load(chain, "app_cert"), "app_cert")


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"canary-7f3a",
        b"-----BEGIN CERTIFICATE-----\ncanary7f3a\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\ncanary7f3a\n",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    ],
)
def test_what_is_no_certificate(pem: bytes) -> None:
    """It is refused by the name of its setting, and not shown."""
    for read in (certificates.load, certificates.root_serial_number):
        with pytest.raises(Invalid, match="^app_cert: ") as caught:
            read(pem, "app_cert")
        assert "canary" not in str(caught.value)


def test_keys_that_cannot_verify() -> None:
    """A certificate of a curve or of a short key is refused."""
    signer = merchant_key()
    for key in (ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 1024)):
        with pytest.raises(Invalid, match="^provider_cert: has"):
            certificates.public_key(certificates.load(certificate(key, signer, 15), "provider_cert"), "provider_cert")
