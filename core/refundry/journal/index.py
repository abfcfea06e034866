"""The index: one row for each refund, derived from its state.

The rule of this module: pure. A row says nothing that the log does not say, so the index can be made again from it at
any time; it answers what is due, what to list, and whether a payment has enough left.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

import attrs

from refundry.errors import Invalid
from refundry.journal import Finding, Row
from refundry.money import Money
from refundry.provider import Scope
from refundry.refund import MANUAL_REVIEW, Refund, Status


def due_at(refund: Refund) -> datetime | None:
    """Say when a worker should look at a refund; None when it is final or waits for a person."""
    waits = refund.final or refund.next_step == MANUAL_REVIEW or refund.blocked is not None
    return None if waits else refund.next_at


def blocks_account(refund: Refund) -> bool:
    """Say whether everything of the account waits for what blocks this refund."""
    return refund.blocked == Scope.ACCOUNT


def row_of(refund: Refund) -> Row:
    """Derive the row of a refund from its state."""
    return Row(
        id=refund.id,
        version=refund.version,
        account=refund.account,
        refund_request_id=refund.refund_request_id,
        payment=refund.payment,
        amount=refund.amount,
        payment_total=refund.payment_total,
        retry_of=refund.retry_of,
        status=refund.status,
        review=refund.review,
        due_at=due_at(refund),
        blocks_account=blocks_account(refund),
        requested_at=refund.requested_at,
        updated_at=refund.updated_at,
    )


@attrs.frozen(slots=True)
class Sibling:
    """What the guard has to know of an earlier refund of the same payment."""

    amount: Money
    payment_total: int | None
    """In the minor units of `amount`."""
    counts: bool
    """It moved money, or may have, or may yet: only a refund that failed beyond doubt does not count."""


def counts(status: str, review: str | None) -> bool:
    """Say whether the guard counts a refund: one that failed and still needs a person might have paid."""
    return status != Status.FAILED or review is not None


def check_total(amount: Money, payment_total: Money | None, siblings: Iterable[Sibling]) -> None:
    """Check that a new refund leaves its payment's refunds within the total; raise `Invalid` if it does not.

    The smallest total that anybody gave for the payment holds. Refunds of one payment are in one currency.
    """
    if payment_total is not None and not payment_total.same_unit(amount):
        raise Invalid("payment_total", f"must be in {amount.currency} as the amount is")
    used = 0
    totals = []
    for sibling in siblings:
        if not sibling.amount.same_unit(amount):
            raise Invalid("currency", f"earlier refunds of this payment are in {sibling.amount.currency}")
        used += sibling.amount.minor if sibling.counts else 0
        if sibling.payment_total is not None:
            totals.append(sibling.payment_total)
    after = used + amount.minor
    unit = amount.currency
    if payment_total is not None and after > payment_total.minor:
        rest = f"with {_written(used, amount)} {unit} before it exceeds the payment's {payment_total} {unit}"
        raise Invalid("amount", f"{amount} {unit} {rest}")
    if totals and after > min(totals):
        given = f"an earlier refund of this payment gave {_written(min(totals), amount)} {unit}"
        raise Invalid("payment_total" if payment_total else "amount", f"{given}; {_written(after, amount)} exceeds it")


def _written(minor: int, unit: Money) -> str:
    return str(attrs.evolve(unit, minor=minor))


_COMPARED: Final = tuple(field.name for field in attrs.fields(Row))


def differences(log: Row | None, index: Row | None) -> Iterator[Finding]:
    """Give every field in which the row that the log gives and the row in the index differ."""
    if log == index:
        return
    if log is None or index is None:
        present, name = (log, "log") if log is not None else (index, "index")
        assert present is not None
        text = f"version {present.version}"
        yield Finding(present.id, "row", text if name == "log" else "missing", text if name == "index" else "missing")
        return
    for field in _COMPARED:
        expected, found = getattr(log, field), getattr(index, field)
        if expected != found:
            yield Finding(log.id, field, str(expected), str(found))
