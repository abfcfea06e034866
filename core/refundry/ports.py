"""What the pure parts must not make for themselves: time, randomness, ids, and the named steps of a refund's way.

Everything that has these is given a `Ports`. Tests and simulations give their own; nothing else in the core asks the
operating system for the time or for random bytes.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from threading import Lock
from typing import Final

import attrs

__all__ = ["Ports", "STEPS"]

STEPS: Final = (
    "refund composed",
    "refund recorded",
    "attempt recorded",
    "request signed",
    "answer received",
    "answer read",
    "outcome recorded",
    "notification verified",
    "notification recorded",
    "work taken",
)
"""Every named step of a refund's way, each reported to `Ports.step` when it is done."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class _Entropy:
    """Random bytes of the operating system, taken some kilobytes at a time: asking is dear beside what is asked for.

    A child made by fork forgets what its parent took, so that no two processes make the same ids.
    """

    _TAKEN: Final = 4096

    def __init__(self) -> None:
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._pool = b""
        self._lock = Lock()

    def __call__(self, count: int) -> bytes:
        with self._lock:
            if len(self._pool) < count:
                self._pool = os.urandom(max(self._TAKEN, count))
            given, self._pool = self._pool[:count], self._pool[count:]
        return given


_entropy: Final = _Entropy()


def _nothing(step: str) -> None:
    """Do nothing: in production a step is only a name."""


@attrs.frozen
class Ports:
    """The outside world, as far as the gateway may touch it without a network or a store."""

    now: Callable[[], datetime] = _utc_now
    """The time, always in UTC."""
    random: Callable[[int], bytes] = _entropy
    """Random bytes, so many."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    step: Callable[[str], None] = _nothing
    """Called with the name of each step that is done; a test may end the process here."""

    def new_id(self) -> str:
        """Make a time-ordered id (UUID version 7, RFC 9562) in the usual text form."""
        milliseconds = int(self.now().timestamp() * 1000)
        value = int.from_bytes(self.random(10), "big") | (milliseconds << 80)
        value = value & ~(0xF << 76) | (0x7 << 76)
        value = value & ~(0x3 << 62) | (0x2 << 62)
        text = f"{value:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
