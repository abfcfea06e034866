"""Whether a change may be written: versions, ids, replacements, and the guard over a payment's total.

The rule of this module: synchronous, inside the write transaction that stores the change. Every rule between refunds is
checked here, so that no two processes can break it together.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Final

from refundry.errors import Invalid, Stale
from refundry.journal import AlreadyRequested, NotifiedBefore
from refundry.journal.index import Sibling, check_total, counts
from refundry.journal.sqlite.rows import NO_WORKING_DATA, ROWS_AT_ONCE, Change, in_many_rows, insert_rows, lasting
from refundry.money import Money
from refundry.refund import Refund, Status

__all__ = ["FIND", "admit_one", "admit_together"]

FIND: Final = "SELECT id FROM refund_index WHERE account=? AND refund_request_id=?"
_UPDATE_ROW: Final = f"""UPDATE refund_index SET version=?, status=?, review=?, due_at=?, blocks_account=?,
    updated_at=?, payment_alias=?, {NO_WORKING_DATA} WHERE id=? AND version=?"""
_SIBLINGS: Final = """SELECT account, payment, amount, currency, exponent, payment_total, status, review
    FROM refund_index WHERE account=? AND payment=?"""


@cache
def _update_rows(rows: int) -> str:
    values = ",".join(["(?,?,?,?,?,?,?,?,?)"] * rows)
    return f"""UPDATE refund_index SET version=new.column1, status=new.column2, review=new.column3,
        due_at=new.column4, blocks_account=new.column5, updated_at=new.column6, payment_alias=new.column7,
        {NO_WORKING_DATA}
        FROM (VALUES {values}) AS new WHERE refund_index.id=new.column8 AND refund_index.version=new.column9"""


@cache
def _siblings_of(payments: int) -> str:
    values = ",".join(["(?,?)"] * payments)
    return f"""SELECT account, payment, amount, currency, exponent, payment_total, status, review
        FROM (VALUES {values}) AS wanted CROSS JOIN refund_index
        ON refund_index.account=wanted.column1 AND refund_index.payment=wanted.column2"""


def admit_together(cursor: sqlite3.Cursor, changes: Sequence[Change]) -> bool:
    """Write the index rows of a group; return False if one of them is refused, and the caller must roll back."""
    new = [change for change in changes if not change.expected]
    old = [(*change.changing, change.expected) for change in changes if change.expected]
    if in_many_rows(cursor, _update_rows, old) != len(old):
        return False
    if not all(_may_replace(cursor, change) for change in new):
        return False
    # A refund about which the provider sent notifications before is written alone.
    any_unmatched = cursor.execute("SELECT 1 FROM unmatched_notifications LIMIT 1").fetchone() is not None
    if any_unmatched and any(_unmatched(cursor, change.write.refund) for change in new):
        return False
    rows = [(*change.changing, *lasting(change.write.refund)) for change in new]
    return _within_totals(cursor, new) and in_many_rows(cursor, insert_rows, rows) == len(rows)


def _within_totals(cursor: sqlite3.Cursor, new: Sequence[Change]) -> bool:
    refunds = [change.write.refund for change in new]
    payments = list({(refund.account, refund.payment) for refund in refunds})
    siblings: dict[tuple[str, str], list[Sibling]] = {payment: [] for payment in payments}
    for start in range(0, len(payments), ROWS_AT_ONCE):
        some = payments[start : start + ROWS_AT_ONCE]
        for payment, sibling in _read_siblings(
            cursor, _siblings_of(len(some)), [part for pair in some for part in pair]
        ):
            siblings[payment].append(sibling)
    for refund in refunds:
        others = siblings[refund.account, refund.payment]
        try:
            check_total(refund.amount, refund.payment_total, others)
        except Invalid:
            return False
        total = refund.payment_total
        others.append(Sibling(refund.amount, None if total is None else total.minor, True))
    return True


def _read_siblings(
    cursor: sqlite3.Cursor, statement: str, values: Sequence[str]
) -> Iterator[tuple[tuple[str, str], Sibling]]:
    for account, payment, amount, currency, exponent, total, status, review in cursor.execute(statement, values):
        yield (
            (account, payment),
            Sibling(Money(amount, currency, exponent), total, counts(status, needs_review=review is not None)),
        )


def admit_one(cursor: sqlite3.Cursor, change: Change) -> Exception | None:
    """Write the index row of a change; if it is refused, write nothing and return the reason."""
    refund = change.write.refund
    if change.expected:
        cursor.execute(_UPDATE_ROW, (*change.changing, change.expected))
        return None if cursor.rowcount == 1 else _stale(refund)
    siblings = _read_siblings(cursor, _SIBLINGS, (refund.account, refund.payment))
    try:
        check_total(refund.amount, refund.payment_total, [sibling for _, sibling in siblings])
    except Invalid as refusal:
        # A repeated request is not refused because the first one took what was left of the payment.
        return _taken(cursor, refund) or refusal
    if not _may_replace(cursor, change):
        return _taken(cursor, refund) or _replaced(cursor, refund) or Invalid("retry_of", _CHANGED)
    notified = _unmatched(cursor, refund)
    if set(notified) != set(change.write.unmatched):
        return _taken(cursor, refund) or NotifiedBefore(notified)
    if notified:
        cursor.execute(_MATCHED, (refund.account, refund.refund_request_id))
    cursor.execute(insert_rows(1), (*change.changing, *lasting(refund)))
    return None if cursor.rowcount == 1 else _taken(cursor, refund) or _replaced(cursor, refund) or _stale(refund)


_UNMATCHED: Final = """SELECT evidence FROM unmatched_notifications WHERE account=? AND refund_request_id=?
    ORDER BY rowid"""
_MATCHED: Final = "DELETE FROM unmatched_notifications WHERE account=? AND refund_request_id=?"


def _unmatched(cursor: sqlite3.Cursor, refund: Refund) -> list[str]:
    """Return the digests of the unmatched notifications about a new refund, oldest first."""
    found = cursor.execute(_UNMATCHED, (refund.account, refund.refund_request_id)).fetchall()
    return [digest.hex() for (digest,) in found]


_CHANGED: Final = "has changed since the provider confirmed that it failed; look at it again before you replace it"


def _may_replace(cursor: sqlite3.Cursor, change: Change) -> bool:
    """Return whether the refund that a new one replaces is still as it was when its failure was confirmed."""
    replaced = change.write.refund.retry_of
    if replaced is None:
        return True
    statement = "SELECT version, status, review FROM refund_index WHERE id=?"
    found = cursor.execute(statement, (replaced,)).fetchone()
    return found is not None and tuple(found) == (change.write.replaced_version, Status.FAILED, None)


def _stale(refund: Refund) -> Stale:
    return Stale(f"refund {refund.refund_request_id!r} has changed meanwhile; reload it and decide again")


def _replaced(cursor: sqlite3.Cursor, refund: Refund) -> Invalid | None:
    """Return the refusal if the failed refund already has a replacement, because only a new id can pay twice."""
    found = cursor.execute("SELECT refund_request_id FROM refund_index WHERE retry_of=?", (refund.retry_of,)).fetchone()
    return None if found is None else Invalid("retry_of", f"has been replaced already, by {found[0]!r}")


def _taken(cursor: sqlite3.Cursor, refund: Refund) -> AlreadyRequested | None:
    found = cursor.execute(
        "SELECT id FROM refund_index WHERE account=? AND refund_request_id=?",
        (refund.account, refund.refund_request_id),
    ).fetchone()
    return None if found is None else AlreadyRequested(found[0])
