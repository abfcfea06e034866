"""The journal: the append-only log of refunds, and the one small port behind which every database stands.

A `Write` is everything that must become durable together: new events of one refund, the evidence they rest on, and the
refund's index row, which is derived from the refund's state. Many writes share one commit (group commit), and a write
that conflicts fails alone.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import attrs

from refundry.money import Money
from refundry.refund import Event, Refund, Status

__all__ = [
    "AlreadyRequested",
    "Erasable",
    "Finding",
    "Journal",
    "UnmatchedNotification",
    "Recorded",
    "Row",
    "StoredCheckpoint",
    "Selection",
    "Write",
]


@attrs.frozen(slots=True)
class Recorded:
    """An event as it stands in the log."""

    position: int
    """Its place in the whole log: dense, from 1, in the order of commits."""
    refund_id: str
    version: int
    """Its place in its refund, from 1."""
    event: Event


@attrs.frozen(slots=True)
class Write:
    """What one refund has to say: committed whole or not at all."""

    refund: Refund
    """The state after the events; its version is the version of the last of them."""
    events: Sequence[Event]
    evidence: Mapping[str, bytes] = attrs.field(factory=dict, repr=False)
    """Bytes by their SHA-256 in hex."""


@attrs.frozen(slots=True)
class Row:
    """A refund in the index: derived from its state, never read to decide anything about money but the guard."""

    id: str
    version: int
    account: str
    refund_request_id: str
    payment: str
    amount: Money
    payment_total: Money | None
    retry_of: str | None
    status: Status
    review: str | None
    due_at: datetime | None
    """When a worker should look at it; None when it is final or waits for a person."""
    blocks_account: bool
    """Its provider said that the account's configuration is wrong: nothing of the account is sent until resumed."""
    requested_at: datetime
    updated_at: datetime


@attrs.frozen(slots=True, kw_only=True)
class Selection:
    """Which rows to list; what is None does not narrow."""

    status: Status | None = None
    account: str | None = None
    payment: str | None = None
    refund_request_id: str | None = None
    review: bool = False


@attrs.frozen(slots=True)
class UnmatchedNotification:
    """A genuine notification about a refund that the store does not know (yet)."""

    at: datetime
    account: str
    refund_request_id: str
    evidence: str


@attrs.frozen(slots=True)
class Finding:
    """A place where the index and the log do not agree."""

    refund_id: str
    field: str
    log: str
    index: str


@attrs.frozen(slots=True)
class StoredCheckpoint:
    """A checkpoint of the tree over the log, signed outside the store."""

    size: int
    at: datetime
    note: bytes
    """A signed note; see `refundry.audit.signing.note`."""


@attrs.frozen(slots=True)
class Erasable:
    """What can be erased of a refund."""

    position: int
    """Up to where the log was searched."""
    digests: Sequence[str]
    shared: int
    """How many more the refund names that another refund names as well: they stay."""


class AlreadyRequested(Exception):
    """(account, refund_request_id) is taken; `refund_id` is the refund that has it."""

    def __init__(self, refund_id: str) -> None:
        super().__init__(refund_id)
        self.refund_id = refund_id


