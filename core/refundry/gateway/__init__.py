"""The gateway: commands, queries, observers and the worker.

Its names are imported on first use, so that a query imports no HTTP client.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refundry.gateway.as_of import AsOf
    from refundry.gateway.gateway import Gateway
    from refundry.gateway.queries import Reader
    from refundry.gateway.request import RefundRequest
    from refundry.gateway.totals import Total

__all__ = ["AsOf", "Gateway", "Reader", "RefundRequest", "Total"]

_MODULES = {"AsOf": "as_of", "Gateway": "gateway", "Reader": "queries", "RefundRequest": "request", "Total": "totals"}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import a public name from the module that defines it."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(import_module(f"refundry.gateway.{_MODULES[name]}"), name)
        return value
