"""The state of each refund as far as an audit needs it: a lean fold, because it runs over the whole log.

The rule of this module: pure. It is not the fold that decides about money (`refundry.refund.fold`): it keeps what the
index row, the transitions and the invariants need, checks them on the way, and returns each violation as a sentence. A
test compares the two folds on histories of every kind. The names of the invariants are those of the documentation
(docs/explanation/audit.md).
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, Final

from refundry.audit.verification.stored_fields import (
    StoredFailed,
    StoredInquired,
    StoredRequested,
    StoredSettled,
    StoredSubmitted,
)
from refundry.journal.index import review_text, storable_text
from refundry.journal.log_source import INDEX_FIELDS
from refundry.provider import OutcomeKind
from refundry.refund import AGAINST_EVIDENCE, FINAL, RECONCILIATION_REASONS, TRANSITIONS, Channel, NextStep, Status

__all__ = ["LeanState", "Violation", "against_provider", "begin", "close", "columns", "step"]

# Plain strings, as they are stored: comparing them is faster than making members of them.
_INFORMATIONAL: Final = str(OutcomeKind.INFORMATIONAL)
_NOT_SENT: Final = str(OutcomeKind.NOT_SENT)
_RESUMED: Final = str(OutcomeKind.RESUMED)
_UNKNOWN: Final = str(OutcomeKind.UNKNOWN)
_BLOCKED: Final = str(OutcomeKind.BLOCKED)
_REPORTS: Final = frozenset(map(str, (OutcomeKind.SUCCEEDED, OutcomeKind.PENDING, OutcomeKind.FAILED)))
_REPLY: Final = str(Channel.REPLY)
_OPERATOR: Final = str(Channel.OPERATOR)
_FINAL: Final = frozenset(map(str, FINAL))
_UNRECONCILED: Final = frozenset(map(str, RECONCILIATION_REASONS))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO: Final = timedelta(microseconds=1)

Violation = tuple[str, str]
"""An invariant that does not hold, and a sentence."""


# --- the state of a refund --------------------------------------------------------------------------------------------

_OTHERS: Final = (
    "attempts",
    "digest",
    "unresolved_attempt",
    "in_flight",
    "next_step",
    "blocked",
    "next_at",
    "reported",
)


class LeanState:
    """The state of one refund after some event. Times are microseconds since 1970, amounts minor units.

    `review` holds the open reasons by code until `close` writes them as the index row does; None without any.
    """

    __slots__ = (*INDEX_FIELDS, *_OTHERS)

    id: str
    version: int
    account: str
    refund_request_id: str
    payment: str
    amount: int
    currency: str
    exponent: int
    payment_total: int | None
    retry_of: str | None
    status: str
    review: Any
    due_at: int | None
    blocks_account: bool
    requested_at: int
    updated_at: Any
    payment_alias: str | None
    corrects_total: bool
    attempts: int
    digest: str | None
    unresolved_attempt: bool
    in_flight: bool
    next_step: str
    blocked: str | None
    next_at: Any
    reported: str | None
    """What the provider reported last of the refund itself: succeeded, pending or failed."""

    @property
    def ended(self) -> bool:
        """It is settled or failed; events after that are rare."""
        return self.status in _FINAL


columns: Final = attrgetter(*INDEX_FIELDS)
"""Returns what the index row of a state must be."""


def micros(at: datetime) -> int:
    """Return a time as microseconds since 1970."""
    return (at - _EPOCH) // _MICRO


def close(state: LeanState) -> None:
    """Set the fields that follow from the others, once all events were applied."""
    waits = state.status in _FINAL or state.next_step == NextStep.MANUAL_REVIEW or state.blocked is not None
    state.due_at = None if waits else _as_micros(state.next_at)
    state.updated_at = _as_micros(state.updated_at)
    state.blocks_account = state.blocked == "account"
    if state.review is not None:
        state.review = review_text((code, *reason) for code, reason in state.review.items())


def _as_micros(at: Any) -> Any:
    return micros(at) if isinstance(at, datetime) else at


# --- the steps --------------------------------------------------------------------------------------------------------

_MOVES: Final[Mapping[str, Mapping[str, str]]] = {
    str(status): {trigger: str(target) for (source, trigger), target in TRANSITIONS.items() if source == status}
    for status in Status
}


def begin(id: str, event: StoredRequested) -> LeanState:
    """Return the state of a refund after its first event."""
    state = LeanState()
    state.id = id
    state.version = 1
    state.account = event.account
    state.refund_request_id = event.refund_request_id
    state.payment = event.payment
    amount, total = event.amount, event.payment_total
    state.amount = amount.minor
    state.currency = amount.currency
    state.exponent = amount.exponent
    state.payment_total = None if total is None else total.minor
    state.retry_of = event.retry_of
    state.status = "requested"
    state.review = state.blocked = state.digest = state.due_at = None
    state.requested_at = micros(event.at)
    state.updated_at = state.requested_at
    state.attempts = 0
    state.unresolved_attempt = state.in_flight = state.blocks_account = False
    state.next_step = "submit"
    state.next_at = state.requested_at
    state.payment_alias = state.reported = None
    state.corrects_total = event.corrects_total
    if event.possible_sender is not None:
        state.status = "unknown"
        state.in_flight = True
        state.next_step = "inquire"
        state.next_at = event.inquire_at or event.at
    return state


def _again(state: LeanState, event: StoredRequested) -> Violation:
    return "I6", "a refund cannot be requested twice"


def _submitted(state: LeanState, event: StoredSubmitted) -> Violation | None:
    target = _MOVES[state.status].get("submitted")
    violation: Violation | None = None
    if target is None:
        return "I6", f"a refund that is {state.status} cannot be submitted"
    if event.attempt != state.attempts + 1:
        violation = "I4", f"attempt {event.attempt} follows attempt {state.attempts}"
    if state.digest is None:
        state.digest = event.digest
    elif state.digest != event.digest:
        violation = "I5", "an attempt has different bytes from the previous one, under the same id"
    state.status = target
    state.updated_at = event.at
    state.attempts = event.attempt
    state.unresolved_attempt = state.unresolved_attempt or state.in_flight
    state.in_flight = True
    state.next_step = "inquire"
    state.next_at = event.next_at
    return violation


def _inquired(state: LeanState, event: StoredInquired) -> Violation | None:
    outcome = event.outcome
    if outcome == _INFORMATIONAL:
        _raise(state, event)
        return None
    before = state.status
    moves = _MOVES[before]
    target = None if outcome == _NOT_SENT and state.unresolved_attempt else moves.get(f"inquired {outcome}")
    if target is None:
        target = moves.get("inquired")
        if target is None:
            return "I6", f"a refund that is {before} cannot be inquired"
    state.status = target
    state.updated_at = event.at
    if outcome in _REPORTS:
        state.reported = outcome
    violation = _named(event) if outcome == _RESUMED else None
    if event.channel == _REPLY and not state.attempts:
        violation = _unsent()
    if before in _FINAL:
        if outcome == _RESUMED:
            state.review = None
        _raise(state, event)
        return violation
    state.next_step = event.next_step
    state.next_at = event.next_at
    if event.payment_alias is not None:
        state.payment_alias = storable_text(event.payment_alias)
    if outcome == _RESUMED:
        state.review = None
    _raise(state, event)
    _find(state, event, outcome)
    return violation


def _raise(state: LeanState, event: StoredInquired) -> None:
    for raised in event.review:
        if state.review is None:
            state.review = {}
        known = state.review.get(raised.code)
        state.review[raised.code] = raised.message, event.at if known is None else known[1]


def _find(state: LeanState, event: StoredInquired, outcome: str) -> None:
    if outcome == _NOT_SENT:
        state.in_flight = state.unresolved_attempt
    elif outcome == _UNKNOWN:
        if event.scope is not None:
            state.blocked = event.scope
    elif outcome == _BLOCKED:
        state.blocked = event.scope
        if event.channel == _REPLY:
            state.in_flight = state.unresolved_attempt
    elif outcome == _RESUMED:
        state.blocked = None


def _settled(state: LeanState, event: StoredSettled) -> Violation | None:
    violation = _ended(state, event, "settled")
    if event.payment_alias is not None:
        state.payment_alias = storable_text(event.payment_alias)
    amount = event.amount
    if amount.minor != state.amount or amount.currency != state.currency or amount.exponent != state.exponent:
        asked = f"{state.amount} minor units of {state.currency} were requested"
        return "I7", f"{asked}, and {amount.minor} of {amount.currency} settled"
    return violation


def _failed(state: LeanState, event: StoredFailed) -> Violation | None:
    reasons = state.review
    violation = _ended(state, event, "failed")
    if reasons and event.channel != _OPERATOR:
        # A report that lists a refund does not agree with it because it failed.
        state.review = {code: reason for code, reason in reasons.items() if code in _UNRECONCILED} or None
    return violation


def _ended(state: LeanState, event: StoredSettled | StoredFailed, topic: str) -> Violation | None:
    violation: Violation | None = None
    moves = _MOVES[state.status]
    if event.channel == _OPERATOR:
        violation = _named(event)
        target = moves.get(f"{topic} by an operator") or moves.get(topic)
    else:
        target = moves.get(topic)
        state.reported = "succeeded" if topic == "settled" else "failed"
        if event.channel == _REPLY and not state.attempts:
            violation = _unsent()
    if target is None:
        return "I6", f"a refund that is {state.status} cannot become {topic} without an operator's decision"
    state.status = target
    state.updated_at = event.at
    state.review = state.blocked = state.next_at = None
    if event.against_evidence and event.channel == _OPERATOR:
        state.review = {AGAINST_EVIDENCE.code: (AGAINST_EVIDENCE.message, event.at)}
    state.in_flight = False
    state.next_step = "done"
    return violation


def against_provider(state: LeanState, topic: str, event: Any) -> str | None:
    """Return a sentence about a decision, just applied, that contradicts what the provider reported; or None."""
    reported = _CONTRADICT[topic].get(state.reported)
    if event.channel != _OPERATOR or reported is None:
        return None
    return f"an operator recorded that it {topic}; the provider reported that it {reported}"


_CONTRADICT: Final[Mapping[str, Mapping[str | None, str]]] = {
    "settled": {"failed": "failed"},
    "failed": {"succeeded": "settled", "pending": "is in process"},
}
"""What a provider may have reported that a decision contradicts, and how a sentence says so."""


def _unsent() -> Violation:
    return "I4", "an answer is recorded, but no attempt"


def _named(event: StoredInquired | StoredSettled | StoredFailed) -> Violation | None:
    named = (event.by or "by" in event.apart) and (event.why or "why" in event.apart)
    return None if named else ("I6", "a decision is recorded without the operator's name and the reason")


step: Final[Mapping[str, Callable[[LeanState, Any], Violation | None]]] = {
    "requested": _again, "submitted": _submitted, "inquired": _inquired, "settled": _settled, "failed": _failed,
}  # fmt: skip
"""By topic: applies an event to a state, and returns what does not hold."""
