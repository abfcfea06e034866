"""The tables in SQLite, on eventsourcing's recorder: how a store is created, opened, checked and written to.

The rule of this module: synchronous, and every write transaction takes the write lock at its start, contains everything
that belongs together, and is on the disk when it returns. A setting that would lose acknowledged writes in a power
failure is refused, not warned about.
"""

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from eventsourcing.persistence import PersistenceError, StoredEvent
from eventsourcing.sqlite import (
    SQLiteApplicationRecorder,
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteCursor,
    SQLiteDatastore,
    SQLiteTransaction,
)

from refundry.errors import ConfigError, StoreError
from refundry.journal.sqlite import working
from refundry.journal.sqlite.admission import admit_one, admit_together
from refundry.journal.sqlite.rows import (
    NEEDS_REVIEW,
    STATEMENTS,
    WORK_AT,
    Change,
    in_many_rows,
    insert_evidence,
)
from refundry.journal.sqlite.tree import TreeWriter

APPLICATION_ID: Final = 0x52466479
"""In the header of every store ("RFdy"), so that no other database is mistaken for one."""
FORMAT: Final = 3
"""The version of the tables below."""
LOCK_TIMEOUT: Final = 30.0
"""How many seconds a write waits for another process."""
WRITER_CACHE: Final = 64 * 1024
READER_CACHE: Final = 8 * 1024
"""Kibibytes of pages in memory, for each connection."""
_SETTINGS: Final = (
    "synchronous=FULL",
    "fullfsync=1",  # without it, fsync on macOS leaves the data in the disk's own cache
    "mmap_size=0",  # an I/O error must be an error, not a signal
    "secure_delete=1",  # what is moved or removed leaves no copy behind, so erasing it is sufficient
    "wal_autocheckpoint=4000",  # 16 MiB: a page that changes in every commit is copied a quarter as often
)


_TABLES: Final = (
    """CREATE TABLE refund_index (
        id TEXT PRIMARY KEY, version INTEGER NOT NULL, account TEXT NOT NULL, refund_request_id TEXT NOT NULL,
        payment TEXT NOT NULL, currency TEXT NOT NULL, exponent INTEGER NOT NULL, amount INTEGER NOT NULL,
        payment_total INTEGER, retry_of TEXT, status TEXT NOT NULL, review TEXT, due_at INTEGER,
        blocks_account INTEGER NOT NULL, requested_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
        payment_alias TEXT, corrects_total INTEGER NOT NULL,
        -- Working data, which do not follow from the log. Every event of the refund clears them.
        lease_until INTEGER, lease_holder TEXT, postponed_until INTEGER, repeats INTEGER NOT NULL DEFAULT 0,
        unreadable TEXT, UNIQUE (account, refund_request_id)) WITHOUT ROWID""",
    f"CREATE INDEX refund_due ON refund_index (account, {WORK_AT}, lease_until) WHERE due_at IS NOT NULL",
    "CREATE INDEX refund_payment ON refund_index (account, payment)",
    "CREATE INDEX refund_alias ON refund_index (account, payment_alias) WHERE payment_alias IS NOT NULL",
    "CREATE UNIQUE INDEX refund_retry ON refund_index (retry_of) WHERE retry_of IS NOT NULL",
    f"CREATE INDEX refund_review ON refund_index (id) WHERE {NEEDS_REVIEW}",
    "CREATE INDEX refund_blocks ON refund_index (account) WHERE blocks_account = 1",
    "CREATE INDEX refund_lease ON refund_index (lease_holder) WHERE lease_holder IS NOT NULL",
    # With a rowid: bytes of any length stay in the order of arrival, and only the digests are sorted.
    "CREATE TABLE evidence (digest BLOB PRIMARY KEY, bytes BLOB NOT NULL)",
    # By the digest of what the provider signed, so that copies that differ in anything else are stored once.
    """CREATE TABLE unmatched_notifications (
        at INTEGER NOT NULL, account TEXT NOT NULL, refund_request_id TEXT NOT NULL, evidence BLOB NOT NULL,
        signed BLOB NOT NULL, UNIQUE (account, refund_request_id, signed))""",
    # The tree over the log (see `refundry.audit`): a leaf for each event, and the state of the tree in one row.
    "CREATE TABLE audit_leaf (idx INTEGER PRIMARY KEY, position INTEGER NOT NULL, hash BLOB NOT NULL)",
    "CREATE TABLE audit_tree (one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, frontier BLOB NOT NULL)",
    "CREATE TABLE audit_checkpoint (size INTEGER PRIMARY KEY, at INTEGER NOT NULL, note BLOB NOT NULL)",
    # What was erased, by the digest that an event names: a signed note states when and why.
    "CREATE TABLE erased (digest BLOB PRIMARY KEY, refund_id TEXT NOT NULL, note BLOB NOT NULL)",
    """CREATE TABLE observed (
        observer TEXT PRIMARY KEY, position INTEGER NOT NULL, lease_until INTEGER NOT NULL, lease_holder TEXT NOT NULL)
        WITHOUT ROWID""",
)


