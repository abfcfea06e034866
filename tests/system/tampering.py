"""Ten kinds of tampering with a store, by an insider who can rewrite all of it but does not have the key.

The rule of this module: the insider is skilled. If it helps, leaves, tree and index are rebuilt from the changed log,
gaps between positions are closed, and checkpoints that would reveal the change are removed.
"""

import json
import random
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import attrs

from refundry.errors import RefundryError
from refundry.journal.codec import decode
from refundry.journal.merkle import Frontier, entry, leaf_hash
from refundry.journal.sqlite.rows import REPLACE_ROW, whole_row
from refundry.refund import fold

WORKING: Final[Mapping[str, tuple[str, ...]]] = {
    "refund_index": ("lease_until", "lease_holder"),
    "audit_checkpoint": ("at",),
    "observed": ("observer", "position", "lease_until", "lease_holder"),
    "unmatched_notifications": ("at", "account", "refund_request_id"),
}
"""Columns that do not belong to the record: leases, the positions of observers, when a checkpoint was stored, and to
which refund an unmatched notification belongs; the notification itself is evidence."""


@attrs.frozen
class Target:
    """A closed store, and an earlier backup of it."""

    whole: bytes
    backup: bytes


Tamper = Callable[[sqlite3.Connection, random.Random], None]


def tamper(kind: str, target: Target, path: Path, luck: random.Random) -> None:
    """Write the store to a file and tamper with it."""
    if kind == "flip a bit":
        path.write_bytes(_flipped(target.whole, luck))
        return
    if kind == "roll back":
        path.write_bytes(target.backup)
        return
    path.write_bytes(target.whole)
    with closing(sqlite3.connect(path, isolation_level=None)) as store:
        # An insider needs no rollback journal and leaves none behind.
        store.execute("PRAGMA journal_mode=OFF")
        store.execute("BEGIN")
        _KINDS[kind](store, luck)
        store.execute("COMMIT")
        store.execute("PRAGMA journal_mode=WAL")
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def record(path: Path) -> list[Any] | None:
    """Return all that a store records, read from its tables and not its indexes; None if it cannot be read."""
    try:
        with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as store:
            return list(_record(store))
    except (sqlite3.Error, UnicodeError, OverflowError):
        return None


def _record(store: sqlite3.Connection) -> Any:
    store.text_factory = bytes
    yield store.execute("PRAGMA application_id").fetchall(), store.execute("PRAGMA user_version").fetchall()
    tables = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY rowid"
    shape = store.execute(tables).fetchall()
    yield shape
    for kind, name, _, _ in shape:
        if kind == b"table":
            table = name.decode()
            columns = [row[1].decode() for row in store.execute(f'PRAGMA table_info("{table}")')]
            shown = [f'quote("{column}")' for column in columns if column not in WORKING.get(table, ())]
            if "WITHOUT ROWID" not in _sql(store, table):
                shown.insert(0, "rowid")
            yield table, store.execute(f'SELECT {", ".join(shown)} FROM "{table}" NOT INDEXED').fetchall()


def _sql(store: sqlite3.Connection, table: str) -> str:
    return str(store.execute("SELECT sql FROM sqlite_master WHERE name=?", (table,)).fetchone()[0])


def _flipped(whole: bytes, luck: random.Random) -> bytes:
    at = luck.randrange(len(whole))
    return whole[:at] + bytes([whole[at] ^ 1 << luck.randrange(8)]) + whole[at + 1 :]


# --- what an insider does to the log ----------------------------------------------------------------------------------

Row = tuple[int, str, int, str, bytes]


def _log(store: sqlite3.Connection) -> list[Row]:
    return store.execute("SELECT rowid, * FROM stored_events ORDER BY rowid").fetchall()


def _relay(store: sqlite3.Connection, log: list[Row], luck: random.Random) -> None:
    """Replace the whole log, and everything that is derived from it."""
    if luck.random() < 0.8:
        log = [(position, *rest) for position, (_, *rest) in enumerate(log, 1)]  # type: ignore[misc]
    for table in ("stored_events", "audit_leaf"):
        store.execute(f"DELETE FROM {table}")
    store.executemany("INSERT INTO stored_events (rowid, originator_id, originator_version, topic, state) "
                      "VALUES (?,?,?,?,?)", log)  # fmt: skip
    _recompute(store, luck)


def _recompute(store: sqlite3.Connection, luck: random.Random) -> None:
    log = _log(store)
    leaves = [leaf_hash(entry(*row[1:])) for row in log]
    store.execute("DELETE FROM audit_leaf")
    store.executemany(
        "INSERT INTO audit_leaf VALUES (?,?,?)",
        [(idx, row[0], leaf) for idx, (row, leaf) in enumerate(zip(log, leaves, strict=True))],
    )
    frontier = Frontier().extend(leaves)
    store.execute("UPDATE audit_tree SET size=?, frontier=?", (frontier.size, frontier.to_bytes()))
    _reindex(store, log)
    if luck.random() < 0.7:
        store.execute("DELETE FROM audit_checkpoint WHERE size>?", (luck.randrange(len(log) + 1),))


