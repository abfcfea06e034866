"""The options that only the simulated Alipay has.

The rule of this module: the defaults are what most apps meet: public keys, UTF-8, and nothing that is rare.
"""

from collections.abc import Mapping
from typing import ClassVar, Final

import attrs

from refundry.testing.simulator.settings import Check, Settings, choice, flag
from refundry_alipay.simulator.keys import APP_ID, AlipayKeys

CHARSETS: Final = {"utf-8": "utf-8", "gbk": "gbk", "gb2312": "gbk"}
"""The charsets that Alipay takes, in lower case, and what Python calls them."""
NOTIFY_CHARSETS: Final = CHARSETS | {"gb18030": "gb18030"}
"""The charsets of notifications; GB18030 was seen."""


@attrs.frozen(kw_only=True)
class AlipaySettings(Settings):
    """How the simulated Alipay behaves."""

    keys: AlipayKeys
    app_id: str = APP_ID
    certificates: bool = False
    """The app is in certificate mode: app_cert_sn and alipay_root_cert_sn are needed, answers carry alipay_cert_sn."""
    app_auth_token: str | None = None
    """The only app_auth_token that is taken; None: it is not looked at."""
    accepted: str = "N"
    """The fund_change of a refund that is accepted and not done: `N`, or `absent`."""
    details: bool = False
    """Report everything that some products report: royalties, vouchers, charges, two fund channels."""
    deposit_back: str = "none"
    """The state of the bank's part of each refund that succeeded: `P`, `S` or `F`; `S` and `F` are also notified."""
    answer_charset: str = "requested"
    """The charset of answers: that of the request, or whatever a gateway in trouble uses."""
    notify_charset: str = "utf-8"
    charset_in: str = "form"
    """Where a notification names its charset: in the `form` and the Content-Type header, or in the `header` alone."""
    sign_type_signed: bool = False
    """The signature of a notification covers `sign_type`, which no document says; both forms were seen."""
    app_gateway: str | None = None
    """Where messages about deposit-backs go; None: to `notify_url`."""
    own_notify_url: bool = True
    """A refund's notify_url is honoured, as for cross-border payments; false: only the payment's, `notify_url`."""
    error_response: bool = False
    """Failures at the gateway come in a node of the name error_response."""

    OPTIONS: ClassVar[Mapping[str, Check]] = {
        **Settings.OPTIONS,
        "certificates": flag,
        "app_auth_token": Settings.OPTIONS["notify_url"],
        "accepted": choice("N", "absent"),
        "details": flag,
        "deposit_back": choice("none", "P", "S", "F"),
        "answer_charset": choice("requested", *CHARSETS),
        "notify_charset": choice(*NOTIFY_CHARSETS),
        "charset_in": choice("form", "header"),
        "sign_type_signed": flag,
        "app_gateway": Settings.OPTIONS["notify_url"],
        "own_notify_url": flag,
        "error_response": flag,
    }
