"""Erasing in SQLite: finding the records that only one refund names, and overwriting them in place.

The rule of this module: synchronous. Bytes are replaced by as many zeros, which SQLite writes in place. Removing a row
would move its neighbors, and a copy of what was moved can remain in the free part of a page.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from refundry.errors import Stale
from refundry.journal import Erasable
from refundry.journal.codec import decode, private_digest
from refundry.journal.sqlite.recorder import connect
from refundry.refund import Requested

_OVERWRITE: Final = "UPDATE evidence SET bytes=zeroblob(length(bytes)) WHERE digest=?"
_VERSION: Final = "SELECT max(originator_version) FROM stored_events WHERE originator_id=?"
_CHECKPOINT_WAIT: Final = 1_000
"""Milliseconds for which truncating the log waits for other processes; writers wait as long."""

Reader = sqlite3.Connection | sqlite3.Cursor


def find_erasable(connection: sqlite3.Connection, refund_id: str) -> Erasable:
    """Find the records that this refund names and no other; this reads the whole log once."""
    connection.execute("BEGIN")
    try:
        (position,) = connection.execute("SELECT coalesce(max(rowid), 0) FROM stored_events").fetchone()
        kept = _kept(connection, _named(connection, refund_id))
        shared = _shared(connection, refund_id, kept, 0)
    finally:
        connection.execute("ROLLBACK")
    return Erasable(position, tuple(digest.hex() for digest in kept if digest not in shared), len(shared))


def _named(connection: Reader, refund_id: str) -> list[bytes]:
    """Return every digest that the refund's events name, and those of its notifications that came too early."""
    found: dict[bytes, None] = {}
    rows = connection.execute("SELECT rowid, topic, state FROM stored_events WHERE originator_id=?", (refund_id,))
    for position, topic, state in rows.fetchall():
        event = decode(topic, state, position)
        for digest in (getattr(event, "digest", None), getattr(event, "evidence", None)):
            if digest is not None:
                found[bytes.fromhex(digest)] = None
        private = private_digest(state)
        if private is not None:
            found[private] = None
        if isinstance(event, Requested):
            unmatched = connection.execute(
                "SELECT evidence FROM unmatched_notifications WHERE account=? AND refund_request_id=?",
                (event.account, event.refund_request_id),
            )
            found.update((digest, None) for (digest,) in unmatched.fetchall())
    return list(found)


def _kept(connection: Reader, digests: Iterable[bytes]) -> list[bytes]:
    statement = "SELECT 1 FROM evidence WHERE digest=:digest AND NOT EXISTS (SELECT 1 FROM erased WHERE digest=:digest)"
    return [digest for digest in digests if connection.execute(statement, {"digest": digest}).fetchone()]


def _shared(connection: Reader, refund_id: str, digests: Sequence[bytes], after: int) -> set[bytes]:
    """Return those of the digests that another refund names, unless that one was erased."""
    if not digests:
        return set()
    texts = {digest.hex().encode(): digest for digest in digests}
    names = " OR ".join(["instr(state, ?)"] * len(texts))
    rows = connection.execute(
        f"SELECT originator_id, state FROM stored_events WHERE rowid>? AND ({names}) AND originator_id<>?",  # noqa: S608
        (after, *texts, refund_id),
    )
    found: set[bytes] = set()
    for other, state in rows.fetchall():
        named = {digest for text, digest in texts.items() if text in state}
        if connection.execute("SELECT 1 FROM erased WHERE refund_id=?", (other,)).fetchone() is None:
            found |= named
    return found | {digest for digest in digests if _unmatched_elsewhere(connection, refund_id, digest)}


def _unmatched_elsewhere(connection: Reader, refund_id: str, digest: bytes) -> bool:
    """Return whether an unmatched notification about something else has the same bytes."""
    statement = """SELECT 1 FROM unmatched_notifications AS other WHERE evidence=? AND NOT EXISTS (
        SELECT 1 FROM refund_index
        WHERE id=? AND account=other.account AND refund_request_id=other.refund_request_id)"""
    return connection.execute(statement, (digest, refund_id)).fetchone() is not None


def overwrite(refund_id: str, version: int, position: int, notes: Mapping[str, bytes], cursor: sqlite3.Cursor) -> None:
    """Overwrite the bytes and store the notes; raise `Stale`, and change nothing, if another write came first."""
    digests = [bytes.fromhex(digest) for digest in notes]
    (there,) = cursor.execute(_VERSION, (refund_id,)).fetchone()
    if there != version or _shared(cursor, refund_id, digests, position):
        raise Stale(f"refund {refund_id} has changed meanwhile; reload it and decide again")
    cursor.executemany(_OVERWRITE, [(digest,) for digest in digests])
    cursor.executemany(
        "INSERT OR IGNORE INTO erased (digest, refund_id, note) VALUES (?,?,?)",
        [(bytes.fromhex(digest), refund_id, note) for digest, note in notes.items()],
    )


def truncate_wal(path: Path) -> bool:
    """Copy the write-ahead log into the database and truncate it; return False if another process is reading it."""
    connection = connect(path)
    try:
        connection.execute(f"PRAGMA busy_timeout={_CHECKPOINT_WAIT}")
        (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy
    finally:
        connection.close()
