"""A journal on a real file."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from refundry.journal.sqlite.journal import SqliteJournal

pytest.register_assert_rewrite("tests.core.journal.ports")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a store that does not exist yet."""
    return tmp_path / "refunds.db"


@pytest.fixture
async def journal(path: Path) -> AsyncIterator[SqliteJournal]:
    """Return an open, empty journal."""
    journal = await SqliteJournal.open(path)
    yield journal
    await journal.close()
