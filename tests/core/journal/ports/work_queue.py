"""What every store promises to workers."""

from refundry.journal import (
    Journal,
)
from refundry.provider import OutcomeKind, Scope
from refundry.refund import Channel, NextStep
from tests.core.journal.ports.case import PortCase, saved
from tests.core.journal.samples import (
    AT,
    inquired,
    later,
    new,
    settled,
    submitted,
    then,
)


class WorkQueueCase(PortCase):
    """What every store promises to workers."""

    async def test_due_refunds_are_taken_oldest_first_and_by_one_worker(self, journal: Journal) -> None:
        """A leased refund is not leased again until the lease ends, is released, or the refund changes."""
        a, b, c = await saved(journal, *(new(key, at=later(-n)) for n, key in enumerate("abc")))

        assert [c.id, b.id] == await journal.take_due(AT, until=later(60), holder="w1", limit=2)
        assert [a.id] == await journal.take_due(AT, until=later(60), holder="w2", limit=2)
        assert [] == await journal.take_due(later(59), until=later(99), holder="w3", limit=9)
        assert (3, later(60)) == await journal.waiting()

        await journal.release("w1")
        assert [c.id, b.id] == await journal.take_due(later(1), until=later(61), holder="w3", limit=9)
        await saved(journal, then(c, submitted(2)))
        assert [c.id] == await journal.take_due(later(12), until=later(99), holder="w4", limit=9)
        assert [a.id] == await journal.take_due(later(60), until=later(99), holder="w5", limit=9)

    async def test_a_refund_is_taken_when_it_is_due(self, journal: Journal) -> None:
        """A refund is due at its moment, not before, and never once it is final."""
        (refund,) = await saved(journal, new())
        (sent,) = await saved(journal, then(refund, submitted(0)))

        assert [] == await journal.take_due(later(9.999999), until=later(60), holder="w", limit=9)
        assert (1, later(10)) == await journal.waiting()
        assert [refund.id] == await journal.take_due(later(10), until=later(11), holder="w", limit=9)
        await saved(journal, then(sent, settled()))
        assert [] == await journal.take_due(later(9999), until=later(99999), holder="w", limit=9)
        assert (0, None) == await journal.waiting()

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
        assert (1, c.requested_at) == await journal.waiting()
        assert [c.id] == await journal.take_due(later(9), until=later(60), holder="w", limit=9)

        word = inquired(outcome=OutcomeKind.RESUMED, channel=Channel.OPERATOR, next_at=later(4), by="ann", why="fixed")
        await saved(journal, then(blocked.refund, word))
        assert [] == await journal.blocked("shop")
        assert [b.id, a.id] == await journal.take_due(later(9), until=later(60), holder="w", limit=9)
