"""SQLite passes the test case of every port."""

import sqlite3
from contextlib import AbstractContextManager, closing
from pathlib import Path

from refundry.journal import Journal, StoreReader
from refundry.journal.log_source import ScratchLog, StoreSource
from refundry.journal.sqlite.journal import SqliteJournal
from refundry.journal.stores import open_reader, read_store, scratch_log
from refundry.refund import Status
from tests.core.journal.ports.case import PortCase
from tests.core.journal.ports.event_reader import EventReaderCase
from tests.core.journal.ports.event_writer import EventWriterCase
from tests.core.journal.ports.evidence_eraser import EvidenceEraserCase
from tests.core.journal.ports.evidence_store import EvidenceStoreCase
from tests.core.journal.ports.health_store import HealthStoreCase
from tests.core.journal.ports.index_maintenance import IndexMaintenanceCase
from tests.core.journal.ports.log_source import StoreSourceCase
from tests.core.journal.ports.observer_positions import ObserverPositionsCase
from tests.core.journal.ports.refund_index import RefundIndexCase
from tests.core.journal.ports.scratch_log import ScratchLogCase
from tests.core.journal.ports.store_reader import StoreReaderCase
from tests.core.journal.ports.tree_store import TreeStoreCase
from tests.core.journal.ports.unmatched_notifications import UnmatchedNotificationsCase
from tests.core.journal.ports.work_queue import WorkQueueCase


class OnSqlite(PortCase):
    """Opens a journal in an SQLite file."""

    async def open_journal(self, place: Path) -> Journal:
        """Open `refunds.db` in this directory, or create it."""
        return await SqliteJournal.open(place / "refunds.db")


class TestEventReader(OnSqlite, EventReaderCase):
    """Reading events."""


class TestEventWriter(OnSqlite, EventWriterCase):
    """Saving events."""


class TestEvidenceEraser(OnSqlite, EvidenceEraserCase):
    """Erasing records."""


class TestEvidenceStore(OnSqlite, EvidenceStoreCase):
    """Evidence."""


class TestHealthStore(OnSqlite, HealthStoreCase):
    """Working data."""


class TestObserverPositions(OnSqlite, ObserverPositionsCase):
    """Positions of observers."""


class TestRefundIndex(OnSqlite, RefundIndexCase):
    """The index."""


class TestTreeStore(OnSqlite, TreeStoreCase):
    """The tree over the log."""


class TestUnmatchedNotifications(OnSqlite, UnmatchedNotificationsCase):
    """Unmatched notifications."""


class TestWorkQueue(OnSqlite, WorkQueueCase):
    """Due work."""


class TestIndexMaintenance(OnSqlite, IndexMaintenanceCase):
    """Comparing and rebuilding the index."""

    def change_status(self, place: Path, refund_id: str, status: Status) -> None:
        """Change the status in the index row of a refund."""
        with closing(sqlite3.connect(place / "refunds.db")) as connection, connection:
            connection.execute("UPDATE refund_index SET status=? WHERE id=?", (status, refund_id))

    def remove_row(self, place: Path, refund_id: str) -> None:
        """Remove the index row of a refund."""
        with closing(sqlite3.connect(place / "refunds.db")) as connection, connection:
            connection.execute("DELETE FROM refund_index WHERE id=?", (refund_id,))


class TestScratchLog(ScratchLogCase):
    """Temporary logs."""

    def create(self) -> AbstractContextManager[ScratchLog]:
        """Create an empty temporary log."""
        return scratch_log()


class TestStoreReader(OnSqlite, StoreReaderCase):
    """Reading for queries."""

    async def open_reader(self, place: Path) -> StoreReader:
        """Open `refunds.db` in this directory for reading."""
        return await open_reader(place / "refunds.db")


class TestStoreSource(OnSqlite, StoreSourceCase):
    """Reading for an audit."""

    def read_store(self, place: Path) -> AbstractContextManager[StoreSource]:
        """Open `refunds.db` in this directory for an audit."""
        return read_store(place / "refunds.db")
