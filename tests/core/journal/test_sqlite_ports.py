"""SQLite passes the test case of every port."""

from pathlib import Path

from refundry.journal import Journal
from refundry.journal.sqlite.journal import SqliteJournal
from tests.core.journal.ports.case import PortCase
from tests.core.journal.ports.event_reader import EventReaderCase
from tests.core.journal.ports.event_writer import EventWriterCase
from tests.core.journal.ports.evidence_eraser import EvidenceEraserCase
from tests.core.journal.ports.evidence_store import EvidenceStoreCase
from tests.core.journal.ports.observer_positions import ObserverPositionsCase
from tests.core.journal.ports.refund_index import RefundIndexCase
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
