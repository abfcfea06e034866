"""The index in SQLite: listing it, handing out due work from it, comparing it with the log and rebuilding it.

The rule of this module: synchronous; reading runs in a reader's thread, writing inside the caller's transaction.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import attrs

from refundry.errors import StoreError
from refundry.journal import IndexDifference, Row, Selection
from refundry.journal.index import differences, row_of
from refundry.journal.sqlite.events import fold_stored
from refundry.journal.sqlite.rows import REPLACE_ROW, ROW, from_micros, read_row, to_micros, whole_row
from refundry.refund import IllegalEvent

__all__ = ["compare", "next_ids", "rebuild", "select_rows", "take_due", "waiting"]

PAGE: Final = 500
"""How many events or refunds a walk over the whole store holds in memory."""

_DUE: Final = """SELECT id FROM refund_index WHERE due_at<=? AND (lease_until IS NULL OR lease_until<=?)
    AND account NOT IN (SELECT account FROM refund_index WHERE blocks_account = 1) ORDER BY due_at LIMIT ?"""
_LEASE: Final = "UPDATE refund_index SET lease_until=?, lease_holder=? WHERE id=?"
_WAITING: Final = """SELECT count(*), min(max(due_at, coalesce(lease_until, due_at))) FROM refund_index
    WHERE due_at IS NOT NULL AND account NOT IN (SELECT account FROM refund_index WHERE blocks_account = 1)"""
_IDS: Final = """SELECT id FROM (SELECT DISTINCT originator_id AS id FROM stored_events WHERE originator_id>:after
    ORDER BY originator_id LIMIT :page) UNION
    SELECT id FROM (SELECT id FROM refund_index WHERE id>:after ORDER BY id LIMIT :page) ORDER BY id LIMIT :page"""
_ROW_OF: Final = f"SELECT {ROW} FROM refund_index WHERE id=?"  # noqa: S608 (constant columns)


def select_rows(connection: sqlite3.Connection, selection: Selection, after: str, limit: int) -> list[Row]:
    """Return index rows in the order of their ids, starting after the id `after`."""
    statement, values = _selecting(selection)
    return [read_row(row) for row in connection.execute(statement, (after, *values, limit))]


def _selecting(selection: Selection) -> tuple[str, list[Any]]:
    wanted = attrs.asdict(selection, filter=lambda field, value: field.name != "review" and value is not None)
    # `+` keeps SQLite from an index whose order is not that of the ids: an account's refunds may be millions.
    alone = "+" if "payment" not in wanted and "refund_request_id" not in wanted else ""
    conditions = ["id>?", *(f"{alone if name == 'account' else ''}{name}=?" for name in wanted)]
    if selection.review:
        conditions.append("review IS NOT NULL")
    # The names are those of `Selection`; the values are bound.
    statement = f"SELECT {ROW} FROM refund_index WHERE {' AND '.join(conditions)} ORDER BY id LIMIT ?"  # noqa: S608
    return statement, list(wanted.values())


def take_due(cursor: sqlite3.Cursor, now: datetime, until: datetime, holder: str, limit: int) -> list[str]:
    """Lease refunds that are due, oldest first, and return their ids."""
    at, lease = to_micros(now), to_micros(until)
    ids = [id for (id,) in cursor.execute(_DUE, (at, at, limit))]
    cursor.executemany(_LEASE, [(lease, holder, id) for id in ids])
    return ids


def waiting(connection: sqlite3.Connection) -> tuple[int, datetime | None]:
    """Return how many refunds the workers still have to process, and when the next of them can be taken."""
    count, next_at = connection.execute(_WAITING).fetchone()
    return count, None if next_at is None else from_micros(next_at)


# --- the index and the log ------------------------------------------------------------------------------------------


def next_ids(connection: sqlite3.Connection, after: str) -> list[str]:
    """Return a page of the ids of all refunds that are in the log or in the index, in order."""
    return [id for (id,) in connection.execute(_IDS, {"after": after, "page": PAGE})]


def compare(connection: sqlite3.Connection, ids: Sequence[str]) -> list[IndexDifference]:
    """Fold these refunds and return every difference from their index rows."""
    # One transaction, so that events and rows are of one moment.
    connection.execute("BEGIN")
    try:
        return [difference for id in ids for difference in _compare_one(connection, id)]
    finally:
        connection.execute("ROLLBACK")


def _compare_one(connection: sqlite3.Connection, id: str) -> Iterator[IndexDifference]:
    found = connection.execute(_ROW_OF, (id,)).fetchone()
    try:
        index = None if found is None else read_row(found)
    except (StoreError, ValueError) as error:
        yield IndexDifference(id, "row", "a readable row", str(error))
        return
    try:
        refund = fold_stored(connection, id)
    except IllegalEvent as error:
        yield IndexDifference(id, "events", str(error), "" if index is None else f"version {index.version}")
        return
    log = None if refund is None else row_of(refund)
    yield from differences(log, index)


def rebuild(ids: Sequence[str], cursor: sqlite3.Cursor) -> int:
    """Rebuild the index rows of these refunds from the log; return how many there are."""
    count = 0
    for id in ids:
        cursor.execute("DELETE FROM refund_index WHERE id=?", (id,))
        refund = fold_stored(cursor, id)
        if refund is not None:
            # A wrong row may have the key of this one; its own turn comes.
            cursor.execute(REPLACE_ROW, whole_row(refund))
            count += 1
    return count
