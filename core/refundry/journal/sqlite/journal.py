"""The journal on SQLite.

The rule of this module: the event loop never waits for the disk. Writes run in one thread, many in one commit; reads
run in the threads of `SqliteReader`. Any number of processes may have the same file open.
"""

import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from eventsourcing.persistence import PersistenceError

from refundry.batching import Grouped
from refundry.errors import StoreError
from refundry.journal import (
    AccountRecord,
    Erasable,
    IndexDifference,
    Recorded,
    StoredCheckpoint,
    UnmatchedNotification,
    WorkerRecord,
    Write,
)
from refundry.journal.index import storable_text
from refundry.journal.sqlite import index, tree, working
from refundry.journal.sqlite.admission import FIND
from refundry.journal.sqlite.erasure import find_erasable, overwrite, truncate_wal
from refundry.journal.sqlite.reader import SqliteReader
from refundry.journal.sqlite.recorder import Recorder, connect, open_recorder, sqlite_code, store_error
from refundry.journal.sqlite.rows import Change, insert_evidence, to_micros
from refundry.ports import Ports
from refundry.refund import Review

MAX_EVENTS: Final = 500
MAX_BYTES: Final = 256 * 1024
"""A larger group makes every write in it wait longer and saves nothing more."""

_OBSERVE: Final = """INSERT OR IGNORE INTO observed
    SELECT :observer, coalesce(:after, max(rowid), 0), 0, '' FROM stored_events"""
_TAKE_OBSERVER: Final = """UPDATE observed SET lease_until=:until, lease_holder=:holder
    WHERE observer=:observer AND (lease_holder=:holder OR lease_until<=:now OR lease_until>:until)"""
_RELEASE_REFUNDS: Final = "UPDATE refund_index SET lease_until=NULL, lease_holder=NULL WHERE lease_holder=?"
_RELEASE_OBSERVERS: Final = "UPDATE observed SET lease_until=0, lease_holder='' WHERE lease_holder=?"

T = TypeVar("T")