def _reindex(store: sqlite3.Connection, log: list[Row]) -> None:
    histories: dict[str, list[Row]] = {}
    for row in log:
        histories.setdefault(row[1], []).append(row)
    store.execute("DELETE FROM refund_index")
    for id, rows in histories.items():
        try:
            refund = fold(id, [decode(topic, state, at) for at, _, _, topic, state in sorted(rows, key=lambda r: r[2])])
        except RefundryError:
            continue
        store.execute(REPLACE_ROW, whole_row(refund))


def _edited(row: Row, luck: random.Random) -> Row:
    """Return a row with one value changed in a still valid event: an amount, a name, a status."""
    fields = json.loads(row[4])
    where = luck.choice([name for name in fields if name not in ("apart", "channel", "next_step", "outcome", "resend")])
    value = fields[where]
    if isinstance(value, dict) and "minor" in value:
        value["minor"] += luck.choice((1, 1000))
    elif isinstance(value, int):
        fields[where] = value + 1
    elif isinstance(value, str) and where in ("at", "next_at"):
        fields[where] = value.replace("2026", "2025")
    elif isinstance(value, str):
        fields[where] = value[:-1] + ("0" if value[-1:] != "0" else "1")
    else:
        del fields[where]
    return *row[:4], json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


def _edit(store: sqlite3.Connection, luck: random.Random) -> None:
    row = _edited(luck.choice(_log(store)), luck)
    store.execute("UPDATE stored_events SET state=? WHERE rowid=?", (row[4], row[0]))


def _edit_and_recompute(store: sqlite3.Connection, luck: random.Random) -> None:
    _edit(store, luck)
    _recompute(store, luck)


def _delete_newest(store: sqlite3.Connection, luck: random.Random) -> None:
    log = _log(store)
    id = luck.choice(log)[1]
    newest = max(row[0] for row in log if row[1] == id)
    _relay(store, [row for row in log if row[0] != newest], luck)


def _delete_refund(store: sqlite3.Connection, luck: random.Random) -> None:
    log = _log(store)
    id = luck.choice(log)[1]
    _relay(store, [row for row in log if row[1] != id], luck)


def _insert(store: sqlite3.Connection, luck: random.Random) -> None:
    log = _log(store)
    model = luck.choice([row for row in log if row[3] == "requested"])
    forged = f"{model[1][:-4]}{luck.randrange(0x8000, 0x10000):04x}"
    added = [(0, forged, *row[2:]) for row in log if row[1] == model[1]]
    request = json.loads(added[0][4])
    request["refund_request_id"] += "-2"
    added[0] = (*added[0][:4], json.dumps(request, separators=(",", ":")).encode())
    place = luck.randrange(len(log))
    changed = [*log[:place], *added, *log[place:]]
    _relay(store, [(at, *row[1:]) for at, row in enumerate(changed, 1)], luck)


def _truncate(store: sqlite3.Connection, luck: random.Random) -> None:
    log = _log(store)
    _relay(store, log[: luck.randrange(len(log))], luck)


def _reorder(store: sqlite3.Connection, luck: random.Random) -> None:
    log = _log(store)
    first, second = sorted(luck.sample(range(len(log)), 2))
    log[first], log[second] = log[second], log[first]
    _relay(store, [(at, *row[1:]) for at, row in enumerate(log, 1)], luck)


def _swap_evidence(store: sqlite3.Connection, luck: random.Random) -> None:
    # Erased records are all zeros, so swapping them changes nothing.
    kept = "SELECT digest, bytes FROM evidence WHERE digest NOT IN (SELECT digest FROM erased)"
    rows = store.execute(kept).fetchall()
    (first, content), (second, other) = luck.sample(rows, 2)
    way = luck.randrange(4)
    if way == 0:
        store.execute("UPDATE evidence SET bytes=? WHERE digest=?", (other, first))
        store.execute("UPDATE evidence SET bytes=? WHERE digest=?", (content, second))
    elif way == 1:
        forged = content.replace(b"1233", b"9933") + b" "
        store.execute("UPDATE evidence SET digest=?, bytes=? WHERE digest=?", (sha256(forged).digest(), forged, first))
    elif way == 2:
        store.execute("DELETE FROM evidence WHERE digest=?", (first,))
    else:
        store.execute("DELETE FROM evidence WHERE digest=?", (first,))
        note = b"refundry/test/erased\n\n\xe2\x80\x94 refundry/test AAAAAAAA\n"
        store.execute("INSERT INTO erased VALUES (?,?,?)", (first, "x", note))


_KINDS: Final[Mapping[str, Tamper]] = {
    "edit": _edit,
    "edit and recompute": _edit_and_recompute,
    "delete newest": _delete_newest,
    "delete a refund": _delete_refund,
    "insert in the past": _insert,
    "truncate": _truncate,
    "reorder": _reorder,
    "swap evidence": _swap_evidence,
}
KINDS: Final = (*_KINDS, "roll back", "flip a bit")
