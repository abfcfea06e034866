"""The ports of the journal: one small protocol for each of its users, and `Journal`, which combines them.

The rule of this module: declarations only. A store implements all of `Journal`; the code that uses a store names the
protocol it needs. Every method may raise `StoreError`. `tests/core/journal/ports` has one abstract test case per port,
which every store must pass.

| port | used by |
| --- | --- |
| `EventWriter`, `RefundIndex`, `EvidenceStore`, `UnmatchedNotifications` | the gateway |
| `EventReader` | the gateway, observers, queries |
| `StoreReader` | queries |
| `WorkQueue` | the worker |
| `HealthReader`, `HealthStore` | the gateway, the worker, `refundry status` |
| `ObserverPositions` | the delivery of events to observers |
| `TreeStore` | the checkpointer |
| `EvidenceEraser` | erasure |
| `IndexMaintenance` | `refundry index` |

How an audit reads a store, without believing it, is `refundry.journal.log_source`, whose ports have cases there, too.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from refundry.errors import UnreadableEvent
from refundry.journal.values import (
    Erasable,
    IndexDifference,
    Postponed,
    Recorded,
    Row,
    Selection,
    StoredCheckpoint,
    UnmatchedNotification,
    Write,
)
from refundry.journal.working import AccountRecord, Backlog, StoreRecord, WorkerRecord
from refundry.refund import Review

__all__ = [
    "EventReader",
    "EventWriter",
    "EvidenceEraser",
    "EvidenceStore",
    "HealthReader",
    "HealthStore",
    "IndexMaintenance",
    "Journal",
    "Leases",
    "ObserverPositions",
    "StoreReader",
    "RefundIndex",
    "TreeStore",
    "UnmatchedNotifications",
    "UnmatchedReader",
    "WorkQueue",
]


class EventWriter(Protocol):
    """Appends events."""

    async def save(self, write: Write) -> Sequence[Recorded]:
        """Make a write durable, then return what was recorded.

        Many writes share one commit (group commit), and a write that conflicts fails alone: nothing of it is stored,
        and every other write is.

        Raises `Stale` if the refund has changed meanwhile, `AlreadyRequested` if its request id is taken,
        `NotifiedBefore` if other notifications about it are unmatched than the write names, and `Invalid` if the
        payment's open and settled refunds would exceed its total (field `amount` or `payment_total`) or be in two
        currencies (`currency`), or if the refund that a new one replaces is not failed without review at
        `replaced_version`, or already has a replacement (`retry_of`).
        """


class EventReader(Protocol):
    """Reads events. Unless a method says otherwise, an event that cannot be read raises `UnreadableEvent`."""

    async def load(self, refund_id: str) -> Sequence[Recorded]:
        """Return all events of a refund, oldest first; empty if there is no such refund."""

    async def load_entries(self, refund_id: str) -> Sequence[Recorded | UnreadableEvent]:
        """Return what `load` returns, with an error in the place of each event that cannot be read."""

    async def histories(self, refund_ids: Sequence[str]) -> Sequence[Sequence[Recorded]]:
        """Return all events of each of these refunds, in the order of the given ids."""

    def log(self, after: int = 0, limit: int | None = None) -> AsyncIterator[Recorded]:
        """Yield the events of the whole log in order, starting after position `after`."""

    def entries(self, after: int = 0, limit: int | None = None) -> AsyncIterator[Recorded | UnreadableEvent]:
        """Yield what `log` yields; in the place of an event that cannot be read, yield the error."""


class RefundIndex(Protocol):
    """Finds and lists refunds."""

    async def find(self, account: str, refund_request_id: str) -> str | None:
        """Return the id of the refund that has this request id."""

    async def version(self, refund_id: str) -> int | None:
        """Return how many events a refund has; None if there is no such refund."""

    async def select(self, selection: Selection, *, after: str = "", limit: int = 1000) -> Sequence[Row]:
        """Return index rows in the order of their ids, starting after the id `after`."""

    async def postponed(self, refund_id: str) -> Postponed | None:
        """Return until when a refund was put off since its newest event; None if it was not."""

    async def blocked(self, account: str) -> Sequence[str]:
        """Return the ids of the refunds that block this account."""


class IndexMaintenance(Protocol):
    """Compares the index with the log and rebuilds it."""

    def compare_index(self) -> AsyncIterator[IndexDifference]:
        """Fold the whole log and yield every difference between it and the index."""

    async def rebuild_index(self) -> int:
        """Rebuild the index from the log; return the number of refunds."""


class EvidenceStore(Protocol):
    """Reads evidence, the provider's messages and our calls byte for byte."""

    async def evidence(self, digest: str) -> bytes | None:
        """Return the stored bytes with this SHA-256 in hex; None if they are not stored, or were erased."""


