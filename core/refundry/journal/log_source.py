"""The read port of an audit: a whole log with everything that it names, as it is stored.

The rule of this module: declarations only. A source reads and never writes, and it believes nothing: it returns what is
stored, even if that cannot be what was written. A value that was tampered with may have any type. Memory stays flat,
whatever the length of the log. Every method may raise `StoreError` for a source that cannot be read.

A store is a `StoreSource`; an export is a `LogSource` that keeps what it reads in a `ScratchLog`. Stores and scratch
logs are opened by `refundry.journal.stores`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

from refundry.journal.values import Row
from refundry.refund import Refund

__all__ = [
    "BATCH",
    "INDEX_FIELDS",
    "IndexReader",
    "IndexValues",
    "LogSource",
    "PaymentConflict",
    "ScratchLog",
    "StoreSource",
    "StoredEvent",
    "StoredHistory",
    "StoredLeaf",
    "StoredRow",
    "Totals",
]

BATCH: Final = 512
"""How many events are held at a time: a power of two, so that each batch is a subtree, and few enough for the cache."""
INDEX_FIELDS: Final = (
    "id", "version", "account", "refund_request_id", "payment", "amount", "currency", "exponent", "payment_total",
    "retry_of", "status", "review", "due_at", "blocks_account", "requested_at", "updated_at",
    "payment_alias", "corrects_total",
)  # fmt: skip
"""The fields of `IndexValues`, in order."""

StoredEvent = tuple[int, str, int, str, bytes]
"""Position, refund id, version, topic, state."""
StoredLeaf = tuple[int, int, bytes]
"""Index, position, hash."""
StoredHistory = tuple[str, list[StoredEvent]]
"""A refund id and all its events, in the order of their versions."""
IndexValues = tuple[Any, ...]
"""An index row as plain values: amounts in minor units, times in microseconds since 1970, truth as 0 or 1."""
PaymentConflict = tuple[str, str, str, bool, int, int | None]
"""Account, payment, currency; whether currencies are mixed; the sum of settled and open refunds; the lowest total."""
Totals = tuple[str, int, int, int, int, int, int]
"""Currency, exponent, refunds; requested, settled, failed, open in minor units."""


class IndexReader(Protocol):
    """Questions that are answered by the index, once its rows were compared with the log."""

    def rows_of(self, states: Sequence[IndexValues]) -> Sequence[IndexValues]:
        """Return the index rows with the ids of these states, in any order.

        A source without its own index keeps these states as one, and returns them.
        """

    def size(self) -> int:
        """Return the number of rows."""

    def repeated_requests(self) -> Sequence[tuple[str, str, str]]:
        """Return account, request id and refund id wherever two refunds of an account have the same request id."""

    def repeated_replacements(self) -> Sequence[str]:
        """Return the ids of refunds that were replaced more than once."""

    def conflicting_payments(self) -> Sequence[PaymentConflict]:
        """Return the payments whose refunds are in several currencies or exceed the payment's total."""

    def totals(self) -> Sequence[Totals]:
        """Return what was requested and what became of it, by currency."""

    def ids(self) -> Iterator[str]:
        """Yield the ids of all refunds that are in the log or in the index."""

    def differences(self, refund_id: str) -> Iterator[tuple[str, str]]:
        """Compare a refund's row with its fold: yield each field that differs, and a sentence."""


