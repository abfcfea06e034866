"""Delivery of recorded events to observers: after the commit, in the order of the log, at least once.

The rule of this module: it never delays a refund. Each observer has a thread and a position in the log of its own. The
position is stored, and advances only after the observer returned. If an observer raises, delivery is retried later; if
it hangs, only its own events wait; what a killed process did not deliver, the next process delivers.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final, Protocol

import attrs

from refundry.errors import StoreError
from refundry.journal import EventReader, ObserverPositions, Recorded
from refundry.plugin_host import Plugins
from refundry.ports import Ports

__all__ = ["ObservedLog", "Observers", "PAGE"]

PAGE: Final = 100
"""The largest number of events in one delivery."""
_LEASE: Final = timedelta(seconds=60)
_RENEW: Final = 20.0
_POLL: Final = 1.0
_GRACE: Final = 2.0
"""How many seconds a closing process waits for its observers; the next process delivers the rest."""
_MAX_BACKOFF: Final = 60.0
_log = logging.getLogger("refundry")

Deliver = Callable[[Sequence[Recorded]], object]


class ObservedLog(EventReader, ObserverPositions, Protocol):
    """The log, and how far each observer has read it."""


class Observers:
    """All implementations of the `refundry_recorded` hook, each served by a task of its own."""

    def __init__(self, plugins: Plugins, journal: ObservedLog, ports: Ports) -> None:
        holder = ports.new_id()
        self._followers = [
            _Follower(implementation.plugin_name, implementation.function, journal, ports, holder)
            for implementation in plugins.manager.hook.refundry_recorded.get_hookimpls()
        ]
        self._journal = journal
        self._holder = holder
        self._tasks: list[asyncio.Task[None]] = []

    async def register(self) -> None:
        """Start every new observer at the end of the log."""
        for follower in self._followers:
            await self._journal.observe(follower.name)

    def notify(self) -> None:
        """Wake the deliveries, because something may be undelivered; return at once."""
        if self._followers and not self._tasks:
            self._tasks = [asyncio.create_task(follower.run()) for follower in self._followers]
        for follower in self._followers:
            follower.wake.set()

    async def close(self) -> None:
        """Wait a moment for the deliveries in progress, then leave the rest to the next process."""
        for follower in self._followers:
            follower.stop()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_GRACE)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            with suppress(StoreError):
                await self._journal.release(self._holder)


@attrs.define(eq=False)
class _Follower:
    """One observer's progress through the log."""

    name: str
    _observer: Deliver
    _journal: ObservedLog
    _ports: Ports
    _holder: str
    wake: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _stopping: bool = attrs.field(default=False, init=False)
    _position: int = attrs.field(default=0, init=False)
    _failures: int = attrs.field(default=0, init=False)

    def stop(self) -> None:
        """Stop at the end of the log, or at the next failure."""
        self._stopping = True
        self.wake.set()

    async def run(self) -> None:
        """Deliver what is recorded, and wait for more, until stopped."""
        while True:
            self.wake.clear()
            try:
                more = await self._next_page()
            except StoreError as error:
                _log.warning("events cannot be delivered to observer %r: %s", self.name, error)
                more, self._failures = False, self._failures + 1
            if more:
                continue
            if self._stopping:
                return
            await self._rest()

    async def _next_page(self) -> bool:
        """Deliver one page; return False if nothing is left, another process delivers, or the observer failed."""
        if not await self._read():
            return False
        now = self._ports.now()
        position = await self._journal.take_observer(self.name, now, until=now + _LEASE, holder=self._holder)
        if position is None:
            return False
        self._position = position
        page = await self._read()
        if not page:
            return False
        if not await self._deliver(page):
            self._failures += 1
            return False
        self._position, self._failures = page[-1].position, 0
        await self._journal.observed(self.name, self._position, holder=self._holder)
        return True

    async def _read(self) -> list[Recorded]:
        return [recorded async for recorded in self._journal.log(self._position, PAGE)]

    async def _deliver(self, page: Sequence[Recorded]) -> bool:
        done = _in_a_thread(self._observer, page, f"refundry-observe-{self.name}")
        while not (await asyncio.wait({done}, timeout=_RENEW))[0]:
            now = self._ports.now()
            await self._journal.take_observer(self.name, now, until=now + _LEASE, holder=self._holder)
        error = done.result()
        if error is not None:
            _log.error("observer %r failed; its events will be delivered again", self.name, exc_info=error)
        return error is None

    async def _rest(self) -> None:
        pause = min(_MAX_BACKOFF, 0.5 * 2 ** min(self._failures, 10)) if self._failures else _POLL
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await (self._stopped() if self._failures else self.wake.wait())

    async def _stopped(self) -> None:
        # New events do not shorten the pause after a failure.
        while not self._stopping:
            self.wake.clear()
            await self.wake.wait()


def _in_a_thread(deliver: Deliver, page: Sequence[Recorded], name: str) -> "asyncio.Future[BaseException | None]":
    """Call an observer in a daemon thread, so that one that never returns does not keep the process alive."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[BaseException | None] = loop.create_future()

    def finish(error: BaseException | None) -> None:
        if not done.done():
            done.set_result(error)

    def call() -> None:
        failure: BaseException | None = None
        try:
            deliver(page)
        except BaseException as error:  # the observer may raise anything, even SystemExit
            failure = error
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(finish, failure)

    threading.Thread(target=call, name=name, daemon=True).start()
    return done
