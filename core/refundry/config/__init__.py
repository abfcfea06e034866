"""refundry.toml: settings and accounts."""

from refundry.config.accounts import OUTAGE_ALERT_AFTER, Account, Config, open_accounts, read_allow_list, read_config
from refundry.config.settings import check_url, is_loopback, read_reference, read_settings, refuse_unknown

__all__ = [
    "Account",
    "OUTAGE_ALERT_AFTER",
    "check_url",
    "Config",
    "is_loopback",
    "open_accounts",
    "read_allow_list",
    "read_config",
    "read_reference",
    "read_settings",
    "refuse_unknown",
]