class Journal(Protocol):
    """What the gateway and the worker ask of a store. Every method may raise `StoreError`."""

    async def save(self, write: Write) -> Sequence[Recorded]:
        """Make it durable, then return what was recorded.

        Raises `Stale` if the refund has moved on, `AlreadyRequested` if its id is taken, and `Invalid` if the payment's
        open and settled refunds would exceed its total (field `amount` or `payment_total`) or be in two currencies
        (`currency`), or if the failed refund has a replacement already (`retry_of`). Then nothing of this write is
        stored, and every other write is.
        """

    async def load(self, refund_id: str) -> Sequence[Recorded]:
        """Give all events of a refund, oldest first; empty if there is no such refund."""

    async def histories(self, refund_ids: Sequence[str]) -> Sequence[Sequence[Recorded]]:
        """Give all events of each of these refunds, in the order of the ids that are given."""

    async def find(self, account: str, refund_request_id: str) -> str | None:
        """Give the id of the refund that has this request id."""

    async def select(self, selection: Selection, *, after: str = "", limit: int = 1000) -> Sequence[Row]:
        """Give index rows in the order of their ids, from the one after `after`."""

    async def take_due(self, now: datetime, *, until: datetime, holder: str, limit: int) -> Sequence[str]:
        """Lease up to `limit` refunds that are due, oldest first, to `holder` until `until`; skip blocked accounts.

        A lease only keeps workers out of each other's way; it ends with the next write to the refund. Safety comes
        from the version alone.
        """

    async def release(self, holder: str) -> None:
        """Give back the leases of a worker or an observer that stops."""

    async def waiting(self) -> tuple[int, datetime | None]:
        """Say how many refunds the workers still have to drive, and when the next of them can be taken.

        Refunds of a blocked account wait for a person and do not count.
        """

    async def blocked(self, account: str) -> Sequence[str]:
        """Give the ids of the refunds that block this account."""

    async def keep_unmatched(self, unmatched: UnmatchedNotification, evidence: bytes) -> None:
        """Keep a notification about an unknown refund, durably; a repeated one is kept once."""

    async def unmatched(self, account: str | None = None, limit: int = 1000) -> Sequence[UnmatchedNotification]:
        """Give parked notifications, oldest first."""

    async def observe(self, observer: str) -> None:
        """Give an observer that is new here its place: the end of the log."""

    async def take_observer(self, observer: str, now: datetime, *, until: datetime, holder: str) -> int | None:
        """Lease an observer's place to `holder`, or renew the lease; None while somebody else has it.

        Gives the position of the last event that the observer took. The lease only keeps processes from telling it the
        same twice.
        """

    async def observed(self, observer: str, position: int, *, holder: str) -> None:
        """Keep that the observer took everything up to `position`, if `holder` still has its place."""

    def log(self, after: int = 0, limit: int | None = None) -> AsyncIterator[Recorded]:
        """Give the events of the whole log in their order, from the one after position `after`."""

    async def evidence(self, digest: str) -> bytes | None:
        """Give kept bytes by their SHA-256 in hex."""

    async def tree(self) -> bytes:
        """Give the frontier of the tree over the log.

        Every `save` adds its events to the tree in their order in the log, in the transaction that stores them: it
        hands the frontier it finds there and the entries of the stored bytes to `refundry.journal.merkle.extend`, and
        keeps the frontier and the leaves that come out.
        """

    async def leaves(self, start: int, end: int) -> Sequence[bytes]:
        """Give the hashes of the tree's leaves from `start` to before `end`; `Tampered` if one is missing."""

    async def keep_checkpoint(self, stored_checkpoint: StoredCheckpoint) -> None:
        """Keep a signed checkpoint; the first of a size stays."""

    async def checkpoints(self, after: int = -1, limit: int = 1000) -> Sequence[StoredCheckpoint]:
        """Give signed checkpoints, smallest first, from the one after the size `after`."""

    async def last_checkpoint(self) -> StoredCheckpoint | None:
        """Give the signed checkpoint of the largest tree."""

    def compare_index(self) -> AsyncIterator[Finding]:
        """Fold the whole log and give every place where the index says something else."""

    async def rebuild_index(self) -> int:
        """Make the index anew from the log; give the number of refunds."""

    async def erasable(self, refund_id: str) -> "Erasable":
        """Find the kept bytes that this refund names and no other; this reads the whole log."""

    async def erase(self, refund_id: str, version: int, position: int, notes: Mapping[str, bytes]) -> bool:
        """Overwrite kept bytes, by digest, and keep a note of each in their place; say whether no copy is left.

        Raises `Stale` if the refund has not this version any more, or if an event after `position` names such bytes.
        """

    async def close(self) -> None:
        """Finish what was asked and let go of the store."""
