"""The values that cross the journal's ports.

A `Write` is everything that must become durable together: new events of one refund, the evidence they rest on, and the
refund's index row, which is derived from the refund's state.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import attrs

from refundry.money import Money
from refundry.refund import Event, Refund, Review, Status

__all__ = [
    "AlreadyRequested",
    "Erasable",
    "IndexDifference",
    "NotifiedBefore",
    "ObservedEvent",
    "Postponed",
    "Recorded",
    "Row",
    "Selection",
    "StoredCheckpoint",
    "UnmatchedNotification",
    "Write",
]


@attrs.frozen(slots=True)
class Recorded:
    """An event with its position in the log."""

    position: int
    """The position in the whole log: dense, from 1, in the order of commits."""
    refund_id: str
    version: int
    """The position in its refund, from 1."""
    event: Event


@attrs.frozen(slots=True)
class ObservedEvent(Recorded):
    """An event as it is delivered to observers: with what identifies its refund on the platform's side."""

    account: str
    payment: str
    refund_request_id: str


@attrs.frozen(slots=True)
class Write:
    """New events of one refund with their evidence: committed atomically."""

    refund: Refund
    """The state after the events; its version is the version of the last event."""
    events: Sequence[Event]
    evidence: Mapping[str, bytes] = attrs.field(factory=dict, repr=False)
    """Bytes by their SHA-256 in hex."""
    replaced_version: int | None = None
    """For a new refund with `retry_of`: the version at which the failure of the other refund was confirmed."""
    unmatched: Sequence[str] = ()
    """For a new refund: the unmatched notifications about it, by the digests of their evidence. They stop being
    unmatched with this write."""


@attrs.frozen(slots=True)
class Postponed:
    """A refund whose answers since its newest event were only counted."""

    until: datetime
    """When it is processed next."""
    repeats: int


@attrs.frozen(slots=True)
class Row:
    """A refund in the index, derived from its state; only the payment guard bases a decision about money on it."""

    id: str
    version: int
    account: str
    refund_request_id: str
    payment: str
    amount: Money
    payment_total: Money | None
    retry_of: str | None
    status: Status
    review: tuple[Review, ...]
    due_at: datetime | None
    """When a worker should process it; None when it is final or needs an operator."""
    blocks_account: bool
    """Its provider rejects the account's configuration: nothing of the account is sent until it is resumed."""
    requested_at: datetime
    updated_at: datetime
    payment_alias: str | None
    """Another name of the payment, as the provider's messages state it."""
    corrects_total: bool
    """Its `payment_total` replaces those that earlier refunds of the payment state."""


@attrs.frozen(slots=True, kw_only=True)
class Selection:
    """The rows to list; a field that is None does not narrow the selection."""

    status: Status | None = None
    account: str | None = None
    payment: str | None = None
    payment_alias: str | None = None
    refund_request_id: str | None = None
    review: bool = False


@attrs.frozen(slots=True)
class UnmatchedNotification:
    """A verified notification about a refund that the store does not contain (yet)."""

    at: datetime
    account: str
    refund_request_id: str
    evidence: str


@attrs.frozen(slots=True)
class IndexDifference:
    """A field in which the index and the log disagree."""

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
    """A signed note; see `refundry.audit.signing.signed_notes`."""


@attrs.frozen(slots=True)
class Erasable:
    """The records of a refund that can be erased."""

    position: int
    """The position up to which the log was searched."""
    digests: Sequence[str]
    shared: int
    """How many more records the refund names that another refund names as well: they stay."""


class NotifiedBefore(Exception):
    """Notifications about a new refund were kept as unmatched, and its write does not name exactly these."""

    def __init__(self, digests: Sequence[str]) -> None:
        super().__init__(*digests)
        self.digests = digests


class AlreadyRequested(Exception):
    """(account, refund_request_id) is taken; `refund_id` is the refund that has it."""

    def __init__(self, refund_id: str) -> None:
        super().__init__(refund_id)
        self.refund_id = refund_id
