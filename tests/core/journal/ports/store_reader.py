"""What every store promises to queries: a reader sees everything, and changes nothing."""

import hashlib
import os
from abc import abstractmethod
from pathlib import Path

import pytest

from refundry.errors import ConfigError, StoreError
from refundry.journal import Journal, Selection, StoreReader, UnmatchedNotification
from tests.core.journal.ports.case import PortCase, saved
from tests.core.journal.samples import AT, evidence, new, submitted, then


class StoreReaderCase(PortCase):
    """What every store promises to queries: a reader sees everything, and changes nothing."""

    @abstractmethod
    async def open_reader(self, place: Path) -> StoreReader:
        """Open the store in this directory for reading."""

    async def test_a_reader_sees_what_the_journal_has(self, journal: Journal, tmp_path: Path) -> None:
        """Events, index, evidence and unmatched notifications read the same from a reader."""
        first, second = await saved(journal, new("a", kept=evidence(b"one")), new("b", account="other"))
        await saved(journal, then(first, submitted()))
        digest = hashlib.sha256(b"two").hexdigest()
        await journal.keep_unmatched(UnmatchedNotification(AT, "shop", "r-9", digest), b"two", b"signed")
        reader = await self.open_reader(tmp_path)

        assert await journal.load(first.id) == await reader.load(first.id)
        assert await journal.histories([second.id, first.id]) == await reader.histories([second.id, first.id])
        assert [each async for each in journal.log()] == [each async for each in reader.log()]
        assert [2, 3] == [each.position async for each in reader.log(1)]
        assert second.id == await reader.find("other", "b")
        assert await journal.select(Selection()) == await reader.select(Selection())
        assert [] == list(await reader.blocked("shop"))
        assert b"one" == await reader.evidence(hashlib.sha256(b"one").hexdigest())
        assert ["r-9"] == [each.refund_request_id for each in await reader.unmatched("shop")]
        await reader.close()

    async def test_a_reader_sees_later_writes(self, journal: Journal, tmp_path: Path) -> None:
        """What another process writes while a reader is open is read next."""
        reader = await self.open_reader(tmp_path)
        assert [] == list(await reader.select(Selection()))
        (refund,) = await saved(journal, new("a"))

        assert [refund.id] == [row.id for row in await reader.select(Selection())]
        await reader.close()

    async def test_a_missing_store_is_refused_and_not_created(self, tmp_path: Path) -> None:
        """Reading never creates a store."""
        with pytest.raises(ConfigError):
            await self.open_reader(tmp_path)

        assert [] == os.listdir(tmp_path)

    async def test_a_closed_reader_refuses_to_read(self, journal: Journal, tmp_path: Path) -> None:
        """After `close`, reading is an error of the store."""
        reader = await self.open_reader(tmp_path)
        await reader.close()

        with pytest.raises(StoreError):
            await reader.load("unknown")
