"""A journal on a real file."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from refundry.journal.sqlite.journal import SqliteJournal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Give the place of a store that is not there yet."""
    return tmp_path / "refunds.db"


@pytest.fixture
async def journal(path: Path) -> AsyncIterator[SqliteJournal]:
    """Give an open, empty journal."""
    journal = await SqliteJournal.open(path)
    yield journal
    await journal.close()
