"""What every store promises about the Merkle tree over its log."""

import asyncio

import pytest

from refundry.errors import Tampered
from refundry.journal import (
    AlreadyRequested,
    Journal,
    StoredCheckpoint,
)
from refundry.journal.merkle import EMPTY_FRONTIER, Frontier, root_of
from tests.core.journal.ports.case import PortCase
from tests.core.journal.samples import (
    AT,
    later,
    new,
    settled,
    submitted,
    then,
)


class TreeStoreCase(PortCase):
    """What every store promises about the Merkle tree over its log."""

    async def test_an_empty_store_has_the_empty_tree(self, journal: Journal) -> None:
        """Before the first event the tree is empty, and there is no checkpoint."""
        assert EMPTY_FRONTIER == await journal.tree()
        assert [] == list(await journal.leaves(0, 0))
        assert await journal.last_checkpoint() is None
        with pytest.raises(Tampered, match="leaf 0 "):
            await journal.leaves(0, 1)

    async def test_checkpoints_are_ordered_and_never_replaced(self, journal: Journal) -> None:
        """Checkpoints are listed smallest first, from any size on, and the first one of a size stays."""
        kept = [StoredCheckpoint(size, later(size), b"note %d" % size) for size in (3, 1, 12)]
        for stored_checkpoint in [*kept, StoredCheckpoint(3, AT, b"another")]:
            await journal.keep_checkpoint(stored_checkpoint)

        assert [kept[1], kept[0], kept[2]] == list(await journal.checkpoints())
        assert [kept[0]] == list(await journal.checkpoints(after=1, limit=1))
        assert kept[2] == await journal.last_checkpoint()

    async def test_every_saved_event_has_its_leaf(self, journal: Journal) -> None:
        """The tree has a leaf for each event, in the order of the log, whether events are saved alone or together."""
        first = new("a")
        await journal.save(first)
        await asyncio.gather(*(journal.save(new(f"b-{number}")) for number in range(150)))
        await journal.save(then(first.refund, submitted(), settled()))
        tree = Frontier.from_bytes(await journal.tree())

        assert 153 == tree.size
        assert tree.root() == root_of(await journal.leaves(0, 153))

    async def test_a_refused_write_leaves_no_leaf(self, journal: Journal) -> None:
        """A write that conflicts is neither in the log nor in the tree."""
        await journal.save(new("a"))
        before = await journal.tree()
        with pytest.raises(AlreadyRequested):
            await journal.save(new("a"))

        assert before == await journal.tree()
