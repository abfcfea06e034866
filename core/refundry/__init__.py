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
