"""The journal: the append-only log of refunds, and the ports behind which every database is."""

from refundry.journal.port import (
    AlreadyRequested,
    Erasable,
    Finding,
    Journal,
    Recorded,
    Row,
    Selection,
    StoredCheckpoint,
    UnmatchedNotification,
    Write,
)

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
