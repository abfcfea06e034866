"""The index rows in SQLite: what their columns hold, and whether a change may write its own.

The rule of this module: synchronous, inside a write transaction of the caller. Every call into SQLite releases the
interpreter to other threads and has to reacquire it, so a group is written in a few statements of many rows.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

import attrs
from eventsourcing.persistence import StoredEvent

from refundry.errors import Invalid, Stale
from refundry.journal import AlreadyRequested, Row, Write
from refundry.journal.codec import encode_apart
from refundry.journal.index import (
    Sibling,
    alias_of,
    blocks_account,
    check_total,
    counts,
    due_at,
    read_review,
    review_text,
    storable_text,
)
from refundry.money import Money
from refundry.refund import Refund, Status

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
ROW: Final = """version, status, review, due_at, blocks_account, updated_at, payment_alias, id, account,
    refund_request_id, payment, currency, exponent, amount, payment_total, retry_of, requested_at, corrects_total"""
"""The columns of an index row, in the order in which `whole_row` returns them and `read_row` reads them."""
ROW_ID: Final = 7
WORK_AT: Final = "coalesce(postponed_until, due_at)"
"""When a refund is to be processed: as its log plans it, unless that was put off."""
NEEDS_REVIEW: Final = "review IS NOT NULL OR unreadable IS NOT NULL"
_NO_WORKING_DATA: Final = "lease_until=NULL, lease_holder=NULL, postponed_until=NULL, repeats=0, unreadable=NULL"
_NEW_ROW: Final = f"INTO refund_index ({ROW}) VALUES "
_NEW_VALUES: Final = "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
REPLACE_ROW: Final = f"INSERT OR REPLACE {_NEW_ROW}{_NEW_VALUES}"
_UPDATE_ROW: Final = f"""UPDATE refund_index SET version=?, status=?, review=?, due_at=?, blocks_account=?,
    updated_at=?, payment_alias=?, {_NO_WORKING_DATA} WHERE id=? AND version=?"""
_SIBLINGS: Final = """SELECT account, payment, amount, currency, exponent, payment_total, status, review
    FROM refund_index WHERE account=? AND payment=?"""

ROWS_AT_ONCE: Final = 64
STATEMENTS: Final = 7 * ROWS_AT_ONCE
"""How many prepared statements a writer keeps: each of these for every number of rows, and the others."""


def in_many_rows(cursor: sqlite3.Cursor, statement: Callable[[int], str], rows: Sequence[Sequence[Any]]) -> int:
    """Execute `statement(n)` for all rows, up to `ROWS_AT_ONCE` at a time, and return how many rows changed."""
    changed = 0
    for start in range(0, len(rows), ROWS_AT_ONCE):
        some = rows[start : start + ROWS_AT_ONCE]
        cursor.execute(statement(len(some)), [value for row in some for value in row])
        changed += cursor.rowcount
    return changed


@cache
def insert_evidence(rows: int) -> str:
    """Return the statement that stores so many pieces of evidence, each once."""
    return f"INSERT OR IGNORE INTO evidence (digest, bytes) VALUES {','.join(['(?,?)'] * rows)}"


@cache
def insert_rows(rows: int) -> str:
    """Return the statement that adds so many index rows, except those whose id or request id is taken."""
    return f"INSERT OR IGNORE {_NEW_ROW}{','.join([_NEW_VALUES] * rows)}"


@cache
def _update_rows(rows: int) -> str:
    values = ",".join(["(?,?,?,?,?,?,?,?,?)"] * rows)
    return f"""UPDATE refund_index SET version=new.column1, status=new.column2, review=new.column3,
        due_at=new.column4, blocks_account=new.column5, updated_at=new.column6, payment_alias=new.column7,
        {_NO_WORKING_DATA}
        FROM (VALUES {values}) AS new WHERE refund_index.id=new.column8 AND refund_index.version=new.column9"""


@cache
def _siblings_of(payments: int) -> str:
    values = ",".join(["(?,?)"] * payments)
    return f"""SELECT account, payment, amount, currency, exponent, payment_total, status, review
        FROM (VALUES {values}) AS wanted CROSS JOIN refund_index
        ON refund_index.account=wanted.column1 AND refund_index.payment=wanted.column2"""


# --- values in columns -----------------------------------------------------------------------------------------------


def to_micros(at: datetime) -> int:
    """Return a time as microseconds since 1970, in UTC."""
    since = at - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_micros(micros: int) -> datetime:
    """Return the time that `to_micros` wrote."""
    return EPOCH + timedelta(microseconds=micros)


def read_row(values: Sequence[Any], unreadable: str | None = None) -> Row:
    """Build a row from the columns of `ROW`, and from `unreadable`."""
    version, status, review, due_at, blocks_account, updated_at, payment_alias, *lasting = values
    id, account, request_id, payment, currency, exponent, minor, total, retry_of, requested_at, corrects = lasting
    amount = Money(minor, currency, exponent)
    return Row(
        id=id,
        version=version,
        account=account,
        refund_request_id=request_id,
        payment=payment,
        amount=amount,
        payment_total=None if total is None else attrs.evolve(amount, minor=total),
        retry_of=retry_of,
        status=Status(status),
        review=read_review(review) + read_review(unreadable),
        due_at=None if due_at is None else from_micros(due_at),
        blocks_account=bool(blocks_account),
        requested_at=from_micros(requested_at),
        updated_at=from_micros(updated_at),
        payment_alias=payment_alias,
        corrects_total=bool(corrects),
    )


@attrs.frozen(slots=True)
class Change:
    """A `Write`, prepared for the tables before it waits for the writer."""

    write: Write
    stored: list[StoredEvent]
    changing: tuple[Any, ...]
    """The columns of the index row that later events change, then the id."""
    evidence: list[tuple[bytes, bytes]]
    count: int
    size: int

    @classmethod
    def of(cls, write: Write, random: Callable[[int], bytes]) -> "Change":
        """Encode a write, so that one that cannot be written fails alone."""
        refund = write.refund
        first = refund.version - len(write.events) + 1
        if first == 1:
            _check_texts(refund)
        stored = []
        evidence = [(bytes.fromhex(digest), content) for digest, content in write.evidence.items()]
        for version, event in enumerate(write.events, first):
            state, private = encode_apart(event, random)
            stored.append(StoredEvent(refund.id, version, event.topic, state))
            if private is not None:
                evidence.append((hashlib.sha256(private).digest(), private))
        size = sum(len(event.state) for event in stored) + sum(len(content) for _, content in evidence)
        return cls(write, stored, _changing(refund), evidence, len(stored), size)

    @property
    def expected(self) -> int:
        """The version that the refund has if no other write came first; 0 for a new one."""
        return self.write.refund.version - self.count


def _check_texts(refund: Refund) -> None:
    for name in ("account", "refund_request_id", "payment"):
        text = getattr(refund, name)
        if storable_text(text) != text:
            raise Invalid(name, "holds half of a surrogate pair, which cannot be written as UTF-8")


def _changing(refund: Refund) -> tuple[Any, ...]:
    due = due_at(refund)
    return (
        refund.version,
        refund.status,
        review_text((review.code, review.message, review.since) for review in refund.review) if refund.review else None,
        None if due is None else to_micros(due),
        blocks_account(refund),
        to_micros(refund.updated_at),
        alias_of(refund),
        refund.id,
    )


def whole_row(refund: Refund) -> tuple[Any, ...]:
    """Return what a refund's index row must contain, in the order of `ROW`."""
    return *_changing(refund), *_lasting(refund)


def _lasting(refund: Refund) -> tuple[Any, ...]:
    total = refund.payment_total
    return (
        refund.account,
        refund.refund_request_id,
        refund.payment,
        refund.amount.currency,
        refund.amount.exponent,
        refund.amount.minor,
        None if total is None else total.minor,
        refund.retry_of,
        to_micros(refund.requested_at),
        refund.corrects_total,
    )


# --- whether a change may be written ---------------------------------------------------------------------------------


def admit_together(cursor: sqlite3.Cursor, changes: Sequence[Change]) -> bool:
    """Write the index rows of a group; return False if one of them is refused, and the caller must roll back."""
    new = [change for change in changes if not change.expected]
    old = [(*change.changing, change.expected) for change in changes if change.expected]
    if in_many_rows(cursor, _update_rows, old) != len(old):
        return False
    if not all(_may_replace(cursor, change) for change in new):
        return False
    rows = [(*change.changing, *_lasting(change.write.refund)) for change in new]
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
    cursor.execute(insert_rows(1), (*change.changing, *_lasting(refund)))
    return None if cursor.rowcount == 1 else _taken(cursor, refund) or _replaced(cursor, refund) or _stale(refund)


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
