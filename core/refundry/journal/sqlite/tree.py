"""The tree over the log in SQLite: its leaves, its frontier and the checkpoints that were signed.

The rule of this module: `refundry.journal.merkle` defines the tree; this module only stores it. Leaves and frontier are
written in the transaction of their events. The frontier follows from the leaves: if it is lost, it is rebuilt, so that
no refund waits for it. Whether that is the tree that was signed is for the signer to check.
"""

import logging
import sqlite3
from collections.abc import Sequence
from functools import cache
from typing import Final

from eventsourcing.persistence import StoredEvent

from refundry.errors import Invalid, Tampered
from refundry.journal import StoredCheckpoint
from refundry.journal.merkle import EMPTY_FRONTIER, Frontier, entry, extend
from refundry.journal.sqlite.rows import from_micros, in_many_rows, to_micros

_PAGE: Final = 10_000
_TREE: Final = "SELECT frontier, (SELECT max(idx) FROM audit_leaf) FROM audit_tree"
_LEAVES: Final = "SELECT idx, hash FROM audit_leaf WHERE idx>=? AND idx<? ORDER BY idx"
_MOVE_TREE: Final = "UPDATE audit_tree SET size=?, frontier=? WHERE one=1 AND frontier=?"
_KEEP_TREE: Final = """INSERT INTO audit_tree (one, size, frontier) VALUES (1,?,?)
    ON CONFLICT (one) DO UPDATE SET size=excluded.size, frontier=excluded.frontier"""
_KEEP_CHECKPOINT: Final = "INSERT OR IGNORE INTO audit_checkpoint (size, at, note) VALUES (?,?,?)"
_CHECKPOINTS: Final = "SELECT size, at, note FROM audit_checkpoint WHERE size>? ORDER BY size LIMIT ?"
_LAST_CHECKPOINT: Final = "SELECT size, at, note FROM audit_checkpoint ORDER BY size DESC LIMIT 1"
_log = logging.getLogger("refundry")

Readable = sqlite3.Connection | sqlite3.Cursor


@cache
def _insert_leaves(rows: int) -> str:
    return f"INSERT INTO audit_leaf (idx, position, hash) VALUES {','.join(['(?,?,?)'] * rows)}"  # noqa: S608 (constant text)


class TreeWriter:
    """Adds events to the tree. It remembers the frontier that it wrote last, and uses it if the store still has it."""

    def __init__(self) -> None:
        self._frontier: bytes | None = None

    def grow(self, cursor: sqlite3.Cursor, events: Sequence[StoredEvent], first: int) -> None:
        """Add events that have just been stored, from position `first` on; the caller has the write lock."""
        entries = [entry(str(each.originator_id), each.originator_version, each.topic, each.state) for each in events]
        before = self._frontier
        if before is not None:
            after, leaves = extend(before, entries)
            size = Frontier.size_of(after)
            # Another process may have written since, or the transaction that wrote it was rolled back.
            if cursor.execute(_MOVE_TREE, (size, after, before)).rowcount != 1:
                before = None
        if before is None:
            after, leaves = extend(read_tree(cursor), entries)
            size = Frontier.size_of(after)
            cursor.execute(_KEEP_TREE, (size, after))
        start = size - len(leaves)
        if len(leaves) == 1:
            cursor.execute(_insert_leaves(1), (start, first, leaves[0]))
        else:
            rows = [(start + number, first + number, leaf) for number, leaf in enumerate(leaves)]
            in_many_rows(cursor, _insert_leaves, rows)
        self._frontier = after


def read_tree(connection: Readable) -> bytes:
    """Return the frontier of the tree."""
    found = connection.execute(_TREE).fetchone()
    frontier, last = found if found is not None else (None, _last_leaf(connection))
    if frontier is None and last is None:
        return EMPTY_FRONTIER
    try:
        if frontier is not None and Frontier.from_bytes(frontier).size == (-1 if last is None else last) + 1:
            return bytes(frontier)
    except (Invalid, TypeError):
        pass
    _log.critical("the tree over the log does not match its leaves: the store was changed; run refundry audit verify")
    return _tree_of_leaves(connection)


def _last_leaf(connection: Readable) -> int | None:
    last: int | None = connection.execute("SELECT max(idx) FROM audit_leaf").fetchone()[0]
    return last


def _tree_of_leaves(connection: Readable) -> bytes:
    frontier = Frontier()
    while True:
        some = connection.execute(_LEAVES, (frontier.size, frontier.size + _PAGE)).fetchall()
        if not some:
            return frontier.to_bytes()
        frontier = frontier.extend(_in_a_row(some, frontier.size))


def read_leaves(connection: Readable, start: int, end: int) -> list[bytes]:
    """Return the hashes of the leaves from `start` to before `end`; raise `Tampered` if one is missing."""
    leaves = _in_a_row(connection.execute(_LEAVES, (start, end)).fetchall(), start)
    if len(leaves) != end - start:
        raise Tampered(f"store: the leaf {start + len(leaves)} of the tree over the log is missing")
    return leaves


def _in_a_row(rows: Sequence[tuple[int, bytes]], start: int) -> list[bytes]:
    for number, (index, leaf) in enumerate(rows, start):
        if index != number or not isinstance(leaf, bytes) or len(leaf) != 32:
            raise Tampered(f"store: the leaf {number} of the tree over the log is damaged")
    return [leaf for _, leaf in rows]


def keep_checkpoint(cursor: sqlite3.Cursor, checkpoint: StoredCheckpoint) -> None:
    """Store a signed checkpoint; the first one of a size stays."""
    cursor.execute(_KEEP_CHECKPOINT, (checkpoint.size, to_micros(checkpoint.at), checkpoint.note))


def read_checkpoints(connection: Readable, after: int, limit: int) -> list[StoredCheckpoint]:
    """Return signed checkpoints, smallest first, starting after the size `after`."""
    return [
        StoredCheckpoint(size, from_micros(at), note)
        for size, at, note in connection.execute(_CHECKPOINTS, (after, limit))
    ]


def read_last_checkpoint(connection: Readable) -> StoredCheckpoint | None:
    """Return the signed checkpoint of the largest tree."""
    found = connection.execute(_LAST_CHECKPOINT).fetchone()
    return None if found is None else StoredCheckpoint(found[0], from_micros(found[1]), found[2])
