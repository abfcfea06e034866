"""What every store promises to an audit: the whole log, as it is stored, in one snapshot."""

import asyncio
from abc import abstractmethod
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path

import pytest

from refundry.errors import ConfigError, Invalid, UnknownRefund
from refundry.journal import Journal, StoredCheckpoint, UnmatchedNotification
from refundry.journal.codec import decode
from refundry.journal.log_source import BATCH, INDEX_FIELDS, LogSource, StoredEvent, StoreSource
from refundry.journal.merkle import Frontier
from tests.core.journal.ports.case import PortCase, saved
from tests.core.journal.samples import AT, evidence, later, new, settled, submitted, then

KEPT = evidence(b"one", b"two")
ONE, TWO = (bytes.fromhex(digest) for digest in KEPT)


def all_events(source: LogSource) -> list[StoredEvent]:
    """Return all events of a source."""
    return list(chain.from_iterable(source.events()))


class StoreSourceCase(PortCase):
    """What every store promises to an audit: the whole log, as it is stored, in one snapshot."""

    @abstractmethod
    def read_store(self, place: Path) -> AbstractContextManager[StoreSource]:
        """Open the store in this directory for an audit."""

    async def test_events_and_leaves_are_read_in_order(self, journal: Journal, tmp_path: Path) -> None:
        """Every event and every leaf comes once, in the order of the log, in batches of a fixed size."""
        await asyncio.gather(*(journal.save(new(f"r-{n}", by="platform")) for n in range(BATCH + 8)))
        recorded = [each async for each in journal.log()]
        hashes = list(await journal.leaves(0, BATCH + 8))

        with self.read_store(tmp_path) as source:
            assert source.is_store
            assert [BATCH, 8] == [len(batch) for batch in source.events()]
            assert [(each.position, each.refund_id, each.version, each.event) for each in recorded] == [
                (position, id, version, decode(topic, state, position))
                for position, id, version, topic, state in all_events(source)
            ]
            leaves = [(n, n + 1, hash) for n, hash in enumerate(hashes)]
            assert [leaves[:BATCH], leaves[BATCH:]] == [list(batch) for batch in source.leaves()]
            assert leaves[BATCH:] == list(chain.from_iterable(source.leaves(BATCH)))
            assert hashes[5:9] == source.hashes(5, 4)
            assert source.hashes(BATCH, 9) is None
            assert (BATCH + 8) == source.count()
            frontier = await journal.tree()
            assert (Frontier.from_bytes(frontier).size, frontier) == source.tree()

    async def test_a_refund_is_read_from_the_log(self, journal: Journal, tmp_path: Path) -> None:
        """A refund's events are found by its id, up to any position, and all refunds part by part."""
        first, second = await saved(journal, new("a"), new("b"))
        await saved(journal, then(first, submitted(), settled()))

        with self.read_store(tmp_path) as source:
            events = all_events(source)
            mine = [event for event in events if event[1] == first.id]
            assert [event[3:] for event in mine[:2]] == list(source.history(first.id, mine[2][0]))
            assert [(at, version, *rest) for at, _, version, *rest in mine] == list(source.events_of(first.id))
            assert [[(first.id, mine)], [(second.id, [events[1]])]] == list(source.histories(None, None, 1))
            assert [(second.id, [events[1]])] == list(chain.from_iterable(source.histories(first.id, None, 100)))
            assert [(first.id, mine)] == list(chain.from_iterable(source.histories(None, first.id, 100)))
            assert {first.id} >= set(source.partition(3))

    async def test_records_are_read_by_digest(self, journal: Journal, tmp_path: Path) -> None:
        """Records come with their digests; an erased one leaves its note; one that was never stored is missing."""
        first = new("a")
        sent = then(first.refund, submitted(digest=ONE.hex()), settled(), kept=KEPT)
        (_, refund) = await saved(journal, first, sent)
        found = await journal.erasable(refund.id)
        assert await journal.erase(refund.id, refund.version, found.position, {ONE.hex(): b"note"})

        with self.read_store(tmp_path) as source:
            stored = dict(chain.from_iterable(source.contents()))
            assert b"two" == stored[TWO]
            assert ONE not in stored
            assert [(ONE, refund.id, b"note")] == list(source.tombstones())
            assert (b"two", None) == source.content(TWO)
            assert b"note" == source.content(ONE)[1]
            assert (None, None) == source.content(b"0" * 32)
            assert [b"0" * 32] == list(source.missing([ONE, TWO, b"0" * 32]))
            assert ({TWO: b"two"}, {ONE}) == source.kept([ONE, TWO, b"0" * 32])

    async def test_checkpoints_are_read_by_size(self, journal: Journal, tmp_path: Path) -> None:
        """Checkpoints come with the size under which they are stored, smallest first."""
        for size in (3, 1):
            await journal.keep_checkpoint(StoredCheckpoint(size, later(size), b"note %d" % size))

        with self.read_store(tmp_path) as source:
            assert [(1, b"note 1"), (3, b"note 3")] == list(source.checkpoints())

    async def test_the_index_is_read_as_it_is_stored(self, journal: Journal, tmp_path: Path) -> None:
        """Rows, totals and ids are those of the refunds, and a correct index differs from the log nowhere."""
        first, second = await saved(journal, new("a"), new("b", payment="p"))
        (paid,) = await saved(journal, then(first, submitted(), settled()))

        with self.read_store(tmp_path) as source:
            index = source.index
            wanted = [(refund.id, *[None] * (len(INDEX_FIELDS) - 1)) for refund in (first, second)]
            rows = [dict(zip(INDEX_FIELDS, row, strict=True)) for row in index.rows_of(wanted)]
            assert {(paid.id, "settled", 1233), (second.id, "requested", 1233)} == {
                (row["id"], row["status"], row["amount"]) for row in rows
            }
            assert 2 == index.size()
            assert sorted([first.id, second.id]) == list(index.ids())
            assert [("EUR", 2, 2, 2466, 1233, 0, 1233)] == [tuple(each) for each in index.totals()]
            assert [[], [], []] == [
                list(found)
                for found in (index.repeated_requests(), index.repeated_replacements(), index.conflicting_payments())
            ]
            assert [] == [each for id in index.ids() for each in index.differences(id)]
            (row,) = source.rows(first.id, None)
            assert second.id == row.id == row.read().id
            assert row.matches(second)
            assert not row.matches(first)

    async def test_a_refund_is_found_by_either_id(self, journal: Journal, tmp_path: Path) -> None:
        """Refundry's id and the request id both lead to a refund; an ambiguous or unknown one is an error."""
        first, other = await saved(journal, new("a"), new("a", account="other"))

        with self.read_store(tmp_path) as source:
            assert first.id == source.resolve(first.id, None)
            assert other.id == source.resolve("a", "other")
            with pytest.raises(Invalid, match="several accounts"):
                source.resolve("a", None)
            with pytest.raises(UnknownRefund):
                source.resolve("unknown", None)
            assert [other.id] == list(source.refund_ids("other", None, None))
            assert [first.id, other.id] == list(source.refund_ids(None, "payment of a", None))
            assert [first.id] == list(source.refund_ids(None, None, first.id))

    async def test_a_snapshot_does_not_change(self, journal: Journal, tmp_path: Path) -> None:
        """What is written while an audit reads is not part of what it reads."""
        await saved(journal, new("a"))
        with self.read_store(tmp_path) as source:
            await saved(journal, new("b"))

            assert 1 == source.count() == len(all_events(source)) == source.index.size()

    async def test_a_store_as_the_journal_writes_it_is_in_good_condition(
        self, journal: Journal, tmp_path: Path
    ) -> None:
        """Nothing is wrong with the storage of a store that nothing but the journal has written to."""
        await saved(journal, new("a"))
        await journal.keep_unmatched(UnmatchedNotification(AT, "shop", "r-9", TWO.hex()), b"two", b"signed")

        with self.read_store(tmp_path) as source:
            assert [] == list(source.condition())
            assert source.has_expected_tables()

    def test_a_missing_store_is_refused(self, tmp_path: Path) -> None:
        """An audit never creates a store."""
        with pytest.raises(ConfigError), self.read_store(tmp_path):
            pass

        assert [] == list(tmp_path.iterdir())
