"""A snapshot of an SQLite file for reading, and the tables and indexes that this version expects in it.

The rule of this module: it never writes, not even a file next to the database. Whatever SQLite raises becomes a
`StoreError`.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from refundry.errors import ConfigError, StoreError
from refundry.journal.log_source import BATCH
from refundry.journal.sqlite.connections import FileState, file_state, wal_of
from refundry.journal.sqlite.recorder import APPLICATION_ID, FORMAT, Datastore, Recorder, pragma, store_error

__all__ = ["Snapshot", "has_expected_tables", "open_snapshot"]

# Everything is read once and in order: a small cache that fits the processor's is faster than a large one.
_SETTINGS: Final = ("temp_store=FILE", "cache_size=-4096", "cell_size_check=ON", "trusted_schema=OFF", "mmap_size=0")
_SHAPE: Final = "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type, name"

Values = Sequence[Any] | Mapping[str, Any]


class Snapshot:
    """A connection that is only read from."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def rows(self, statement: str, values: Values = (), *, most: int | None = None) -> list[Any]:
        """Return all rows, or at most so many."""
        with _store_errors():
            cursor = self.connection.execute(statement, values)
            return cursor.fetchall() if most is None else cursor.fetchmany(most)

    def row(self, statement: str, values: Values = ()) -> Any:
        """Return the first row, or None."""
        with _store_errors():
            return self.connection.execute(statement, values).fetchone()

    def pages(self, statement: str, values: Values = (), size: int = BATCH) -> Iterator[Sequence[Any]]:
        """Yield the rows, `size` at a time."""
        with _store_errors():
            cursor = self.connection.execute(statement, values)
            while rows := cursor.fetchmany(size):
                yield rows

    def each(self, statement: str, values: Values = ()) -> Iterator[Any]:
        """Yield the rows one by one."""
        for page in self.pages(statement, values):
            yield from page

    def pages_by_key(self, statement: str, start: int) -> Iterator[Sequence[Any]]:
        """Yield rows by their first column from `start` on; text that is not UTF-8 comes with its bytes escaped."""
        with _store_errors():
            cursor = self.connection.execute(statement, (start,))
            try:
                while rows := cursor.fetchmany(BATCH):
                    yield rows
                    start = rows[-1][0] + 1
                return
            except sqlite3.OperationalError as error:
                # SQLite's own errors have a code. The other one is Python's, about text that is not UTF-8.
                if getattr(error, "sqlite_errorcode", None) is not None:
                    raise
        self.connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        yield from self.pages(statement, (start,))


@contextmanager
def _store_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise store_error(error) from error


@contextmanager
def open_snapshot(path: Path) -> Iterator[Snapshot]:
    """Open a store for reading, even in a directory that cannot be written to.

    Raises `ConfigError` for a file that is not a store of this version, and `StoreError` for one that cannot be read,
    or that was written to while it was read as a file at rest.
    """
    if not path.is_file():
        raise ConfigError("store", f"there is no file {path}")
    connection, state = _connect(path)
    try:
        yield Snapshot(connection)
        if state not in (None, file_state(path)):
            raise StoreError("store: another process wrote to it while it was read; run the command again")
    finally:
        connection.close()


def _connect(path: Path) -> tuple[sqlite3.Connection, FileState | None]:
    """Open a snapshot; return also the state of the file if it was opened as one that does not change."""
    state = file_state(path)
    at_rest = not wal_of(path).exists()
    try:
        try:
            return _begin(path, "immutable=1" if at_rest else "mode=ro"), state if at_rest else None
        except sqlite3.OperationalError:
            # In a directory that cannot be written to, an empty write-ahead log is in the way.
            if at_rest or wal_of(path).stat().st_size:
                raise
            return _begin(path, "immutable=1"), state
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise store_error(error) from error


def _begin(path: Path, how: str) -> sqlite3.Connection:
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


# --- the expected tables ----------------------------------------------------------------------------------------------


def has_expected_tables(snapshot: Snapshot) -> bool:
    """Return whether tables and indexes are those that this version creates."""
    return _shape(snapshot) == _expected_shape()


def _shape(snapshot: Snapshot) -> list[tuple[Any, ...]]:
    rows = snapshot.rows(_SHAPE)
    return [(*row, " ".join(str(sql).replace(" IF NOT EXISTS", "").split())) for *row, sql in rows]


def _expected_shape() -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(":memory:")
    try:
        for statement in Recorder(Datastore(Path("refunds.db"))).create_table_statements:
            connection.execute(statement)
        return _shape(Snapshot(connection))
    finally:
        connection.close()
