"""refundry.toml: the store and the accounts, each with its provider, its keys and its terms.

The rule of this module: what is not understood is refused. Every error names the key as it stands in the file; no
error shows the value of a secret.
"""

import math
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin
from urllib.parse import urlsplit

import attrs

from refundry.errors import ConfigError, Invalid, PluginError
from refundry.hooks import Plugins
from refundry.provider import HttpUrl, Provider, ProviderPlugin, PublicKeyPem, Secret, Terms

_ACCOUNT_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_SQLITE: Final = "sqlite:///"


@attrs.frozen
class Config:
    """A configuration file, read and not yet opened."""

    path: Path
    store: str
    accounts: Mapping[str, Mapping[str, Any]] = attrs.field(repr=False)
    plugins: tuple[str, ...] | None = None
    """The names of the plugins that may load; None: all that are installed."""
    audit: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    """The table `[audit]`, which `refundry.audit.settings` reads."""

    @property
    def store_path(self) -> Path:
        """The SQLite file that the store names; `ConfigError` if it names something else."""
        if not self.store.startswith(_SQLITE) or self.store == _SQLITE:
            raise ConfigError("store", 'must be "sqlite:///FILE"; other databases are not supported by this version')
        return self.path.parent / self.store.removeprefix(_SQLITE)


@attrs.frozen
class Account:
    """One account at one provider, ready for use."""

    name: str
    provider: Provider
    plugin: ProviderPlugin
    terms: Terms

    @property
    def plugin_id(self) -> str:
        """Name and version of the plugin, as events name it."""
        return f"{self.plugin.name} {self.plugin.version}"


def read_config(path: str | os.PathLike[str]) -> Config:
    """Read a configuration file; `ConfigError` names the key and the rule it breaks."""
    file = Path(path)
    data = _read_toml(file)
    if data is None:
        raise ConfigError("config", f"there is no file {file}")
    refuse_unknown(data, {"store", "accounts", "plugins", "audit"}, "")
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
            raise ConfigError(f"accounts.{name}", "a name has 1 to 64 of A-Z a-z 0-9 _ -")
    audit = data.get("audit", {})
    if not isinstance(audit, dict):
        raise ConfigError("audit", "must be a table: [audit]")
    return Config(file.absolute(), store, accounts, plugins=_allow_list(data), audit=audit)


def read_allow_list(path: str | os.PathLike[str]) -> tuple[str, ...] | None:
    """Read nothing but `plugins`: the names of the plugins that may load, None where there is no such key or file."""
    return _allow_list(_read_toml(Path(path)) or {})


def _allow_list(data: Mapping[str, Any]) -> tuple[str, ...] | None:
    names = data.get("plugins")
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError("plugins", 'must be a list of names in quotes, such as plugins = ["antom"]')
    return tuple(names)


