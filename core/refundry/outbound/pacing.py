"""The rate of each account: how many calls it may begin now, and waiting for the next one.

The rule of this module: calls begin in the order in which they ask. A call that is drawn in advance waits no more, so
that a worker can leave alone what would only wait.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import attrs

from refundry.config import Account

__all__ = ["UNLIMITED", "Pacing"]

UNLIMITED: Final = 1_000_000
"""How many calls an account without a rate may begin now."""


@attrs.define
class _Limit:
    """A bucket with as many tokens as calls may begin at once: those of a second, and at least one."""

    rate: float
    tokens: float
    at: float
    drawn: int = 0
    """Tokens that were taken for calls that have not begun yet."""

    def refill(self) -> None:
        now = asyncio.get_running_loop().time()
        self.tokens = min(max(1.0, self.rate), self.tokens + (now - self.at) * self.rate)
        self.at = now


class Pacing:
    """Keeps to `requests_per_second` of each account."""

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        self._limits = {
            name: _Limit(rate, tokens=0.0, at=float("-inf"))
            for name, account in accounts.items()
            if (rate := account.terms.requests_per_second) is not None
        }

    def admits(self, account: str) -> int:
        """Return how many calls of an account may begin now without waiting."""
        limit = self._limits.get(account)
        if limit is None:
            return UNLIMITED
        limit.refill()
        return max(0, int(limit.tokens))

    def draw(self, account: str) -> None:
        """Take the turn of a call in advance: the next `wait` for the account returns at once."""
        limit = self._limits.get(account)
        if limit is not None:
            limit.refill()
            limit.tokens -= 1
            limit.drawn += 1

    async def wait(self, account: str) -> None:
        """Wait for the turn of a call."""
        limit = self._limits.get(account)
        if limit is None:
            return
        if limit.drawn:
            limit.drawn -= 1
            return
        limit.refill()
        limit.tokens -= 1
        if limit.tokens < 0:
            try:
                await asyncio.sleep(-limit.tokens / limit.rate)
            except asyncio.CancelledError:
                limit.tokens += 1
                raise
