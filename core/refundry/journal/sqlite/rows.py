"""The index rows in SQLite: what their columns hold, and what a write becomes before it waits for the writer.

The rule of this module: synchronous, inside a write transaction of the caller. Every call into SQLite releases the
interpreter to other threads and has to reacquire it, so a group is written in a few statements of many rows.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

import attrs
from eventsourcing.persistence import StoredEvent

from refundry.errors import Invalid
from refundry.journal import Row, Write
from refundry.journal.codec import encode_apart
from refundry.journal.index import (
    alias_of,
    blocks_account,
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
NO_WORKING_DATA: Final = "lease_until=NULL, lease_holder=NULL, postponed_until=NULL, repeats=0, unreadable=NULL"
_NEW_ROW: Final = f"INTO refund_index ({ROW}) VALUES "
_NEW_VALUES: Final = "(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
REPLACE_ROW: Final = f"INSERT OR REPLACE {_NEW_ROW}{_NEW_VALUES}"

ROWS_AT_ONCE: Final = 64
STATEMENTS: Final = 8 * ROWS_AT_ONCE
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
    return *_changing(refund), *lasting(refund)


def lasting(refund: Refund) -> tuple[Any, ...]:
    """Return the columns of a refund's index row that no event changes."""
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