class SqliteJournal(SqliteReader):
    """A `Journal` in one SQLite file. Make it with `SqliteJournal.open`."""

    def __init__(self, path: Path, recorder: Recorder, ports: Ports) -> None:
        super().__init__(path, partial(connect, path))
        self._recorder = recorder
        self._ports = ports
        self._writer: Grouped[Change, Sequence[int]] = Grouped("writer", self._commit, _share)
        self._failed = False

    @classmethod
    async def open(cls, path: str | Path, ports: Ports | None = None, *, create: bool = True) -> "SqliteJournal":
        """Open the store at `path`, or create it unless `create` is False.

        Raises `ConfigError` if the place, the file or a setting cannot be used, `StoreError` if the database fails.
        """
        recorder = await asyncio.to_thread(open_recorder, path, create=create)
        return cls(Path(path), recorder, ports or Ports())

    async def close(self) -> None:
        """Finish pending work and close the store."""
        await self._writer.close()
        await super().close()
        self._recorder.datastore.close()

    # --- events -------------------------------------------------------------------------------------------------------

    async def save(self, write: Write) -> Sequence[Recorded]:
        """Make a write durable, in one commit with all others that wait, then return what was recorded."""
        change = Change.of(write, self._ports.random)
        positions = await self._writer.submit(change)
        return [
            Recorded(position, write.refund.id, stored.originator_version, event)
            for position, stored, event in zip(positions, change.stored, write.events, strict=True)
        ]

    # --- maintenance of the index -------------------------------------------------------------------------------------

    async def compare_index(self) -> AsyncIterator[IndexDifference]:
        """Fold the whole log and yield every difference between it and the index."""
        after = ""
        while ids := await self._read(index.next_ids, after):
            for difference in await self._read(index.compare, ids):
                yield difference
            after = ids[-1]

    async def rebuild_index(self) -> int:
        """Rebuild the index from the log, some refunds at a time; return the number of refunds.

        Each step is its own transaction: other processes keep writing, and a rebuild that was interrupted can be
        started again.
        """
        after, count = "", 0
        while ids := await self._read(index.next_ids, after):
            count += await self._transact(partial(index.rebuild, ids))
            after = ids[-1]
        return count

    # --- work and leases ----------------------------------------------------------------------------------------------

    async def due_accounts(self, now: datetime, *, beyond: datetime | None = None) -> Sequence[str]:
        """Return the accounts that have refunds to take, except those that are blocked."""
        return await self._read(index.due_accounts, now, beyond)

    async def take_due(
        self, now: datetime, *, beyond: datetime | None = None, until: datetime, holder: str, room: Mapping[str, int]
    ) -> Mapping[str, Sequence[str]]:
        """Lease refunds that are due, oldest first, up to `room` for each account."""
        return await self._transact(lambda cursor: index.take_due(cursor, now, beyond, until, holder, room))

    async def postpone(self, refund_id: str, version: int, *, until: datetime) -> bool:
        """Count an answer that is not recorded, and put the refund off; return False if it has another version."""
        return await self._transact(lambda cursor: index.postpone(cursor, refund_id, version, until))

    async def set_aside(self, refund_id: str, review: Review, *, until: datetime) -> None:
        """Flag a refund that cannot be read, and hand it out to no worker until `until`."""
        await self._transact(lambda cursor: index.set_aside(cursor, refund_id, review, until))

    async def release(self, holder: str) -> None:
        """Release all leases of a worker or an observer that stops."""

        def release(cursor: sqlite3.Cursor) -> None:
            cursor.execute(_RELEASE_REFUNDS, (holder,))
            cursor.execute(_RELEASE_OBSERVERS, (holder,))

        await self._transact(release)

    # --- working data -------------------------------------------------------------------------------------------------

    async def change_account(
        self, account: str, change: Callable[[AccountRecord], AccountRecord]
    ) -> tuple[AccountRecord, AccountRecord]:
        """Change the record of an account atomically; return it as it was before and as it is now."""
        return await self._transact(partial(working.change_account, account, change))

    async def keep_worker(self, worker: WorkerRecord) -> None:
        """Store a worker's heartbeat."""
        await self._transact(partial(working.keep_worker, worker))

    async def remove_worker(self, id: str) -> None:
        """Remove a worker that stopped."""
        await self._transact(partial(working.remove_worker, id))

    async def check_writable(self, now: datetime) -> None:
        """Write something and make it durable; raise `StoreError` if that fails."""
        await self._transact(partial(working.check_writable, now))

    # --- observers ----------------------------------------------------------------------------------------------------

    async def observe(self, observer: str, after: int | None = None) -> None:
        """Start a new observer after this position, or at the end of the log; do nothing if the observer is known."""
        if not await self._rows("SELECT 1 FROM observed WHERE observer=?", observer):
            values = {"observer": observer, "after": after}
            await self._transact(lambda cursor: cursor.execute(_OBSERVE, values))

    async def position_of(self, observer: str) -> int | None:
        """Return the position of the last event that was delivered to an observer; None if it is unknown."""
        rows = await self._rows("SELECT position FROM observed WHERE observer=?", observer)
        return rows[0][0] if rows else None

    async def take_observer(self, observer: str, now: datetime, *, until: datetime, holder: str) -> int | None:
        """Lease an observer's position to `holder`, or renew the lease; None while another process has it."""

        def take(cursor: sqlite3.Cursor) -> int | None:
            lease = {"observer": observer, "holder": holder, "now": to_micros(now), "until": to_micros(until)}
            taken = cursor.execute(_TAKE_OBSERVER, lease)
            if taken.rowcount == 0:
                return None
            position: int = cursor.execute("SELECT position FROM observed WHERE observer=?", (observer,)).fetchone()[0]
            return position

        return await self._transact(take)

    async def observed(self, observer: str, position: int, *, holder: str) -> None:
        """Record that everything up to `position` was delivered, if `holder` still has the lease."""
        statement = "UPDATE observed SET position=? WHERE observer=? AND lease_holder=?"
        await self._transact(lambda cursor: cursor.execute(statement, (position, observer, holder)))

    # --- evidence and unmatched notifications -------------------------------------------------------------------------

    async def keep_unmatched(
        self, unmatched: UnmatchedNotification, evidence: bytes, signed: bytes, *, known: bool = False
    ) -> str | None:
        """Store a notification that matches no refund, durably; one with the same signed bytes is stored once."""
        digest = bytes.fromhex(unmatched.evidence)
        named = storable_text(unmatched.account), storable_text(unmatched.refund_request_id)
        row = (to_micros(unmatched.at), *named, digest, hashlib.sha256(signed).digest())

        def keep(cursor: sqlite3.Cursor) -> str | None:
            refund: tuple[str] | None = cursor.execute(FIND, named).fetchone()
            if refund is not None and not known:
                return refund[0]
            cursor.execute("INSERT OR IGNORE INTO unmatched_notifications VALUES (?,?,?,?,?)", row)
            if cursor.rowcount:
                cursor.execute(insert_evidence(1), (digest, evidence))
            return None

        return await self._transact(keep)

    async def erasable(self, refund_id: str) -> Erasable:
        """Find the records that this refund names and no other; this reads the whole log."""
        return await self._read(find_erasable, refund_id)

    async def erase(self, refund_id: str, version: int, position: int, notes: Mapping[str, bytes]) -> bool:
        """Overwrite records and store a note for each; return True if the write-ahead log has no copy left."""
        if notes:
            await self._transact(partial(overwrite, refund_id, version, position, notes))
        return await self._writer.run(partial(self._guarded, partial(truncate_wal, self.path)))

    # --- the tree -----------------------------------------------------------------------------------------------------

    async def tree(self) -> bytes:
        """Return the frontier of the tree over the log."""
        return await self._read(tree.read_tree)

    async def leaves(self, start: int, end: int) -> Sequence[bytes]:
        """Return the hashes of the tree's leaves from `start` to before `end`; raise `Tampered` if one is missing."""
        return await self._read(tree.read_leaves, start, end)

    async def keep_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        """Store a signed checkpoint; the first one of a size stays."""
        await self._transact(lambda cursor: tree.keep_checkpoint(cursor, checkpoint))

    async def checkpoints(self, after: int = -1, limit: int = 1000) -> Sequence[StoredCheckpoint]:
        """Return signed checkpoints, smallest first, starting after the size `after`."""
        return await self._read(tree.read_checkpoints, after, limit)

    async def last_checkpoint(self) -> StoredCheckpoint | None:
        """Return the signed checkpoint of the largest tree."""
        return await self._read(tree.read_last_checkpoint)

    # --- threads ------------------------------------------------------------------------------------------------------

    def _commit(self, changes: Sequence[Change]) -> Sequence[Sequence[int] | BaseException]:
        return self._guarded(lambda: self._recorder.insert_changes(changes))

    def _guarded(self, function: Callable[[], T]) -> T:
        """Call a function that writes; after an I/O error refuse to write, since the state of the disk is unknown."""
        if self._failed:
            raise StoreError("store: an earlier write failed with an I/O error; nothing is stored until it is reopened")
        try:
            return function()
        except (sqlite3.Error, PersistenceError) as error:
            if sqlite_code(error) != sqlite3.SQLITE_IOERR:
                raise store_error(error) from error
            self._failed = True
            raise StoreError(f"store: an I/O error while writing; nothing was acknowledged: {error}") from error

    async def _transact(self, function: Callable[[sqlite3.Cursor], T]) -> T:
        """Call `function` in its own write transaction."""

        def transact() -> T:
            with self._recorder.datastore.transaction(commit=True) as cursor:
                return function(cursor.sqlite_cursor)

        return await self._writer.run(partial(self._guarded, transact))


def _share(change: Change) -> float:
    return max(change.count / MAX_EVENTS, change.size / MAX_BYTES)
