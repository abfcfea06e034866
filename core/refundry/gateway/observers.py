"""Telling plugins what was recorded: after the commit, in the order of the log, at least once.

The rule of this module: it never holds up money. Each observer has a thread and a place in the log of its own; the
place is kept in the store and moves on only after the observer took the events. An observer that raises is asked again
later, one that hangs is left behind, and what a killed process did not tell, the next one tells.
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

__all__ = ["ObservedLog", "Observers", "PAGE", "Tell"]

PAGE: Final = 100
"""How many events an observer is told at once, at most."""
_LEASE: Final = timedelta(seconds=60)
_RENEW: Final = 20.0
_POLL: Final = 1.0
_GRACE: Final = 2.0
"""How many seconds a closing process gives its observers to finish; what is left is told by the next one."""
_MAX_BACKOFF: Final = 60.0
_log = logging.getLogger("refundry")

Tell = Callable[[Sequence[Recorded]], object]


class ObservedLog(EventReader, ObserverPositions, Protocol):
    """The log, and how far each observer has read it."""


class Observers:
    """Everybody who implements the `refundry_recorded` hook, each followed by a task of its own."""

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
        """Give every observer that is new here its place: the end of the log."""
        for follower in self._followers:
            await self._journal.observe(follower.name)

    def notify(self) -> None:
        """Something was recorded, or may not have been told yet; return at once."""
        if self._followers and not self._tasks:
            self._tasks = [asyncio.create_task(follower.run()) for follower in self._followers]
        for follower in self._followers:
            follower.wake.set()

    async def close(self) -> None:
        """Finish telling, for a moment, and leave the rest to the next process."""
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
    """One observer's way through the log."""

    name: str
    _tell: Tell
    _journal: ObservedLog
    _ports: Ports
    _holder: str
    wake: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _stopping: bool = attrs.field(default=False, init=False)
    _position: int = attrs.field(default=0, init=False)
    _failures: int = attrs.field(default=0, init=False)

    def stop(self) -> None:
        """End at the end of the log, or at the next failure."""
        self._stopping = True
        self.wake.set()

    async def run(self) -> None:
        """Tell what is there, and wait for more, until stopped."""
        while True:
            self.wake.clear()
            try:
                more = await self._next_page()
            except StoreError as error:
                _log.warning("observer %r cannot be told: %s", self.name, error)
                more, self._failures = False, self._failures + 1
            if more:
                continue
            if self._stopping:
                return
            await self._rest()

    async def _next_page(self) -> bool:
        """Tell one page; False if there is none, another process is telling, or the observer failed."""
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
        if not await self._told(page):
            self._failures += 1
            return False
        self._position, self._failures = page[-1].position, 0
        await self._journal.observed(self.name, self._position, holder=self._holder)
        return True

    async def _read(self) -> list[Recorded]:
        return [recorded async for recorded in self._journal.log(self._position, PAGE)]

    async def _told(self, page: Sequence[Recorded]) -> bool:
        done = _in_a_thread(self._tell, page, f"refundry-observe-{self.name}")
        while not (await asyncio.wait({done}, timeout=_RENEW))[0]:
            now = self._ports.now()
            await self._journal.take_observer(self.name, now, until=now + _LEASE, holder=self._holder)
        error = done.result()
        if error is not None:
            _log.error("plugin %r failed to observe; it will be told again", self.name, exc_info=error)
        return error is None

    async def _rest(self) -> None:
        pause = min(_MAX_BACKOFF, 0.5 * 2 ** min(self._failures, 10)) if self._failures else _POLL
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await (self._stopped() if self._failures else self.wake.wait())

    async def _stopped(self) -> None:
        # New events are no reason to ask an observer earlier that has just failed.
        while not self._stopping:
            self.wake.clear()
            await self.wake.wait()


def _in_a_thread(tell: Tell, page: Sequence[Recorded], name: str) -> "asyncio.Future[BaseException | None]":
    """Call an observer in a daemon thread, so that one that never returns does not keep the process alive."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[BaseException | None] = loop.create_future()

    def finish(error: BaseException | None) -> None:
        if not done.done():
            done.set_result(error)

    def call() -> None:
        failure: BaseException | None = None
        try:
            tell(page)
        except BaseException as error:  # whatever it raises, SystemExit too, is its own
            failure = error
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(finish, failure)

    threading.Thread(target=call, name=name, daemon=True).start()
    return done
