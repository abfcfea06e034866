"""Refundry: refunds through many payment providers, each paid at most once and none forgotten.

These are the public names; everything else may change between versions. Plugin authors start at `refundry.provider`.
"""

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
from refundry.gateway import Gateway
from refundry.gateway.worker import Worker, process
from refundry.money import Money
from refundry.ports import Ports
from refundry.provider import Acknowledgement, Notification, Unreadable
from refundry.refund import Refund, Status

__all__ = [
    "Acknowledgement",
    "ConfigError",
    "Conflict",
    "Forged",
    "Gateway",
    "Invalid",
    "Money",
    "Notification",
    "PluginError",
    "Ports",
    "Refund",
    "RefundryError",
    "Stale",
    "Status",
    "StoreError",
    "UnknownRefund",
    "Unreadable",
    "Worker",
    "process",
]
