"""The index: one row for each refund, derived from its state.

The rule of this module: pure. A row contains nothing that does not follow from the log, so the index can be rebuilt at
any time. It answers what is due, what to list, and how much of a payment is left to refund.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Final

import attrs

from refundry.errors import Invalid, StoreError
from refundry.journal import IndexDifference, Row
from refundry.money import Money, OverRefund
from refundry.provider import ReviewReason, Scope
from refundry.refund import NextStep, Refund, Review, Status


def due_at(refund: Refund) -> datetime | None:
    """Return when a worker should process a refund; None when it is final or needs an operator."""
    waits = refund.final or refund.next_step == NextStep.MANUAL_REVIEW or refund.blocked is not None
    return None if waits else refund.next_at


def blocks_account(refund: Refund) -> bool:
    """Return whether what blocks this refund blocks its whole account."""
    return refund.blocked == Scope.ACCOUNT


def storable_text(text: str) -> str:
    """Return text as UTF-8 can hold it: half a surrogate pair becomes its escape."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def alias_of(refund: Refund) -> str | None:
    """Return the other name of a refund's payment, as the index stores it."""
    return None if refund.payment_alias is None else storable_text(refund.payment_alias)


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
        payment_alias=alias_of(refund),
        corrects_total=refund.corrects_total,
    )


def review_text(reasons: Iterable[tuple[str, str, datetime]]) -> str | None:
    """Return the open reasons for a review as the index stores them; None without any."""
    column = [{"code": code, "message": message, "since": since.isoformat()} for code, message, since in reasons]
    # JSON in ASCII also holds half a surrogate pair.
    return json.dumps(column) if column else None


def read_review(column: str | None) -> tuple[Review, ...]:
    """Return the reasons that `review_text` wrote; raise `StoreError` for anything else."""
    if column is None:
        return ()
    try:
        return tuple(
            _read_reason(reason["code"], str(reason["message"]), datetime.fromisoformat(reason["since"]))
            for reason in json.loads(column)
        )
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"store: the review of an index row cannot be read: {error!r}") from error


def _read_reason(code: str, message: str, since: datetime) -> Review:
    """Return a reason; one of a later version, as during an upgrade, does not hide the row."""
    with suppress(ValueError):  # Python 3.11 cannot ask whether a text is a member
        return Review(ReviewReason(code), message, since)
    return Review(ReviewReason.UNREADABLE_EVENT, f"{code}: {message}", since)


@attrs.frozen(slots=True)
class Sibling:
    """An earlier refund of the same payment, as far as the payment guard needs it."""

    amount: Money
    payment_total: int | None
    """In the minor units of `amount`."""
    counts: bool
    """It moved money, or may have, or still may: only a confirmed failure does not count."""
    corrects_total: bool = False
    """Its total replaces those that earlier refunds state, even if the refund itself failed."""


def counts(status: str, *, needs_review: bool) -> bool:
    """Return whether the guard counts a refund: one that failed and needs review might have paid."""
    return status != Status.FAILED or needs_review


def check_total(new: Refund, siblings: Iterable[Sibling]) -> None:
    """Check that a new refund leaves its payment's refunds within the total; raise `Invalid` if it does not.

    `siblings` are the earlier refunds of the payment, oldest first. Those that count are in one currency, and the
    lowest total that they state applies. A corrected total replaces those before it. Raises `OverRefund` if the total
    would be exceeded.
    """
    amount, total, unit = new.amount, new.payment_total, new.amount.currency
    if total is not None and not total.same_unit(amount):
        raise Invalid("payment_total", f"must be in {unit} as the amount is")
    used, earlier = _taken(amount, siblings)
    after = used + amount.minor
    exceeds = f"{amount} {unit} would bring the refunds of this payment to {_written(after, amount)} {unit}"
    if total is not None and after > total.minor:
        left = attrs.evolve(amount, minor=max(total.minor - used, 0))
        raise OverRefund("amount", f"{exceeds}; the payment total is {total} {unit}", left)
    if earlier is not None and after > earlier and not new.corrects_total:
        stated = f"an earlier refund states a payment total of {_written(earlier, amount)} {unit}"
        left = attrs.evolve(amount, minor=max(earlier - used, 0))
        raise OverRefund("payment_total" if total else "amount", f"{exceeds}; {stated}", left)


def _taken(amount: Money, siblings: Iterable[Sibling]) -> tuple[int, int | None]:
    """Return what the earlier refunds take of a payment, and the total that they state, if any."""
    used = 0
    total: int | None = None
    for sibling in siblings:
        same_unit = sibling.amount.same_unit(amount)
        if sibling.counts and not same_unit:
            raise Invalid("currency", f"earlier refunds of this payment are in {sibling.amount.currency}")
        used += sibling.amount.minor if sibling.counts else 0
        if sibling.payment_total is not None and same_unit:
            if sibling.corrects_total or (sibling.counts and total is None):
                total = sibling.payment_total
            elif sibling.counts and total is not None:
                total = min(total, sibling.payment_total)
    return used, total


def _written(minor: int, unit: Money) -> str:
    return str(attrs.evolve(unit, minor=minor))


_COMPARED: Final = tuple(field.name for field in attrs.fields(Row))


def differences(log: Row | None, index: Row | None) -> Iterator[IndexDifference]:
    """Yield every field in which the row derived from the log differs from the row in the index."""
    if log == index:
        return
    if log is None or index is None:
        in_log = "missing" if log is None else f"version {log.version}"
        in_index = "missing" if index is None else f"version {index.version}"
        present = log or index
        assert present is not None
        yield IndexDifference(present.id, "row", in_log, in_index)
        return
    for field in _COMPARED:
        expected, found = getattr(log, field), getattr(index, field)
        if expected != found:
            yield IndexDifference(log.id, field, str(expected), str(found))
