"""The gateway: commands, queries, observers and the worker."""

from refundry.gateway.gateway import Gateway

__all__ = ["Gateway"]