def _read_toml(file: Path) -> dict[str, Any] | None:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("config", f"{file} cannot be read: {type(error).__name__}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("config", f"{file} is not TOML: {error}") from None


def open_accounts(config: Config, plugins: Plugins, *, keys: bool = True) -> Mapping[str, Account]:
    """Open every account; without `keys` no private key is touched, and the accounts can only read answers."""
    return {name: _open_account(config, name, section, plugins, keys) for name, section in config.accounts.items()}


def _open_account(config: Config, name: str, section: Mapping[str, Any], plugins: Plugins, keys: bool) -> Account:
    where = f"accounts.{name}"
    provider_name = section.get("provider")
    if not isinstance(provider_name, str):
        raise ConfigError(f"{where}.provider", 'must name a provider, such as provider = "antom"')
    try:
        plugin = plugins.provider(provider_name)
    except PluginError as error:
        raise ConfigError(f"{where}.provider", str(error)) from None
    terms = _terms(section.get("terms", {}), plugin.terms, f"{where}.terms")
    own = {key: value for key, value in section.items() if key not in ("provider", "terms")}
    settings = read_settings(plugin.settings, own, where, config.path.parent, keys)
    try:
        provider = plugin.build(settings, terms)
    except Invalid as error:
        raise ConfigError(f"{where}.{error.field}", error.rule) from None
    return Account(name, provider, plugin, terms)


# --- terms ------------------------------------------------------------------------------------------------------------


def _terms(section: object, defaults: Terms, where: str) -> Terms:
    if not isinstance(section, dict):
        raise ConfigError(where, "must be a table")
    refuse_unknown(section, _TERMS.keys(), f"{where}.")
    changes = {key: _TERMS[key](value, f"{where}.{key}") for key, value in section.items()}
    return attrs.evolve(defaults, **changes)


def _seconds(value: object, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ConfigError(field, "must be a number of seconds above zero")
    return float(value)


def _count(value: object, field: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(field, "must be a whole number from 1")
    return value


def _rate(value: object, field: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ConfigError(field, "must be a number above zero")
    return float(value)


def _intervals(value: object, field: str) -> tuple[float, ...]:
    if not isinstance(value, list) or not value:
        raise ConfigError(field, "must be a list of seconds with at least one entry")
    return tuple(_seconds(item, field) for item in value)


_TERMS: Final[Mapping[str, Callable[[object, str], Any]]] = {
    "timeout": _seconds,
    "first_inquiry": _seconds,
    "inquiry_intervals": _intervals,
    "not_found_interval": _seconds,
    "not_found_tries": _count,
    "resend_delay": _seconds,
    "max_attempts": _count,
    "call_person_after": _seconds,
    "notification_freshness": _seconds,
    "requests_per_second": _rate,
}
"""The terms that an account may override. What "not found" allows, and for how long an id is honoured, it may not."""


# --- settings ---------------------------------------------------------------------------------------------------------


def read_settings(kind: type, section: Mapping[str, Any], where: str, base: Path, keys: bool) -> Any:
    """Read a table into the settings class of a plugin; `ConfigError` names the key and the rule it breaks."""
    fields = {field.name: field for field in attrs.fields(attrs.resolve_types(kind))}
    refuse_unknown(section, fields.keys(), f"{where}.")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        wanted = _plain(field.type)
        if wanted is Secret and not keys:
            values[name] = None
        elif name in section:
            values[name] = _value(wanted, section[name], f"{where}.{name}", base)
        elif field.default is attrs.NOTHING or wanted is Secret:
            raise ConfigError(f"{where}.{name}", "is missing")
    return kind(**values)


def _plain(kind: Any) -> Any:
    """Give `T` for `T | None`, and any other type as it is."""
    options = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    return next(option for option in options if option is not NoneType)


def _value(wanted: Any, value: object, field: str, base: Path) -> Any:
    if wanted is Secret or wanted is PublicKeyPem:
        return wanted(read_reference(value, field, base))
    if wanted is HttpUrl:
        return check_url(value, field)
    if wanted == tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigError(field, "must be a list of texts in quotes")
        return tuple(value)
    if type(value) is not wanted:
        raise ConfigError(field, f"must be {_NAMES.get(wanted, wanted.__name__)}")
    return value


_NAMES: Final = {str: "text in quotes", int: "a whole number", bool: "true or false"}


def read_reference(value: object, field: str, base: Path) -> bytes:
    """Read what a file or an environment variable holds; `ConfigError` names the key and shows nothing of it."""
    if not isinstance(value, str) or not value:
        raise ConfigError(field, 'must name a file, or "env:NAME"')
    if value.startswith("env:"):
        found = os.environ.get(value.removeprefix("env:"))
        if found is None:
            raise ConfigError(field, f"the environment variable {value.removeprefix('env:')} is not set")
        return found.encode()
    if "\n" in value or "-----" in value:
        raise ConfigError(field, "holds a key; name the file that holds it, so that this file is no secret")
    try:
        return (base / value).read_bytes()
    except (OSError, ValueError) as error:
        rule = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigError(field, f"{value} cannot be read: {rule}") from None


def check_url(value: object, field: str) -> HttpUrl:
    """Check an address: https, or http to a loopback address; `ConfigError` names the field."""
    if not isinstance(value, str):
        raise ConfigError(field, "must be text in quotes")
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigError(field, "is not an address") from None
    if parts.username is not None or parts.fragment or not host or any(mark.isspace() for mark in value):
        raise ConfigError(field, "must be a plain address: https://HOST, without user and fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ConfigError(field, "must begin with https:// (http:// is for loopback addresses only)")
    return HttpUrl(value.rstrip("/"))


def is_loopback(host: str | None) -> bool:
    """Say whether a host name is this machine and nothing else."""
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False


def refuse_unknown(section: Mapping[str, Any], known: Any, prefix: str) -> None:
    """Refuse a key that nobody reads: it is misspelt, or somebody believes that it does something."""
    for key in section:
        if key not in known:
            raise ConfigError(f"{prefix}{key}", f"is not a known key; known are: {', '.join(sorted(known))}")