class UnmatchedReader(Protocol):
    """Reads verified notifications that match no refund."""

    async def unmatched(self, account: str | None = None, limit: int = 1000) -> Sequence[UnmatchedNotification]:
        """Return unmatched notifications, oldest first."""


class UnmatchedNotifications(UnmatchedReader, Protocol):
    """Keeps verified notifications that match no refund."""

    async def keep_unmatched(
        self, unmatched: UnmatchedNotification, evidence: bytes, signed: bytes, *, known: bool = False
    ) -> str | None:
        """Store a notification that matches no refund, durably; one with the same signed bytes is stored once.

        If there is such a refund by now, return its id and store nothing; with `known` it is about another one.
        """


class Leases(Protocol):
    """Releases leases.

    A lease only prevents duplicate work. Safety comes from the version of each refund alone.
    """

    async def release(self, holder: str) -> None:
        """Release all leases of a worker or an observer that stops."""


class WorkQueue(Leases, Protocol):
    """Hands out refunds that are due."""

    async def due_accounts(self, now: datetime, *, beyond: datetime | None = None) -> Sequence[str]:
        """Return the accounts that have refunds to take, except those that are blocked.

        A due time or a lease after `beyond` was set by a wrong clock and counts as past, here and in `take_due`.
        """

    async def take_due(
        self, now: datetime, *, beyond: datetime | None = None, until: datetime, holder: str, room: Mapping[str, int]
    ) -> Mapping[str, Sequence[str]]:
        """Lease refunds that are due, oldest first, to `holder` until `until`: up to `room` for each account.

        Blocked accounts are skipped. A lease ends with the next write to the refund.
        """

    async def postpone(self, refund_id: str, version: int, *, until: datetime) -> bool:
        """Count an answer that is not recorded, and put the refund off; return False if it has another version.

        The next write to the refund ends both. Neither follows from the log: without them it is due as planned.
        """

    async def set_aside(self, refund_id: str, review: Review, *, until: datetime) -> None:
        """Flag a refund that cannot be read, and hand it out to no worker until `until`.

        The flag ends with the next write to the refund.
        """

    async def waiting(self, account: str | None = None) -> int:
        """Return how many refunds, or refunds of an account, the workers can bring to their end without an operator.

        Refunds that are flagged for review or set aside do not count, even if workers go on asking about them, and
        neither do refunds of a blocked account.
        """

    async def next_due(self, after: datetime) -> datetime | None:
        """Return when the next refund will be due after a moment, whether or not it is leased or blocked."""


class HealthReader(Protocol):
    """Reads the working data about accounts and workers."""

    async def account_records(self, account: str | None = None) -> Sequence[AccountRecord]:
        """Return how the calls of all accounts, or of one, went; an account without calls has no record."""

    async def backlog(self) -> Sequence[Backlog]:
        """Return what waits in each account that has open or blocking refunds."""

    async def workers(self) -> Sequence[WorkerRecord]:
        """Return the workers that run or were killed within a day, oldest first."""

    async def store_record(self) -> StoreRecord:
        """Return how much there is in the store, and how far the log was signed and delivered."""


