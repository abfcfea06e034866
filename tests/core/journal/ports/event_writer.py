"""What every store promises about saving events: atomic, durable, versioned, and within the payment's total."""

import asyncio
from typing import Any

import attrs
import pytest

from refundry.errors import Invalid, Stale
from refundry.journal import (
    AlreadyRequested,
    Journal,
    Write,
)
from refundry.money import Money, OverRefund
from refundry.provider import OutcomeKind, ReviewReason
from refundry.refund import RaisedReview
from tests.core.journal.ports.case import PortCase, differences, saved
from tests.core.journal.samples import (
    events_of,
    evidence,
    failed,
    inquired,
    new,
    requested,
    settled,
    submitted,
    then,
)


class EventWriterCase(PortCase):
    """What every store promises about saving events: atomic, durable, versioned, and within the payment's total."""

    async def test_concurrent_writes_get_dense_positions(self, journal: Journal) -> None:
        """Two thousand concurrent writes get the positions 1 to 2000, and the log has that order."""
        recorded = await asyncio.gather(*(journal.save(new(f"r-{n}")) for n in range(2000)))
        positions = {one.position: one.refund_id for (one,) in recorded}

        assert list(range(1, 2001)) == sorted(positions)
        assert [(p, positions[p]) for p in range(1, 2001)] == [
            (each.position, each.refund_id) async for each in journal.log()
        ]
        assert [] == await differences(journal)

    async def test_a_stale_write_fails_alone(self, journal: Journal) -> None:
        """Of two writes from the same state one wins; the other stores nothing, and the rest of its group succeeds."""
        a, b = await saved(journal, new("a"), new("b"))
        lost = then(a, submitted(2), kept=evidence(b"lost"))
        results = await asyncio.gather(
            journal.save(then(a, submitted(1))),
            journal.save(lost),
            journal.save(then(b, submitted(1))),
            return_exceptions=True,
        )

        assert [list, Stale, list] == [type(each) for each in results]
        assert [requested("a"), submitted(1)] == events_of(await journal.load(a.id))
        assert None is await journal.evidence(next(iter(lost.evidence)))
        assert [] == await differences(journal)

    async def test_an_unknown_refund_cannot_be_continued(self, journal: Journal) -> None:
        """A write that continues an unknown refund is stale, and nothing of it is stored."""
        write = then(new().refund, submitted())
        with pytest.raises(Stale):
            await journal.save(write)

        assert [] == list(await journal.load(write.refund.id))

    async def test_a_taken_request_id_names_its_refund(self, journal: Journal) -> None:
        """A repeated request gets the first refund's id, even in the same group and with another payment."""
        first, second = new("r"), new("r", payment="another")
        results = await asyncio.gather(journal.save(first), journal.save(second), return_exceptions=True)

        assert isinstance(results[1], AlreadyRequested)
        assert first.refund.id == results[1].refund_id == await journal.find("shop", "r")
        assert [] == list(await journal.load(second.refund.id))
        await journal.save(new("r", account="another shop"))

    async def test_conflicts_in_a_large_group_fail_alone(self, journal: Journal) -> None:
        """In large groups with many conflicts every accepted write is stored and no refused one is."""
        writes = [new(f"r-{n - n % 10 if n % 10 == 1 else n}", payment=f"p-{n}") for n in range(500)]
        results = await asyncio.gather(*(journal.save(write) for write in writes), return_exceptions=True)

        assert 50 == sum(isinstance(each, AlreadyRequested) for each in results)
        assert 450 == len([each async for each in journal.log()])
        assert [] == await differences(journal)

    async def test_text_that_is_not_unicode_is_refused_alone(self, journal: Journal) -> None:
        """Half a surrogate pair in a key is the caller's error; in a provider's message it is stored."""
        results = await asyncio.gather(
            journal.save(new("\ud800")), journal.save(new("b", reason="\ud800")), return_exceptions=True
        )

        assert isinstance(results[0], Invalid)
        assert isinstance(results[1], list)
        strange = then(
            new("c").refund,
            submitted(),
            inquired(review=(RaisedReview(ReviewReason.UNREADABLE_ANSWER, "it said \ud800"),)),
        )
        await saved(journal, Write(strange.refund, [requested("c"), *strange.events]))
        assert [] == await differences(journal)

    async def test_refunds_of_one_payment_cannot_exceed_its_total(self, journal: Journal) -> None:
        """Of ten concurrent requests for one payment, as many as fit are accepted and the others are refused."""
        total = Money(3 * 1233 + 1, "EUR", 2)
        writes = [new(f"r-{n}", payment="p", payment_total=total) for n in range(10)]
        results = await asyncio.gather(*(journal.save(write) for write in writes), return_exceptions=True)

        assert 3 == sum(isinstance(each, list) for each in results)
        assert {"amount"} == {each.field for each in results if isinstance(each, Invalid)}
        assert 3 == len([each async for each in journal.log()])

    async def test_a_confirmed_failure_frees_its_amount(self, journal: Journal) -> None:
        """A failed refund releases its amount; one that failed and was then contradicted does not."""
        total = Money(1233, "EUR", 2)
        (first,) = await saved(journal, new("1", payment="p", payment_total=total))
        with pytest.raises(Invalid, match="amount"):
            await journal.save(new("2", payment="p"))
        again = new("2", payment="p", payment_total=total)
        (_, second) = await saved(journal, then(first, submitted(), failed()), again)
        (gone,) = await saved(journal, then(second, submitted(), failed()))
        await saved(
            journal,
            then(
                gone,
                inquired(
                    outcome=OutcomeKind.SUCCEEDED,
                    review=(RaisedReview(ReviewReason.SETTLED_AFTER_FAILURE, "it paid after all"),),
                ),
            ),
        )
        with pytest.raises(Invalid, match="amount"):
            await journal.save(new("3", payment="p"))

    async def test_two_names_of_a_payment_share_its_total(self, journal: Journal) -> None:
        """Once an answer states another name of a payment, refunds under both names are counted together."""
        total = Money(2 * 1233, "EUR", 2)
        (first,) = await saved(journal, new("1", payment="p", payment_total=total))
        await saved(journal, then(first, submitted(), settled(payment_alias="merchant:o")))
        results = await asyncio.gather(
            *(journal.save(new(f"r-{n}", payment="merchant:o", payment_total=total)) for n in range(3)),
            *(journal.save(new(f"s-{n}", payment="p")) for n in range(3)),
            return_exceptions=True,
        )
        last = await asyncio.gather(journal.save(new("t", payment="merchant:o")), return_exceptions=True)

        assert 1 == sum(isinstance(each, list) for each in results)
        assert isinstance(last[0], OverRefund)
        assert 0 == last[0].remaining.minor
        assert [] == await differences(journal)

    async def test_a_total_is_corrected_by_an_operator(self, journal: Journal) -> None:
        """A corrected total replaces the earlier ones, for this refund and for those that follow it."""
        (_,) = await saved(journal, new("1", payment="p", payment_total=Money(1233, "EUR", 2)))
        with pytest.raises(OverRefund):
            await journal.save(new("2", payment="p", payment_total=Money(5000, "EUR", 2)))
        grown: dict[str, Any] = {
            "payment_total": Money(3 * 1233, "EUR", 2),
            "corrects_total": True,
            "by": "ann",
            "why": "captured more",
        }
        await saved(journal, new("3", payment="p", **grown))
        await saved(journal, new("4", payment="p"))
        with pytest.raises(OverRefund):
            await journal.save(new("5", payment="p"))

    async def test_a_repeated_request_for_the_whole_rest_finds_the_first(self, journal: Journal) -> None:
        """A repeated request is not refused for exceeding the payment's total."""
        total = Money(1233, "EUR", 2)
        (first,) = await saved(journal, new("1", payment="p", payment_total=total))
        with pytest.raises(AlreadyRequested) as caught:
            await journal.save(new("1", payment="p", payment_total=total))

        assert first.id == caught.value.refund_id

    async def test_a_replacement_needs_the_failure_that_was_confirmed(self, journal: Journal) -> None:
        """A new refund replaces another only if that is failed, without review and at the named version."""
        open_one, first, flagged = await saved(journal, *(new(key, payment="p") for key in "abc"))
        first, flagged = await saved(journal, *(then(one, submitted(), failed()) for one in (first, flagged)))
        paid = inquired(
            outcome=OutcomeKind.SUCCEEDED, review=(RaisedReview(ReviewReason.SETTLED_AFTER_FAILURE, "it paid"),)
        )
        (flagged,) = await saved(journal, then(flagged, paid))

        def replacing(id: str, version: int | None, key: str = "d") -> Write:
            return attrs.evolve(new(key, payment="p", retry_of=id), replaced_version=version)

        refused = [
            replacing("unknown", 3),
            replacing(open_one.id, open_one.version),
            replacing(flagged.id, flagged.version),
            replacing(first.id, first.version - 1),
            replacing(first.id, None),
        ]
        for write in refused:
            with pytest.raises(Invalid, match="retry_of: has changed"):
                await journal.save(write)
        # The same in one group with a write that changes the replaced refund first.
        changed, late = await asyncio.gather(
            journal.save(then(first, inquired())),
            journal.save(replacing(first.id, first.version)),
            return_exceptions=True,
        )
        assert (list, Invalid) == (type(changed), type(late))
        await journal.save(replacing(first.id, first.version + 1))
        with pytest.raises(Invalid, match="replaced already"):
            await journal.save(replacing(first.id, first.version + 1, "e"))
        assert [] == await differences(journal)

    async def test_a_cancelled_save_is_atomic(self, journal: Journal) -> None:
        """Canceling writes at any moment leaves each of them stored completely or not at all, and affects no other."""
        writes = [new(f"r-{n}", kept=evidence(b"%d" % n)) for n in range(200)]
        tasks = [asyncio.create_task(journal.save(write)) for write in writes]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)

        assert 100 == sum(isinstance(each, list) for each in results)
        assert [] == await differences(journal)
