"""Time, randomness and ids, which the pure parts must not make themselves, and the named steps of processing.

Code that needs them receives a `Ports`. Tests and simulations pass their own; nothing else in the core asks the
operating system for the time or for random bytes.
"""

import asyncio
import os
import time
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
"""The named steps of processing, each reported to `Ports.step` when it is done."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class _Entropy:
    """Random bytes of the operating system, read some kilobytes at a time, because a read costs more than the bytes.

    A forked child discards what its parent read, so that no two processes make the same ids.
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
    pass


@attrs.frozen
class Ports:
    """The outside world of the gateway, other than the network and the store."""

    now: Callable[[], datetime] = _utc_now
    """The time, always in UTC. The clock may be wrong, and may be set while the process runs."""
    monotonic: Callable[[], float] = time.monotonic
    """Seconds since an arbitrary moment: never set back, but the time that the machine sleeps may not count."""
    random: Callable[[int], bytes] = _entropy
    """Returns the given number of random bytes."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    """Waits for the given number of seconds."""
    step: Callable[[str], None] = _nothing
    """Called with the name of each step when it is done; a test may kill the process at that point."""

    def new_id(self) -> str:
        """Return a new time-ordered id (UUID version 7, RFC 9562) in the usual text form."""
        milliseconds = int(self.now().timestamp() * 1000)
        value = int.from_bytes(self.random(10), "big") | (milliseconds << 80)
        value = value & ~(0xF << 76) | (0x7 << 76)
        value = value & ~(0x3 << 62) | (0x2 << 62)
        text = f"{value:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
