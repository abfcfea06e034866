"""Receiving provider notifications over HTTP."""

from refundry.web.notifications import answer, init_app

__all__ = ["answer", "init_app"]
