"""Which accounts are blocked: their provider rejected their configuration or contract, so nothing is sent for them.

The rule of this module: it only saves look-ups. The index knows which refund blocks which account; a stale answer of at
most a second sends one more call, which the provider rejects.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from refundry.journal import RefundIndex

__all__ = ["AccountHealth"]

_MAX_AGE: Final = timedelta(seconds=1)


class AccountHealth:
    """Remembers for a second whether an account is blocked."""

    def __init__(self, index: RefundIndex, now: Callable[[], datetime]) -> None:
        self._index = index
        self._now = now
        self._known: dict[str, tuple[datetime, bool]] = {}

    async def is_blocked(self, account: str) -> bool:
        """Return True while a refund of the account blocks it."""
        now = self._now()
        looked_up, blocked = self._known.get(account, (None, False))
        if looked_up is None or not timedelta(0) <= now - looked_up < _MAX_AGE:
            blocked = bool(await self._index.blocked(account))
            self._known[account] = (now, blocked)
        return blocked

    def block(self, account: str) -> None:
        """Remember that the account was blocked just now."""
        self._known[account] = (self._now(), True)

    def forget(self, account: str) -> None:
        """Look the account up again next time: an operator resumed one of its refunds."""
        self._known.pop(account, None)
