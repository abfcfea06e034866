"""The gateway: commands, queries, observers and the worker."""

from refundry.gateway.gateway import Gateway
from refundry.gateway.queries import AsOf
from refundry.gateway.request import RefundRequest

__all__ = ["AsOf", "Gateway", "RefundRequest"]
