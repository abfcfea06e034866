"""Delivery of recorded events to observers: after the commit, in the order of the log, at least once.

The rule of this module: it never delays a refund. Each observer has a thread and a position in the log of its own. The
position is stored, and advances only after the observer returned. If an observer raises, delivery is retried later; if
it hangs, only its own events wait; what a killed process did not deliver, another process delivers within seconds.
"""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final, Protocol

import attrs

from refundry.errors import PluginError, StoreError, UnreadableEvent
from refundry.journal import EventReader, ObservedEvent, ObserverPositions, Recorded
from refundry.plugin_host import Observer
from refundry.ports import Ports
from refundry.refund import Requested

__all__ = ["Deliveries", "ObservedLog", "PAGE", "observed_events"]

PAGE: Final = 100
"""The largest number of events in one delivery."""
_LEASE: Final = timedelta(seconds=5)
_RENEW: Final = 1.5
_POLL: Final = 1.0
_GRACE: Final = 2.0
"""How many seconds a closing process waits for its observers; the next process delivers the rest."""
_MAX_BACKOFF: Final = 60.0
_MAX_KNOWN: Final = 10_000
_log = logging.getLogger("refundry")


async def observed_events(journal: EventReader, after: int, limit: int | None = None) -> AsyncIterator[ObservedEvent]:
    """Yield the events after a position to the end of the log, with what identifies their refunds."""
    known: dict[str, Requested] = {}
    async for recorded in journal.log(after, limit):
        if isinstance(recorded.event, Requested):
            known[recorded.refund_id] = recorded.event
        elif recorded.refund_id not in known:
            known[recorded.refund_id] = await _request_of(journal, recorded)
        request = known[recorded.refund_id]
        yield ObservedEvent(
            recorded.position, recorded.refund_id, recorded.version, recorded.event,
            request.account, request.payment, request.refund_request_id,
        )  # fmt: skip
        if len(known) > _MAX_KNOWN:
            del known[next(iter(known))]


async def _request_of(journal: EventReader, recorded: Recorded) -> Requested:
    first, *_ = await journal.load_entries(recorded.refund_id)
    if isinstance(first, UnreadableEvent):
        raise first
    if not isinstance(first.event, Requested):
        raise StoreError(f"store: the refund of the event at position {recorded.position} does not begin as one")
    return first.event


class ObservedLog(EventReader, ObserverPositions, Protocol):
    """The log, and how far each observer has read it."""


class Deliveries:
    """The deliveries to all observers of a process, each in a task of its own."""

    def __init__(self, journal: ObservedLog, ports: Ports) -> None:
        self._journal = journal
        self._ports = ports
        self._holder = ports.new_id()
        self._followers: list[_Follower] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, observers: Iterable[Observer]) -> None:
        """Deliver to these observers from now on; one that the store does not know yet starts where it wants.

        Raises `PluginError` if two of them have the same name: they would share what was delivered.
        """
        for observer in observers:
            if any(follower.name == observer.name for follower in self._followers):
                raise PluginError(f"two observers are called {observer.name!r}")
            await self._journal.observe(observer.name, observer.after)
            self._followers.append(_Follower(observer, self._journal, self._ports, self._holder))
        self._tasks = [asyncio.create_task(follower.run()) for follower in self._followers]

    def notify(self) -> None:
        """Wake the deliveries, because something was recorded; return at once."""
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

    _observer: Observer
    _journal: ObservedLog
    _ports: Ports
    _holder: str
    wake: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _stopping: bool = attrs.field(default=False, init=False)
    _position: int = attrs.field(default=0, init=False)
    _failures: int = attrs.field(default=0, init=False)

    @property
    def name(self) -> str:
        """Return the observer's name."""
        return self._observer.name

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
        # A process that has nothing to deliver must not keep the others from doing so.
        self._position = await self._journal.position_of(self.name) or 0
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

    async def _read(self) -> list[ObservedEvent]:
        return [event async for event in observed_events(self._journal, self._position, PAGE)]

    async def _deliver(self, page: Sequence[ObservedEvent]) -> bool:
        done = _in_a_thread(self._observer, page)
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


def _in_a_thread(observer: Observer, page: Sequence[ObservedEvent]) -> "asyncio.Future[BaseException | None]":
    """Call an observer in a daemon thread, so that one that never returns does not keep the process alive."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[BaseException | None] = loop.create_future()

    def finish(error: BaseException | None) -> None:
        if not done.done():
            done.set_result(error)

    def call() -> None:
        failure: BaseException | None = None
        try:
            observer.deliver(page)
        except BaseException as error:  # the observer may raise anything, even SystemExit
            failure = error
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(finish, failure)

    threading.Thread(target=call, name=f"refundry-observe-{observer.name}", daemon=True).start()
    return done
