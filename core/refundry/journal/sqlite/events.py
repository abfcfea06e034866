"""Reading events in SQLite, together with the private text that is stored apart from them.

The rule of this module: synchronous; it runs in a reader's thread.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Final

from refundry.errors import UnreadableEvent
from refundry.journal import Recorded
from refundry.journal.codec import decode, private_digest
from refundry.refund import Refund, fold

__all__ = ["Readable", "fold_stored", "load", "load_each", "load_entries", "load_page", "read_evidence"]

Readable = sqlite3.Connection | sqlite3.Cursor

_EVENTS_OF: Final = """SELECT rowid, originator_version, topic, state FROM stored_events WHERE originator_id=?
    ORDER BY originator_version"""
_LOG: Final = """SELECT rowid, originator_id, originator_version, topic, state FROM stored_events WHERE rowid>?
    ORDER BY rowid LIMIT ?"""


def load(connection: Readable, refund_id: str) -> list[Recorded]:
    """Return all events of one refund."""
    return [_readable(entry) for entry in load_entries(connection, refund_id)]


def load_entries(connection: Readable, refund_id: str) -> list[Recorded | UnreadableEvent]:
    """Return all events of one refund, with an error in the place of each that cannot be read."""
    rows = [(position, refund_id, *rest) for position, *rest in connection.execute(_EVENTS_OF, (refund_id,))]
    return _decode(connection, rows)


def _readable(entry: Recorded | UnreadableEvent) -> Recorded:
    if isinstance(entry, UnreadableEvent):
        raise entry
    return entry


def load_each(connection: Readable, refund_ids: Sequence[str]) -> list[list[Recorded]]:
    """Return all events of each of these refunds."""
    return [load(connection, refund_id) for refund_id in refund_ids]


def load_page(connection: Readable, after: int, limit: int) -> list[Recorded | UnreadableEvent]:
    """Return the next events of the log, in order, with an error in the place of each that cannot be read."""
    return _decode(connection, connection.execute(_LOG, (after, limit)).fetchall())


def fold_stored(connection: Readable, refund_id: str) -> Refund | None:
    """Fold a refund without its private text, which the index does not contain; None if it has no events."""
    rows = connection.execute(_EVENTS_OF, (refund_id,)).fetchall()
    events = [decode(topic, state, position) for position, _, topic, state in rows]
    return fold(refund_id, events) if events else None


def read_evidence(connection: Readable, digests: Sequence[bytes]) -> dict[bytes, bytes]:
    """Return the stored bytes by digest; erased records are left out, because only zeros remain of them."""
    marks = ",".join("?" * len(digests))
    statement = f"""SELECT digest, bytes FROM evidence
        WHERE digest IN ({marks}) AND digest NOT IN (SELECT digest FROM erased)"""  # noqa: S608 (only marks)
    return dict(connection.execute(statement, digests).fetchall())


def _decode(connection: Readable, rows: Sequence[Sequence[Any]]) -> list[Recorded | UnreadableEvent]:
    """Decode events with their private text, which is looked up for all of them at once."""
    private = {row[0]: digest for row in rows if (digest := private_digest(row[4])) is not None}
    texts = _load_private(connection, private) if private else {}
    return [_decode_one(connection, row, private, texts) for row in rows]


def _decode_one(
    connection: Readable, row: Sequence[Any], private: Mapping[int, bytes], texts: Mapping[int, bytes]
) -> Recorded | UnreadableEvent:
    position, refund_id, version, topic, state = row
    if position in private and position not in texts and not _is_erased(connection, private[position]):
        return UnreadableEvent(position, "has lost its private text")
    try:
        return Recorded(position, refund_id, version, decode(topic, state, position, texts.get(position)))
    except UnreadableEvent as error:
        return error


def _load_private(connection: Readable, private: Mapping[int, bytes]) -> dict[int, bytes]:
    """Return private text by the position of its event; what is erased or lost is left out."""
    found = read_evidence(connection, list(set(private.values())))
    return {position: found[digest] for position, digest in private.items() if digest in found}


def _is_erased(connection: Readable, digest: bytes) -> bool:
    return connection.execute("SELECT 1 FROM erased WHERE digest=?", (digest,)).fetchone() is not None
