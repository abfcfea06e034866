"""The table `[audit]` of refundry.toml: the signer's directory, its key, the name of the log, and the anchors.

The rule of this module: the table is optional; without it the signer uses a directory next to the store. Every error
names the key as it is written in the file, and no error shows a secret.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from refundry.audit.signing.signed_notes import BadNote, check_key_name
from refundry.config import Config, read_reference, refuse_unknown
from refundry.errors import ConfigError

__all__ = ["AuditSettings", "read_audit_settings", "signer_directory"]

PLUGIN: Final = "plugin:"
_KEYS: Final = ("directory", "key", "origin", "anchors")


@attrs.frozen
class AuditSettings:
    """The settings of `[audit]`, with their defaults."""

    directory: Path
    """Where the signer keeps its key, its last checkpoint and its lock."""
    key: str | None
    """A file or `env:NAME` with an Ed25519 private key in PEM format, or `plugin:NAME`; None: `key.pem` in the
    directory."""
    origin: str | None
    """The name of the log; None: `refundry/` and random digits, chosen on first use."""
    anchors: Sequence[Mapping[str, Any]]
    """One table per anchor; its key `anchor` names the anchor."""
    base: Path
    """The directory of refundry.toml, to which file names are relative."""

    def read_key(self) -> bytes:
        """Read the private key that `key` names; raise `ConfigError` if it is missing."""
        return read_reference(self.key, "audit.key", self.base)


def signer_directory(config: Config) -> Path:
    """Return the signer's directory: the one in `[audit]`, or `<store>.audit` next to the store."""
    return read_audit_settings(config).directory


def read_audit_settings(config: Config) -> AuditSettings:
    """Read `[audit]`; raise `ConfigError` with the key and the rule that it breaks."""
    table, store = config.audit, config.store_path
    refuse_unknown(table, _KEYS, "audit.")
    directory = _text(table, "directory")
    return AuditSettings(
        directory=store.with_name(f"{store.name}.audit") if directory is None else config.path.parent / directory,
        key=_text(table, "key"),
        origin=_origin(table),
        anchors=_anchors(table.get("anchors", [])),
        base=config.path.parent,
    )


def _text(table: Mapping[str, Any], key: str) -> str | None:
    value = table.get(key)
    if value is not None and (not isinstance(value, str) or not value or "\0" in value):
        raise ConfigError(f"audit.{key}", "must be text in quotes")
    return value


def _origin(table: Mapping[str, Any]) -> str | None:
    origin = _text(table, "origin")
    try:
        return None if origin is None else check_key_name(origin)
    except BadNote as error:
        raise ConfigError("audit.origin", error.rule) from None


def _anchors(value: object) -> Sequence[Mapping[str, Any]]:
    if not isinstance(value, list):
        raise ConfigError("audit.anchors", 'must be a list of names or tables: [[audit.anchors]] with anchor = "NAME"')
    return tuple(_anchor(item, f"audit.anchors[{number}]") for number, item in enumerate(value))


def _anchor(item: object, where: str) -> Mapping[str, Any]:
    if isinstance(item, str):
        return {"anchor": item}
    if not isinstance(item, dict) or not isinstance(item.get("anchor"), str):
        raise ConfigError(where, 'must be a name, or a table with anchor = "NAME"')
    return item
