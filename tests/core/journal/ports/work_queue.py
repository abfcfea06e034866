"""What every store promises to workers."""

from datetime import datetime

from refundry.journal import Journal, Postponed, Selection
from refundry.provider import OutcomeKind, ReviewReason, Scope
from refundry.refund import Channel, NextStep, RaisedReview, Review
from tests.core.journal.ports.case import PortCase, differences, saved
from tests.core.journal.samples import (
    AT,
    inquired,
    later,
    new,
    settled,
    submitted,
    then,
)


async def _take(
    journal: Journal, now: datetime, until: datetime, holder: str, room: int, beyond: datetime | None = None
) -> list[str]:
    """Take up to `room` refunds of each account; return all of them."""
    accounts = await journal.due_accounts(now, beyond=beyond)
    taken = await journal.take_due(now, beyond=beyond, until=until, holder=holder, room=dict.fromkeys(accounts, room))
    return [refund_id for ids in taken.values() for refund_id in ids]


class WorkQueueCase(PortCase):
    """What every store promises to workers."""

    async def test_due_refunds_are_taken_oldest_first_and_by_one_worker(self, journal: Journal) -> None:
        """A leased refund is not leased again until the lease ends, is released, or the refund changes."""
        a, b, c = await saved(journal, *(new(key, at=later(-n)) for n, key in enumerate("abc")))

        assert [c.id, b.id] == await _take(journal, AT, later(60), "w1", 2)
        assert [a.id] == await _take(journal, AT, later(60), "w2", 2)
        assert [] == await _take(journal, later(59), later(99), "w3", 9)
        assert 3 == await journal.waiting()

        await journal.release("w1")
        assert [c.id, b.id] == await _take(journal, later(1), later(61), "w3", 9)
        await saved(journal, then(c, submitted(2)))
        assert [c.id] == await _take(journal, later(12), later(99), "w4", 9)
        assert [a.id] == await _take(journal, later(60), later(99), "w5", 9)

    async def test_a_refund_is_taken_when_it_is_due(self, journal: Journal) -> None:
        """A refund is due at its moment, not before, and never once it is final."""
        (refund,) = await saved(journal, new())
        (sent,) = await saved(journal, then(refund, submitted(0)))

        assert [] == await _take(journal, later(9.999999), later(60), "w", 9)
        assert (1, later(10)) == (await journal.waiting(), await journal.next_due(AT))
        assert [refund.id] == await _take(journal, later(10), later(11), "w", 9)
        await saved(journal, then(sent, settled()))
        assert [] == await _take(journal, later(9999), later(99999), "w", 9)
        assert (0, None) == (await journal.waiting(), await journal.next_due(AT))

    async def test_a_flagged_refund_is_taken_and_not_waited_for(self, journal: Journal) -> None:
        """Workers go on asking about a refund that is flagged for review, but only an operator can end it."""
        (refund,) = await saved(journal, new())
        flagged = inquired(review=(RaisedReview(ReviewReason.CONTRADICTORY_ANSWER, "text"),), next_at=later(10))
        await saved(journal, then(refund, submitted(0), flagged))

        assert [refund.id] == await _take(journal, later(10), later(11), "w", 9)
        assert 0 == await journal.waiting()

    async def test_a_time_too_far_ahead_counts_as_past(self, journal: Journal) -> None:
        """What a wrong clock planned or leased is taken: due times and leases after `beyond`, and no others."""
        year, beyond = later(365 * 86_400), later(101)
        due, near, far = await saved(journal, new("due"), new("near", at=later(100)), new("far", at=year))

        assert [due.id] == await _take(journal, AT, year, "a year ahead", 9)
        assert [] == await _take(journal, later(1), later(60), "w1", 9)
        assert [due.id, far.id] == await _take(journal, later(1), later(60), "w2", 9, beyond)
        assert [] == await _take(journal, later(1), later(60), "w3", 9, beyond)
        assert [due.id] == await _take(journal, later(60), later(90), "w4", 1, beyond)
        assert [far.id] == await _take(journal, later(60), later(90), "w5", 1, beyond)
        assert [due.id, near.id] == await _take(journal, later(100), later(160), "w6", 9)

    async def test_a_blocked_account_is_skipped(self, journal: Journal) -> None:
        """While a refund blocks its account, no refund of the account is taken; an operator's decision ends that."""
        a, b, c = await saved(journal, new("a"), new("b"), new("c", account="other"))
        blocked = then(
            a,
            submitted(),
            inquired(outcome=OutcomeKind.BLOCKED, scope=Scope.ACCOUNT, next_step=NextStep.MANUAL_REVIEW, next_at=None),
        )
        await saved(journal, blocked)

        assert [a.id] == await journal.blocked("shop")
        assert [] == await journal.blocked("other")
        assert 1 == await journal.waiting()
        assert (0, 1) == (await journal.waiting("shop"), await journal.waiting("other"))
        assert [c.id] == await _take(journal, later(9), later(60), "w", 9)

        word = inquired(outcome=OutcomeKind.RESUMED, channel=Channel.OPERATOR, next_at=later(4), by="ann", why="fixed")
        await saved(journal, then(blocked.refund, word))
        assert [] == await journal.blocked("shop")
        assert [b.id, a.id] == await _take(journal, later(9), later(60), "w", 9)

    async def test_each_account_is_taken_from_as_far_as_it_has_room(self, journal: Journal) -> None:
        """However many refunds of one account are due, and however old, the others are taken from as well."""
        many = await saved(journal, *(new(f"a{n}", account="a", at=later(-n)) for n in range(9)))
        b, c = await saved(journal, new("b", account="b"), new("c", account="c"))
        await saved(journal, new("d", account="d", at=later(5)))

        assert ["a", "b", "c"] == list(await journal.due_accounts(AT))
        taken = await journal.take_due(AT, until=later(60), holder="w", room={"a": 2, "c": 9, "d": 9, "x": 9})
        assert {"a": [many[8].id, many[7].id], "c": [c.id]} == taken
        assert ["a", "b"] == list(await journal.due_accounts(AT))
        assert later(5) == await journal.next_due(AT)
        assert [b.id] == (await journal.take_due(AT, until=later(60), holder="w", room={"b": 1}))["b"]

    async def test_a_refund_that_is_set_aside_is_flagged_and_left_alone(self, journal: Journal) -> None:
        """It is listed for review since it was set aside first, and its row agrees with the log; an event ends that."""
        a, b = await saved(journal, new("a", at=later(-1)), new("b"))
        first = Review(ReviewReason.UNREADABLE_EVENT, "it cannot be read", later(1))
        await journal.set_aside(a.id, first, until=later(60))
        await journal.set_aside(a.id, Review(ReviewReason.UNREADABLE_EVENT, "still", later(2)), until=later(60))

        assert [b.id] == await _take(journal, later(59), later(60), "w", 9)
        assert a.id in await _take(journal, later(60), later(99), "w", 9)
        (flagged,) = await journal.select(Selection(review=True))
        assert (a.id, (first,)) == (flagged.id, flagged.review)
        assert [] == await differences(journal)

        await saved(journal, then(a, submitted()))
        assert [] == await journal.select(Selection(review=True))

    async def test_a_refund_is_put_off_until_something_is_recorded(self, journal: Journal) -> None:
        """An answer that is only counted puts the refund off; its row agrees with the log, and an event ends that."""
        a, b = await saved(journal, new("a"), new("b"))
        await _take(journal, AT, later(60), "w", 9)

        assert await journal.postpone(a.id, a.version, until=later(20))
        assert await journal.postpone(a.id, a.version, until=later(30))
        assert not await journal.postpone(b.id, b.version + 1, until=later(30))

        assert (Postponed(later(30), 2), None) == (await journal.postponed(a.id), await journal.postponed(b.id))
        assert [] == await _take(journal, later(29), later(60), "w", 9)
        assert later(30) == await journal.next_due(later(1))
        assert [a.id] == await _take(journal, later(30), later(60), "w", 9)
        assert [] == await differences(journal)

        (sent,) = await saved(journal, then(a, submitted(31)))
        assert await journal.postponed(a.id) is None
        assert [a.id] == await _take(journal, later(41), later(99), "w", 1)
        assert sent.version == 2
