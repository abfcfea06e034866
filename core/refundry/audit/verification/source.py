"""What an audit reads: a store's file, or an export without any database.

The rule of this module: it reads and never writes, not even a file beside the database, and it believes nothing: what
the tables say is handed on as it stands. Memory is flat, whatever the length of the log.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, Self, TypeVar

from refundry.audit.verification.invariants import ROW as LEDGER_ROW
from refundry.errors import ConfigError, Invalid, StoreError, UnknownRefund
from refundry.journal.codec import decode
from refundry.journal.index import differences, row_of
from refundry.journal.sqlite.recorder import APPLICATION_ID, FORMAT, Datastore, Recorder, pragma, store_error
from refundry.journal.sqlite.rows import ROW, read_row
from refundry.refund import fold

__all__ = ["BATCH", "OTHER_TABLES", "Event", "Leaf", "Source", "SqliteSource", "in_batches", "place_of", "store_of"]

OTHER_TABLES: Final = "the tables and indexes are not those that Refundry makes"
BATCH: Final = 512
"""How many events are held at a time: a power of two, so that each batch is a subtree, and few enough for the cache."""
_CONTENTS: Final = 64
_ASKED: Final = 512

Event = tuple[int, str, int, str, bytes]
"""Position, refund id, version, topic, state: as stored. What somebody changed may be of any type."""
Leaf = tuple[int, int, bytes]
"""Index, position, hash."""
T = TypeVar("T")


class Source(Protocol):
    """A whole log with everything that it names."""

    indexed: bool
    """It has an index and the state of the tree of its own, which must be those of the log."""

    def count(self) -> int:
        """Give about how many events there are, for showing progress."""

    def events(self) -> Iterator[Sequence[Event]]:
        """Give the events in their order, `BATCH` at a time."""

    def leaves(self, start: int = 0) -> Iterator[Sequence[Leaf]]:
        """Give the stored leaves in their order from an index on, `BATCH` at a time."""

    def hashes(self, start: int, count: int) -> Sequence[bytes] | None:
        """Give so many leaves' hashes from an index on; None where one is missing or not of the event at its place."""

    def tree(self) -> tuple[int, bytes] | None:
        """Give the size and the frontier that are stored; None where none are kept."""

    def checkpoints(self) -> Iterator[tuple[int, bytes]]:
        """Give the kept checkpoints by the size under which they are kept, smallest first."""

    def contents(self) -> Iterator[Sequence[tuple[bytes, bytes]]]:
        """Give all kept bytes with the digest under which they are kept."""

    def missing(self, digests: Sequence[bytes]) -> Sequence[bytes]:
        """Give those of the digests under which nothing is kept."""

    def tombstones(self) -> Iterator[tuple[bytes, str, bytes]]:
        """Give what is said to be erased: digest, refund id, signed note."""

    def condition(self) -> Iterator[tuple[str, str]]:
        """Say what is wrong with the storage itself: where, and a sentence."""

    def rows_of(self, accounts: Sequence[tuple[Any, ...]]) -> Sequence[tuple[Any, ...]]:
        """Give the index rows with the ids of these; where no index is kept, keep these in one."""

    def history(self, refund_id: str, before: int) -> Sequence[tuple[str, bytes]]:
        """Give topic and state of a refund's events that stand before a position."""

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the index."""

    def ids(self) -> Iterator[str]:
        """Give the ids of all refunds that are in the log or in the index."""

    def compared(self, refund_id: str) -> Iterator[tuple[str, str]]:
        """Compare a refund's index row with its fold: give each field that differs, and a sentence."""


def place_of(event: Event) -> str:
    """Say where an event stands."""
    return f"position {event[0]}, refund {event[1]}, version {event[2]}"


def in_batches(rows: Iterator[T], count: int = BATCH) -> Iterator[Sequence[T]]:
    """Cut a stream into lists."""
    batch: list[T] = []
    for row in rows:
        batch.append(row)
        if len(batch) == count:
            yield batch
            batch = []
    if batch:
        yield batch


# --- a store's file ---------------------------------------------------------------------------------------------------

_EVENTS: Final = """SELECT rowid, originator_id, originator_version, topic, state FROM stored_events
    WHERE rowid>=? ORDER BY rowid"""
_LEAVES: Final = "SELECT idx, position, hash FROM audit_leaf WHERE idx>=? ORDER BY idx"
_LEAST: Final = -(2**63)
_FIRST: Final = "SELECT min(idx) FROM audit_leaf"
_HASHES: Final = """SELECT hash FROM audit_leaf WHERE idx>=? AND idx<? AND position=idx+1 AND typeof(hash)='blob'
    ORDER BY idx"""
