"""The gateway: commands, queries, observers and the worker."""

from refundry.gateway.as_of import AsOf
from refundry.gateway.gateway import Gateway
from refundry.gateway.queries import Reader
from refundry.gateway.request import RefundRequest
from refundry.gateway.totals import Total

__all__ = ["AsOf", "Gateway", "Reader", "RefundRequest", "Total"]
