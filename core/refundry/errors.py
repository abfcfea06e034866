"""Errors, named for who is at fault; `next` states what the caller may do.

The rule of this module: no message contains a secret. Fields and rules are named, the values of keys are not.
"""

from typing import ClassVar

__all__ = [
    "ConfigError",
    "Conflict",
    "Forged",
    "Invalid",
    "PluginError",
    "RefundryError",
    "Stale",
    "StoreError",
    "Tampered",
    "UnknownAccount",
    "UnknownRefund",
    "UnreadableEvent",
]


class RefundryError(Exception):
    """The base class of every error that Refundry raises on purpose."""

    next: ClassVar[str] = "report this: it is a bug in Refundry"


class Invalid(RefundryError):
    """The caller's input breaks a rule. Nothing was stored and nothing was sent."""

    next = "correct the named field and call again"

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


class UnknownAccount(Invalid):
    """The configuration has no account of this name."""

    next = "name an account of the configuration, or add it there"

    def __init__(self, account: str, rule: str) -> None:
        super().__init__("account", rule)
        self.account = account


class ConfigError(Invalid):
    """The configuration breaks a rule, or names something that does not exist."""

    next = "correct the configuration and start again"


class Conflict(RefundryError):
    """The id is in use for a refund with other data. Nothing was stored."""

    next = "repeat the request with the original data, or use a new id if this is a new refund"


class UnknownRefund(RefundryError):
    """No refund with this id is in the store."""

    next = "check the id and the account"


class Stale(RefundryError):
    """The refund changed meanwhile: another process recorded something first, and nothing of this write is stored."""

    next = "read the refund again and decide again"


class StoreError(RefundryError):
    """The store cannot be used, or refused to write.

    Nothing of a refused write is stored. Only after an I/O error during a commit is it unknown whether the write is
    stored: the message says so, and a repeated request with the same id is safe either way.
    """

    next = "fix the store; every refund continues from its log"


class UnreadableEvent(StoreError):
    """An event cannot be read: a later version wrote it, or it is damaged. Everything else can be used."""

    next = "read it with the version that wrote it, or run `refundry audit verify` to see whether it is damaged"

    def __init__(self, position: int, rule: str) -> None:
        super().__init__(f"store: the event at position {position} {rule}")
        self.position = position


class PluginError(RefundryError):
    """A plugin cannot be loaded, or broke a rule of the interface."""

    next = "fix or remove the plugin"


class Forged(RefundryError):
    """A message claims to come from the provider, and its signature does not prove it."""

    next = "reject the message; nothing of it was used"


class Tampered(RefundryError):
    """The log is not the one that was signed before: events are missing, or were changed."""

    next = "keep the store as it is, and run `refundry audit verify` to see what was changed and where"