# --- connections -----------------------------------------------------------------------------------------------------


def connect(path: Path, cache: int = READER_CACHE) -> sqlite3.Connection:
    """Open a connection with the settings that every promise depends on, and check them."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",  # never creates a file: an empty one would look like a new store
        uri=True,
        timeout=LOCK_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=STATEMENTS,
    )
    try:
        for setting in (*_SETTINGS, f"cache_size=-{cache}"):
            connection.execute(f"PRAGMA {setting}")
        check_settings(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def pragma(connection: sqlite3.Connection, name: str) -> Any:
    """Read one of SQLite's settings."""
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def check_settings(connection: sqlite3.Connection, journal_mode: str | None = "wal") -> None:
    """Raise `ConfigError` for a connection that could lose acknowledged writes, or a database that is not a store.

    Without `journal_mode`, it may be any: SQLite reports another one for a file that was opened as unchanging.
    """
    if pragma(connection, "application_id") != APPLICATION_ID:
        raise ConfigError("store", "this SQLite database is not a Refundry store")
    version = pragma(connection, "user_version")
    if version != FORMAT:
        raise ConfigError("store", f"is in format {version}; this version of Refundry reads and writes format {FORMAT}")
    mode = pragma(connection, "journal_mode")
    if journal_mode not in (None, mode):
        raise ConfigError("store", f"journal_mode is {mode}; it must be wal, or writers and readers block each other")
    if pragma(connection, "synchronous") < 2:
        raise ConfigError("store", "synchronous is less than FULL; acknowledged refunds could be lost in a power cut")


class _Transaction(SQLiteTransaction):
    """Takes the write lock at its start, and checks after its commit that the file is still the store's.

    A reader that became a writer later could fail with SQLITE_BUSY_SNAPSHOT. A file that was removed or replaced would
    take every write without an error, and lose it when the process ends.
    """

    connection: "_Connection"

    def __enter__(self) -> SQLiteCursor:
        cursor = self.connection.cursor()
        cursor.execute("BEGIN IMMEDIATE" if self.commit else "BEGIN")
        return cursor

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, traceback)
        finally:
            # A commit that failed can leave its transaction open.
            self.connection.rollback()
        if self.commit and kind is None:
            self.connection.check_place()


FileId = tuple[int, int]
"""Device and inode of a file."""


