"""What can go wrong, named for whose fault it was; `next` says what the caller may do.

No message in here ever holds a secret: fields and rules are named, values of keys are not.
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
]


class RefundryError(Exception):
    """The root of every error that Refundry raises on purpose."""

    next: ClassVar[str] = "report this: it is a defect in Refundry"


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
    """The configuration breaks a rule, or names something that is not there."""

    next = "correct the configuration and start again"


class Conflict(RefundryError):
    """The id is in use for a refund with other data. Nothing was stored."""

    next = "use the first data again, or a new id if this is a new refund"


class UnknownRefund(RefundryError):
    """No refund with this id is in the store."""

    next = "check the id and the account"


class Stale(RefundryError):
    """Somebody else added to this refund first; our write was refused whole."""

    next = "load the refund again and decide again"


class StoreError(RefundryError):
    """The store cannot be used, or refused to write.

    Nothing of a refused write is stored. After an I/O error while committing only the log itself can say whether it is:
    the message says so, and asking again with the same id is safe either way.
    """

    next = "mend the store; every refund goes on from its log"


class PluginError(RefundryError):
    """A plugin cannot be loaded, or broke a rule of the interface."""

    next = "mend or remove the plugin"


class Forged(RefundryError):
    """A message claims to be the provider's and its signature does not say so."""

    next = "refuse it; nothing of it is believed"


class Tampered(RefundryError):
    """The log is not the one that was signed before: it shrank, or what is in it was changed."""

    next = "keep the store as it is, and run `refundry audit verify` to see what was changed and where"
