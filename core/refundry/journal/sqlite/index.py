"""The index in SQLite: listing it, handing out due work from it, comparing it with the log and rebuilding it.

The rule of this module: synchronous; reading runs in a reader's thread, writing inside the caller's transaction.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import attrs

from refundry.errors import StoreError, UnreadableEvent
from refundry.journal import IndexDifference, Row, Selection
from refundry.journal.index import differences, review_text, row_of
from refundry.journal.sqlite.events import fold_stored
from refundry.journal.sqlite.rows import (
    NEEDS_REVIEW,
    REPLACE_ROW,
    ROW,
    WORK_AT,
    from_micros,
    read_row,
    to_micros,
    whole_row,
)
from refundry.refund import IllegalEvent, Review

__all__ = [
    "compare",
    "due_accounts",
    "next_due",
    "next_ids",
    "postpone",
    "rebuild",
    "select_rows",
    "set_aside",
    "take_due",
    "waiting",
]

PAGE: Final = 500
"""How many events or refunds a walk over the whole store holds in memory."""

_FREE: Final = "due_at IS NOT NULL AND (lease_until IS NULL OR lease_until<=:now OR lease_until>:beyond)"
_TAKEABLE: Final = f"{_FREE} AND {WORK_AT}<=:now"
_MISDATED: Final = f"{_FREE} AND {WORK_AT}>:beyond"
# The accounts are found one after the other in the index, because each may have millions of refunds that are due.
_BUSY: Final = """WITH RECURSIVE busy (account) AS (
    SELECT min(account) FROM refund_index WHERE due_at IS NOT NULL UNION ALL
    SELECT (SELECT min(next.account) FROM refund_index AS next WHERE due_at IS NOT NULL
        AND next.account>busy.account) FROM busy WHERE account IS NOT NULL)"""
_DUE_ACCOUNTS: Final = f"""{_BUSY} SELECT account FROM busy
    WHERE account NOT IN (SELECT account FROM refund_index WHERE blocks_account = 1)
    AND (EXISTS (SELECT 1 FROM refund_index AS due WHERE due.account=busy.account AND {_TAKEABLE})
    OR EXISTS (SELECT 1 FROM refund_index AS due WHERE due.account=busy.account AND {_MISDATED}))"""  # noqa: S608 (constant text)
_DUE, _MISDATED_OF = (
    f"""SELECT id FROM refund_index WHERE account=:account AND {condition}
    AND account NOT IN (SELECT account FROM refund_index WHERE blocks_account = 1)
    ORDER BY {WORK_AT} LIMIT :room"""  # noqa: S608 (constant text)
    for condition in (_TAKEABLE, _MISDATED)
)
_LEASE: Final = "UPDATE refund_index SET lease_until=?, lease_holder=? WHERE id=?"
_NEXT_DUE: Final = f"""{_BUSY} SELECT min((SELECT min({WORK_AT}) FROM refund_index AS next
    WHERE due_at IS NOT NULL AND next.account=busy.account AND {WORK_AT}>:after)) FROM busy
    WHERE account IS NOT NULL"""  # noqa: S608 (constant text)
_WAITING: Final = """SELECT count(*) FROM refund_index
    WHERE due_at IS NOT NULL AND review IS NULL AND unreadable IS NULL
    AND account NOT IN (SELECT account FROM refund_index WHERE blocks_account = 1)
    AND (:account IS NULL OR account=:account)"""
_SET_ASIDE: Final = (
    """UPDATE refund_index SET unreadable=coalesce(unreadable, ?), lease_until=?, lease_holder='' WHERE id=?"""
)
_POSTPONE: Final = """UPDATE refund_index SET postponed_until=?, repeats=repeats+1, lease_until=NULL, lease_holder=NULL
    WHERE id=? AND version=? AND due_at IS NOT NULL"""
_IDS: Final = """SELECT id FROM (SELECT DISTINCT originator_id AS id FROM stored_events WHERE originator_id>:after
    ORDER BY originator_id LIMIT :page) UNION
    SELECT id FROM (SELECT id FROM refund_index WHERE id>:after ORDER BY id LIMIT :page) ORDER BY id LIMIT :page"""
_ROW_OF: Final = f"SELECT {ROW} FROM refund_index WHERE id=?"  # noqa: S608 (constant columns)


def select_rows(connection: sqlite3.Connection, selection: Selection, after: str, limit: int) -> list[Row]:
    """Return index rows in the order of their ids, starting after the id `after`."""
    statement, values = _selecting(selection)
    return [read_row(row, unreadable) for *row, unreadable in connection.execute(statement, (after, *values, limit))]


def _selecting(selection: Selection) -> tuple[str, list[Any]]:
    wanted = attrs.asdict(selection, filter=lambda field, value: field.name != "review" and value is not None)
    # `+` keeps SQLite from an index whose order is not that of the ids: an account's refunds may be millions.
    alone = "" if wanted.keys() & {"payment", "payment_alias", "refund_request_id"} else "+"
    conditions = ["id>?", *(f"{alone if name == 'account' else ''}{name}=?" for name in wanted)]
    if selection.review:
        conditions.append(f"({NEEDS_REVIEW})")
    # The names are those of `Selection`; the values are bound.
    where = " AND ".join(conditions)
    statement = f"SELECT {ROW}, unreadable FROM refund_index WHERE {where} ORDER BY id LIMIT ?"  # noqa: S608
    return statement, list(wanted.values())


def due_accounts(connection: sqlite3.Connection, now: datetime, beyond: datetime | None) -> list[str]:
    """Return the accounts that have refunds to take, except those that are blocked."""
    return [account for (account,) in connection.execute(_DUE_ACCOUNTS, _moments(now, beyond))]


def take_due(
    cursor: sqlite3.Cursor,
    now: datetime,
    beyond: datetime | None,
    until: datetime,
    holder: str,
    room: Mapping[str, int],
) -> dict[str, list[str]]:
    """Lease refunds that are due, oldest first, up to `room` for each account, and return their ids."""
    moments, lease = _moments(now, beyond), to_micros(until)
    taken: dict[str, list[str]] = {}
    for account, some in room.items():
        ids: list[str] = []
        for statement in (_DUE, _MISDATED_OF):
            wanted = moments | {"account": account, "room": some - len(ids)}
            ids += [id for (id,) in cursor.execute(statement, wanted)]
        cursor.executemany(_LEASE, [(lease, holder, id) for id in ids])
        if ids:
            taken[account] = ids
    return taken


def _moments(now: datetime, beyond: datetime | None) -> dict[str, int | str | None]:
    return {"now": to_micros(now), "beyond": None if beyond is None else to_micros(beyond)}


def waiting(connection: sqlite3.Connection, account: str | None) -> int:
    """Return how many refunds, or refunds of an account, the workers still have to process."""
    count: int = connection.execute(_WAITING, {"account": account}).fetchone()[0]
    return count


def next_due(connection: sqlite3.Connection, after: datetime) -> datetime | None:
    """Return when the next refund will be due after a moment."""
    (due,) = connection.execute(_NEXT_DUE, {"after": to_micros(after)}).fetchone()
    return None if due is None else from_micros(due)


def postpone(cursor: sqlite3.Cursor, refund_id: str, version: int, until: datetime) -> bool:
    """Count an answer that is not recorded, and put the refund off; return False if it has another version."""
    cursor.execute(_POSTPONE, (to_micros(until), refund_id, version))
    return cursor.rowcount == 1


def set_aside(cursor: sqlite3.Cursor, refund_id: str, review: Review, until: datetime) -> None:
    """Flag a refund that cannot be read, and lease it to no worker."""
    text = review_text([(review.code, review.message, review.since)])
    cursor.execute(_SET_ASIDE, (text, to_micros(until), refund_id))


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
    except (IllegalEvent, UnreadableEvent) as error:
        yield IndexDifference(id, "events", str(error), "" if index is None else f"version {index.version}")
        return
    log = None if refund is None else row_of(refund)
    yield from differences(log, index)


def rebuild(ids: Sequence[str], cursor: sqlite3.Cursor) -> int:
    """Rebuild the index rows of these refunds from the log; return how many there are.

    The row of a refund that cannot be read stays as it is.
    """
    count = 0
    for id in ids:
        try:
            refund = fold_stored(cursor, id)
        except (IllegalEvent, UnreadableEvent):
            continue
        cursor.execute("DELETE FROM refund_index WHERE id=?", (id,))
        if refund is not None:
            # A wrong row may have the key of this one; its own turn comes.
            cursor.execute(REPLACE_ROW, whole_row(refund))
            count += 1
    return count