class HealthStore(HealthReader, Protocol):
    """Keeps the working data about accounts and workers."""

    async def change_account(
        self, account: str, change: Callable[[AccountRecord], AccountRecord]
    ) -> tuple[AccountRecord, AccountRecord]:
        """Change the record of an account atomically; return it as it was before and as it is now.

        `change` is a pure function. Of several callers whose changes exclude each other, exactly one sees its change.
        """

    async def keep_worker(self, worker: WorkerRecord) -> None:
        """Store a worker's heartbeat."""

    async def remove_worker(self, id: str) -> None:
        """Remove a worker that stopped."""

    async def check_writable(self, now: datetime) -> None:
        """Write something and make it durable; raise `StoreError` if that fails."""


class ObserverPositions(Leases, Protocol):
    """Remembers how far each observer has read the log."""

    async def observe(self, observer: str, after: int | None = None) -> None:
        """Start a new observer after this position, or at the end of the log; do nothing if the observer is known."""

    async def position_of(self, observer: str) -> int | None:
        """Return the position of the last event that was delivered to an observer; None if it is unknown."""

    async def take_observer(self, observer: str, now: datetime, *, until: datetime, holder: str) -> int | None:
        """Lease an observer's position to `holder`, or renew the lease; None while another process has it.

        A lease that ends later than `until` was taken while a clock was wrong, and does not count. Returns the position
        of the last event that was delivered to the observer. The lease only keeps two processes
        from delivering the same event.
        """

    async def observed(self, observer: str, position: int, *, holder: str) -> None:
        """Record that everything up to `position` was delivered, if `holder` still has the lease."""


class TreeStore(Protocol):
    """Keeps the Merkle tree over the log and its signed checkpoints.

    Every `save` appends its events to the tree in their order in the log, in the transaction that stores them: it
    passes the stored frontier and the entries of the stored bytes to `refundry.journal.merkle.extend`, and stores the
    resulting frontier and leaves.
    """

    async def tree(self) -> bytes:
        """Return the frontier of the tree over the log."""

    async def leaves(self, start: int, end: int) -> Sequence[bytes]:
        """Return the hashes of the tree's leaves from `start` to before `end`; raise `Tampered` if one is missing."""

    async def keep_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        """Store a signed checkpoint; the first one of a size stays."""

    async def checkpoints(self, after: int = -1, limit: int = 1000) -> Sequence[StoredCheckpoint]:
        """Return signed checkpoints, smallest first, starting after the size `after`."""

    async def last_checkpoint(self) -> StoredCheckpoint | None:
        """Return the signed checkpoint of the largest tree."""


class EvidenceEraser(Protocol):
    """Erases what is personal of one refund."""

    async def erasable(self, refund_id: str) -> Erasable:
        """Find the records that this refund names and no other; this reads the whole log."""

    async def erase(self, refund_id: str, version: int, position: int, notes: Mapping[str, bytes]) -> bool:
        """Overwrite records, by digest, and store a note in place of each; return True if no copy is left.

        Raises `Stale` if the refund does not have this version any more, or if an event after `position` names such a
        record.
        """


class StoreReader(EventReader, RefundIndex, EvidenceStore, UnmatchedReader, HealthReader, Protocol):
    """Everything that queries read. A store that was opened for reading has these ports and no other."""

    async def close(self) -> None:
        """Finish pending reads and close the store."""


class Journal(
    StoreReader,
    EventWriter,
    EventReader,
    RefundIndex,
    IndexMaintenance,
    EvidenceStore,
    UnmatchedNotifications,
    WorkQueue,
    HealthStore,
    ObserverPositions,
    TreeStore,
    EvidenceEraser,
    Protocol,
):
    """A store: all ports together."""

    async def close(self) -> None:
        """Finish pending work and close the store."""