def file_id(path: Path) -> FileId | None:
    """Return the identity of the file at `path`; None if it does not exist."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


class _Connection(SQLiteConnection):
    def __init__(self, connection: sqlite3.Connection, max_age: float | None, path: Path, file: FileId | None) -> None:
        super().__init__(connection, max_age=max_age)
        self._files: tuple[FileId | None, FileId | None]
        self._path = path
        self._log = path.with_name(f"{path.name}-wal")
        self._files = (file, None)

    def check_place(self) -> None:
        """Raise `StoreError` if a file of the store is not the one that was opened; call it after a commit."""
        file, log = self._files
        # The write-ahead log is there from the first commit on, and stays while this connection is open.
        self._files = file, log or file_id(self._log)
        if (file_id(self._path), file_id(self._log)) != self._files:
            raise StoreError(
                f"store: {self._path} was removed or replaced while it was open; the last write may be lost, "
                "and nothing more is stored: stop every process, put the store back, and start them again"
            )

    @contextmanager
    def transaction(self, *, commit: bool) -> Iterator[SQLiteCursor]:
        with _Transaction(self, commit=commit) as cursor, cursor:
            yield cursor


class _Pool(SQLiteConnectionPool):
    file: FileId | None = None
    """The file of the first connection: a later one must not open another."""

    def _create_connection(self) -> SQLiteConnection:
        path = Path(self.db_name)
        connection = connect(path, WRITER_CACHE)
        connection.row_factory = sqlite3.Row
        self.file = self.file or file_id(path)
        return _Connection(connection, self.max_age, path, self.file)


class Datastore(SQLiteDatastore):
    """The library's datastore with these connections."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), originator_id_type="text")
        self.pool = _Pool(db_name=str(path), pool_size=2)


# --- the recorder ----------------------------------------------------------------------------------------------------


class _OneByOne(Exception):
    """The group cannot be written as one."""


class Recorder(SQLiteApplicationRecorder):
    """The library's recorder, with evidence, index rows and the audit's tree in the transaction of the events."""

    def __init__(self, datastore: SQLiteDatastore) -> None:
        super().__init__(datastore)
        self._tree = TreeWriter()

    def construct_create_table_statements(self) -> list[str]:
        """Return the library's tables and the store's own."""
        return [*super().construct_create_table_statements(), *_TABLES, *working.TABLES]

    def insert_changes(self, changes: Sequence[Change]) -> Sequence[Sequence[int] | Exception]:
        """Write a group in one commit; return the positions in the log of each change, or why it was refused."""
        try:
            return self._insert_together(changes)
        except Exception as error:
            code = sqlite_code(error)
            if code not in (0, sqlite3.SQLITE_CONSTRAINT):
                raise
            # One of the changes failed, not the database: write them one by one, so that it fails alone.
            if len(changes) > 1:
                return [self.insert_changes([change])[0] for change in changes]
            disagree = StoreError(f"store: the index and the log disagree; rebuild the index ({error})")
            return [disagree if code else error]

    def _insert_together(self, changes: Sequence[Change]) -> Sequence[Sequence[int] | Exception]:
        if len(changes) > 1:
            # If a change is refused, only writing them one by one shows which one and why.
            with suppress(_OneByOne), self.datastore.transaction(commit=True) as c:
                if not admit_together(c.sqlite_cursor, changes):
                    raise _OneByOne
                return self._positions(c, changes, [None] * len(changes))
        with self.datastore.transaction(commit=True) as c:
            return self._positions(c, changes, [admit_one(c.sqlite_cursor, change) for change in changes])

    def _positions(
        self, c: SQLiteCursor, changes: Sequence[Change], refusals: Sequence[Exception | None]
    ) -> Sequence[Sequence[int] | Exception]:
        admitted = [change for change, refusal in zip(changes, refusals, strict=True) if refusal is None]
        events = [event for change in admitted for event in change.stored]
        evidence = [kept for change in admitted for kept in change.evidence]
        positions = iter(self._insert_events(c, events, evidence=evidence))
        return [
            [next(positions) for _ in change.stored] if refusal is None else refusal
            for change, refusal in zip(changes, refusals, strict=True)
        ]

    def _insert_many(self, rows: int) -> str:
        return self.insert_events_statement + ",(?,?,?,?)" * (rows - 1)

    def _insert_events(
        self,
        c: SQLiteCursor,
        stored_events: Sequence[StoredEvent],
        *,
        evidence: Sequence[tuple[bytes, bytes]] = (),
        **_: Any,
    ) -> Sequence[int]:
        if not stored_events:
            return ()
        cursor = c.sqlite_cursor
        rows = [(e.originator_id, e.originator_version, e.topic, e.state) for e in stored_events]
        in_many_rows(cursor, self._insert_many, rows)
        # This connection holds the write lock, so the row numbers are consecutive.
        last = cursor.lastrowid or 0
        positions = range(last + 1 - len(rows), last + 1)
        self._tree.grow(cursor, stored_events, positions.start)
        in_many_rows(cursor, insert_evidence, evidence)
        return positions


