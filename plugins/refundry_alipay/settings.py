"""The settings of an account at Alipay, and the keys that they name.

The rule of this module: an account is in public key mode or in certificate mode, never in both.
"""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from refundry.provider import (
    HttpUrl,
    Invalid,
    PublicKeyPem,
    Secret,
    signatures,
    validation,
)
from refundry_alipay import certificates, request_fields
from refundry_alipay.request_fields import QUERY_OPTIONS

_GATEWAY: Final = "/gateway.do"
_CHARSETS: Final = ("utf-8", "gbk")
_APP_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,32}", re.ASCII)
_SELLER_ID: Final = re.compile(r"[0-9]{1,28}", re.ASCII)
_TOKEN: Final = re.compile(r"[!-~]{1,40}", re.ASCII)


@attrs.frozen(slots=True, kw_only=True)
class AlipaySettings:
    """The keys of an account with `provider = "alipay"`."""

    base_url: HttpUrl
    """The whole address of the gateway, `https://openapi.alipay.com/gateway.do`."""
    app_id: str
    private_key: Secret | None = None
    provider_public_key: PublicKeyPem | None = attrs.field(default=None, repr=False)
    """Public key mode: Alipay's public key for this app."""
    app_cert: PublicKeyPem | None = attrs.field(default=None, repr=False)
    """Certificate mode: the certificate of `private_key`."""
    provider_cert: PublicKeyPem | None = attrs.field(default=None, repr=False)
    """Certificate mode: the certificate that Alipay signs with."""
    root_cert: PublicKeyPem | None = attrs.field(default=None, repr=False)
    """Certificate mode: Alipay's bundle of root certificates."""
    app_auth_token: str | None = attrs.field(default=None, repr=False)
    """For calls in the name of a merchant who has authorized this app."""
    seller_id: str | None = None
    """The only seller whose notifications are accepted; any seller of the app if it is not set."""
    charset: str = "utf-8"
    """`utf-8` or `gbk`: what requests are written and answers are read in."""
    query_options: tuple[str, ...] = ("refund_detail_item_list", "gmt_refund_pay", "deposit_back_info")
    """What Alipay is asked to tell besides, in answers to refunds too as far as it can."""
    notify_url: str | None = None
    """Sent with refunds where it is set. Only cross-border refunds honour it; others are notified to the address that
    came with the payment."""


@attrs.frozen(slots=True)
class Certificates:
    """The serial numbers of the certificates; all `None` in public key mode."""

    app: str | None = None
    provider: str | None = None
    root: str | None = None


def load_keys(settings: AlipaySettings, private: RSAPrivateKey | None) -> tuple[RSAPublicKey, Certificates]:
    """Return what verifies in the one mode that is configured; raise `Invalid` unless exactly one is complete."""
    certificates = {name: getattr(settings, name) for name in ("app_cert", "provider_cert", "root_cert")}
    given = [name for name, pem in certificates.items() if pem is not None]
    if settings.provider_public_key is not None:
        if given:
            raise Invalid(given[0], "is for certificate mode; provider_public_key is set, which is the other mode")
        public = signatures.load_public_key(bytes(settings.provider_public_key), "provider_public_key")
        signatures.check_provider_key(public, None if private is None else private.public_key(), "provider_public_key")
        return public, Certificates()
    if not given:
        raise Invalid("provider_public_key", "is missing; or set app_cert, provider_cert and root_cert")
    missing = [name for name in certificates if name not in given]
    if missing:
        raise Invalid(missing[0], f"is missing; certificate mode needs {', '.join(certificates)}")
    return _certified({name: bytes(pem) for name, pem in certificates.items() if pem is not None}, private)


def _certified(pems: Mapping[str, bytes], private: RSAPrivateKey | None) -> tuple[RSAPublicKey, Certificates]:
    app = certificates.load(pems["app_cert"], "app_cert")
    provider = certificates.load(pems["provider_cert"], "provider_cert")
    ours = certificates.public_key(app, "app_cert")
    if private is not None and private.public_key().public_numbers() != ours.public_numbers():
        raise Invalid("app_cert", "is not the certificate of private_key")
    theirs = certificates.public_key(provider, "provider_cert")
    signatures.check_provider_key(theirs, ours, "provider_cert")
    names = Certificates(
        certificates.serial_number(app),
        certificates.serial_number(provider),
        certificates.root_serial_number(pems["root_cert"], "root_cert"),
    )
    return theirs, names


def check_settings(settings: AlipaySettings) -> None:
    """Raise `Invalid` with the setting that is wrong."""
    address = urlsplit(settings.base_url)
    if not address.netloc or not address.path.endswith(_GATEWAY) or address.query or address.fragment:
        raise Invalid("base_url", f"must be the whole address, such as https://openapi.alipay.com{_GATEWAY}")
    rules: tuple[tuple[str, Any, str], ...] = (
        ("app_id", _APP_ID, "must be 1 to 32 letters, digits, _ and -"),
        ("seller_id", _SELLER_ID, "must be 1 to 28 digits"),
        ("app_auth_token", _TOKEN, "must be 1 to 40 printable ASCII characters without spaces"),
    )
    for field, rule, text in rules:
        value = getattr(settings, field)
        if value is not None and rule.fullmatch(value) is None:
            raise Invalid(field, text)
    if settings.notify_url is not None:
        validation.check_address("notify_url", settings.notify_url, request_fields.MAX_NOTIFY_URL, "Alipay")
    if settings.charset not in _CHARSETS:
        raise Invalid("charset", f"must be one of {', '.join(_CHARSETS)}")
    request_fields.check_options("query_options", settings.query_options, QUERY_OPTIONS)
