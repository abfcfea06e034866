"""Reading a SQLite store: events, the index, evidence and unmatched notifications.

The rule of this module: nothing in it writes. Reads run in a few threads, each with its own connection, and the event
loop never waits for the disk.
"""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from refundry.errors import StoreError, UnreadableEvent
from refundry.journal import (
    AccountRecord,
    Backlog,
    Postponed,
    Recorded,
    Row,
    Selection,
    StoreRecord,
    UnmatchedNotification,
    WorkerRecord,
)
from refundry.journal.sqlite import index, working
from refundry.journal.sqlite.connections import ReadConnection, check_readable, connect_to_read
from refundry.journal.sqlite.events import load, load_each, load_entries, load_page, read_evidence
from refundry.journal.sqlite.recorder import store_error
from refundry.journal.sqlite.rows import from_micros

READERS: Final = 4
_TRIES: Final = 3
_UNMATCHED: Final = """SELECT at, account, refund_request_id, evidence FROM unmatched_notifications
    WHERE :account IS NULL OR account=:account ORDER BY rowid LIMIT :limit"""

T = TypeVar("T")


class SqliteReader:
    """A `StoreReader` on one SQLite file. Open it with `open_to_read`; `SqliteJournal` is one that also writes."""

    def __init__(self, path: Path, connect: Callable[[], sqlite3.Connection]) -> None:
        self.path = path
        self._connect = connect
        self._readers = ThreadPoolExecutor(max_workers=READERS, thread_name_prefix="refundry-reader")
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []

    @classmethod
    async def open_to_read(cls, path: Path) -> "SqliteReader":
        """Open the store at `path`, which must exist, and write nothing to it.

        Raises `ConfigError` if there is no store or it cannot be used, `StoreError` if the database fails.
        """
        await asyncio.to_thread(check_readable, path)
        return SqliteReader(path, partial(connect_to_read, path))

    async def close(self) -> None:
        """Finish pending reads and close the connections."""
        await asyncio.to_thread(self._readers.shutdown)
        for connection in self._connections:
            connection.close()

    # --- events -------------------------------------------------------------------------------------------------------

    async def load(self, refund_id: str) -> Sequence[Recorded]:
        """Return all events of a refund, oldest first; empty if there is no such refund."""
        return await self._read(load, refund_id)

    async def load_entries(self, refund_id: str) -> Sequence[Recorded | UnreadableEvent]:
        """Return what `load` returns, with an error in the place of each event that cannot be read."""
        return await self._read(load_entries, refund_id)

    async def histories(self, refund_ids: Sequence[str]) -> Sequence[Sequence[Recorded]]:
        """Return all events of each of these refunds, in the order of the given ids."""
        return await self._read(load_each, refund_ids)

    async def log(self, after: int = 0, limit: int | None = None) -> AsyncIterator[Recorded]:
        """Yield the events of the whole log in order, starting after position `after`."""
        async for entry in self.entries(after, limit):
            if isinstance(entry, UnreadableEvent):
                raise entry
            yield entry

    async def entries(self, after: int = 0, limit: int | None = None) -> AsyncIterator[Recorded | UnreadableEvent]:
        """Yield what `log` yields; in the place of an event that cannot be read, yield the error."""
        left = limit
        while left is None or left > 0:
            page = await self._read(load_page, after, index.PAGE if left is None else min(index.PAGE, left))
            for entry in page:
                yield entry
            if not page:
                return
            after = page[-1].position
            left = None if left is None else left - len(page)

    # --- the index ----------------------------------------------------------------------------------------------------

    async def find(self, account: str, refund_request_id: str) -> str | None:
        """Return the id of the refund that has this request id."""
        statement = "SELECT id FROM refund_index WHERE account=? AND refund_request_id=?"
        rows = await self._rows(statement, account, refund_request_id)
        return rows[0][0] if rows else None

    async def version(self, refund_id: str) -> int | None:
        """Return how many events a refund has; None if there is no such refund."""
        rows = await self._rows("SELECT version FROM refund_index WHERE id=?", refund_id)
        return rows[0][0] if rows else None

    async def select(self, selection: Selection, *, after: str = "", limit: int = 1000) -> Sequence[Row]:
        """Return index rows in the order of their ids, starting after the id `after`."""
        return await self._read(index.select_rows, selection, after, limit)

    async def postponed(self, refund_id: str) -> Postponed | None:
        """Return until when a refund was put off since its newest event; None if it was not."""
        statement = "SELECT postponed_until, repeats FROM refund_index WHERE id=? AND postponed_until IS NOT NULL"
        rows = await self._rows(statement, refund_id)
        return Postponed(from_micros(rows[0][0]), rows[0][1]) if rows else None

    async def blocked(self, account: str) -> Sequence[str]:
        """Return the ids of the refunds that block this account."""
        statement = "SELECT id FROM refund_index WHERE account=? AND blocks_account = 1 ORDER BY id"
        return [id for (id,) in await self._rows(statement, account)]

    async def waiting(self, account: str | None = None) -> int:
        """Return how many refunds, or refunds of an account, the workers still have to process."""
        return await self._read(index.waiting, account)

    async def next_due(self, after: datetime) -> datetime | None:
        """Return when the next refund will be due after a moment, whether or not it is leased or blocked."""
        return await self._read(index.next_due, after)

    # --- working data -------------------------------------------------------------------------------------------------

    async def account_records(self, account: str | None = None) -> Sequence[AccountRecord]:
        """Return how the calls of all accounts, or of one, went."""
        return await self._read(working.read_accounts, account)

    async def backlog(self) -> Sequence[Backlog]:
        """Return what waits in each account that has open or blocking refunds."""
        return await self._read(working.read_backlog)

    async def workers(self) -> Sequence[WorkerRecord]:
        """Return the workers that run or were killed within a day, oldest first."""
        return await self._read(working.read_workers)

    async def store_record(self) -> StoreRecord:
        """Return how much there is in the store, and how far the log was signed and delivered."""
        return await self._read(working.read_store)

    # --- evidence and unmatched notifications -------------------------------------------------------------------------

    async def evidence(self, digest: str) -> bytes | None:
        """Return the stored bytes with this SHA-256 in hex; None if they are not stored, or were erased."""
        try:
            key = bytes.fromhex(digest)
        except ValueError:
            return None
        return (await self._read(read_evidence, [key])).get(key)

    async def unmatched(self, account: str | None = None, limit: int = 1000) -> Sequence[UnmatchedNotification]:
        """Return unmatched notifications, oldest first."""
        rows = await self._rows(_UNMATCHED, account=account, limit=limit)
        return [
            UnmatchedNotification(from_micros(at), name, request_id, digest.hex())
            for at, name, request_id, digest in rows
        ]

    # --- threads ------------------------------------------------------------------------------------------------------

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
            # A ThreadPoolExecutor raises it after its shutdown.
            raise StoreError("store: it is closed") from error

    def _with_connection(self, function: Callable[..., T], arguments: tuple[Any, ...]) -> T:
        for _ in range(_TRIES):
            connection = self._connection()
            try:
                result = function(connection, *arguments)
            except sqlite3.Error:
                if not _is_outdated(connection):
                    raise
            else:
                if not _is_outdated(connection):
                    return result
            # Another process wrote to a store that was opened as one at rest: open it again.
            del self._local.connection
        raise StoreError("store: other processes wrote to it while it was read; try again")

    def _connection(self) -> sqlite3.Connection:
        try:
            found: sqlite3.Connection = self._local.connection
        except AttributeError:
            found = self._local.connection = self._connect()
            self._connections.append(found)
        return found


def _is_outdated(connection: sqlite3.Connection) -> bool:
    return isinstance(connection, ReadConnection) and connection.outdated()


def _fetch(connection: sqlite3.Connection, statement: str, values: Sequence[Any] | Mapping[str, Any]) -> list[Any]:
    return connection.execute(statement, values).fetchall()
