"""Accounts of the plugin at a simulator, for tests that let both meet."""

from typing import Any

from refundry.provider import HttpUrl, PublicKeyPem, Secret, Terms
from refundry_alipay.provider import AlipayProvider, build
from refundry_alipay.settings import AlipaySettings
from refundry_alipay.simulator import APP_ID
from refundry_alipay.simulator.keys import AlipayKeys


def account(url: str, keys: AlipayKeys, *, certificates: bool = False, **more: Any) -> AlipayProvider:
    """Build the provider of an account, in public key mode or in certificate mode."""
    trusted = {"provider_public_key": keys.provider_public}
    if certificates:
        trusted = {"app_cert": keys.app_cert, "provider_cert": keys.alipay_cert, "root_cert": keys.root_cert}
    given: dict[str, Any] = {name: PublicKeyPem(path.read_bytes()) for name, path in trusted.items()}
    private = Secret(keys.merchant.read_bytes())
    base_url = HttpUrl(f"{url}/gateway.do")
    return build(AlipaySettings(base_url=base_url, app_id=APP_ID, private_key=private, **given, **more), Terms())
