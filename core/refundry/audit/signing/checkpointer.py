"""The checkpointer: it has the tree signed while the gateway runs, soon after each event and before the gateway closes.

The rule of this module: it never delays a refund. A problem is logged once at CRITICAL and kept in `problem`, which
`GET /health` shows; refunds continue, and the checkpointer tries again. A log that shrank or was changed is never
signed.
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
"""This many events are signed at once, without waiting."""
SECONDS: Final = 0.75
"""How long fewer events wait for a checkpoint; together with the signing, less than a second."""
_PAGE: Final = 1000
_BUSY: Final = 0.02
_MAX_PAUSE: Final = 60.0
_GRACE: Final = 5.0
"""How many seconds a closing process waits for another process that is signing, and for its own signing key."""
_log = logging.getLogger("refundry")


class Checkpointer:
    """Signs the tree of one store. It opens and creates nothing before the first `notify` or `checkpoint_now`."""

    def __init__(self, journal: TreeStore, open_signer: Callable[[], Signer], anchors: Anchors, ports: Ports) -> None:
        self.problem: str | None = None
        """Why the log is not being signed, in one line; None while it is."""
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
        """Schedule a checkpoint for new events, or with 0 for those that an earlier process left; return at once."""
        self._waiting += events
        self._some.set()
        if self._waiting >= EVENTS:
            self._many.set()
        if self._task is None and not self._stop.is_set():
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Sign what is not signed yet, publish the last checkpoint to the anchors, and stop."""
        self._stop.set()
        self._many.set()
        if self._task is not None:
            self._some.set()
            _, late = await asyncio.wait([self._task], timeout=2 * _GRACE)
            for task in late:
                task.cancel()
                _log.error("audit signing stopped: it did not finish before closing")
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
        """Sign once; after a failure, wait before the next attempt."""
        self._waiting = 0
        self._some.clear()
        if not self._stop.is_set():
            self._many.clear()
        try:
            done = await self.checkpoint_now()
        except Exception as error:  # whatever is wrong with the audit, refunds continue
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
        text = f"audit signing stopped: {str(error) or type(error).__name__}"
        # Everything that writes to the store reports a problem of the whole store; it need not be logged here as well.
        if text != self.problem and not isinstance(error, StoreError):
            _log.critical("%s; refunds continue%s", text, f"; {error.next}" if isinstance(error, Tampered) else "")
        self.problem = text

    # --- signing ------------------------------------------------------------------------------------------------------

    async def signer(self) -> Signer:
        """Return the signer, creating its directory and key on first use; raise `ConfigError` if that fails."""
        if self._signer is None:
            self._signer = await asyncio.to_thread(self._open_signer)
        return self._signer

    async def checkpoint_now(self) -> bool:
        """Sign the current tree; return False if another process is signing and this one has to try again.

        An empty log is not signed. Raises `Tampered` if the tree does not extend the one that was signed before;
        `StoreError`, `ConfigError` or `OSError` if it cannot be read, signed or stored.
        """
        if self._signer is None and not Frontier.size_of(await self._journal.tree()):
            return True
        signer = await self.signer()
        if not signer.try_lock():
            return False
        try:
            note = await self._checkpoint(signer)
        finally:
            # If this is canceled while a thread signs, that thread keeps the lock until it has finished.
            signer.unlock()
        self.problem = None
        if note is not None:
            self._anchors.publish(note)
        return True

    async def _checkpoint(self, signer: Signer) -> bytes | None:
        # The signer's memory is read first, so the tree that is read after it can only have grown.
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
        """Extend the tree that was signed before by the new leaves; the result must be the store's tree."""
        own = Frontier() if last is None else last.frontier
        if last is not None and tree.size < last.checkpoint.size:
            raise Tampered(f"{last.checkpoint.size} events were signed, but the store has {tree.size}")
        if own is None and last is not None:
            own = await self._extend(Frontier(), last.checkpoint.size)
            if own.root() != last.checkpoint.root:
                raise Tampered(f"the first {own.size} events of the store are not those that were signed")
        grown = await self._extend(own or Frontier(), tree.size)
        if grown.root() != tree.root():
            raise Tampered(f"the store's history differs from the {own.size if own else 0} events that were signed")
        return grown

    async def _extend(self, frontier: Frontier, size: int) -> Frontier:
        while frontier.size < size:
            end = min(size, frontier.size + _PAGE)
            frontier = frontier.extend(await self._journal.leaves(frontier.size, end))
        return frontier
