"""Working data in SQLite: the health of accounts, and the workers.

The rule of this module: synchronous; reading runs in a reader's thread, writing inside the caller's transaction.
"""

import json
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from refundry.journal.index import storable_text
from refundry.journal.sqlite.rows import WORK_AT, from_micros, to_micros
from refundry.journal.working import AccountRecord, Backlog, StoreRecord, WorkerRecord

__all__ = [
    "TABLES", "change_account", "check_writable", "keep_worker", "read_accounts", "read_backlog", "read_store",
    "read_workers", "remove_worker",
]  # fmt: skip

TABLES: Final = (
    # `probe_at` and `paused_at` are also conditions of handing out work: see `AccountRecord`.
    """CREATE TABLE account_health (
        account TEXT PRIMARY KEY, since INTEGER, last_success INTEGER, last_error_at INTEGER, last_error TEXT,
        last_notification INTEGER, failing_since INTEGER, unanswered INTEGER NOT NULL, probe_at INTEGER,
        outage_since INTEGER, paused_at INTEGER, paused_by TEXT, paused_why TEXT) WITHOUT ROWID""",
    """CREATE TABLE worker (
        id TEXT PRIMARY KEY, host TEXT NOT NULL, pid INTEGER NOT NULL, version TEXT NOT NULL,
        started_at INTEGER NOT NULL, heartbeat_at INTEGER NOT NULL, in_progress INTEGER NOT NULL,
        gave_up INTEGER NOT NULL, unknown_accounts TEXT NOT NULL) WITHOUT ROWID""",
    "CREATE TABLE written (one INTEGER PRIMARY KEY CHECK (one = 1), at INTEGER NOT NULL)",
)
_FORGET_AFTER: Final = timedelta(days=1)
"""A worker that has sent no heartbeat for so long is no longer shown."""
_ACCOUNT: Final = tuple(field.name for field in attrs.fields(AccountRecord))
_WORKER: Final = tuple(field.name for field in attrs.fields(WorkerRecord))
_TIMES: Final = frozenset(
    {"since", "last_success", "last_error_at", "last_notification", "failing_since", "probe_at", "outage_since",
     "paused_at", "started_at", "heartbeat_at"}
)  # fmt: skip
_READ_ACCOUNTS: Final = f"SELECT {','.join(_ACCOUNT)} FROM account_health WHERE :account IS NULL OR account=:account"
_KEEP_ACCOUNT: Final = f"REPLACE INTO account_health ({','.join(_ACCOUNT)}) VALUES ({','.join('?' * len(_ACCOUNT))})"
_READ_WORKERS: Final = f"SELECT {','.join(_WORKER)} FROM worker ORDER BY started_at, id"
_KEEP_WORKER: Final = f"REPLACE INTO worker ({','.join(_WORKER)}) VALUES ({','.join('?' * len(_WORKER))})"
_WAITING: Final = f"""SELECT account, count(*), min({WORK_AT}) FROM refund_index
    WHERE due_at IS NOT NULL AND unreadable IS NULL GROUP BY account"""
_BLOCKED: Final = "SELECT account, min(updated_at) FROM refund_index WHERE blocks_account = 1 GROUP BY account"

_STORE: Final = """SELECT (SELECT coalesce(max(rowid), 0) FROM stored_events), (SELECT count(*) FROM refund_index),
    (SELECT count(*) FROM refund_index WHERE review IS NOT NULL), (SELECT count(*) FROM unmatched_notifications)"""
_SIGNED: Final = "SELECT size, at FROM audit_checkpoint ORDER BY size DESC LIMIT 1"
_OBSERVERS: Final = "SELECT observer, position FROM observed ORDER BY observer"


def read_accounts(connection: sqlite3.Connection | sqlite3.Cursor, account: str | None = None) -> list[AccountRecord]:
    """Return the records of all accounts, or of one."""
    return [AccountRecord(**_values(_ACCOUNT, row)) for row in connection.execute(_READ_ACCOUNTS, {"account": account})]


def change_account(
    account: str, change: Callable[[AccountRecord], AccountRecord], cursor: sqlite3.Cursor
) -> tuple[AccountRecord, AccountRecord]:
    """Change the record of an account; return it as it was before and as it is now."""
    found = read_accounts(cursor, account)
    before = found[0] if found else AccountRecord(account=account)
    after = change(before)
    if after != before:
        cursor.execute(_KEEP_ACCOUNT, _columns(_ACCOUNT, after))
    return before, after


def read_backlog(connection: sqlite3.Connection) -> list[Backlog]:
    """Return what waits in each account that has open or blocking refunds."""
    blocked = {account: from_micros(since) for account, since in connection.execute(_BLOCKED)}
    waiting = {account: (count, due) for account, count, due in connection.execute(_WAITING)}
    return [
        Backlog(
            account=account,
            count=waiting.get(account, (0, 0))[0],
            next_due=from_micros(waiting[account][1]) if account in waiting else None,
            blocked_since=blocked.get(account),
        )
        for account in sorted(blocked.keys() | waiting.keys())
    ]


def read_workers(connection: sqlite3.Connection) -> list[WorkerRecord]:
    """Return the workers, oldest first."""
    return [
        WorkerRecord(**values | {"unknown_accounts": tuple(json.loads(values["unknown_accounts"]))})
        for values in (_values(_WORKER, row) for row in connection.execute(_READ_WORKERS))
    ]


def read_store(connection: sqlite3.Connection) -> StoreRecord:
    """Return how much there is in the store, and how far the log was signed and delivered."""
    observed = connection.execute(_OBSERVERS).fetchall()
    size, at = connection.execute(_SIGNED).fetchone() or (0, None)
    # Counted last, so that nothing seems to be signed or delivered that is not recorded.
    events, refunds, needs_review, unmatched = connection.execute(_STORE).fetchone()
    return StoreRecord(
        events=events,
        refunds=refunds,
        needs_review=needs_review,
        unmatched=unmatched,
        signed=size,
        signed_at=None if at is None else from_micros(at),
        observers={name: events - position for name, position in observed},
    )


def keep_worker(worker: WorkerRecord, cursor: sqlite3.Cursor) -> None:
    """Store a worker's heartbeat, and forget workers that were killed long ago."""
    cursor.execute(_KEEP_WORKER, _columns(_WORKER, worker))
    cursor.execute("DELETE FROM worker WHERE heartbeat_at<?", (to_micros(worker.heartbeat_at - _FORGET_AFTER),))


def remove_worker(id: str, cursor: sqlite3.Cursor) -> None:
    """Remove a worker that stopped."""
    cursor.execute("DELETE FROM worker WHERE id=?", (id,))


def check_writable(at: datetime, cursor: sqlite3.Cursor) -> None:
    """Write the time, so that the caller's commit succeeds only if the store can be written to."""
    cursor.execute("REPLACE INTO written VALUES (1, ?)", (to_micros(at),))


def _values(names: Sequence[str], row: Sequence[Any]) -> dict[str, Any]:
    return {
        name: from_micros(value) if name in _TIMES and value is not None else value
        for name, value in zip(names, row, strict=True)
    }


def _columns(names: Sequence[str], record: AccountRecord | WorkerRecord) -> list[Any]:
    return [_column(getattr(record, name)) for name in names]


def _column(value: Any) -> Any:
    match value:
        case datetime():
            return to_micros(value)
        case tuple():
            return json.dumps(value)
        case str():
            return storable_text(value)
        case _:
            return value
