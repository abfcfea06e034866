"""refundry.toml: the store and the accounts, each with its provider, its keys and its terms.

The rule of this module: what is not understood is rejected. Every error names the key as it appears in the file; no
error shows the value of a secret.
"""

import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from refundry.config.keys import Sender, UnusableProvider
from refundry.config.settings import KeyUnavailable, is_public_key, read_proxy, read_settings, read_toml, refuse_unknown
from refundry.errors import ConfigError, Invalid, PluginError
from refundry.plugin_host import Plugins
from refundry.provider import Provider, ProviderPlugin, Terms

__all__ = ["OUTAGE_ALERT_AFTER", "Account", "Config", "open_accounts", "read_allow_list", "read_config"]

_ACCOUNT_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


_SQLITE: Final = "sqlite:///"
OUTAGE_ALERT_AFTER: Final = 300.0


@attrs.frozen
class Config:
    """A configuration file that was read; its store and accounts are not open yet."""

    path: Path
    store: str
    accounts: Mapping[str, Mapping[str, Any]] = attrs.field(repr=False)
    plugins: tuple[str, ...] | None = None
    """The names of the plugins that may be loaded; None for all that are installed."""
    audit: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    """The table `[audit]`, which `refundry.audit.signing.settings` reads."""
    outage_alert_after: float = OUTAGE_ALERT_AFTER
    """After how many seconds without a successful call, while work is due, an outage of an account is reported."""

    @property
    def store_path(self) -> Path:
        """The SQLite file of the store; raises `ConfigError` if the store is another database."""
        if not self.store.startswith(_SQLITE) or self.store == _SQLITE:
            raise ConfigError("store", 'must be "sqlite:///FILE"; other databases are not supported by this version')
        return self.path.parent / self.store.removeprefix(_SQLITE)


@attrs.frozen
class Account:
    """One account at one provider, ready for use: its provider, plugin and terms, and how the provider is reached."""

    name: str
    provider: Provider
    plugin: ProviderPlugin
    terms: Terms
    _sender: Sender = attrs.field(repr=False, eq=False)
    proxy: str | None = attrs.field(default=None, repr=False)
    """The URL of the HTTP proxy through which the provider is called; it may contain a password."""

    def sender(self) -> Provider:
        """Return the provider with the private key, which is parsed now if this is its first use.

        Raises `ConfigError` if a key of the account is missing or broken.
        """
        return self._sender()

    @property
    def needs_parsing(self) -> bool:
        """Return whether `sender` would parse the private key, which takes long."""
        return self._sender.ready is None and self._sender.error is None

    @property
    def error(self) -> ConfigError | None:
        """What is wrong with a key of the account, as far as that is known."""
        return self._sender.error

    @property
    def plugin_id(self) -> str:
        """The name and version of the plugin, as recorded in events."""
        return f"{self.plugin.name} {self.plugin.version}"


def read_config(path: str | os.PathLike[str]) -> Config:
    """Read a configuration file; raise `ConfigError` with the key and the rule that it breaks."""
    file = Path(path)
    data = _read_toml(file)
    if data is None:
        raise ConfigError("config", f"there is no file {file}")
    refuse_unknown(data, {"store", "accounts", "plugins", "audit", "outage_alert_after"}, "")
    store = data.get("store", "sqlite:///refunds.db")
    if not isinstance(store, str) or "\0" in store:
        raise ConfigError("store", "must be text")
    accounts = data.get("accounts", {})
    if not isinstance(accounts, dict):
        raise ConfigError("accounts", "must be tables: [accounts.NAME]")
    for name, section in accounts.items():
        if not isinstance(section, dict):
            raise ConfigError(f"accounts.{name}", "must be a table")
        if _ACCOUNT_NAME.fullmatch(name) is None:
            raise ConfigError(f"accounts.{name}", "must be 1 to 64 letters, digits, '_' or '-'")
    audit = data.get("audit", {})
    if not isinstance(audit, dict):
        raise ConfigError("audit", "must be a table: [audit]")
    alert_after = _seconds(data.get("outage_alert_after", OUTAGE_ALERT_AFTER), "outage_alert_after")
    return Config(
        file.absolute(), store, accounts, plugins=_allow_list(data), audit=audit, outage_alert_after=alert_after
    )


def read_allow_list(path: str | os.PathLike[str]) -> tuple[str, ...] | None:
    """Return the names of the plugins that may be loaded; None if the file or its `plugins` key does not exist."""
    return _allow_list(_read_toml(Path(path)) or {})


def _allow_list(data: Mapping[str, Any]) -> tuple[str, ...] | None:
    names = data.get("plugins")
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError("plugins", 'must be a list of names in quotes, such as plugins = ["antom"]')
    return tuple(names)