_HISTORY: Final = """SELECT rowid, topic, state FROM stored_events WHERE originator_id=? ORDER BY originator_version"""
_SHAPE: Final = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type, name"
_LOST: Final = """SELECT DISTINCT evidence FROM unmatched_notifications
    WHERE evidence NOT IN (SELECT digest FROM evidence)
    AND evidence NOT IN (SELECT digest FROM erased)"""
_LEASES: Final = """SELECT id FROM refund_index WHERE (lease_until IS NULL) <> (lease_holder IS NULL)
    OR (lease_until IS NOT NULL AND due_at IS NULL) OR typeof(lease_until) NOT IN ('null', 'integer')
    OR typeof(lease_holder) NOT IN ('null', 'text') LIMIT 10"""


def store_of(path: Path) -> Path:
    """Check that this names a file; `ConfigError` otherwise."""
    if not path.is_file():
        raise ConfigError("store", f"there is no file {path}")
    return path


class SqliteSource:
    """A store's file, read in one snapshot. Make it with `SqliteSource.open`."""

    indexed = True

    def __init__(self, connection: sqlite3.Connection, *, deep: bool = False) -> None:
        self._connection = connection
        self._deep = deep

    @classmethod
    @contextmanager
    def open(cls, path: Path, *, deep: bool = False) -> Iterator[Self]:
        """Open a store for reading, also one in a folder that cannot be written to.

        With `deep`, SQLite compares each of its own indexes with its table as well, which takes longer than the rest.

        Raises `ConfigError` for what is no store of this version, `StoreError` for one that cannot be read, or that
        somebody began to write to while it was read as a file at rest.
        """
        stamp = _stamp(store_of(path))
        connection, at_rest = _connect(path)
        try:
            yield cls(connection, deep=deep)
            if at_rest and (_stamp(path) != stamp or _wal(path).exists()):
                raise StoreError("store: somebody wrote to it while it was read; run it again")
        finally:
            connection.close()

    @property
    def connection(self) -> sqlite3.Connection:
        """Give the snapshot itself, for whoever reads more of it."""
        return self._connection

    def count(self) -> int:
        """Give the position of the newest event."""
        last: int | None = self._connection.execute("SELECT max(rowid) FROM stored_events").fetchone()[0]
        return last or 0

    def events(self) -> Iterator[Sequence[Event]]:
        """Give the events in their order."""
        # Also those at positions below 1, where somebody may have hidden some.
        return self._rows(_EVENTS, _LEAST)

    def leaves(self, start: int = 0) -> Iterator[Sequence[Leaf]]:
        """Give the leaves in their order from an index on."""
        return self._rows(_LEAVES, start or _LEAST)

    def hashes(self, start: int, count: int) -> Sequence[bytes] | None:
        """Give so many leaves' hashes from an index on; None where one is missing, no hash, or another event's."""
        if not start and self._connection.execute(_FIRST).fetchone() != (0,):
            return None
        # An index stands once: as many as are wanted, between these bounds, are those.
        found = self._connection.execute(_HASHES, (start, start + count)).fetchall()
        return [hash for (hash,) in found] if len(found) == count else None

    def _rows(self, statement: str, start: int) -> Iterator[Sequence[Any]]:
        """Read rows by their first column; a text that is not UTF-8 is handed on with its bytes escaped."""
        cursor = self._connection.execute(statement, (start,))
        try:
            while rows := cursor.fetchmany(BATCH):
                yield rows
                start = rows[-1][0] + 1
        except sqlite3.OperationalError as error:
            if "UTF-8" not in str(error):
                raise
            self._connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
            cursor = self._connection.execute(statement, (start,))
            while rows := cursor.fetchmany(BATCH):
                yield rows

    def tree(self) -> tuple[int, bytes] | None:
        """Give the stored size and frontier; None if they are gone, or more than one."""
        rows = self._connection.execute("SELECT size, frontier FROM audit_tree").fetchall()
        return rows[0] if len(rows) == 1 else None

    def checkpoints(self) -> Iterator[tuple[int, bytes]]:
        """Give the kept checkpoints."""
        return iter(self._connection.execute("SELECT size, note FROM audit_checkpoint ORDER BY size"))

    def contents(self) -> Iterator[Sequence[tuple[bytes, bytes]]]:
        """Give all evidence and private texts that are not erased."""
        cursor = self._connection.execute("SELECT digest, bytes FROM evidence")
        if self._connection.execute("SELECT 1 FROM erased LIMIT 1").fetchone() is not None:
            cursor.execute("SELECT digest, bytes FROM evidence WHERE digest NOT IN (SELECT digest FROM erased)")
        while rows := cursor.fetchmany(_CONTENTS):
            yield rows

    def missing(self, digests: Sequence[bytes]) -> Sequence[bytes]:
        """Give those under which nothing is kept."""
        lost: list[bytes] = []
        for start in range(0, len(digests), _ASKED):
            some = digests[start : start + _ASKED]
            # Always as many, so that the statement is prepared once.
            asked = [*some, *[some[0]] * (_ASKED - len(some))]
            if self._connection.execute(_KEPT, asked).fetchone()[0] != len(set(some)):
                lost += [each for each in some if not self._connection.execute(_ONE, {"digest": each}).fetchone()]
        return lost

    def chosen(self, account: str | None, payment: str | None, refund: str | None) -> Iterator[str]:
        """Give the ids of the refunds of an account, a payment, or one, as the index has them."""
        wanted = {"account": account, "payment": payment, "refund": refund}
        return (id for (id,) in self._connection.execute(_CHOSEN, wanted))

    def named(self, id: str, account: str | None) -> str:
        """Give Refundry's id of a refund by either of its ids; `UnknownRefund`, or `Invalid` if there are several."""
        found = [row[0] for row in self._connection.execute(_NAMED, {"id": id, "account": account})]
        if not found:
            raise UnknownRefund(f"there is no refund {id!r}")
        if len(found) > 1:
            raise Invalid("--account", f"several accounts have a refund {id!r}; name one")
        return str(found[0])

    def events_of(self, refund_id: str) -> Sequence[tuple[int, int, str, bytes]]:
        """Give position, version, topic and state of a refund's events."""
        return self._connection.execute(_EVENTS_OF, (refund_id,)).fetchall()

    def content(self, digest: bytes) -> tuple[bytes | None, bytes | None]:
        """Give what is kept under a digest, and the note that says that it was erased."""
        kept = self._connection.execute("SELECT bytes FROM evidence WHERE digest=?", (digest,)).fetchone()
        note = self._connection.execute("SELECT note FROM erased WHERE digest=?", (digest,)).fetchone()
        return None if kept is None else kept[0], None if note is None else note[0]

    def tombstones(self) -> Iterator[tuple[bytes, str, bytes]]:
        """Give what is said to be erased."""
        return iter(self._connection.execute("SELECT digest, refund_id, note FROM erased ORDER BY digest"))

    def condition(self) -> Iterator[tuple[str, str]]:
        """Compare the tables with those of this version, let SQLite look at its file, and look at the working data."""
        if self._deep:
            for (text,) in self._connection.execute("PRAGMA integrity_check(10)"):
                if text != "ok":
                    yield "file", f"SQLite finds the file damaged: {text}"
        if not self.well_formed():
            yield "tables", OTHER_TABLES
        for (id,) in self._connection.execute(_LEASES):
            yield f"refund {id}", "its lease is not one that a worker could have taken"
        for (digest,) in self._connection.execute(_LOST):
            yield "parked", f"a notification is parked whose bytes {_hex(digest)} are not kept"

    def well_formed(self) -> bool:
        """Say whether tables and indexes are those that this version makes: others could hold other types of values."""
        return _shape(self._connection) == _expected_shape()

    def rows_of(self, accounts: Sequence[tuple[Any, ...]]) -> Sequence[tuple[Any, ...]]:
        """Give the index rows with the ids of these."""
        rows = self._connection.execute(_BETWEEN, (accounts[0][0], accounts[-1][0], len(accounts))).fetchall()
        if len(rows) == len(accounts) and rows[-1][0] == accounts[-1][0]:
            # No others lie between them, as it is where refunds end in the order in which they were requested.
            return rows
        rows = []
        for start in range(0, len(accounts), _ASKED):
            asked = [account[0] for account in accounts[start : start + _ASKED]]
            rows += self._connection.execute(_ROWS, asked + asked[:1] * (_ASKED - len(asked)))
        return rows

    def history(self, refund_id: str, before: int) -> Sequence[tuple[str, bytes]]:
        """Give a refund's events that stand before a position."""
        return self._connection.execute(_BEFORE, (refund_id, before)).fetchall()

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask the index."""
        return self._connection.execute(statement).fetchmany(1_000)

    def ids(self) -> Iterator[str]:
        """Give all ids, in their order."""
        return (id for (id,) in self._connection.execute(_IDS))

    def compared(self, refund_id: str) -> Iterator[tuple[str, str]]:
        """Fold the refund as the gateway does, and compare every field of its row."""
        found = self._connection.execute(_ROW, (refund_id,)).fetchone()
        history = self._connection.execute(_HISTORY, (refund_id,)).fetchall()
        try:
            log = row_of(fold(refund_id, [decode(topic, state, at) for at, topic, state in history]))
            row = None if found is None else read_row(found)
        except Exception as error:  # what somebody changed may break anything
            yield "row", f"it cannot be compared with the log: {error}"
            return
        for each in differences(log if history else None, row):
            yield each.field, f"the log says {each.log}, the index says {each.index}"


_MARKS: Final = ",".join("?" * _ASKED)
_ROW: Final = f"SELECT {ROW} FROM refund_index WHERE id=?"  # noqa: S608 (constant columns)
_ROWS: Final = f"SELECT {LEDGER_ROW} FROM refund_index WHERE id IN ({_MARKS})"  # noqa: S608 (constant columns)
_CHOSEN: Final = """SELECT id FROM refund_index WHERE (:account IS NULL OR account=:account)
    AND (:payment IS NULL OR payment=:payment) AND (:refund IS NULL OR id=:refund) ORDER BY id"""
_NAMED: Final = """SELECT id FROM refund_index WHERE (id=:id OR refund_request_id=:id)
    AND (:account IS NULL OR account=:account) ORDER BY id=:id DESC LIMIT 2"""
_EVENTS_OF: Final = """SELECT rowid, originator_version, topic, state FROM stored_events WHERE originator_id=?
    ORDER BY originator_version"""
_BETWEEN: Final = f"SELECT {LEDGER_ROW} FROM refund_index WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?"  # noqa: S608
_BEFORE: Final = """SELECT topic, state FROM stored_events WHERE originator_id=? AND rowid<?
    ORDER BY originator_version"""
_IDS: Final = "SELECT originator_id FROM stored_events UNION SELECT id FROM refund_index ORDER BY 1"
_KEPT: Final = f"SELECT count(*) FROM evidence WHERE digest IN ({_MARKS})"  # noqa: S608 (marks are bound)
_ONE: Final = "SELECT 1 FROM evidence WHERE digest=:digest UNION ALL SELECT 1 FROM erased WHERE digest=:digest"


def _hex(digest: object) -> str:
    return digest.hex() if isinstance(digest, bytes) else repr(digest)


def _wal(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _connect(path: Path) -> tuple[sqlite3.Connection, bool]:
    """Open a snapshot; say whether nobody has the file open, so that it was opened as one at rest."""
    at_rest = not _wal(path).exists()
    try:
        try:
            return _snapshot(path, "immutable=1" if at_rest else "mode=ro"), at_rest
        except sqlite3.OperationalError:
            # In a folder that cannot be written to, a log of changes that holds nothing is in the way.
            if at_rest or _wal(path).stat().st_size:
                raise
            return _snapshot(path, "immutable=1"), False
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise store_error(error) from error


# Everything is read once and in its order: a small cache that stays in the processor's is faster than a large one.
_SETTINGS: Final = ("temp_store=FILE", "cache_size=-4096", "cell_size_check=ON", "trusted_schema=OFF", "mmap_size=0")


def _snapshot(path: Path, how: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, isolation_level=None, timeout=30)
    try:
        for setting in _SETTINGS:
            connection.execute(f"PRAGMA {setting}")
        connection.execute("BEGIN")
        if pragma(connection, "application_id") != APPLICATION_ID:
            raise ConfigError("store", "this SQLite database is not a Refundry store")
        version = pragma(connection, "user_version")
        if version != FORMAT:
            raise ConfigError(
                "store", f"is in format {version}; this version of Refundry reads and writes format {FORMAT}"
            )
        return connection
    except BaseException:
        connection.close()
        raise


def _shape(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
    rows = connection.execute(_SHAPE).fetchall()
    return [(*row, " ".join(str(sql).replace(" IF NOT EXISTS", "").split())) for *row, sql in rows]


def _expected_shape() -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(":memory:")
    try:
        for statement in Recorder(Datastore(Path("refunds.db"))).create_table_statements:
            connection.execute(statement)
        return _shape(connection)
    finally:
        connection.close()
