"""What a check reads, and how it names places: the read port of the journal under the names of this package."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from refundry.journal.log_source import BATCH, LogSource, StoredEvent, StoredLeaf

__all__ = ["BATCH", "Event", "Leaf", "Source", "in_batches", "place_of"]

Source = LogSource
Event = StoredEvent
Leaf = StoredLeaf
T = TypeVar("T")


def place_of(event: Event) -> str:
    """Describe the place of an event."""
    return f"position {event[0]}, refund {event[1]}, version {event[2]}"


def in_batches(rows: Iterator[T], count: int = BATCH) -> Iterator[Sequence[T]]:
    """Cut a stream into lists."""
    batch: list[T] = []
    for row in rows:
        batch.append(row)
        if len(batch) == count:
            yield batch
            batch = []
    if batch:
        yield batch
