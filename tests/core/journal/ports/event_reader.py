"""What every store promises about reading events."""

import asyncio
import hashlib
from pathlib import Path

from refundry.journal import (
    Journal,
)
from tests.core.journal.ports.case import PortCase, differences, saved
from tests.core.journal.samples import (
    events_of,
    evidence,
    new,
    requested,
    settled,
    submitted,
    then,
)


class EventReaderCase(PortCase):
    """What every store promises about reading events."""

    async def test_saved_events_are_loaded(self, journal: Journal) -> None:
        """A refund's events come back in order, with their versions and their positions in the log."""
        first = new(kept=evidence(b"one"))
        second = then(first.refund, submitted(), settled(), kept=evidence(b"two", b"three"))
        recorded = [*await journal.save(first), *await journal.save(second)]

        assert [*first.events, *second.events] == events_of(recorded)
        assert [(1, 1), (2, 2), (3, 3)] == [(each.position, each.version) for each in recorded]
        assert recorded == list(await journal.load(first.refund.id))
        assert [b"one", b"two", b"three"] == [
            await journal.evidence(hashlib.sha256(each).hexdigest()) for each in (b"one", b"two", b"three")
        ]
        assert [] == await differences(journal)

    async def test_unknown_ids_return_nothing(self, journal: Journal) -> None:
        """Unknown ids, request ids and digests return nothing."""
        assert [] == list(await journal.load("unknown"))
        assert None is await journal.find("shop", "nothing")
        assert None is await journal.evidence("00" * 32)
        assert None is await journal.evidence("no digest")

    async def test_a_reopened_store_has_everything(self, tmp_path: Path) -> None:
        """Closing and reopening a store changes nothing."""
        journal = await self.open_journal(tmp_path)
        (refund,) = await saved(journal, new())
        await journal.close()
        again = await self.open_journal(tmp_path)

        assert [requested()] == events_of(await again.load(refund.id))
        assert refund.id == await again.find("shop", "r-1")
        await again.close()

    async def test_the_log_is_read_from_any_position(self, journal: Journal) -> None:
        """`log` begins after the given position and ends at the limit, whatever the size of its pages."""
        await asyncio.gather(*(journal.save(new(f"r-{n}")) for n in range(1200)))

        assert list(range(101, 1201)) == [each.position async for each in journal.log(100)]
        assert list(range(601, 1161)) == [each.position async for each in journal.log(600, 560)]
        assert [] == [each async for each in journal.log(1200)]
        assert [] == [each async for each in journal.log(0, 0)]
