"""What every store promises about listing refunds."""

from refundry.journal import (
    Journal,
    Selection,
)
from refundry.journal.index import row_of
from refundry.refund import NextStep, Status
from tests.core.journal.ports.case import PortCase, saved
from tests.core.journal.samples import (
    LOOK,
    inquired,
    new,
    submitted,
    then,
)


class RefundIndexCase(PortCase):
    """What every store promises about listing refunds."""

    async def test_rows_are_listed_by_id_and_selection(self, journal: Journal) -> None:
        """`select` returns each refund's row, page by page, by every criterion alone and together."""
        a, b, c, d = await saved(
            journal, new("a"), new("b", account="other"), new("c", payment="p"), new("d", payment="p")
        )
        sent = then(c, submitted(), inquired(next_step=NextStep.MANUAL_REVIEW, review=LOOK))
        await saved(journal, sent)
        refunds = {each.id: each for each in (a, b, sent.refund, d)}

        async def ids(**wanted: object) -> list[str]:
            return [row.refund_request_id for row in await journal.select(Selection(**wanted))]  # type: ignore[arg-type]

        assert [row_of(refunds[id]) for id in sorted(refunds)] == list(await journal.select(Selection()))
        assert [b.id, c.id] == [row.id for row in await journal.select(Selection(), after=a.id, limit=2)]
        assert ["a", "c", "d"] == await ids(account="shop")
        assert ["c", "d"] == await ids(payment="p")
        assert ["c"] == await ids(review=True)
        assert ["c"] == await ids(status=Status.PENDING, account="shop")
        assert ["a", "b", "d"] == await ids(status=Status.REQUESTED)
        assert ["b"] == await ids(refund_request_id="b")
        assert [] == await ids(refund_request_id="b", account="shop")

    async def test_a_version_is_the_number_of_events(self, journal: Journal) -> None:
        """`version` follows every write, and an unknown refund has none."""
        (first,) = await saved(journal, new("a"))
        assert 1 == await journal.version(first.id)
        await saved(journal, then(first, submitted()))

        assert 2 == await journal.version(first.id)
        assert await journal.version("unknown") is None
