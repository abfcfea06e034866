"""The journal on SQLite.

The rule of this module: the event loop never waits for the disk. Reads run in a few threads, each with a connection of
its own; writes run in one thread, many in one commit. Any number of processes may have the same file open.
"""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
from eventsourcing.persistence import PersistenceError

from refundry.batching import Grouped
from refundry.errors import StoreError
from refundry.journal import Erasable, Finding, Recorded, Row, Selection, StoredCheckpoint, UnmatchedNotification, Write
from refundry.journal.codec import decode, private_digest
from refundry.journal.index import differences, row_of
from refundry.journal.sqlite.erasing import empty_log, find_erasable, overwrite
from refundry.journal.sqlite.recorder import Recorder, connect, open_recorder, sqlite_code, store_error
from refundry.journal.sqlite.rows import (
    REPLACE_ROW,
    ROW,
    Change,
    column_text,
    from_micros,
    insert_evidence,
    read_row,
    to_micros,
    whole_row,
)
from refundry.journal.sqlite.tree import (
    keep_checkpoint,
    read_checkpoints,
    read_last_checkpoint,
    read_leaves,
    read_tree,
)
from refundry.ports import Ports
from refundry.refund import IllegalEvent, Refund, fold

READERS: Final = 4
PAGE: Final = 500
"""How many events or refunds a walk over the whole store holds in memory."""

_EVENTS_OF: Final = """SELECT rowid, originator_version, topic, state FROM stored_events WHERE originator_id=?
    ORDER BY originator_version"""
_LOG: Final = """SELECT rowid, originator_id, originator_version, topic, state FROM stored_events WHERE rowid>?
    ORDER BY rowid LIMIT ?"""
_DUE: Final = """SELECT id FROM refund_index WHERE due_at<=? AND (lease_until IS NULL OR lease_until<=?)
    AND account NOT IN (SELECT account FROM refund_index WHERE blocks_account = 1) ORDER BY due_at LIMIT ?"""
_WAITING: Final = """SELECT count(*), min(max(due_at, coalesce(lease_until, due_at))) FROM refund_index
    WHERE due_at IS NOT NULL AND account NOT IN (SELECT account FROM refund_index WHERE blocks_account = 1)"""
_IDS: Final = """SELECT id FROM (SELECT DISTINCT originator_id AS id FROM stored_events WHERE originator_id>:after
    ORDER BY originator_id LIMIT :page) UNION
    SELECT id FROM (SELECT id FROM refund_index WHERE id>:after ORDER BY id LIMIT :page) ORDER BY id LIMIT :page"""
_PARKED: Final = """SELECT at, account, refund_request_id, evidence FROM unmatched_notifications
    WHERE :account IS NULL OR account=:account ORDER BY rowid LIMIT :limit"""
_ROW_OF: Final = f"SELECT {ROW} FROM refund_index WHERE id=?"  # noqa: S608 (constant columns)

_OBSERVE: Final = """INSERT OR IGNORE INTO observed
    SELECT ?, coalesce(max(rowid), 0), 0, '' FROM stored_events"""
_TAKE_OBSERVER: Final = """UPDATE observed SET lease_until=?, lease_holder=?
    WHERE observer=? AND (lease_holder=? OR lease_until<=?)"""

MAX_EVENTS: Final = 500
MAX_BYTES: Final = 256 * 1024
"""A group of more makes everybody in it wait longer and saves nothing more."""

T = TypeVar("T")