# --- creating and opening a store -------------------------------------------------------------------------------------


def open_recorder(name: str | Path, *, create: bool = True) -> Recorder:
    """Open the store in this file, or create it; raise `ConfigError` or `StoreError` if it cannot be used."""
    path = _check_place(str(name))
    if not create and not path.exists():
        raise ConfigError("store", f"there is no store at {path}; create one with `refundry init`, or restore a backup")
    try:
        if create:
            _make_if_new(path)
        recorder = Recorder(Datastore(path))
        with recorder.datastore.get_connection(commit=True):
            return recorder
    except (sqlite3.Error, PersistenceError, UnicodeDecodeError) as error:
        raise store_error(error) from error


def _check_place(name: str) -> Path:
    path = Path(name)
    if not name or ":memory:" in name or "mode=memory" in name:
        raise ConfigError("store", "must be a file; a database in memory would lose refunds")
    if path.is_dir():
        raise ConfigError("store", f"{path} is a directory, not a database file")
    if not path.parent.is_dir():
        raise ConfigError("store", f"the directory {path.parent} does not exist")
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise ConfigError("store", f"{path} cannot be written")
    return path


def _make_if_new(path: Path) -> None:
    # For its owner alone, whatever the umask; SQLite gives the files next to it the same mode. An existing file is not
    # opened: closing it would drop the locks of every other connection of this process, so that another process could
    # remove the write-ahead log under them.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=LOCK_TIMEOUT, isolation_level=None)
    try:
        if _is_empty(connection):
            _switch_to_wal(connection)
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("BEGIN IMMEDIATE")
            # Another process may have been first.
            if _is_empty(connection):
                for statement in Recorder(Datastore(path)).create_table_statements:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version={FORMAT}")
            connection.execute("COMMIT")
    finally:
        connection.close()


def _is_empty(connection: sqlite3.Connection) -> bool:
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    return not tables and not pragma(connection, "application_id") and not pragma(connection, "user_version")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging; processes that do so at the same time make each other fail despite the timeout."""
    until = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)


# --- errors ----------------------------------------------------------------------------------------------------------

_MESSAGES: Final = {
    sqlite3.SQLITE_FULL: "the disk is full; nothing was stored",
    sqlite3.SQLITE_BUSY: f"another process has kept it locked for {LOCK_TIMEOUT:.0f} seconds; nothing was stored",
    sqlite3.SQLITE_READONLY: "it cannot be written; nothing was stored",
    sqlite3.SQLITE_NOTADB: "the file is not an SQLite database",
    sqlite3.SQLITE_CORRUPT: "the database file is damaged",
    sqlite3.SQLITE_CANTOPEN: "the database file cannot be opened",
}


def sqlite_code(error: BaseException) -> int:
    """Return SQLite's primary result code behind an exception of sqlite3 or eventsourcing; 0 without one."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, sqlite3.Error):
            return getattr(seen, "sqlite_errorcode", 0) & 0xFF
        seen = seen.__cause__
    return 0


def store_error(error: BaseException) -> StoreError:
    """Return an error that states in one line what is wrong with the store."""
    if isinstance(error, UnicodeDecodeError):
        # SQLite's own message quotes a part of the file that is not text.
        return StoreError(f"store: {_MESSAGES[sqlite3.SQLITE_CORRUPT]}")
    return StoreError(f"store: {_MESSAGES.get(sqlite_code(error), f'the database failed: {error}')}")
