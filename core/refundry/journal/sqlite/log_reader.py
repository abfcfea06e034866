"""Reading the log and the index for an audit: what a store and a scratch log have in common.

The rule of this module: it reads tables and believes nothing; values are returned as they are stored.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from refundry.journal.codec import decode
from refundry.journal.index import differences, row_of
from refundry.journal.log_source import INDEX_FIELDS, IndexValues, PaymentConflict, StoredEvent, StoredLeaf, Totals
from refundry.journal.sqlite.rows import ROW, read_row
from refundry.journal.sqlite.snapshot import Snapshot
from refundry.refund import fold

__all__ = ["ASKED", "COLUMNS", "LogReader", "SqliteIndexReader"]

ASKED: Final = 512
"""How many values one statement looks up."""
COLUMNS: Final = ", ".join(INDEX_FIELDS)
_MOST: Final = 1_000
"""How many findings of one kind are read."""
_MARKS: Final = ",".join("?" * ASKED)
_LEAST: Final = -(2**63)

_EVENTS: Final = """SELECT rowid, originator_id, originator_version, topic, state FROM stored_events
    WHERE rowid>=? ORDER BY rowid"""
_BEFORE: Final = """SELECT topic, state FROM stored_events WHERE originator_id=? AND rowid<?
    ORDER BY originator_version"""
_LEAVES: Final = "SELECT idx, position, hash FROM audit_leaf WHERE idx>=? ORDER BY idx"

_BETWEEN: Final = f"SELECT {COLUMNS} FROM refund_index WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?"  # noqa: S608
_ROWS: Final = f"SELECT {COLUMNS} FROM refund_index WHERE id IN ({_MARKS})"  # noqa: S608 (constant columns)
_ROW: Final = f"SELECT {ROW} FROM refund_index WHERE id=?"  # noqa: S608 (constant columns)
_HISTORY: Final = "SELECT rowid, topic, state FROM stored_events WHERE originator_id=? ORDER BY originator_version"
_IDS: Final = "SELECT originator_id FROM stored_events UNION SELECT id FROM refund_index ORDER BY 1"
_REPEATED_REQUESTS: Final = """SELECT account, refund_request_id, min(id) FROM refund_index
    GROUP BY account, refund_request_id HAVING count(*) > 1"""
_REPEATED_REPLACEMENTS: Final = """SELECT retry_of FROM refund_index WHERE retry_of IS NOT NULL GROUP BY retry_of
    HAVING count(*) > 1"""
_PAYMENTS: Final = """WITH
    pair AS (SELECT DISTINCT account, payment, payment_alias AS alias FROM refund_index
        WHERE payment_alias IS NOT NULL),
    named AS (SELECT account, payment AS name, min(payment, alias) AS one FROM pair
        UNION SELECT account, alias, min(payment, alias) FROM pair),
    refund AS (SELECT refund_index.*, coalesce(one, payment) AS trade,
        status <> 'failed' OR review IS NOT NULL AS counts
        FROM refund_index LEFT JOIN named ON named.account = refund_index.account AND name = payment),
    corrected AS (SELECT account, trade, max(requested_at) AS last FROM refund WHERE corrects_total
        GROUP BY account, trade)
    SELECT refund.account, refund.trade, min(CASE WHEN counts THEN currency END),
    coalesce(min(CASE WHEN counts THEN currency END) <> max(CASE WHEN counts THEN currency END)
        OR min(CASE WHEN counts THEN exponent END) <> max(CASE WHEN counts THEN exponent END), 0) AS mixed,
    sum(CASE WHEN status = 'failed' THEN 0 ELSE amount END) AS moving,
    min(CASE WHEN (requested_at = last AND corrects_total) OR (counts AND (last IS NULL OR requested_at > last))
        THEN payment_total END) AS total
    FROM refund LEFT JOIN corrected ON corrected.account = refund.account AND corrected.trade = refund.trade
    GROUP BY refund.account, refund.trade HAVING mixed OR moving > total"""
_TOTALS: Final = """SELECT currency, exponent, count(*), sum(amount),
    sum(CASE WHEN status = 'settled' THEN amount ELSE 0 END), sum(CASE WHEN status = 'failed' THEN amount ELSE 0 END),
    sum(CASE WHEN status NOT IN ('settled', 'failed') THEN amount ELSE 0 END)
    FROM refund_index GROUP BY currency, exponent ORDER BY currency, exponent"""


class LogReader:
    """Events and leaves."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def count(self) -> int:
        """Return the position of the newest event."""
        last: int | None = self._snapshot.row("SELECT max(rowid) FROM stored_events")[0]
        return last or 0

    def events(self) -> Iterator[Sequence[StoredEvent]]:
        """Yield the events in order, `BATCH` at a time."""
        # Including positions below 1, where events could be hidden.
        return self._snapshot.pages_by_key(_EVENTS, _LEAST)

    def history(self, refund_id: str, before: int) -> Sequence[tuple[str, bytes]]:
        """Return topic and state of a refund's events before a position."""
        return self._snapshot.rows(_BEFORE, (refund_id, before))

    def leaves(self, start: int = 0) -> Iterator[Sequence[StoredLeaf]]:
        """Yield the stored leaves in order from an index on, `BATCH` at a time."""
        return self._snapshot.pages_by_key(_LEAVES, start or _LEAST)


