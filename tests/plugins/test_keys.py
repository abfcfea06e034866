"""The keys of an account: every provider accepts the same forms, and refuses the same mistakes by the same name."""

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from refundry.errors import Invalid
from refundry.provider import Provider, PublicKeyPem, Secret
from tests.plugins.alipay import given as alipay
from tests.plugins.alphapay import given as alphapay
from tests.plugins.antom import given as antom

Build = Callable[..., Provider]
ACCOUNTS = {given.__name__.split(".")[2]: given for given in (alipay, alphapay, antom)}


@pytest.fixture(params=sorted(ACCOUNTS))
def given(request: pytest.FixtureRequest) -> Any:
    return ACCOUNTS[request.param]


def pem(key: RSAPrivateKey, kind: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    return key.private_bytes(Encoding.PEM, kind, NoEncryption())


def public(key: RSAPrivateKey, kind: PublicFormat = PublicFormat.SubjectPublicKeyInfo) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, kind)


def bare(text: bytes) -> bytes:
    return b"".join(line for line in text.splitlines() if not line.startswith(b"-----"))


def test_every_form_of_a_key(given: Any) -> None:
    """An account opens with its keys in PEM, under the other label, with escaped line ends or in bare base64."""
    merchant, provider = given.merchant_key(), given.provider_key()
    forms = [
        (pem(merchant), public(provider)),
        (pem(merchant, PrivateFormat.TraditionalOpenSSL), public(provider, PublicFormat.PKCS1)),
        (pem(merchant).replace(b"PRIVATE", b"RSA PRIVATE"), public(provider).replace(b"PUBLIC", b"RSA PUBLIC")),
        (pem(merchant).replace(b"\n", b"\\n"), public(provider).replace(b"\n", b"\\n")),
        (bare(pem(merchant)), bare(public(provider))),
    ]

    for private_key, public_key in forms:
        built = given.provider(private_key=Secret(private_key), provider_public_key=PublicKeyPem(public_key))
        call = built.refund(given.INSTRUCTION, given.AT)
        assert call.sign().body == call.body


def test_mixed_up_keys(given: Any) -> None:
    """The merchant's own public key, and a key of the other kind, are refused by the setting and by what it holds."""
    merchant, provider = given.merchant_key(), given.provider_key()
    mistakes = {
        "provider_public_key: is the merchant's own public key": {"provider_public_key": public(merchant)},
        "provider_public_key: is a private key": {"provider_public_key": pem(provider)},
        "private_key: is a public key": {"private_key": public(merchant)},
    }

    for message, changes in mistakes.items():
        kinds = {"private_key": Secret, "provider_public_key": PublicKeyPem}
        with pytest.raises(Invalid, match=f"^{message}"):
            given.provider(**{name: kinds[name](key) for name, key in changes.items()})


def test_the_certificate_of_alipay_is_not_the_apps() -> None:
    """In certificate mode the app's own certificate is refused as Alipay's."""
    with pytest.raises(Invalid, match="^provider_cert: is the merchant's own public key"):
        alipay.certified(provider_cert=alipay.certificate_pems()["app_cert"])
