"""Whether a change may be written: versions, ids, replacements, and the guard over a payment's total.

The rule of this module: synchronous, inside the write transaction that stores the change. Every rule between refunds is
checked here, so that no two processes can break it together.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
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
_SIBLING: Final = (
    "id, requested_at, account, payment, payment_alias, amount, currency, exponent, payment_total, status, review,"
)
_SIBLINGS: Final = f"SELECT {_SIBLING} corrects_total FROM (VALUES %s) AS wanted CROSS JOIN refund_index"


@cache
def _update_rows(rows: int) -> str:
    values = ",".join(["(?,?,?,?,?,?,?,?,?)"] * rows)
    return f"""UPDATE refund_index SET version=new.column1, status=new.column2, review=new.column3,
        due_at=new.column4, blocks_account=new.column5, updated_at=new.column6, payment_alias=new.column7,
        {NO_WORKING_DATA}
        FROM (VALUES {values}) AS new WHERE refund_index.id=new.column8 AND refund_index.version=new.column9"""


@cache
def _siblings_of(payments: int, column: str) -> str:
    values = ",".join(["(?,?)"] * payments)
    found = _SIBLINGS % values
    return f"{found} ON refund_index.account=wanted.column1 AND refund_index.{column}=wanted.column2"


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
    siblings = _earlier(cursor, refunds)
    for refund in refunds:
        others = siblings[refund.account, refund.payment]
        try:
            check_total(refund, others)
        except Invalid:
            return False
        total = None if refund.payment_total is None else refund.payment_total.minor
        others.append(Sibling(refund.amount, total, True, refund.corrects_total))
    return True


_Payment = tuple[str, str]
"""An account, and a payment by one of its names."""


def _earlier(cursor: sqlite3.Cursor, refunds: Sequence[Refund]) -> Mapping[_Payment, list[Sibling]]:
    """Return the earlier refunds of each refund's payment, under all of its names, oldest first.

    Payments that turn out to be the same one share a list.
    """
    names: dict[_Payment, set[_Payment]] = {(refund.account, refund.payment): set() for refund in refunds}
    for payment in names:
        names[payment].add(payment)
    found: dict[str, tuple[int, bool, _Payment, Sibling]] = {}
    seen: set[_Payment] = set()
    while wanted := names.keys() - seen:
        seen |= wanted
        for id, at, payment, alias, sibling in _read_siblings(cursor, sorted(wanted)):
            # Of two at the same microsecond, a correction is the later one.
            found[id] = at, sibling.corrects_total, payment, sibling
            same = {payment, alias} | names.get(payment, set()) | names.get(alias, set())
            names.update(dict.fromkeys(same, same))
    lists: dict[_Payment, list[Sibling]] = {}
    for _, _, payment, sibling in sorted(found.values(), key=lambda one: one[:2]):
        lists.setdefault(min(names[payment]), []).append(sibling)
    return {payment: lists.setdefault(min(same), []) for payment, same in names.items()}


def _read_siblings(
    cursor: sqlite3.Cursor, payments: Sequence[_Payment]
) -> Iterator[tuple[str, int, _Payment, _Payment, Sibling]]:
    """Yield id, time, payment, the payment's other name and the sibling of each refund that has one of these names."""
    for start in range(0, len(payments), ROWS_AT_ONCE):
        some = payments[start : start + ROWS_AT_ONCE]
        values = [part for pair in some for part in pair]
        for column in ("payment", "payment_alias"):
            for row in cursor.execute(_siblings_of(len(some), column), values).fetchall():
                id, at, account, payment, alias, minor, currency, exponent, total, status, review, corrects = row
                counted = counts(status, needs_review=review is not None)
                sibling = Sibling(Money(minor, currency, exponent), total, counted, bool(corrects))
                yield id, at, (account, payment), (account, alias or payment), sibling


def admit_one(cursor: sqlite3.Cursor, change: Change) -> Exception | None:
    """Write the index row of a change; if it is refused, write nothing and return the reason."""
    refund = change.write.refund
    if change.expected:
        cursor.execute(_UPDATE_ROW, (*change.changing, change.expected))
        return None if cursor.rowcount == 1 else _stale(refund)
    try:
        check_total(refund, _earlier(cursor, [refund])[refund.account, refund.payment])
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
