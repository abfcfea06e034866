"""Refundry: refunds through many payment providers, each paid at most once and none forgotten.

These are the public names; everything else may change between versions. Plugin authors start at `refundry.provider`.
They are imported on first use, so that a command line can list its commands without importing an HTTP client.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refundry.errors import (
        ConfigError,
        Conflict,
        Forged,
        Invalid,
        PluginError,
        RefundryError,
        Stale,
        StoreError,
        UnknownRefund,
    )
    from refundry.gateway import AsOf, Gateway, RefundRequest
    from refundry.gateway.worker import Worker, process
    from refundry.inputs import Operator
    from refundry.money import Money
    from refundry.ports import Ports
    from refundry.provider import Acknowledgement, Notification, Unreadable
    from refundry.refund import Refund, Status

__all__ = [
    "Acknowledgement",
    "AsOf",
    "ConfigError",
    "Conflict",
    "Forged",
    "Gateway",
    "Invalid",
    "Money",
    "Notification",
    "Operator",
    "PluginError",
    "Ports",
    "Refund",
    "RefundRequest",
    "RefundryError",
    "Stale",
    "Status",
    "StoreError",
    "UnknownRefund",
    "Unreadable",
    "Worker",
    "process",
]


_MODULES = (
    "refundry.errors",
    "refundry.money",
    "refundry.ports",
    "refundry.inputs",
    "refundry.provider",
    "refundry.refund",
    "refundry.gateway.queries",
    "refundry.gateway.worker",
    "refundry.gateway",
)
"""Where the public names are defined: light modules first, so that a light name imports no heavy one."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import a public name from the module that defines it."""
        if name in __all__:
            for module in map(import_module, _MODULES):
                if hasattr(module, name):
                    value = globals()[name] = getattr(module, name)
                    return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
