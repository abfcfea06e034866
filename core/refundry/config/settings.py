"""Reading settings: tables of refundry.toml become settings classes, with every error naming its key.

The rule of this module: what is not understood is rejected, and no error shows the value of a secret.
"""

import os
import tomllib
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Union, get_args, get_origin
from urllib.parse import urlsplit

import attrs

from refundry.errors import ConfigError
from refundry.provider import HttpUrl, PublicKeyPem, Secret

__all__ = [
    "KeyUnavailable",
    "check_url",
    "is_loopback",
    "is_public_key",
    "read_proxy",
    "read_reference",
    "read_settings",
    "read_toml",
    "refuse_unknown",
]


def read_toml(path: Path, field: str) -> dict[str, Any]:
    """Read a TOML file; raise `ConfigError` with the field and what is wrong with the file."""
    try:
        # Anything but a regular file could block without end, as a pipe does.
        if path.exists() and not path.is_file():
            raise ConfigError(field, f"{path} is not a regular file")
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(field, f"there is no file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ConfigError(field, f"{path} cannot be read: {reason}") from None
    except RecursionError:
        raise ConfigError(field, f"{path} nests values too deeply") from None
    except ValueError as error:  # also an integer of too many digits, which has no error of its own
        raise ConfigError(field, f"{path} is not TOML: {error}") from None


class KeyUnavailable(ConfigError):
    """The configuration is in order, and a file or an environment variable that it names cannot be read."""


def read_settings(kind: type, section: Mapping[str, Any], where: str, base: Path, keys: bool) -> Any:
    """Read a table into the settings class of a plugin; raise `ConfigError` with the key and the rule it breaks."""
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


def is_public_key(kind: type, name: str) -> bool:
    """Return whether a key of a settings class names a public key or a certificate."""
    fields = {field.name: field for field in attrs.fields(attrs.resolve_types(kind))}
    return name in fields and _plain(fields[name].type) is PublicKeyPem


def _plain(kind: Any) -> Any:
    """Return `T` for `T | None`, and any other type unchanged."""
    options = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    return next(option for option in options if option is not NoneType)


def _value(wanted: Any, value: object, field: str, base: Path) -> Any:
    if wanted is Secret or wanted is PublicKeyPem:
        return wanted(read_reference(value, field, base))
    if wanted is HttpUrl:
        return check_url(value, field)
    if wanted == tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigError(field, "must be a list of strings")
        return tuple(value)
    if type(value) is not wanted:
        raise ConfigError(field, f"must be {_NAMES.get(wanted, wanted.__name__)}")
    return value


_NAMES: Final = {str: "a string in quotes", int: "an integer", bool: "true or false"}


def read_reference(value: object, field: str, base: Path) -> bytes:
    """Return the content of a file or an environment variable; raise `ConfigError` with the key, never the content."""
    if not isinstance(value, str) or not value:
        raise ConfigError(field, 'must name a file, or "env:NAME"')
    if value.startswith("env:"):
        found = os.environ.get(value.removeprefix("env:"))
        if found is None:
            raise KeyUnavailable(field, f"the environment variable {value.removeprefix('env:')} is not set")
        return found.encode()
    if "\n" in value or "-----" in value:
        raise ConfigError(field, "contains a key; name a file that contains it, so that this file is not secret")
    try:
        return (base / value).read_bytes()
    except (OSError, ValueError) as error:
        rule = getattr(error, "strerror", None) or type(error).__name__
        raise KeyUnavailable(field, f"{value} cannot be read: {rule}") from None


def check_url(value: object, field: str) -> HttpUrl:
    """Check a URL: https, or http to a loopback address; raise `ConfigError` with the field."""
    if not isinstance(value, str):
        raise ConfigError(field, "must be a string in quotes")
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigError(field, "is not a URL") from None
    if not value.isascii():
        raise ConfigError(field, "must be in ASCII; a host name with other letters is written in its xn-- form")
    if parts.username is not None or parts.fragment or not host or any(mark.isspace() for mark in value):
        raise ConfigError(field, "must be a plain URL: https://HOST, without user and fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ConfigError(field, "must begin with https:// (http:// is for loopback addresses only)")
    return HttpUrl(value.rstrip("/"))


def read_proxy(value: object, field: str, base: Path) -> str:
    """Check the URL of an HTTP proxy, or read it from `env:NAME`; raise `ConfigError` with the field.

    Only a variable of the environment may name a user and a password, because the configuration file is not secret.
    """
    hidden = isinstance(value, str) and value.startswith("env:")
    text = read_reference(value, field, base).decode("utf-8", "replace").strip() if hidden else value
    if not isinstance(text, str):
        raise ConfigError(field, "must be a string in quotes")
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise ConfigError(field, "is not a URL") from None
    plain = text.isascii() and not any(mark.isspace() for mark in text)
    if parts.scheme not in ("http", "https") or not parts.hostname or not plain:
        raise ConfigError(field, "must be the URL of an HTTP proxy, such as http://proxy.internal:3128")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigError(field, "must be a host and a port, without a path")
    if parts.username is not None and not hidden:
        raise ConfigError(field, 'contains a user; write the URL into an environment variable, and "env:NAME" here')
    return text


def is_loopback(host: str | None) -> bool:
    """Return True if a host name is this machine and nothing else."""
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False


def refuse_unknown(section: Mapping[str, Any], known: Any, prefix: str) -> None:
    """Raise `ConfigError` for an unknown key: it is probably misspelled, and would have no effect."""
    for key in section:
        if key not in known:
            raise ConfigError(f"{prefix}{key}", f"is not a known key; known keys: {', '.join(sorted(known))}")
