"""What we knew then: refunds, lists and totals as they stood at a time or at a place in the log.

The rule of this module: what was known is the beginning of a refund's history, folded by today's code; nothing that
came later is in it. Totals are exact whole numbers of minor units.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from itertools import takewhile
from typing import Any, Final, Protocol

import attrs

from refundry.errors import Invalid
from refundry.formatting import money
from refundry.journal import EventReader, Recorded, RefundIndex, Row, Selection
from refundry.journal.index import row_of
from refundry.money import Money
from refundry.refund import Status, fold

__all__ = ["NOW", "AsOf", "Total", "select_then", "total_up"]

_PAGE: Final = 500


def _check_zone(_: object, attribute: "attrs.Attribute[datetime | None]", value: datetime | None) -> None:
    if value is not None and value.tzinfo is None:
        raise Invalid("as_of", "needs a time zone")


@attrs.frozen
class AsOf:
    """A moment in the life of a store: a time, or a position in the log. With neither of them it is now.

    Raises `Invalid` for both at once, for a time without a zone and for a position below zero.
    """

    at: datetime | None = attrs.field(default=None, validator=_check_zone)
    """What was recorded up to and including this time."""
    position: int | None = attrs.field(default=None, kw_only=True)
    """What was recorded up to and including the event at this position."""

    @position.validator
    def _check_position(self, _: object, value: int | None) -> None:
        if value is not None and self.at is not None:
            raise Invalid("as_of", "takes a time or a position, not both")
        if value is not None and value < 0:
            raise Invalid("as_of_position", "must be a position in the log, from 0")

    @property
    def now(self) -> bool:
        """Say whether nothing is left out."""
        return self.at is None and self.position is None

    def __str__(self) -> str:
        return "now" if self.now else f"position {self.position}" if self.at is None else self.at.isoformat()

    def history(self, recorded: Sequence[Recorded]) -> Sequence[Recorded]:
        """Give what was there of a refund: whatever a clock did, the rest of its events come after it."""
        return recorded if self.now else list(takewhile(self._knew, recorded))

    def _knew(self, recorded: Recorded) -> bool:
        if self.position is not None:
            return recorded.position <= self.position
        return self.at is None or recorded.event.at <= self.at


NOW: Final = AsOf()


class IndexedLog(RefundIndex, EventReader, Protocol):
    """The index, and the log it is derived from."""


async def select_then(
    journal: IndexedLog, selection: Selection, then: AsOf, *, after: str, limit: int
) -> Sequence[Row]:
    """Give rows as they stood then, in the order of their ids, from the one after `after`."""
    if then.now:
        return await journal.select(selection, after=after, limit=limit)
    found: list[Row] = []
    async for row in _rows_then(journal, selection, then, after):
        found.append(row)
        if len(found) == limit:
            break
    return found


async def _rows_then(journal: IndexedLog, selection: Selection, then: AsOf, after: str) -> AsyncIterator[Row]:
    # Where a refund stands changes; whose it is does not.
    lasting = attrs.evolve(selection, status=None, review=False)
    while rows := await journal.select(lasting, after=after, limit=_PAGE):
        histories = await journal.histories([row.id for row in rows])
        for history in map(then.history, histories):
            if history:
                row = row_of(fold(history[0].refund_id, [recorded.event for recorded in history]))
                if _wanted(row, selection):
                    yield row
        after = rows[-1].id


def _wanted(row: Row, selection: Selection) -> bool:
    return selection.status in (None, row.status) and not (selection.review and not row.review)


# --- totals -----------------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Total:
    """What there is of one account and currency, or of one payment there: requested = settled + failed + open."""

    account: str
    payment: str | None
    """None where it is of all payments."""
    currency: str
    exponent: int
    """The currency's number of decimals."""
    refunds: int
    requested: Money
    settled: Money
    failed: Money
    open: Money


@attrs.define
class _Sum:
    refunds: int = 0
    requested: int = 0
    settled: int = 0
    failed: int = 0

    def add(self, row: Row) -> None:
        amount = row.amount.minor
        self.refunds += 1
        self.requested += amount
        self.settled += amount if row.status is Status.SETTLED else 0
        self.failed += amount if row.status is Status.FAILED else 0


async def total_up(
    journal: IndexedLog, then: AsOf, *, account: str | None = None, by_payment: bool = False
) -> Sequence[Total]:
    """Add up all refunds, or those of one account, for each account and currency, and payment if that is wanted."""
    sums: dict[tuple[str, str, str, int], _Sum] = {}
    selection, after = Selection(account=account), ""
    while rows := await select_then(journal, selection, then, after=after, limit=_PAGE):
        for row in rows:
            key = row.account, row.payment if by_payment else "", row.amount.currency, row.amount.exponent
            sums.setdefault(key, _Sum()).add(row)
        after = rows[-1].id
    return [_total(*key, sums[key], by_payment) for key in sorted(sums)]


def _total(account: str, payment: str, currency: str, exponent: int, found: _Sum, by_payment: bool) -> Total:
    still_open = found.requested - found.settled - found.failed
    return Total(
        account=account,
        payment=payment if by_payment else None,
        currency=currency,
        exponent=exponent,
        refunds=found.refunds,
        requested=Money(found.requested, currency, exponent),
        settled=Money(found.settled, currency, exponent),
        failed=Money(found.failed, currency, exponent),
        open=Money(still_open, currency, exponent),
    )


def total_as_json(total: Total) -> dict[str, Any]:
    """Show what there is of an account and currency."""
    names = ("requested", "settled", "failed", "open")
    return {
        "account": total.account,
        "payment": total.payment,
        "currency": total.currency,
        "refunds": total.refunds,
        **{name: money(getattr(total, name)) for name in names},
    }
