"""A store, read for an audit: a `StoreSource` on SQLite.

The rule of this module: everything is read in one snapshot and returned as it is stored.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import attrs

from refundry.errors import Invalid, StoreError, UnknownRefund
from refundry.journal import Row
from refundry.journal.log_source import StoredHistory
from refundry.journal.sqlite.log_reader import ASKED, LogReader, SqliteIndexReader, padded
from refundry.journal.sqlite.rows import ROW, ROW_ID, read_row, whole_row
from refundry.journal.sqlite.snapshot import Snapshot, has_expected_tables, open_snapshot
from refundry.refund import Refund

__all__ = ["SqliteStoreSource"]

_CONTENTS: Final = 64
_MARKS: Final = ",".join("?" * ASKED)
_FIRST_LEAF: Final = "SELECT min(idx) FROM audit_leaf"
_HASHES: Final = """SELECT hash FROM audit_leaf WHERE idx>=? AND idx<? AND position=idx+1 AND typeof(hash)='blob'
    ORDER BY idx"""
_CHECKPOINTS: Final = "SELECT size, note FROM audit_checkpoint ORDER BY size"
_ANY_ERASED: Final = "SELECT 1 FROM erased LIMIT 1"
_CONTENT: Final = "SELECT digest, bytes FROM evidence"
_UNERASED: Final = f"{_CONTENT} WHERE digest NOT IN (SELECT digest FROM erased)"  # noqa: S608 (constant text)
_STORED: Final = f"SELECT count(*) FROM evidence WHERE digest IN ({_MARKS})"  # noqa: S608 (marks are bound)
_STORED_OR_ERASED: Final = (
    "SELECT 1 FROM evidence WHERE digest=:digest UNION ALL SELECT 1 FROM erased WHERE digest=:digest"
)
_KEPT: Final = f"{_CONTENT} WHERE digest IN ({_MARKS})"
_ERASED: Final = f"SELECT digest FROM erased WHERE digest IN ({_MARKS})"  # noqa: S608 (marks are bound)
_TOMBSTONES: Final = "SELECT digest, refund_id, note FROM erased ORDER BY digest"
_LOST: Final = """SELECT DISTINCT evidence FROM unmatched_notifications
    WHERE evidence NOT IN (SELECT digest FROM evidence)
    AND evidence NOT IN (SELECT digest FROM erased)"""
_LEASES: Final = """SELECT id FROM refund_index WHERE (lease_until IS NULL) <> (lease_holder IS NULL)
    OR (lease_until IS NOT NULL AND due_at IS NULL) OR typeof(lease_until) NOT IN ('null', 'integer')
    OR typeof(lease_holder) NOT IN ('null', 'text') LIMIT 10"""
_SELECTED: Final = """SELECT id FROM refund_index WHERE (:account IS NULL OR account=:account)
    AND (:payment IS NULL OR payment=:payment) AND (:refund IS NULL OR id=:refund) ORDER BY id"""
_RESOLVE: Final = """SELECT id FROM refund_index WHERE (id=:id OR refund_request_id=:id)
    AND (:account IS NULL OR account=:account) ORDER BY id=:id DESC LIMIT 2"""
_EVENTS_OF: Final = """SELECT rowid, originator_version, topic, state FROM stored_events WHERE originator_id=?
    ORDER BY originator_version"""
_EVENTS: Final = "SELECT rowid, originator_id, originator_version, topic, state FROM stored_events"
_ID_AT: Final = "SELECT originator_id FROM stored_events WHERE rowid=?"
_ROWS: Final = f"SELECT {ROW} FROM refund_index"  # noqa: S608 (constant columns)


@attrs.frozen(slots=True)
class SqliteRow:
    """An index row that was read and not yet interpreted."""

    values: Sequence[Any]

    @property
    def id(self) -> Any:
        """The refund id; of any type if the row was tampered with."""
        return self.values[ROW_ID]

    def matches(self, refund: Refund) -> bool:
        """Return whether this is exactly the row of that refund."""
        return whole_row(refund) == self.values

    def read(self) -> Row:
        """Interpret the row; raise `Invalid` if it cannot be one."""
        try:
            return read_row(self.values)
        except (ArithmeticError, AttributeError, Invalid, StoreError, TypeError, ValueError) as error:
            raise Invalid("row", str(error)) from error


class SqliteStoreSource(LogReader):
    """A `StoreSource` on one SQLite file. Make it with `SqliteStoreSource.open`."""

    is_store = True

    def __init__(self, snapshot: Snapshot, *, deep: bool = False) -> None:
        super().__init__(snapshot)
        self._deep = deep
        self.index = SqliteIndexReader(snapshot)

    @classmethod
    @contextmanager
    def open(cls, path: Path, *, deep: bool = False) -> Iterator[Self]:
        """Open a store for reading; see `refundry.journal.stores.read_store`."""
        with open_snapshot(path) as snapshot:
            yield cls(snapshot, deep=deep)

    # --- the tree -----------------------------------------------------------------------------------------------------

    def hashes(self, start: int, count: int) -> Sequence[bytes] | None:
        """Return the hashes of `count` leaves from an index on; None if one is missing or of an event elsewhere."""
        if not start and self._snapshot.row(_FIRST_LEAF) != (0,):
            return None
        # Indexes are unique: if as many as requested are in this range, they are the requested ones.
        found = self._snapshot.rows(_HASHES, (start, start + count))
        return [hash for (hash,) in found] if len(found) == count else None

    def tree(self) -> tuple[int, bytes] | None:
        """Return the stored size and frontier; None if they are gone, or stored more than once."""
        rows = self._snapshot.rows("SELECT size, frontier FROM audit_tree")
        return rows[0] if len(rows) == 1 else None

    def checkpoints(self) -> Iterator[tuple[int, bytes]]:
        """Yield the stored checkpoints by size, smallest first."""
        return self._snapshot.each(_CHECKPOINTS)

    # --- records ------------------------------------------------------------------------------------------------------

    def contents(self) -> Iterator[Sequence[tuple[bytes, bytes]]]:
        """Yield all records that are not erased, with their digests."""
        # Without anything erased, the whole table is read in its own order.
        statement = _CONTENT if self._snapshot.row(_ANY_ERASED) is None else _UNERASED
        return self._snapshot.pages(statement, size=_CONTENTS)

    def missing(self, digests: Sequence[bytes]) -> Sequence[bytes]:
        """Return those of the digests under which nothing is stored."""
        lost: list[bytes] = []
        for start in range(0, len(digests), ASKED):
            some = digests[start : start + ASKED]
            if self._snapshot.row(_STORED, padded(list(some)))[0] != len(set(some)):
                lost += [each for each in some if self._snapshot.row(_STORED_OR_ERASED, {"digest": each}) is None]
        return lost

    def content(self, digest: bytes) -> tuple[bytes | None, bytes | None]:
        """Return what is stored under a digest, and the note that marks it as erased."""
        stored = self._snapshot.row("SELECT bytes FROM evidence WHERE digest=?", (digest,))
        note = self._snapshot.row("SELECT note FROM erased WHERE digest=?", (digest,))
        return None if stored is None else stored[0], None if note is None else note[0]

    def kept(self, digests: Sequence[bytes]) -> tuple[dict[bytes, bytes], set[bytes]]:
        """Return what is stored under these digests, and those of them that are marked as erased."""
        stored: dict[bytes, bytes] = {}
        erased: set[bytes] = set()
        any_erased = self._snapshot.row(_ANY_ERASED) is not None
        for start in range(0, len(digests), ASKED):
            some = padded(list(digests[start : start + ASKED]))
            gone = {digest for (digest,) in self._snapshot.rows(_ERASED, some)} if any_erased else set()
            erased |= gone
            stored |= {digest: content for digest, content in self._snapshot.rows(_KEPT, some) if digest not in gone}
        return stored, erased

    def tombstones(self) -> Iterator[tuple[bytes, str, bytes]]:
        """Yield what is marked as erased: digest, refund id, signed note."""
        return self._snapshot.each(_TOMBSTONES)

    # --- the storage itself -------------------------------------------------------------------------------------------

    def condition(self) -> Iterator[tuple[str, str]]:
        """Check the tables, the working data and, if `deep`, the structure of the file."""
        if self._deep:
            for (text,) in self._snapshot.rows("PRAGMA integrity_check(10)"):
                if text != "ok":
                    yield "file", f"SQLite reports that the file is damaged: {text}"
        if not self.has_expected_tables():
            yield "tables", "the tables and indexes are not those that Refundry creates"
        for (id,) in self._snapshot.each(_LEASES):
            yield f"refund {id}", "its lease is not one that a worker could have taken"
        for (digest,) in self._snapshot.each(_LOST):
            name = digest.hex() if isinstance(digest, bytes) else repr(digest)
            yield "unmatched notifications", f"the bytes {name} of an unmatched notification are not stored"

    def has_expected_tables(self) -> bool:
        """Return whether tables and indexes are those of this version."""
        return has_expected_tables(self._snapshot)

    # --- refunds ------------------------------------------------------------------------------------------------------

    def refund_ids(self, account: str | None, payment: str | None, refund: str | None) -> Iterator[str]:
        """Yield the ids of the refunds of an account, a payment, or one refund, from the index."""
        wanted = {"account": account, "payment": payment, "refund": refund}
        return (id for (id,) in self._snapshot.each(_SELECTED, wanted))

    def resolve(self, id: str, account: str | None) -> str:
        """Return Refundry's id of a refund by either of its ids."""
        found = [row[0] for row in self._snapshot.rows(_RESOLVE, {"id": id, "account": account})]
        if not found:
            raise UnknownRefund(f"there is no refund {id!r}")
        if len(found) > 1:
            raise Invalid("--account", f"several accounts have a refund {id!r}; name one")
        return str(found[0])

    def events_of(self, refund_id: str) -> Sequence[tuple[int, int, str, bytes]]:
        """Return position, version, topic and state of a refund's events."""
        return self._snapshot.rows(_EVENTS_OF, (refund_id,))

    def partition(self, events: int) -> Sequence[str]:
        """Return the refund ids that cut the log into parts of about so many events, in order."""
        positions = range(events, self.count(), events)
        found = {row[0] for at in positions for row in self._snapshot.rows(_ID_AT, (at,)) if isinstance(row[0], str)}
        return sorted(found)

    def histories(self, after: str | None, last: str | None, events: int) -> Iterator[Sequence[StoredHistory]]:
        """Yield complete refunds by id, about so many events at a time, from after one id to another."""
        chunk: list[StoredHistory] = []
        size = 0
        statement, limits = _limited(_EVENTS, "originator_id", after, last)
        for event in self._snapshot.each(f"{statement} ORDER BY originator_id, originator_version", limits):
            if not chunk or chunk[-1][0] != event[1]:
                if size >= events:
                    yield chunk
                    chunk, size = [], 0
                chunk.append((event[1], []))
            chunk[-1][1].append(event)
            size += 1
        if chunk:
            yield chunk

    def rows(self, after: str | None, last: str | None) -> Iterator[SqliteRow]:
        """Yield the index rows by id, from after one id to another."""
        statement, limits = _limited(_ROWS, "id", after, last)
        return map(SqliteRow, self._snapshot.each(f"{statement} ORDER BY id", limits))


def _limited(statement: str, column: str, after: str | None, last: str | None) -> tuple[str, list[str]]:
    limits = [f"{column}{sign}?" for sign, limit in ((">", after), ("<=", last)) if limit is not None]
    where = f" WHERE {' AND '.join(limits)}" if limits else ""
    return f"{statement}{where}", [limit for limit in (after, last) if limit is not None]