class SqliteJournal:
    """A `Journal` in one SQLite file. Make it with `SqliteJournal.open`."""

    def __init__(self, path: Path, recorder: Recorder, ports: Ports) -> None:
        self.path = path
        self._recorder = recorder
        self._ports = ports
        self._writer: Grouped[Change, Sequence[int]] = Grouped("writer", self._commit, _share)
        self._readers = ThreadPoolExecutor(max_workers=READERS, thread_name_prefix="refundry-reader")
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._failed = False

    @classmethod
    async def open(cls, path: str | Path, ports: Ports | None = None) -> "SqliteJournal":
        """Open the store at `path`, or make it.

        Raises `ConfigError` if the place, the file or a setting cannot be used, `StoreError` if the database fails.
        """
        recorder = await asyncio.to_thread(open_recorder, path)
        return cls(Path(path), recorder, ports or Ports())

    async def close(self) -> None:
        """Finish what was asked and let go of the store."""
        await self._writer.close()
        await asyncio.to_thread(self._readers.shutdown)
        for connection in self._connections:
            connection.close()
        self._recorder.datastore.close()

    # Writing.

    async def save(self, write: Write) -> Sequence[Recorded]:
        """Make it durable, in one commit with everything else that waits, then return what was recorded."""
        change = Change.of(write, self._ports.random)
        positions = await self._writer.submit(change)
        return [
            Recorded(position, write.refund.id, stored.originator_version, event)
            for position, stored, event in zip(positions, change.stored, write.events, strict=True)
        ]

    def _commit(self, changes: Sequence[Change]) -> Sequence[Sequence[int] | BaseException]:
        return self._guarded(lambda: self._recorder.insert_changes(changes))

    def _guarded(self, function: Callable[[], T]) -> T:
        """Call a function that writes; after an I/O error write no more, since what is on the disk is not known."""
        if self._failed:
            raise StoreError("store: it failed with an I/O error before; nothing is stored until it is opened again")
        try:
            return function()
        except (sqlite3.Error, PersistenceError) as error:
            if sqlite_code(error) != sqlite3.SQLITE_IOERR:
                raise store_error(error) from error
            self._failed = True
            raise StoreError(f"store: an I/O error while writing; nothing was acknowledged: {error}") from error

    async def _transact(self, function: Callable[[sqlite3.Cursor], T]) -> T:
        """Call `function` in a write transaction of its own."""

        def transact() -> T:
            with self._recorder.datastore.transaction(commit=True) as cursor:
                return function(cursor.sqlite_cursor)

        return await self._writer.run(partial(self._guarded, transact))

    async def take_due(self, now: datetime, *, until: datetime, holder: str, limit: int) -> Sequence[str]:
        """Lease up to `limit` refunds that are due, oldest first, to `holder` until `until`; skip blocked accounts."""
        at, lease = to_micros(now), to_micros(until)

        def take(cursor: sqlite3.Cursor) -> list[str]:
            ids = [row[0] for row in cursor.execute(_DUE, (at, at, limit))]
            cursor.executemany(
                "UPDATE refund_index SET lease_until=?, lease_holder=? WHERE id=?", [(lease, holder, id) for id in ids]
            )
            return ids

        return await self._transact(take)

    async def release(self, holder: str) -> None:
        """Give back the leases of a worker or an observer that stops."""

        def release(cursor: sqlite3.Cursor) -> None:
            cursor.execute(
                "UPDATE refund_index SET lease_until=NULL, lease_holder=NULL WHERE lease_holder=?", (holder,)
            )
            cursor.execute("UPDATE observed SET lease_until=0, lease_holder='' WHERE lease_holder=?", (holder,))

        await self._transact(release)

    async def observe(self, observer: str) -> None:
        """Give an observer that is new here its place: the end of the log."""
        if not await self._rows("SELECT 1 FROM observed WHERE observer=?", observer):
            await self._transact(lambda cursor: cursor.execute(_OBSERVE, (observer,)))

    async def take_observer(self, observer: str, now: datetime, *, until: datetime, holder: str) -> int | None:
        """Lease an observer's place to `holder`, or renew the lease; None while somebody else has it."""

        def take(cursor: sqlite3.Cursor) -> int | None:
            taken = cursor.execute(_TAKE_OBSERVER, (to_micros(until), holder, observer, holder, to_micros(now)))
            if taken.rowcount == 0:
                return None
            position: int = cursor.execute("SELECT position FROM observed WHERE observer=?", (observer,)).fetchone()[0]
            return position

        return await self._transact(take)

    async def observed(self, observer: str, position: int, *, holder: str) -> None:
        """Keep that the observer took everything up to `position`, if `holder` still has its place."""
        statement = "UPDATE observed SET position=? WHERE observer=? AND lease_holder=?"
        await self._transact(lambda cursor: cursor.execute(statement, (position, observer, holder)))

    async def keep_unmatched(self, unmatched: UnmatchedNotification, evidence: bytes) -> None:
        """Keep a notification about an unknown refund, durably; a repeated one is kept once."""
        digest = bytes.fromhex(unmatched.evidence)
        row = (
            to_micros(unmatched.at),
            column_text(unmatched.account),
            column_text(unmatched.refund_request_id),
            digest,
        )

        def keep(cursor: sqlite3.Cursor) -> None:
            cursor.execute(insert_evidence(1), (digest, evidence))
            cursor.execute("INSERT OR IGNORE INTO unmatched_notifications VALUES (?,?,?,?)", row)

        await self._transact(keep)

    async def keep_checkpoint(self, stored_checkpoint: StoredCheckpoint) -> None:
        """Keep a signed checkpoint; the first of a size stays."""
        await self._transact(lambda cursor: keep_checkpoint(cursor, stored_checkpoint))

    # Reading.

    async def load(self, refund_id: str) -> Sequence[Recorded]:
        """Give all events of a refund, oldest first; empty if there is no such refund."""
        return await self._read(_load, refund_id)

    async def histories(self, refund_ids: Sequence[str]) -> Sequence[Sequence[Recorded]]:
        """Give all events of each of these refunds, in the order of the ids that are given."""
        return await self._read(_load_each, refund_ids)

    async def find(self, account: str, refund_request_id: str) -> str | None:
        """Give the id of the refund that has this request id."""
        statement = "SELECT id FROM refund_index WHERE account=? AND refund_request_id=?"
        rows = await self._rows(statement, account, refund_request_id)
        return rows[0][0] if rows else None

    async def select(self, selection: Selection, *, after: str = "", limit: int = 1000) -> Sequence[Row]:
        """Give index rows in the order of their ids, from the one after `after`."""
        statement, values = _selecting(selection)
        return [read_row(row) for row in await self._rows(statement, after, *values, limit)]

    async def waiting(self) -> tuple[int, datetime | None]:
        """Say how many refunds the workers still have to drive, and when the next of them can be taken."""
        ((count, next_at),) = await self._rows(_WAITING)
        return count, None if next_at is None else from_micros(next_at)

    async def blocked(self, account: str) -> Sequence[str]:
        """Give the ids of the refunds that block this account."""
        statement = "SELECT id FROM refund_index WHERE account=? AND blocks_account = 1 ORDER BY id"
        return [id for (id,) in await self._rows(statement, account)]

    async def unmatched(self, account: str | None = None, limit: int = 1000) -> Sequence[UnmatchedNotification]:
        """Give parked notifications, oldest first."""
        rows = await self._rows(_PARKED, account=account, limit=limit)
        return [
            UnmatchedNotification(from_micros(at), name, request_id, digest.hex())
            for at, name, request_id, digest in rows
        ]

    async def evidence(self, digest: str) -> bytes | None:
        """Give kept bytes by their SHA-256 in hex."""
        try:
            key = bytes.fromhex(digest)
        except ValueError:
            return None
        rows = await self._rows(_kept(1), key)
        return rows[0][1] if rows else None

    async def log(self, after: int = 0, limit: int | None = None) -> AsyncIterator[Recorded]:
        """Give the events of the whole log in their order, from the one after position `after`."""
        left = limit
        while left is None or left > 0:
            page = await self._read(_load_page, after, PAGE if left is None else min(PAGE, left))
            for recorded in page:
                yield recorded
            if not page:
                return
            after = page[-1].position
            left = None if left is None else left - len(page)

    async def tree(self) -> bytes:
        """Give the frontier of the tree over the log."""
        return await self._read(read_tree)

    async def leaves(self, start: int, end: int) -> Sequence[bytes]:
        """Give the hashes of the tree's leaves from `start` to before `end`; `Tampered` if one is missing."""
        return await self._read(read_leaves, start, end)

    async def checkpoints(self, after: int = -1, limit: int = 1000) -> Sequence[StoredCheckpoint]:
        """Give signed checkpoints, smallest first, from the one after the size `after`."""
        return await self._read(read_checkpoints, after, limit)

    async def last_checkpoint(self) -> StoredCheckpoint | None:
        """Give the signed checkpoint of the largest tree."""
        return await self._read(read_last_checkpoint)

    async def compare_index(self) -> AsyncIterator[Finding]:
        """Fold the whole log and give every place where the index says something else."""
        after = ""
        while ids := await self._read(_next_ids, after):
            for finding in await self._read(_compare, ids):
                yield finding
            after = ids[-1]

    async def rebuild_index(self) -> int:
        """Make the index anew from the log, some refunds at a time; give the number of refunds.

        Each step is a transaction of its own: others go on writing, and it can be stopped and begun again.
        """
        after, count = "", 0
        while ids := await self._read(_next_ids, after):
            count += await self._transact(partial(_rebuild, ids))
            after = ids[-1]
        return count

    async def erasable(self, refund_id: str) -> Erasable:
        """Find the kept bytes that this refund names and no other; this reads the whole log."""
        return await self._read(find_erasable, refund_id)

    async def erase(self, refund_id: str, version: int, position: int, notes: Mapping[str, bytes]) -> bool:
        """Overwrite kept bytes and keep a note of each; True if the write-ahead log has no copy of them either."""
        if notes:
            await self._transact(partial(overwrite, refund_id, version, position, notes))
        return await self._writer.run(partial(self._guarded, partial(empty_log, self.path)))

    async def _rows(self, statement: str, *values: Any, **named: Any) -> list[Any]:
        return await self._read(_fetch, statement, named or values)

    async def _read(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call `function(connection, ...)` in a reader's thread."""
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._readers, self._with_connection, function, arguments
            )
        except sqlite3.Error as error:
            raise store_error(error) from error
        except RuntimeError as error:
            # What a ThreadPoolExecutor says after its shutdown.
            raise StoreError("store: it is closed") from error

    def _with_connection(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        try:
            connection = self._local.connection
        except AttributeError:
            connection = self._local.connection = connect(self.path)
            self._connections.append(connection)
        return function(connection, *arguments)


def _share(change: Change) -> float:
    return max(change.count / MAX_EVENTS, change.size / MAX_BYTES)


# --- what the reader threads do --------------------------------------------------------------------------------------


def _fetch(connection: sqlite3.Connection, statement: str, values: Sequence[Any] | Mapping[str, Any]) -> list[Any]:
    return connection.execute(statement, values).fetchall()


def _load(connection: sqlite3.Connection | sqlite3.Cursor, refund_id: str) -> list[Recorded]:
    """Read all events of one refund."""
    rows = [(position, refund_id, *rest) for position, *rest in connection.execute(_EVENTS_OF, (refund_id,))]
    return _decode(connection, rows)


def _load_each(connection: sqlite3.Connection, refund_ids: Sequence[str]) -> list[list[Recorded]]:
    return [_load(connection, refund_id) for refund_id in refund_ids]


def _load_page(connection: sqlite3.Connection, after: int, limit: int) -> list[Recorded]:
    return _decode(connection, connection.execute(_LOG, (after, limit)).fetchall())


def _decode(connection: sqlite3.Connection | sqlite3.Cursor, rows: Sequence[Sequence[Any]]) -> list[Recorded]:
    """Read events with what persons wrote of them, which is looked up for all of them at once."""
    apart = {row[0]: digest for row in rows if (digest := private_digest(row[4])) is not None}
    texts = _load_private(connection, apart) if apart else {}
    return [
        Recorded(position, refund_id, version, decode(topic, state, position, texts.get(position)))
        for position, refund_id, version, topic, state in rows
    ]


def _load_private(connection: sqlite3.Connection | sqlite3.Cursor, apart: Mapping[int, bytes]) -> dict[int, bytes]:
    """Give what persons wrote by the position of its event; what was erased is left out."""
    digests = list(set(apart.values()))
    kept: dict[bytes, bytes] = dict(connection.execute(_kept(len(digests)), digests).fetchall())
    for position, digest in apart.items():
        if digest in kept:
            continue
        if connection.execute("SELECT 1 FROM erased WHERE digest=?", (digest,)).fetchone() is None:
            raise StoreError(f"store: what a person wrote of the event at position {position} is gone")
    return {position: kept[digest] for position, digest in apart.items() if digest in kept}


def _kept(count: int) -> str:
    # The marks are bound; what is erased leaves zeros behind.
    return f"""SELECT digest, bytes FROM evidence
        WHERE digest IN ({",".join("?" * count)}) AND digest NOT IN (SELECT digest FROM erased)"""  # noqa: S608


def _selecting(selection: Selection) -> tuple[str, list[Any]]:
    wanted = attrs.asdict(selection, filter=lambda field, value: field.name != "review" and value is not None)
    # `+` keeps SQLite from an index whose order is not that of the ids: an account's refunds may be millions.
    alone = "+" if "payment" not in wanted and "refund_request_id" not in wanted else ""
    conditions = ["id>?", *(f"{alone if name == 'account' else ''}{name}=?" for name in wanted)]
    if selection.review:
        conditions.append("review IS NOT NULL")
    # The names are those of `Selection`; the values are bound.
    statement = f"SELECT {ROW} FROM refund_index WHERE {' AND '.join(conditions)} ORDER BY id LIMIT ?"  # noqa: S608
    return statement, list(wanted.values())


def _next_ids(connection: sqlite3.Connection, after: str) -> list[str]:
    return [id for (id,) in connection.execute(_IDS, {"after": after, "page": PAGE})]


def _compare(connection: sqlite3.Connection, ids: Sequence[str]) -> list[Finding]:
    # One transaction, so that events and rows are of one moment.
    connection.execute("BEGIN")
    try:
        return [finding for id in ids for finding in _compare_one(connection, id)]
    finally:
        connection.execute("ROLLBACK")


def _compare_one(connection: sqlite3.Connection, id: str) -> Iterator[Finding]:
    found = connection.execute(_ROW_OF, (id,)).fetchone()
    index = None if found is None else read_row(found)
    try:
        refund = _fold(connection, id)
    except IllegalEvent as error:
        yield Finding(id, "events", str(error), "" if index is None else f"version {index.version}")
        return
    log = None if refund is None else row_of(refund)
    if log is not None and log.review is not None:
        log = attrs.evolve(log, review=column_text(log.review))
    yield from differences(log, index)


def _rebuild(ids: Sequence[str], cursor: sqlite3.Cursor) -> int:
    count = 0
    for id in ids:
        cursor.execute("DELETE FROM refund_index WHERE id=?", (id,))
        refund = _fold(cursor, id)
        if refund is not None:
            # A wrong row may have the key of this one; its own turn comes.
            cursor.execute(REPLACE_ROW, whole_row(refund))
            count += 1
    return count


def _fold(connection: sqlite3.Connection | sqlite3.Cursor, id: str) -> Refund | None:
    # What persons wrote is not in the index, so it is not looked up.
    rows = connection.execute(_EVENTS_OF, (id,)).fetchall()
    events = [decode(topic, state, position) for position, _, topic, state in rows]
    return fold(id, events) if events else None
