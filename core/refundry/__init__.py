"""Refundry: refunds through many payment providers, each paid at most once and none forgotten.

These are the public names; everything else may change between versions. Plugin authors start at `refundry.provider`.
They are imported on first use, so that a command line can list its commands without importing an HTTP client.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refundry.audit.erasure import Erased
    from refundry.audit.replay.reinterpretation import Reading
    from refundry.config import Account, Config, read_config
    from refundry.errors import (
        ConfigError,
        Conflict,
        Forged,
        Invalid,
        PluginError,
        RefundryError,
        Stale,
        StoreError,
        Tampered,
        UnknownAccount,
        UnknownRefund,
        UnreadableEvent,
    )
    from refundry.gateway import Gateway, Reader
    from refundry.gateway.account_health import AccountHealth, AccountState
    from refundry.gateway.as_of import AsOf
    from refundry.gateway.request import RefundRequest
    from refundry.gateway.totals import Total
    from refundry.gateway.worker import Worker, process
    from refundry.inputs import Operator
    from refundry.journal import ObservedEvent, Recorded, Row, UnmatchedNotification, WorkerRecord
    from refundry.money import Money, OverRefund
    from refundry.outbound.transport import Delivery, NoAnswer, Transport
    from refundry.plugin_host import Observer, Plugins, load_plugins, observer
    from refundry.ports import Ports
    from refundry.provider import Acknowledgement, Notification, Quote, Resend, ReviewReason, Scope, Unreadable
    from refundry.refund import (
        Channel,
        Event,
        Failed,
        Failure,
        Inquired,
        Last,
        NextStep,
        Note,
        RaisedReview,
        Refund,
        Requested,
        Review,
        Settled,
        SettlementFacts,
        Status,
        Submitted,
    )
    from refundry.refund.policy import Done, Inquire, ManualReview, Step, Submit

__all__ = [
    "Account",
    "AccountHealth",
    "AccountState",
    "Acknowledgement",
    "AsOf",
    "Channel",
    "Config",
    "ConfigError",
    "Conflict",
    "Delivery",
    "Done",
    "Erased",
    "Event",
    "Failed",
    "Failure",
    "Forged",
    "Gateway",
    "Inquire",
    "Inquired",
    "Invalid",
    "Last",
    "load_plugins",
    "ManualReview",
    "Money",
    "NextStep",
    "NoAnswer",
    "Note",
    "Notification",
    "ObservedEvent",
    "observer",
    "Observer",
    "Operator",
    "OverRefund",
    "PluginError",
    "Plugins",
    "Ports",
    "process",
    "Quote",
    "RaisedReview",
    "read_config",
    "Reader",
    "Reading",
    "Recorded",
    "Refund",
    "RefundRequest",
    "RefundryError",
    "Requested",
    "Resend",
    "Review",
    "ReviewReason",
    "Row",
    "Scope",
    "Settled",
    "SettlementFacts",
    "Stale",
    "Status",
    "Step",
    "StoreError",
    "Submit",
    "Submitted",
    "Tampered",
    "Total",
    "Transport",
    "UnknownAccount",
    "UnknownRefund",
    "UnreadableEvent",
    "UnmatchedNotification",
    "Unreadable",
    "Worker",
    "WorkerRecord",
]

_MODULES = (
    "refundry.errors",
    "refundry.money",
    "refundry.ports",
    "refundry.inputs",
    "refundry.provider",
    "refundry.refund",
    "refundry.refund.policy",
    "refundry.journal",
    "refundry.gateway.as_of",
    "refundry.gateway.totals",
    "refundry.gateway.request",
    "refundry.audit.erasure",
    "refundry.audit.replay.reinterpretation",
    "refundry.plugin_host",
    "refundry.config",
    "refundry.outbound.transport",
    "refundry.gateway.account_health",
    "refundry.gateway",
    "refundry.gateway.worker",
)
"""Where the public names are defined: light modules first, so that a light name imports no heavy one."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import a public name from the module that defines it."""
        if name in __all__:
            for module in map(import_module, _MODULES):
                if name in module.__all__:
                    value = globals()[name] = getattr(module, name)
                    return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
