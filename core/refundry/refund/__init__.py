"""The refund: its five events, the table of transitions, and the state that the events fold into."""

from refundry.refund.events import (
    EVENTS,
    MANUAL_REVIEW,
    RECONCILIATION,
    WORDING,
    WORKER_GAVE_UP,
    Channel,
    Event,
    Failed,
    Inquired,
    Requested,
    Settled,
    Submitted,
)
from refundry.refund.state import Failure, Note, Refund, apply, fold
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
    "WORKER_GAVE_UP",
    "IllegalEvent",
    "Inquired",
    "Note",
    "MANUAL_REVIEW",
    "RECONCILIATION",
    "Refund",
    "Requested",
    "Settled",
    "Status",
    "Submitted",
    "TRANSITIONS",
]
