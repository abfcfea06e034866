"""The refund: its five events, the table of transitions, and the state that the events fold into."""

from refundry.refund.events import (
    EVENTS,
    MANUAL_REVIEW,
    WORDING,
    Channel,
    Event,
    Failed,
    Inquired,
    RaisedReview,
    Requested,
    Settled,
    Submitted,
)
from refundry.refund.state import RECONCILIATION_REASONS, Failure, Note, Refund, Review, apply, fold
from refundry.refund.transitions import FINAL, TRANSITIONS, IllegalEvent, Status

__all__ = [
    "apply",
    "Channel",
    "Event",
    "EVENTS",
    "Failed",
    "Failure",
    "FINAL",
    "fold",
    "WORDING",
    "IllegalEvent",
    "Inquired",
    "Note",
    "MANUAL_REVIEW",
    "RaisedReview",
    "RECONCILIATION_REASONS",
    "Refund",
    "Requested",
    "Review",
    "Settled",
    "Status",
    "Submitted",
    "TRANSITIONS",
]
