"""The fold that turns the events of a refund into its state.

The rule of this module: pure. The state follows from the events and nothing else; the same events give the same state
under every later version of this code. Nothing moves a final refund but an event that names the operator.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs

from refundry.provider import OutcomeKind, Resend, ReviewReason
from refundry.refund.events import Channel, Event, Failed, Inquired, NextStep, Requested, Settled, Submitted
from refundry.refund.reviews import AGAINST_EVIDENCE, Review, unreconciled, with_raised
from refundry.refund.settlement import SettlementFacts
from refundry.refund.state import Failure, Last, Note, Refund
from refundry.refund.transitions import FINAL, TRANSITIONS, IllegalEvent, Status, Trigger

_State = dict[str, Any]

# Members of enumerations as names of this module: looking them up on their classes makes the fold a fifth slower in
# Python 3.11.
_INFORMATIONAL: Final = OutcomeKind.INFORMATIONAL
_RESUMED: Final = OutcomeKind.RESUMED
_PENDING: Final = OutcomeKind.PENDING
_NOT_SENT: Final = OutcomeKind.NOT_SENT
_NOT_FOUND: Final = OutcomeKind.NOT_FOUND
_UNKNOWN: Final = OutcomeKind.UNKNOWN
_NEVER: Final = Resend.NEVER
_INQUIRY: Final = Channel.INQUIRY
_OPERATOR: Final = Channel.OPERATOR
_BY_SUBMITTED: Final = Trigger.SUBMITTED
_BY_INQUIRED: Final = Trigger.INQUIRED
_BY_INQUIRED_PENDING: Final = Trigger.INQUIRED_PENDING
_BY_INQUIRED_NOT_SENT: Final = Trigger.INQUIRED_NOT_SENT
_BY_SETTLED: Final = Trigger.SETTLED
_BY_OPERATOR_SETTLED: Final = Trigger.SETTLED_BY_OPERATOR
_BY_FAILED: Final = Trigger.FAILED
_BY_OPERATOR_FAILED: Final = Trigger.FAILED_BY_OPERATOR
_SUBMITTED_LAST: Final = Last.SUBMITTED
_INQUIRE: Final = NextStep.INQUIRE
_DONE: Final = NextStep.DONE
_SETTLED_LAST: Final = Last.SETTLED
_UNKNOWN_LAST: Final = Last.UNKNOWN
_REPEATED: Final = ReviewReason.REPEATED_ERROR
_FAILED_LAST: Final = Last.FAILED


def fold(id: str, events: Iterable[Event]) -> Refund:
    """Return the refund that results from all its events, oldest first.

    Raises `IllegalEvent` if the events do not follow from each other.
    """
    state: _State = {"id": id, "version": 0}
    for event in events:
        _APPLY[type(event)](state, event)
        state["version"] += 1
    if not state["version"]:
        raise IllegalEvent("a refund without events")
    return _freeze(_DEFAULTS | state)


def apply(refund: Refund, event: Event) -> Refund:
    """Return the refund after one more event."""
    state = dict(vars(refund))
    _APPLY[type(event)](state, event)
    state["version"] += 1
    return _freeze(state)


def _freeze(state: _State) -> Refund:
    # Calling the class would set forty attributes one by one, at several times the cost of the fold itself.
    refund = object.__new__(Refund)
    object.__setattr__(refund, "__dict__", state)
    return refund


def _move(state: _State, trigger: Trigger, fallback: Trigger | None = None) -> None:
    status = state.get("status")
    if status is None:
        raise IllegalEvent(f"the first event is '{trigger}', not 'requested'")
    target = TRANSITIONS.get((status, trigger))
    if target is None and fallback is not None:
        target = TRANSITIONS.get((status, fallback))
    if target is None:
        raise IllegalEvent(f"'{trigger}' cannot happen to a refund that is {status}")
    state["status"] = target


def _requested(state: _State, event: Requested) -> None:
    if "status" in state:
        raise IllegalEvent("'requested' can only be the first event")
    state.update(
        status=Status.REQUESTED,
        account=event.account,
        provider=event.provider,
        payment=event.payment,
        amount=event.amount,
        refund_request_id=event.refund_request_id,
        requested_by=event.by,
        requested_at=event.at,
        updated_at=event.at,
        reason=event.reason,
        payment_total=event.payment_total,
        retry_of=event.retry_of,
        request_details=event.details,
        next_at=event.at,
    )
    if event.corrects_total:
        state["corrects_total"] = True
    if event.possible_sender is not None:
        _requested_late(state, event)


def _requested_late(state: _State, event: Requested) -> None:
    """Record that the refund may have been sent before it was recorded."""
    state.update(
        status=Status.UNKNOWN,
        sender=event.possible_sender,
        first_sent_at=event.at,
        sent_at=event.at,
        in_flight=True,
        next_step=_INQUIRE,
        next_at=event.inquire_at or event.at,
    )


def _submitted(state: _State, event: Submitted) -> None:
    _move(state, _BY_SUBMITTED)
    if state.get("digest") not in (None, event.digest):
        raise IllegalEvent("another attempt with different bytes")
    state.update(
        updated_at=event.at,
        attempts=event.attempt,
        digest=event.digest,
        sender=event.sender,
        first_sent_at=state.get("first_sent_at") or event.at,
        sent_at=event.at,
        unresolved_attempt=state.get("unresolved_attempt", False) or state.get("in_flight", False),
        in_flight=True,
        last=_SUBMITTED_LAST,
        not_found=0,
        inquiries=0,
        next_step=_INQUIRE,
        next_at=event.next_at,
    )


# --- inquired ---------------------------------------------------------------------------------------------------------


def _inquired(state: _State, event: Inquired) -> None:
    outcome = event.outcome
    before = state.get("status")
    if outcome is _INFORMATIONAL and before is not None:
        # Not even the time of the last change: what is next, and when, was planned from there.
        state["notes"] = (*state.get("notes", ()), Note(event.at, event.cause or "", event.code, event.details))
        _raise_reviews(state, event)
        _add_facts(state, event)
        return
    if outcome is _RESUMED:
        _check_named(event)
        state["review"] = ()
    _move(state, _trigger(state, outcome), _BY_INQUIRED)
    state["updated_at"] = event.at
    _raise_reviews(state, event)
    _add_facts(state, event)
    if before in FINAL:
        return
    if _repeats_error(state, event):
        state["repeated_errors"] = state.get("repeated_errors", 0) + 1 + event.repeats
    elif "repeated_errors" in state:
        state["repeated_errors"] = 0
    state.update(last=_LAST[outcome], code=event.code, next_step=event.next_step, next_at=event.next_at)
    state["provider_message"] = event.provider_message
    if event.resend is _NEVER:
        state["resend"] = _NEVER
    elif state.get("resend") is not _NEVER:
        state["resend"] = event.resend
    if event.provider_refund_id is not None:
        state["provider_refund_id"] = event.provider_refund_id
    if event.payment_alias is not None:
        state["payment_alias"] = event.payment_alias
    if event.channel is _INQUIRY:
        _count_inquiry(state, event)
    if outcome is not _NOT_FOUND:
        state["not_found"] = 0
    _LEARN[outcome](state, event)


def _trigger(state: _State, outcome: OutcomeKind) -> Trigger:
    if outcome is _PENDING:
        return _BY_INQUIRED_PENDING
    # While an earlier attempt is unresolved, "this one was not sent" does not make it a refund that was never sent.
    if outcome is _NOT_SENT and not state.get("unresolved_attempt"):
        return _BY_INQUIRED_NOT_SENT
    return _BY_INQUIRED


def _raise_reviews(state: _State, event: Inquired) -> None:
    if event.review:
        state["review"] = with_raised(state.get("review", ()), event.review, event.at)


def _repeats_error(state: _State, event: Inquired) -> bool:
    inquired = event.outcome is _UNKNOWN and event.channel is _INQUIRY and event.code is not None
    return inquired and state.get("last") is _UNKNOWN_LAST and state.get("code") == event.code


def _add_facts(state: _State, event: Inquired) -> None:
    """Add what a message states about the settlement: to the settlement, or for the time when the refund settles."""
    if state["status"] in FINAL and state.get("provider_refund_id") is None:
        state["provider_refund_id"] = event.provider_refund_id
    if event.settlement is None:
        return
    if state["status"] is not Status.SETTLED:
        state["reported"] = event.settlement.over(state.get("reported") or _NO_FACTS)
        return
    known = SettlementFacts(**{name: state.get(name) for name in _FACTS})
    newest = event.settlement.over(known)
    if known not in (newest, _NO_FACTS):
        state["superseded"] = (*state.get("superseded", ()), known)
    state.update((name, getattr(newest, name)) for name in _FACTS)


_NO_FACTS: Final = SettlementFacts()
_FACTS: Final = tuple(field.name for field in attrs.fields(SettlementFacts))


def _count_inquiry(state: _State, event: Inquired) -> None:
    state["inquiries"] = state.get("inquiries", 0) + 1 + event.repeats
    state["inquired_as"] = event.sender
    inconsistent = event.outcome is _UNKNOWN and any(raised.code is not _REPEATED for raised in event.review)
    state["inconsistent_answers"] = state.get("inconsistent_answers", 0) + 1 if inconsistent else 0


def _learn_succeeded(state: _State, event: Inquired) -> None:
    state["unconfirmed_failure"] = None


def _learn_pending(state: _State, event: Inquired) -> None:
    state["resend"] = _NEVER
    state["backoffs"] = 0
    state["unconfirmed_failure"] = None


def _learn_failed(state: _State, event: Inquired) -> None:
    if event.channel is not Channel.NOTIFICATION:
        state["resend"] = _NEVER
        state["unconfirmed_failure"] = Failure(
            event.code or "", event.cause or "", event.advice or "", event.provider_message, event.details
        )


def _learn_not_found(state: _State, event: Inquired) -> None:
    if event.sender == state.get("sender"):
        state["not_found"] = state.get("not_found", 0) + 1


def _learn_unknown(state: _State, event: Inquired) -> None:
    if event.scope is not None:
        state["blocked"] = event.scope
    if event.resend is Resend.SAME:
        state["backoffs"] = state.get("backoffs", 0) + 1
    # What an operator is to decide, a later "not found" must not end as failed.
    if event.review or event.next_step == NextStep.MANUAL_REVIEW:
        state["unconfirmed_failure"] = None


def _learn_blocked(state: _State, event: Inquired) -> None:
    state["blocked"] = event.scope
    if event.channel is Channel.REPLY:
        state["blocked_code"] = event.code
        state["in_flight"] = state.get("unresolved_attempt", False)


def _learn_not_sent(state: _State, event: Inquired) -> None:
    state["in_flight"] = state.get("unresolved_attempt", False)
    state["backoffs"] = state.get("backoffs", 0) + 1
    state["unsent"] = state.get("unsent", 0) + 1


def _learn_resumed(state: _State, event: Inquired) -> None:
    state.update(
        blocked=None,
        inconsistent_answers=0,
        backoffs=0,
        unsent=0,
        attempts_before_resume=state.get("attempts", 0),
        resumed_at=event.at,
    )


_LEARN: Final[Mapping[OutcomeKind, Callable[[_State, Inquired], None]]] = {
    OutcomeKind.SUCCEEDED: _learn_succeeded,
    OutcomeKind.PENDING: _learn_pending,
    OutcomeKind.FAILED: _learn_failed,
    OutcomeKind.NOT_FOUND: _learn_not_found,
    OutcomeKind.UNKNOWN: _learn_unknown,
    OutcomeKind.BLOCKED: _learn_blocked,
    OutcomeKind.NOT_SENT: _learn_not_sent,
    OutcomeKind.RESUMED: _learn_resumed,
}
"""What each outcome changes besides status and plan. An informational one changes neither."""
_LAST: Final[Mapping[OutcomeKind, Last]] = {outcome: Last(outcome) for outcome in _LEARN}


# --- the end ----------------------------------------------------------------------------------------------------------


def _settled(state: _State, event: Settled) -> None:
    _close(state, event, _BY_SETTLED, _BY_OPERATOR_SETTLED)
    state.update(
        last=_SETTLED_LAST,
        review=_decided_reviews(event),
        provider_refund_id=event.provider_refund_id or state.get("provider_refund_id"),
        payment_alias=event.payment_alias or state.get("payment_alias"),
        settled_at=event.settled_at,
        settled_amount=event.amount,
        settlement_amount=event.settlement_amount,
        quote=event.quote,
        details=event.details,
        failure=None,
        failed_by=None,
        provider_message=None,
    )
    reported = state.get("reported")
    if reported is not None:
        known = SettlementFacts(**{name: state[name] for name in _FACTS}).over(reported)
        state.update((name, getattr(known, name)) for name in _FACTS)
        state["reported"] = None


def _failed(state: _State, event: Failed) -> None:
    _close(state, event, _BY_FAILED, _BY_OPERATOR_FAILED)
    state.update(
        last=_FAILED_LAST,
        review=_decided_reviews(event) if event.channel is _OPERATOR else unreconciled(state.get("review", ())),
        failure=Failure(event.code, event.cause, event.advice, event.provider_message, event.details),
        failed_by=event.by,
        code=event.code,
        provider_message=event.provider_message,
        provider_refund_id=event.provider_refund_id or state.get("provider_refund_id"),
        reported=None,
        settled_at=None,
        settled_amount=None,
        settlement_amount=None,
        quote=None,
        details=None,
    )


def _decided_reviews(event: Settled | Failed) -> tuple[Review, ...]:
    """Return what stays open after a decision: that it contradicts the provider."""
    against = event.against_evidence and event.channel is _OPERATOR
    return with_raised((), (AGAINST_EVIDENCE,), event.at) if against else ()


def _close(state: _State, event: Settled | Failed, trigger: Trigger, by_operator: Trigger) -> None:
    if event.channel is _OPERATOR:
        _check_named(event)
        _move(state, by_operator, trigger)
    else:
        _move(state, trigger)
    state.update(updated_at=event.at, blocked=None, in_flight=False, next_step=_DONE, next_at=None)


def _check_named(event: Inquired | Settled | Failed) -> None:
    if not (event.by and event.why):
        raise IllegalEvent("a decision without the name of an operator and the reason")


_APPLY: Final[Mapping[type, Any]] = {
    Requested: _requested,
    Submitted: _submitted,
    Inquired: _inquired,
    Settled: _settled,
    Failed: _failed,
}


_DEFAULTS: Final = {field.name: field.default for field in attrs.fields(Refund) if field.default is not attrs.NOTHING}