def _read_toml(file: Path) -> dict[str, Any] | None:
    return read_toml(file, "config") if file.exists() else None


def open_accounts(
    config: Config, plugins: Plugins, *, keys: bool = True, tolerant: bool = False
) -> Mapping[str, Account]:
    """Open every account; without `keys` no private key is read, and the accounts can only read answers.

    Raises `ConfigError` for the first account that cannot be opened. If `tolerant`, private keys are parsed when they
    are first needed, and a key that is missing or broken only takes its own account out of use.
    """
    return {
        name: _open_account(config, name, section, plugins, keys, tolerant) for name, section in config.accounts.items()
    }


def _open_account(
    config: Config, name: str, section: Mapping[str, Any], plugins: Plugins, keys: bool, tolerant: bool
) -> Account:
    where = f"accounts.{name}"
    provider_name = section.get("provider")
    if not isinstance(provider_name, str):
        raise ConfigError(f"{where}.provider", 'must name a provider, such as provider = "antom"')
    try:
        plugin = plugins.provider(provider_name)
    except PluginError as error:
        raise ConfigError(f"{where}.provider", str(error)) from None
    terms = _terms(section.get("terms", {}), plugin.terms, f"{where}.terms")
    # A proxy may have a password, which reading does not need any more than a private key.
    proxied = keys and "proxy" in section
    own = {key: value for key, value in section.items() if key not in ("provider", "terms", "proxy")}

    def build(keys: bool) -> Provider:
        settings = read_settings(plugin.settings, own, where, config.path.parent, keys)
        try:
            return plugin.build(settings, terms)
        except Invalid as error:
            raise ConfigError(f"{where}.{error.field}", error.rule) from None

    if not tolerant:
        proxy = read_proxy(section["proxy"], f"{where}.proxy", config.path.parent) if proxied else None
        provider = build(keys)
        return Account(name, provider, plugin, terms, Sender(lambda: provider), proxy)
    sender = Sender(lambda: build(True))
    try:
        provider = build(False)
    except ConfigError as error:
        if not is_public_key(plugin.settings, error.field.removeprefix(f"{where}.")):
            raise
        sender.error = error
        return Account(name, UnusableProvider(error, terms), plugin, terms, sender)
    proxy = None
    try:
        proxy = read_proxy(section["proxy"], f"{where}.proxy", config.path.parent) if proxied else None
        # Reads the files, which is quick, and parses nothing. What is wrong now is the private key.
        read_settings(plugin.settings, own, where, config.path.parent, keys)
    except KeyUnavailable as error:
        sender.error = error
    return Account(name, provider, plugin, terms, sender, proxy)


def _terms(section: object, defaults: Terms, where: str) -> Terms:
    if not isinstance(section, dict):
        raise ConfigError(where, "must be a table")
    refuse_unknown(section, _TERMS.keys(), f"{where}.")
    changes = {key: _TERMS[key](value, f"{where}.{key}") for key, value in section.items()}
    return attrs.evolve(defaults, **changes)


MAX_SECONDS: Final = 315_576_000
"""Ten years: no wait is longer, and a date that far ahead can still be computed."""
MAX_COUNT: Final = 1_000_000
MIN_RATE: Final = 0.001
MAX_RATE: Final = 100_000
"""Calls per second: from one in a quarter of an hour to more than any provider takes."""


def _seconds(value: object, field: str) -> float:
    seconds = _number(value)
    if seconds is None or not 0 < seconds <= MAX_SECONDS:
        raise ConfigError(field, f"must be a number of seconds above zero and at most {MAX_SECONDS} (ten years)")
    return seconds


def _count(value: object, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_COUNT:
        raise ConfigError(field, f"must be an integer from 1 to {MAX_COUNT}")
    return value


def _rate(value: object, field: str) -> float:
    rate = _number(value)
    if rate is None or not MIN_RATE <= rate <= MAX_RATE:
        raise ConfigError(field, f"must be a number from {MIN_RATE} to {MAX_RATE}")
    return rate


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _intervals(value: object, field: str) -> tuple[float, ...]:
    if not isinstance(value, list) or not value:
        raise ConfigError(field, "must be a list of seconds with at least one entry")
    return tuple(_seconds(item, field) for item in value)


_TERMS: Final[Mapping[str, Callable[[object, str], Any]]] = {
    "timeout": _seconds,
    "first_inquiry": _seconds,
    "inquiry_intervals": _intervals,
    "max_inquiry_interval": _seconds,
    "not_found_interval": _seconds,
    "not_found_tries": _count,
    "resend_delay": _seconds,
    "max_attempts": _count,
    "escalate_after": _seconds,
    "notification_freshness": _seconds,
    "requests_per_second": _rate,
}
"""Terms that an account may override. Only the provider defines what "not found" allows and how long an id is valid."""
