"""A temporary database on the disk that an export is read into, so that memory stays flat.

The rule of this module: the file has no name and is gone when the connection is closed.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final, Self

from refundry.journal.log_source import INDEX_FIELDS, IndexValues, StoredEvent
from refundry.journal.sqlite.log_reader import COLUMNS, LogReader, SqliteIndexReader
from refundry.journal.sqlite.snapshot import Snapshot

__all__ = ["SqliteScratchLog"]

_TABLES: Final = (
    "CREATE TABLE stored_events (originator_id TEXT, originator_version INTEGER, topic TEXT, state BLOB)",
    "CREATE INDEX history ON stored_events (originator_id, originator_version)",
    "CREATE TABLE audit_leaf (idx INTEGER PRIMARY KEY, position INTEGER NOT NULL, hash BLOB)",
    "CREATE TABLE proof (position INTEGER PRIMARY KEY, idx INTEGER NOT NULL, hashes BLOB NOT NULL)",
    f"CREATE TABLE refund_index ({COLUMNS.replace('id,', 'id PRIMARY KEY,', 1)}) WITHOUT ROWID",
)
_ADD_EVENT: Final = """INSERT INTO stored_events (rowid, originator_id, originator_version, topic, state)
    VALUES (?,?,?,?,?)"""
_ADD_ROW: Final = f"INSERT OR REPLACE INTO refund_index VALUES ({','.join('?' * len(INDEX_FIELDS))})"  # noqa: S608
_PROOFS: Final = """SELECT e.rowid, originator_id, originator_version, topic, state, p.idx, p.hashes
    FROM stored_events e JOIN proof p ON p.position = e.rowid ORDER BY e.rowid"""


class _BuiltIndex(SqliteIndexReader):
    """An index that is built from the states it is asked about."""

    def rows_of(self, states: Sequence[IndexValues]) -> Sequence[IndexValues]:
        """Keep these states as index rows, and return them."""
        self._snapshot.connection.executemany(_ADD_ROW, states)
        return states


class SqliteScratchLog(LogReader):
    """A `ScratchLog` on SQLite. Make it with `SqliteScratchLog.create`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(Snapshot(connection))
        self._connection = connection
        self.index = _BuiltIndex(self._snapshot)

    @classmethod
    @contextmanager
    def create(cls) -> Iterator[Self]:
        """Create an empty log, which is removed at the end."""
        connection = sqlite3.connect("", isolation_level=None)
        try:
            connection.execute("PRAGMA cache_size=-65536")
            for statement in ("BEGIN", *_TABLES):
                connection.execute(statement)
            yield cls(connection)
        finally:
            connection.close()

    def add_event(self, event: StoredEvent, idx: int, proof: bytes | None = None) -> None:
        """Add an event with its index in the tree, and, for a part of a log, the hashes of its proof."""
        # A number that no log can contain is left out, and its absence is found.
        with suppress(OverflowError):
            self._connection.execute(_ADD_EVENT, event)
            if proof is None:
                self._connection.execute("INSERT INTO audit_leaf VALUES (?,?,NULL)", (idx, event[0]))
            else:
                self._connection.execute("INSERT INTO proof VALUES (?,?,?)", (event[0], idx, proof))

    def add_hashes(self, start: int, hashes: Sequence[bytes]) -> None:
        """Add the hashes of the leaves from an index on."""
        rows = [(hash, idx) for idx, hash in enumerate(hashes, start)]
        self._connection.executemany("UPDATE audit_leaf SET hash=? WHERE idx=?", rows)

    def proofs(self) -> Iterator[tuple[StoredEvent, int, bytes]]:
        """Yield each event of a part with its index and the hashes of its proof."""
        for *event, idx, hashes in self._snapshot.each(_PROOFS):
            yield tuple(event), idx, hashes
