"""Connections for reading: they write nothing to a store, and leave no file next to it.

The rule of this module: how a store is opened follows from the files that are there. Next to a write-ahead log, SQLite
reads with other processes. Without one, no process has the store open: SQLite would create the log, and a connection
that may not write could not remove it again.
"""

import os
import sqlite3
from pathlib import Path
from typing import Final

from refundry.errors import ConfigError
from refundry.journal.sqlite.recorder import LOCK_TIMEOUT, READER_CACHE, check_settings, store_error
from refundry.journal.sqlite.rows import STATEMENTS

__all__ = ["FileState", "ReadConnection", "check_readable", "connect_to_read", "file_state", "wal_of"]

FileState = tuple[int, int, int, int]
_SETTINGS: Final = ("query_only=1", "mmap_size=0", f"cache_size=-{READER_CACHE}")


class ReadConnection(sqlite3.Connection):
    """A connection for reading, and the state of the file if SQLite opened it as one that does not change."""

    path: Path
    state: FileState | None = None

    def outdated(self) -> bool:
        """Return whether the file that was not to change did, so that what was read is not reliable."""
        return self.state is not None and file_state(self.path) != self.state


def connect_to_read(path: Path) -> ReadConnection:
    """Open a connection that writes nothing, and check that the database is a store."""
    if wal_of(path).exists():
        try:
            return _connect(path, "mode=ro")
        except sqlite3.OperationalError:
            # In a directory that cannot be written to, an empty write-ahead log is in the way.
            if wal_of(path).stat().st_size or _can_create_files(path):
                raise
    # A connection that may write removes the files that SQLite creates for it; `query_only` keeps it from writing.
    return _connect(path, "mode=rw" if _can_create_files(path) else "immutable=1")


def check_readable(path: Path) -> None:
    """Raise `ConfigError` or `StoreError`, in one line, if there is no store at `path` that can be read."""
    if not path.is_file():
        raise ConfigError("store", f"there is no store at {path}")
    try:
        connect_to_read(path).close()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise store_error(error) from error


def wal_of(path: Path) -> Path:
    """Return the path of a store's write-ahead log."""
    return path.with_name(f"{path.name}-wal")


def file_state(path: Path) -> FileState:
    """Return what changes when the file is written to or replaced, or gets a write-ahead log with content."""
    found, wal = path.stat(), wal_of(path)
    return found.st_mtime_ns, found.st_size, found.st_ino, wal.stat().st_size if wal.exists() else 0


def _can_create_files(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def _connect(path: Path, how: str) -> ReadConnection:
    fixed = how == "immutable=1"
    state = file_state(path) if fixed else None
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{how}",
        uri=True,
        timeout=LOCK_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=STATEMENTS,
        factory=ReadConnection,
    )
    try:
        connection.path, connection.state = path, state
        for setting in _SETTINGS:
            connection.execute(f"PRAGMA {setting}")
        check_settings(connection, journal_mode=None if fixed else "wal")
    except BaseException:
        connection.close()
        raise
    return connection
