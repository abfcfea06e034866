"""The refund: its five events, the table of transitions, and the state that the events fold into."""

from refundry.refund.events import (
    EVENTS,
    WORDING,
    Channel,
    Event,
    Failed,
    Inquired,
    NextStep,
    RaisedReview,
    Requested,
    Settled,
    Submitted,
)
from refundry.refund.folding import apply, fold
from refundry.refund.reviews import AGAINST_EVIDENCE, RECONCILIATION_REASONS, Review
from refundry.refund.settlement import SettlementFacts
from refundry.refund.state import Failure, Last, Note, Refund
from refundry.refund.transitions import FINAL, TRANSITIONS, IllegalEvent, Status, Trigger

__all__ = [
    "AGAINST_EVIDENCE",
    "apply",
    "Channel",
    "Event",
    "EVENTS",
    "Failed",
    "Failure",
    "FINAL",
    "fold",
    "IllegalEvent",
    "Inquired",
    "Last",
    "NextStep",
    "Note",
    "RaisedReview",
    "RECONCILIATION_REASONS",
    "Refund",
    "Requested",
    "Review",
    "Settled",
    "SettlementFacts",
    "Status",
    "Submitted",
    "TRANSITIONS",
    "Trigger",
    "WORDING",
]
