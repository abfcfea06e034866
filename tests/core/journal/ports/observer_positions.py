"""What every store promises about the delivery of events to observers."""

from refundry.journal import Journal
from tests.core.journal.ports.case import PortCase, saved
from tests.core.journal.samples import AT, later, new


class ObserverPositionsCase(PortCase):
    """What every store promises about the delivery of events to observers."""

    async def test_a_new_observer_starts_at_the_end_of_the_log(self, journal: Journal) -> None:
        """It is not sent what was recorded before, and starting it again does not move it."""
        await saved(journal, new("a"), new("b"))
        await journal.observe("metrics")
        await saved(journal, new("c"))
        await journal.observe("metrics")

        assert 2 == await journal.take_observer("metrics", AT, until=later(60), holder="p1")

    async def test_a_new_observer_starts_where_it_wants(self, journal: Journal) -> None:
        """It can start at the beginning or after any position; once it is known, that changes nothing."""
        await saved(journal, new("a"), new("b"))
        for name, after in (("all", 0), ("one", 1), ("all", 2)):
            await journal.observe(name, after)

        assert 0 == await journal.take_observer("all", AT, until=later(60), holder="p1")
        assert 1 == await journal.take_observer("one", AT, until=later(60), holder="p1")

    async def test_an_impossible_lease_does_not_count(self, journal: Journal) -> None:
        """A lease that was taken while the clock was a year ahead is not waited for."""
        await journal.observe("metrics")
        await journal.take_observer("metrics", later(31_536_000), until=later(31_536_005), holder="p1")

        assert 0 == await journal.take_observer("metrics", AT, until=later(5), holder="p2")

    async def test_an_unknown_observer_has_no_position(self, journal: Journal) -> None:
        """An observer that was never started cannot be leased."""
        assert await journal.position_of("metrics") is None
        assert await journal.take_observer("metrics", AT, until=later(60), holder="p1") is None

    async def test_one_process_at_a_time_delivers_to_an_observer(self, journal: Journal) -> None:
        """A lease is refused to others until it ends or is released, and its holder can renew it."""
        await journal.observe("metrics")

        assert 0 == await journal.take_observer("metrics", AT, until=later(60), holder="p1")
        assert await journal.take_observer("metrics", later(59), until=later(99), holder="p2") is None
        assert 0 == await journal.take_observer("metrics", later(59), until=later(70), holder="p1")
        assert 0 == await journal.take_observer("metrics", later(70), until=later(99), holder="p2")
        await journal.release("p2")
        assert 0 == await journal.take_observer("metrics", later(71), until=later(99), holder="p1")

    async def test_only_the_holder_moves_the_position(self, journal: Journal) -> None:
        """What a process without the lease reports as delivered is ignored."""
        await journal.observe("metrics")
        await journal.take_observer("metrics", AT, until=later(60), holder="p1")
        await journal.observed("metrics", 7, holder="p1")
        await journal.observed("metrics", 9, holder="p2")
        await journal.release("p1")

        assert 7 == await journal.position_of("metrics")
        assert 7 == await journal.take_observer("metrics", AT, until=later(60), holder="p2")
