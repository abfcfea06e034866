"""Events in batches, and how a finding names the place of one."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from refundry.journal.log_source import BATCH, StoredEvent

__all__ = ["in_batches", "place_of"]

T = TypeVar("T")


def place_of(event: StoredEvent) -> str:
    """Return the place of an event in words."""
    return f"position {event[0]}, refund {event[1]}, version {event[2]}"


def in_batches(rows: Iterator[T], count: int = BATCH) -> Iterator[Sequence[T]]:
    """Yield a stream in lists of this length."""
    batch: list[T] = []
    for row in rows:
        batch.append(row)
        if len(batch) == count:
            yield batch
            batch = []
    if batch:
        yield batch