class LogSource(Protocol):
    """A whole log with everything that it names."""

    is_store: bool
    """It stores an index and the state of the tree, which must agree with the log; False for an export."""

    @property
    def index(self) -> IndexReader:
        """The index, or one that is built while the log is checked."""

    def count(self) -> int:
        """Return about how many events there are, to show progress."""

    def events(self) -> Iterator[Sequence[StoredEvent]]:
        """Yield the events in order, `BATCH` at a time."""

    def history(self, refund_id: str, before: int) -> Sequence[tuple[str, bytes]]:
        """Return topic and state of a refund's events before a position."""

    def leaves(self, start: int = 0) -> Iterator[Sequence[StoredLeaf]]:
        """Yield the stored leaves in order from an index on, `BATCH` at a time."""

    def hashes(self, start: int, count: int) -> Sequence[bytes] | None:
        """Return the hashes of `count` leaves from an index on; None if one is missing or of an event elsewhere."""

    def tree(self) -> tuple[int, bytes] | None:
        """Return the stored size and frontier; None if they are missing."""

    def checkpoints(self) -> Iterator[tuple[int, bytes]]:
        """Yield the stored checkpoints by the size under which they are stored, smallest first."""

    def contents(self) -> Iterator[Sequence[tuple[bytes, bytes]]]:
        """Yield all records that are not erased, with the digest under which they are stored."""

    def missing(self, digests: Sequence[bytes]) -> Sequence[bytes]:
        """Return those of the digests under which nothing is stored."""

    def tombstones(self) -> Iterator[tuple[bytes, str, bytes]]:
        """Yield what is marked as erased: digest, refund id, signed note."""

    def condition(self) -> Iterator[tuple[str, str]]:
        """Yield what is wrong with the storage itself: where, and a sentence."""


class StoredRow(Protocol):
    """An index row that was read and not yet interpreted."""

    @property
    def id(self) -> Any:
        """The refund id; of any type if the row was tampered with."""

    def matches(self, refund: Refund) -> bool:
        """Return whether this is exactly the row of that refund."""

    def read(self) -> Row:
        """Interpret the row; raise `Invalid` if it cannot be one."""


class StoreSource(LogSource, Protocol):
    """A store, read in one snapshot."""

    def has_expected_tables(self) -> bool:
        """Return whether the tables are those of this version; others could hold other types of values."""

    def refund_ids(self, account: str | None, payment: str | None, refund: str | None) -> Iterator[str]:
        """Yield the ids of the refunds of an account, a payment, or one refund, from the index."""

    def resolve(self, id: str, account: str | None) -> str:
        """Return Refundry's id of a refund by either of its ids.

        Raises `UnknownRefund`, or `Invalid` if several accounts have a refund with this request id.
        """

    def events_of(self, refund_id: str) -> Sequence[tuple[int, int, str, bytes]]:
        """Return position, version, topic and state of a refund's events."""

    def content(self, digest: bytes) -> tuple[bytes | None, bytes | None]:
        """Return what is stored under a digest, and the note that marks it as erased."""

    def partition(self, events: int) -> Sequence[str]:
        """Return the refund ids that cut the log into parts of about so many events, in order."""

    def histories(self, after: str | None, last: str | None, events: int) -> Iterator[Sequence[StoredHistory]]:
        """Yield complete refunds by id, about so many events at a time, from after one id to another."""

    def rows(self, after: str | None, last: str | None) -> Iterator[StoredRow]:
        """Yield the index rows by id, from after one id to another."""

    def kept(self, digests: Sequence[bytes]) -> tuple[dict[bytes, bytes], set[bytes]]:
        """Return what is stored under these digests, and those of them that are marked as erased."""


class ScratchLog(Protocol):
    """A temporary log that an export is read into; it vanishes when it is closed."""

    @property
    def index(self) -> IndexReader:
        """The index that is built while the log is checked."""

    def add_event(self, event: StoredEvent, idx: int, proof: bytes | None = None) -> None:
        """Add an event with its index in the tree, and, for a part of a log, the hashes of its proof."""

    def add_hashes(self, start: int, hashes: Sequence[bytes]) -> None:
        """Add the hashes of the leaves from an index on."""

    def count(self) -> int:
        """Return the position of the newest event."""

    def events(self) -> Iterator[Sequence[StoredEvent]]:
        """Yield the events in order, `BATCH` at a time."""

    def history(self, refund_id: str, before: int) -> Sequence[tuple[str, bytes]]:
        """Return topic and state of a refund's events before a position."""

    def leaves(self, start: int = 0) -> Iterator[Sequence[StoredLeaf]]:
        """Yield the leaves in order from an index on, `BATCH` at a time."""

    def proofs(self) -> Iterator[tuple[StoredEvent, int, bytes]]:
        """Yield each event of a part with its index and the hashes of its proof."""
