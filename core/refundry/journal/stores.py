"""Opening a store: the one place that knows in which database a store is.

The rule of this module: it only chooses; everything above it sees the ports.
"""

from contextlib import AbstractContextManager
from pathlib import Path

from refundry.journal.log_source import ScratchLog, StoreSource
from refundry.journal.port import Journal, StoreReader
from refundry.journal.sqlite.journal import SqliteJournal
from refundry.journal.sqlite.reader import SqliteReader
from refundry.journal.sqlite.recorder import open_recorder
from refundry.journal.sqlite.scratch import SqliteScratchLog
from refundry.journal.sqlite.store_source import SqliteStoreSource
from refundry.ports import Ports

__all__ = ["create_store", "open_journal", "open_reader", "read_store", "scratch_log"]


async def open_journal(path: Path, ports: Ports, *, create: bool = False) -> Journal:
    """Open the store at `path`; with `create`, create it if it is missing.

    Raises `ConfigError` if there is no store, or the place, the file or a setting cannot be used, and `StoreError` if
    the database fails.
    """
    return await SqliteJournal.open(path, ports, create=create)


def create_store(path: Path) -> bool:
    """Create the store at `path` if it is missing; return whether it was created. Raises what `open_journal` raises."""
    missing = not path.exists()
    open_recorder(path).datastore.close()
    return missing


async def open_reader(path: Path) -> StoreReader:
    """Open the existing store at `path` for queries, while other processes may write to it; it writes nothing.

    Raises `ConfigError` if there is no store or it cannot be used, `StoreError` if the database fails.
    """
    return await SqliteReader.open_to_read(path)


def read_store(path: Path, *, deep: bool = False) -> AbstractContextManager[StoreSource]:
    """Open a store for reading in one snapshot, even in a directory that cannot be written to.

    With `deep`, the database checks its own structures as well, which takes longer than everything else. Raises
    `ConfigError` for a file that is not a store of this version, and `StoreError` for one that cannot be read, or that
    was written to while it was read as a file at rest.
    """
    return SqliteStoreSource.open(path, deep=deep)


def scratch_log() -> AbstractContextManager[ScratchLog]:
    """Create a temporary log on the disk, which is removed at the end."""
    return SqliteScratchLog.create()
