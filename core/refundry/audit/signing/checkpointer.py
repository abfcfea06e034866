"""The sealer: has the tree signed while the gateway works, soon after each event and before it closes.

The rule of this module: it never holds up money. What goes wrong is logged once, loudly, and said by `problem`, which
`GET /health` shows; refunds go on, and the sealer tries again. A log that shrank or was changed is never signed.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from refundry.audit.signing.anchors import Anchors
from refundry.audit.signing.signer import Last, Signer
from refundry.errors import StoreError, Tampered
from refundry.journal import StoredCheckpoint, TreeStore
from refundry.journal.merkle import Frontier
from refundry.ports import Ports

__all__ = ["EVENTS", "SECONDS", "Checkpointer"]

EVENTS: Final = 1000
"""After so many events a checkpoint is signed at once."""
SECONDS: Final = 0.75
"""How long fewer events wait for one; with the signing itself that is less than a second."""
_PAGE: Final = 1000
_BUSY: Final = 0.02
_MAX_PAUSE: Final = 60.0
_GRACE: Final = 5.0
"""How many seconds a closing process waits for another one that is signing, and for its own signing key."""
_log = logging.getLogger("refundry")


class Checkpointer:
    """Signs the tree of one store. It opens nothing, and makes nothing, before the first `notify` or `seal`."""

    def __init__(self, journal: TreeStore, open_signer: Callable[[], Signer], anchors: Anchors, ports: Ports) -> None:
        self.problem: str | None = None
        """Why the log is not signed at present, in one line; None if it is."""
        self._journal = journal
        self._open_signer = open_signer
        self._anchors = anchors
        self._ports = ports
        self._signer: Signer | None = None
        self._task: asyncio.Task[None] | None = None
        self._waiting = 0
        self._failures = 0
        self._some, self._many, self._stop = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def notify(self, events: int = 1) -> None:
        """So many events were recorded, or none but an earlier process may have left some; return at once."""
        self._waiting += events
        self._some.set()
        if self._waiting >= EVENTS:
            self._many.set()
        if self._task is None and not self._stop.is_set():
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Sign what is not signed yet, give the anchors the last checkpoint, and end."""
        self._stop.set()
        self._many.set()
        if self._task is not None:
            self._some.set()
            _, late = await asyncio.wait([self._task], timeout=2 * _GRACE)
            for task in late:
                task.cancel()
                _log.error("the log is not signed: signing did not end")
            await asyncio.gather(self._task, return_exceptions=True)
        await self._anchors.close()

    async def _run(self) -> None:
        while not self._stop.is_set():
            await self._some.wait()
            await self._pause(self._many, SECONDS)
            await self._try()
        await self._finish()

    async def _finish(self) -> None:
        self._failures = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE):
                while self._some.is_set() and not self._failures:
                    await self._try()

    async def _try(self) -> None:
        """Seal once; where that fails, wait before the next time."""
        self._waiting = 0
        self._some.clear()
        if not self._stop.is_set():
            self._many.clear()
        try:
            done = await self.checkpoint_now()
        except Exception as error:  # whatever is wrong with the audit, refunds go on
            self._failed(error)
            self._some.set()
            await self._pause(self._stop, min(_MAX_PAUSE, 2.0 ** min(self._failures, 6)))
        else:
            self._failures = 0
            if not done:
                self._some.set()
                await asyncio.sleep(_BUSY)

    async def _pause(self, event: asyncio.Event, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        text = f"the log is not signed: {str(error) or type(error).__name__}"
        # What is wrong with the whole store, everybody says who writes to it.
        if text != self.problem and not isinstance(error, StoreError):
            _log.critical("%s; refunds go on%s", text, f"; {error.next}" if isinstance(error, Tampered) else "")
        self.problem = text

    # --- sealing ------------------------------------------------------------------------------------------------------

    async def signer(self) -> Signer:
        """Give the signer, and make its directory and key if this is the first use; `ConfigError` if it cannot be."""
        if self._signer is None:
            self._signer = await asyncio.to_thread(self._open_signer)
        return self._signer

    async def checkpoint_now(self) -> bool:
        """Sign the tree as it is now; False if another process is signing, and this one has to ask again.

        An empty log is not signed. Raises `Tampered` if the tree is not the one that was signed before, or grown from
        it; `StoreError`, `ConfigError` or `OSError` if it cannot be read, signed or kept.
        """
        if self._signer is None and not Frontier.size_of(await self._journal.tree()):
            return True
        signer = await self.signer()
        if not signer.try_lock():
            return False
        try:
            note = await self._checkpoint(signer)
        finally:
            # Whoever goes away while a thread signs leaves the lock to that thread.
            signer.unlock()
        self.problem = None
        if note is not None:
            self._anchors.publish(note)
        return True

    async def _checkpoint(self, signer: Signer) -> bytes | None:
        # The signer's memory first: the tree that is read after it can only have grown.
        last = await asyncio.to_thread(signer.last)
        tree = Frontier.from_bytes(await self._journal.tree())
        grown = await self._grow(last, tree)
        if grown.size == 0:
            return None
        if last is not None and grown.size == last.checkpoint.size:
            kept = await self._journal.last_checkpoint()
            if kept is not None and kept.size >= grown.size:
                return last.note
            note = last.note
        else:
            note = await asyncio.to_thread(signer.sign, last, grown)
        await self._journal.keep_checkpoint(StoredCheckpoint(grown.size, self._ports.now(), note))
        return note

    async def _grow(self, last: Last | None, tree: Frontier) -> Frontier:
        """Extend the tree that was signed before by the leaves that came; it must become the store's."""
        own = Frontier() if last is None else last.frontier
        if last is not None and tree.size < last.checkpoint.size:
            raise Tampered(f"{last.checkpoint.size} events were signed, and the store has {tree.size}")
        if own is None and last is not None:
            own = await self._extend(Frontier(), last.checkpoint.size)
            if own.root() != last.checkpoint.root:
                raise Tampered(f"the first {own.size} events of the store are not those that were signed")
        grown = await self._extend(own or Frontier(), tree.size)
        if grown.root() != tree.root():
            raise Tampered(f"the store has another past than the {own.size if own else 0} events that were signed")
        return grown

    async def _extend(self, frontier: Frontier, size: int) -> Frontier:
        while frontier.size < size:
            end = min(size, frontier.size + _PAGE)
            frontier = frontier.extend(await self._journal.leaves(frontier.size, end))
        return frontier
