"""What Refundry records, compared with the ledgers of the simulated providers.

The rule of this module: pure; amounts are compared to the cent, and each payment by its own.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, assert_never

import attrs

from refundry.cli.demo.faults import RETRIED
from refundry.cli.demo.providers import DemoRefund
from refundry.journal import Row
from refundry.money import Money
from refundry.refund import FINAL, Status

__all__ = ["Comparison", "Tally", "compare"]


@attrs.define
class Tally:
    """One account: what Refundry records, and what moved at the provider."""

    currency: str
    settled: int = 0
    refused: int = 0
    """Refused by the provider, or failed for another reason and not requested again."""
    open: int = 0
    settled_minor: int = 0
    moves: int = 0
    moved_minor: int = 0

    @property
    def agrees(self) -> bool:
        """Return whether both ledgers have the same number of refunds and the same sum."""
        return self.settled == self.moves and self.settled_minor == self.moved_minor

    def as_json(self) -> dict[str, Any]:
        """Return the counts, and the sums as decimals."""
        counts = {"settled": self.settled, "refused": self.refused, "open": self.open, "movements": self.moves}
        sums = {"settled_amount": self.settled_minor, "moved_amount": self.moved_minor}
        money = {name: str(Money(minor, self.currency, 2)) for name, minor in sums.items()}
        return {"currency": self.currency} | counts | money


@attrs.frozen
class Comparison:
    """The result of comparing all accounts."""

    accounts: Mapping[str, Tally]
    wrong: Mapping[str, Sequence[str]]
    """By type of difference: the payments or refunds concerned."""
    requested_again: int
    """How many refunds the operator resolved as failed and requested under a new id."""

    @property
    def agrees(self) -> bool:
        """Return whether there is no difference at all."""
        return not any(self.wrong.values()) and all(tally.agrees for tally in self.accounts.values())


def compare(refunds: Sequence[DemoRefund], rows: Sequence[Row], ledgers: Mapping[str, Any]) -> Comparison:
    """Compare the refunds in the store with the ledgers of the providers."""
    currencies = {refund.account.name: refund.account.currency for refund in refunds}
    accounts = {name: _movements(ledger, currencies[name]) for name, ledger in ledgers.items()}
    recorded = {row.refund_request_id for row in rows}
    for row in rows:
        _add(accounts[row.account], row, again=f"{row.refund_request_id}{RETRIED}" in recorded)
    moved = Counter(item["payment"] for ledger in ledgers.values() for item in ledger["movements"])
    wrong = {
        "paid_twice": sorted(payment for payment, times in moved.items() if times > 1),
        "lost": sorted({refund.refund_request_id for refund in refunds} - recorded),
        "still_open": sorted(row.refund_request_id for row in rows if row.status not in FINAL),
        "mismatched": sorted(row.refund_request_id for row in rows if _mismatched(row, ledgers[row.account])),
    }
    return Comparison(accounts, wrong, len(rows) - len(refunds))


def _movements(ledger: Mapping[str, Any], currency: str) -> Tally:
    moved = [Money.parse(item["amount"]["value"], item["amount"]["currency"]) for item in ledger["movements"]]
    return Tally(currency, moves=len(moved), moved_minor=sum(amount.minor for amount in moved))


def _add(tally: Tally, row: Row, *, again: bool) -> None:
    match row.status:
        case Status.SETTLED:
            tally.settled += 1
            tally.settled_minor += row.amount.minor
        case Status.FAILED:
            tally.refused += not again
        case Status.REQUESTED | Status.SUBMITTED | Status.PENDING | Status.UNKNOWN:
            tally.open += 1
        case _:
            assert_never(row.status)


def _mismatched(row: Row, ledger: Mapping[str, Any]) -> bool:
    """Return whether a final refund is not what the provider did, or was sent with different bytes."""
    if row.status not in FINAL:
        return False
    found = [item for item in ledger["refunds"] if item["refund_request_id"] == row.refund_request_id]
    moved = sum(item["moved"] for item in found)
    return moved != (row.status is Status.SETTLED) or any(len(item["bodies"]) > 1 for item in found)