class SqliteIndexReader:
    """The index."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def rows_of(self, states: Sequence[IndexValues]) -> Sequence[IndexValues]:
        """Return the index rows with the ids of these states."""
        rows = self._snapshot.rows(_BETWEEN, (states[0][0], states[-1][0], len(states)))
        if len(rows) == len(states) and rows[-1][0] == states[-1][0]:
            # No other rows are between them, as is usual when refunds end in the order in which they were requested.
            return rows
        rows = []
        for start in range(0, len(states), ASKED):
            rows += self._snapshot.rows(_ROWS, padded([state[0] for state in states[start : start + ASKED]]))
        return rows

    def size(self) -> int:
        """Return the number of rows."""
        count: int = self._snapshot.row("SELECT count(*) FROM refund_index")[0]
        return count

    def repeated_requests(self) -> Sequence[tuple[str, str, str]]:
        """Return account, request id and refund id wherever two refunds of an account have the same request id."""
        return self._snapshot.rows(_REPEATED_REQUESTS, most=_MOST)

    def repeated_replacements(self) -> Sequence[str]:
        """Return the ids of refunds that were replaced more than once."""
        return [id for (id,) in self._snapshot.rows(_REPEATED_REPLACEMENTS, most=_MOST)]

    def conflicting_payments(self) -> Sequence[PaymentConflict]:
        """Return the payments whose refunds are in several currencies or exceed the payment's total."""
        return self._snapshot.rows(_PAYMENTS, most=_MOST)

    def totals(self) -> Sequence[Totals]:
        """Return what was requested and what became of it, by currency."""
        return self._snapshot.rows(_TOTALS, most=_MOST)

    def ids(self) -> Iterator[str]:
        """Yield the ids of all refunds that are in the log or in the index, in order."""
        return (id for (id,) in self._snapshot.each(_IDS))

    def differences(self, refund_id: str) -> Iterator[tuple[str, str]]:
        """Fold the refund as the gateway does, and compare every field of its row."""
        found = self._snapshot.row(_ROW, (refund_id,))
        history = self._snapshot.rows(_HISTORY, (refund_id,))
        try:
            log = row_of(fold(refund_id, [decode(topic, state, at) for at, topic, state in history]))
            row = None if found is None else read_row(found)
        except Exception as error:  # values that were tampered with may break anything
            yield "row", f"it cannot be compared with the log: {error}"
            return
        for each in differences(log if history else None, row):
            yield each.field, f"the log says {each.log}, the index says {each.index}"


def padded(values: list[Any]) -> list[Any]:
    """Repeat the first value until there are `ASKED`, so that one prepared statement serves every number of values."""
    return values + values[:1] * (ASKED - len(values))
