"""The base of the port cases: a journal of the store under test.

Every port has an abstract test case in this directory. A store passes when a subclass of each, which opens that store,
passes; `tests/core/journal/test_sqlite_ports.py` shows how.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from refundry.journal import IndexDifference, Journal, Write
from refundry.refund import Refund


class PortCase(ABC):
    """Opens an empty journal for each test."""

    @abstractmethod
    async def open_journal(self, place: Path) -> Journal:
        """Open the store in this directory, or create it."""

    @pytest.fixture
    async def journal(self, tmp_path: Path) -> AsyncIterator[Journal]:
        """Return an open, empty journal."""
        journal = await self.open_journal(tmp_path)
        yield journal
        await journal.close()


async def differences(journal: Journal) -> list[IndexDifference]:
    """Return all differences between the index and the log."""
    return [difference async for difference in journal.compare_index()]


async def saved(journal: Journal, *writes: Write) -> list[Refund]:
    """Save writes one after the other; return their states."""
    for write in writes:
        await journal.save(write)
    return [write.refund for write in writes]
