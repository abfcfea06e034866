"""Totals: what was requested, settled, failed and is open, for each account and currency.

The rule of this module: totals are exact integers of minor units.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, assert_never

import attrs

from refundry.formatting import money
from refundry.journal import Row
from refundry.money import Money
from refundry.refund import Status

__all__ = ["Total", "add_up", "total_as_json"]


@attrs.frozen(kw_only=True)
class Total:
    """The sums of one account and currency, or of one payment: requested = settled + failed + open."""

    account: str
    payment: str | None
    """None if the total covers all payments."""
    currency: str
    exponent: int
    """The number of decimals of the currency."""
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
        match row.status:
            case Status.SETTLED:
                self.settled += amount
            case Status.FAILED:
                self.failed += amount
            case Status.REQUESTED | Status.SUBMITTED | Status.PENDING | Status.UNKNOWN:
                pass
            case _:
                assert_never(row.status)


async def add_up(pages: AsyncIterator[Sequence[Row]], *, by_payment: bool) -> Sequence[Total]:
    """Return a total for each account and currency of these rows, and for each payment if `by_payment`."""
    sums: dict[tuple[str, str, str, int], _Sum] = {}
    async for rows in pages:
        for row in rows:
            key = row.account, row.payment if by_payment else "", row.amount.currency, row.amount.exponent
            sums.setdefault(key, _Sum()).add(row)
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
    """Return a total as a JSON object."""
    names = ("requested", "settled", "failed", "open")
    return {
        "account": total.account,
        "payment": total.payment,
        "currency": total.currency,
        "refunds": total.refunds,
        **{name: money(getattr(total, name)) for name in names},
    }
