"""What comes next for a refund, and when: (refund, the provider's terms, now) -> a step.

The rule of this module: pure, and there is always a next step or a manual review.
"""

from datetime import datetime, timedelta
from typing import Final, assert_never

import attrs

from refundry.provider import OutcomeKind, Resend, ReviewReason, Scope, Terms
from refundry.refund import (
    RECONCILIATION_REASONS,
    Channel,
    Event,
    Inquired,
    Last,
    NextStep,
    RaisedReview,
    Refund,
    SettlementFacts,
    apply,
)


@attrs.frozen(slots=True)
class Submit:
    """Send it, under its id and with its bytes, not before `at`."""

    at: datetime
    name = NextStep.SUBMIT


@attrs.frozen(slots=True)
class Inquire:
    """Ask the provider for its status, not before `at`."""

    at: datetime
    name = NextStep.INQUIRE


@attrs.frozen(slots=True)
class ManualReview:
    """Nothing happens until an operator acts, for this reason."""

    reason: ReviewReason
    message: str
    """The reason in words, for people only."""
    name = NextStep.MANUAL_REVIEW


@attrs.frozen(slots=True)
class Done:
    """It is final."""

    name = NextStep.DONE


Step = Submit | Inquire | ManualReview | Done


_MAX_BACKOFF: Final = 300.0
_MAX_GROWN_BACKOFF: Final = 1800.0
_INCONSISTENT_ANSWERS: Final = 3
"""As many inconsistent answers in a row are no longer an accident of the network."""
_STARTS: Final = frozenset({Last.SUBMITTED, Last.RESUMED})
"""After these at least one answer is awaited, however old the refund is."""
_HINTS: Final = frozenset({Last.SUCCEEDED, Last.FAILED})
"""Reported but not trusted: the provider seems to know the refund, so an inquiry comes before anything is sent."""
_FROM_OUTSIDE: Final = RECONCILIATION_REASONS | {ReviewReason.WORKER_GAVE_UP}
"""Reasons that put nothing on hold: what was planned continues."""


def next_step(refund: Refund, terms: Terms, now: datetime) -> Step:
    """Return what is to be done with a refund, and when."""
    if refund.final:
        return Done()
    if refund.blocked is not None:
        blocked = ReviewReason.BLOCKED_ACCOUNT if refund.blocked is Scope.ACCOUNT else ReviewReason.BLOCKED_REQUEST
        return _on_hold(refund, ManualReview(blocked, "the provider rejected it before it decided"))
    if refund.next_step is NextStep.MANUAL_REVIEW:
        return _on_hold(refund, ManualReview(ReviewReason.NO_FINAL_ANSWER, "it needs an operator"))
    unsent = refund.attempts == 0 and not refund.in_flight
    if unsent and refund.resend is not Resend.NEVER and refund.last not in _HINTS:
        return Submit(refund.resumed_at or refund.requested_at)
    return _after(refund, terms, now)


def with_next_step(refund: Refund, event: Inquired, terms: Terms) -> Inquired:
    """Return the event with what comes next after it, and when."""
    after = apply(refund, event)
    step = next_step(after, terms, event.at)
    # Not `attrs.evolve`: it is measurable, for every answer that is not final and for every one that an audit reads.
    fields = {name: getattr(event, name) for name in _INQUIRED}
    match step:
        case ManualReview():
            known = any(review.code is step.reason for review in after.review)
            review = event.review if known else (*event.review, RaisedReview(step.reason, step.message))
            return Inquired(**fields | {"next_step": step.name, "next_at": None, "review": review})
        case Submit() | Inquire():
            review = (*event.review, *_inconsistency(after))
            return Inquired(**fields | {"next_step": step.name, "next_at": step.at, "review": review})
        case Done():
            return Inquired(**fields | {"next_step": step.name, "next_at": None})
        case _:
            assert_never(step)


def _inconsistency(refund: Refund) -> tuple[RaisedReview, ...]:
    """Return the reason to review a refund whose inquiries are answered inconsistently, once it is needed.

    It puts nothing on hold: an inquiry is harmless, and the answers may become consistent without an operator.
    """
    count = refund.inconsistent_answers
    if count < _INCONSISTENT_ANSWERS or any(one.code is ReviewReason.INCONSISTENT_ANSWERS for one in refund.review):
        return ()
    text = f"{count} inquiries in a row were answered with something that needs an operator; further ones follow slowly"
    return (RaisedReview(ReviewReason.INCONSISTENT_ANSWERS, text),)


_INQUIRED: Final = tuple(field.name for field in attrs.fields(Inquired))


def _on_hold(refund: Refund, otherwise: ManualReview) -> ManualReview:
    """Return the newest open reason that holds the refund."""
    for review in reversed(refund.review):
        if review.code not in _FROM_OUTSIDE:
            return ManualReview(review.code, review.message)
    return otherwise


# --- by the newest change ---------------------------------------------------------------------------------------------


def _after(refund: Refund, terms: Terms, now: datetime) -> Step:
    match refund.last:
        case Last.SUBMITTED | Last.REQUESTED:
            return _after_submitted(refund, terms)
        case Last.NOT_SENT:
            return _submit(refund, terms, now, _backoff(refund, terms))
        case Last.PENDING:
            return _inquire(refund, terms, _on_schedule(refund, terms))
        case Last.UNKNOWN:
            return _after_unknown(refund, terms, now)
        case Last.NOT_FOUND:
            return _after_not_found(refund, terms, now)
        case Last.RESUMED:
            return _after_resumed(refund, terms, now)
        case Last.SUCCEEDED | Last.FAILED:
            return _inquire(refund, terms, refund.updated_at)
        case Last.BLOCKED | Last.SETTLED:
            raise AssertionError(f"nothing follows {refund.last}: it is handled before")
        case _:
            assert_never(refund.last)


def _after_submitted(refund: Refund, terms: Terms) -> Step:
    assert refund.sent_at is not None
    return _inquire(refund, terms, unanswered_until(refund.sent_at, terms))


def _after_unknown(refund: Refund, terms: Terms, now: datetime) -> Step:
    if refund.resend is Resend.SAME and Resend.SAME in terms.resend_after:
        return _submit(refund, terms, now, _backoff(refund, terms))
    return _inquire(refund, terms, _on_schedule(refund, terms))


def _after_not_found(refund: Refund, terms: Terms, now: datetime) -> Step:
    if refund.inquired_as != refund.sender:
        sent = "it was never sent" if refund.sender is None else f"it was sent as {refund.sender}"
        text = f"{refund.inquired_as} has no record of it, but {sent}: that proves nothing"
        return ManualReview(ReviewReason.NOT_FOUND_BY_OTHER_IDENTITY, text)
    if refund.not_found <= terms.not_found_tries:
        return _inquire(refund, terms, refund.updated_at + seconds(terms.not_found_interval))
    if refund.resend is Resend.NEVER:
        text = "the provider has no record of it, and an earlier answer forbids sending it again"
        return ManualReview(ReviewReason.NOT_FOUND_RESEND_FORBIDDEN, text)
    if Resend.AFTER_NOT_FOUND not in terms.resend_after:
        text = "the provider has no record of it, and its terms do not allow sending it again"
        return ManualReview(ReviewReason.NOT_FOUND_RESEND_FORBIDDEN, text)
    return _submit(refund, terms, now, refund.updated_at)


def _after_resumed(refund: Refund, terms: Terms, now: datetime) -> Step:
    if refund.in_flight or refund.resend is Resend.NEVER:
        return _inquire(refund, terms, refund.updated_at)
    return _submit(refund, terms, now, refund.updated_at)


# --- what must hold before a step -------------------------------------------------------------------------------------


def _submit(refund: Refund, terms: Terms, now: datetime, at: datetime) -> Step:
    assert refund.first_sent_at is not None
    tried = refund.attempts - refund.attempts_before_resume - refund.unsent
    if tried >= terms.max_attempts:
        return ManualReview(ReviewReason.MAX_ATTEMPTS, f"sent {tried} times without a conclusive answer")
    if _waited_too_long(refund, terms):
        return ManualReview(ReviewReason.COULD_NOT_BE_SENT, "it could not be sent for too long")
    horizon, age = terms.id_horizon, max(now, at) - refund.first_sent_at
    # When a refund was first sent that may have been sent before it was recorded, is not known; nor is it if the clock
    # was set back since.
    forgotten = horizon is not None and (refund.attempts == 0 or not timedelta(0) <= age <= seconds(horizon / 2))
    if refund.in_flight and forgotten:
        text = "the provider may have forgotten the refund request id: sending it again could pay twice"
        return ManualReview(ReviewReason.ID_HORIZON, text)
    return Submit(at)


def _inquire(refund: Refund, terms: Terms, at: datetime) -> Step:
    by_provider_id = "provider_refund_id" in terms.inquire_by and refund.provider_refund_id is not None
    if "refund_request_id" not in terms.inquire_by and not by_provider_id:
        text = "the provider can only be asked by its own refund id, which is not known"
        return ManualReview(ReviewReason.NOT_INQUIRABLE, text)
    if _waited_too_long(refund, terms):
        return ManualReview(ReviewReason.NO_FINAL_ANSWER, "no final answer for too long")
    return Inquire(max(at, first_inquiry(refund, terms)))


def _waited_too_long(refund: Refund, terms: Terms) -> bool:
    # Judged by the newest answer and not by the clock: after a long pause of the workers the provider is asked first.
    return refund.last not in _STARTS and _age(refund, refund.updated_at) > seconds(terms.escalate_after)


def _age(refund: Refund, at: datetime) -> timedelta:
    """Return how long a final answer has been awaited since the first attempt, or since an operator resumed it."""
    began = (refund.requested_at, refund.first_sent_at or refund.requested_at, refund.resumed_at or refund.requested_at)
    # What is later than the newest event was recorded before the clock was set back.
    return at - max((one for one in began if one <= refund.updated_at), default=max(began))


# --- answers that are only counted ------------------------------------------------------------------------------------

_COUNTED: Final = (OutcomeKind.PENDING, OutcomeKind.UNKNOWN)
_RECORDED_AGAIN: Final = 1.5
"""By which factor a refund must have aged before the same answer is recorded again."""


def is_repeat(refund: Refund, event: Event) -> bool:
    """Return whether the answer to an inquiry states what the newest event states, and is to be counted only.

    It is recorded all the same when the refund is half as old again as it was then, or when something else follows.
    """
    if not isinstance(event, Inquired) or event.outcome not in _COUNTED or event.channel is not Channel.INQUIRY:
        return False
    if not refund.inquiries or event.at < refund.updated_at:
        # After the clock was set back, an event makes known again how much time has passed.
        return False
    after = apply(refund, event)
    states = vars(refund), vars(after)
    news = any(states[1][name] != value for name, value in states[0].items() if name not in _CHANGED_BY_ANY)
    news = news or _names_of(refund.reported) != _names_of(after.reported)
    old_enough = _age(refund, event.at) >= _RECORDED_AGAIN * _age(refund, refund.updated_at)
    return not (news or old_enough or _leads_to_a_review(refund, after))


_CHANGED_BY_ANY: Final = (
    "version",
    "updated_at",
    "inquiries",
    "inconsistent_answers",
    "repeated_errors",
    "provider_message",
    "reported",
    "next_at",
)
"""What every answer to an inquiry may change, even one that states nothing new: a message or a detail can hold the
number of the call. A fact that no earlier answer stated is new."""


def _names_of(facts: SettlementFacts | None) -> frozenset[str]:
    return frozenset() if facts is None else facts.names


def _leads_to_a_review(refund: Refund, after: Refund) -> bool:
    """Return whether it matters how often an answer came: enough in a row flag the refund, or put it on hold."""
    inconsistent = refund.inconsistent_answers < min(after.inconsistent_answers, _INCONSISTENT_ANSWERS)
    flagged = any(review.code is ReviewReason.REPEATED_ERROR for review in refund.review)
    return inconsistent or (refund.repeated_errors < after.repeated_errors and not flagged)


def after_repeat(refund: Refund, at: datetime, terms: Terms) -> datetime:
    """Return when to inquire again after an answer that is only counted."""
    return _next_inquiry(refund, terms, at)


# --- when -------------------------------------------------------------------------------------------------------------


def first_inquiry(refund: Refund, terms: Terms) -> datetime:
    """Return the earliest time at which an answer says anything about the newest attempt."""
    if refund.sent_at is None:
        return min(refund.requested_at, refund.updated_at)
    if refund.sent_at > refund.updated_at:
        # The clock was set back since: it was sent before the newest event, and how long before is not known.
        return unanswered_until(refund.updated_at, terms)
    return refund.sent_at + seconds(terms.first_inquiry)


def unanswered_until(sent_at: datetime, terms: Terms) -> datetime:
    """Return when an attempt that is still unanswered can be inquired conclusively.

    Until the timeout, the call may still be running: what the provider does not know yet may reach it later.
    """
    return sent_at + seconds(terms.timeout + terms.first_inquiry)


def _on_schedule(refund: Refund, terms: Terms) -> datetime:
    return refund.updated_at if refund.inquiries == 0 else _next_inquiry(refund, terms, refund.updated_at)


def _next_inquiry(refund: Refund, terms: Terms, at: datetime) -> datetime:
    """Return when to inquire again after an answer at a time: later and later, the older the refund is.

    While the answers are inconsistent, twice the longest wait passes: an operator has to look, but may not be needed.
    """
    waits = terms.inquiry_intervals
    wait = waits[min(refund.inquiries, len(waits)) - 1]
    if refund.inconsistent_answers >= _INCONSISTENT_ANSWERS:
        wait = 2 * max(waits)
    grown = min(_age(refund, at) / seconds(10), terms.max_inquiry_interval)
    return at + seconds(max(wait, grown) * (1 + _spread(refund)))


def _backoff(refund: Refund, terms: Terms) -> datetime:
    wait = min(terms.resend_delay * 2 ** min(max(refund.backoffs - 1, 0), 16), max(_MAX_BACKOFF, terms.resend_delay))
    # After an outage of many hours, a sixtieth of it does not matter; until then, each attempt adds to the log.
    grown = min(_age(refund, refund.updated_at) / seconds(60), _MAX_GROWN_BACKOFF)
    return refund.updated_at + seconds(max(wait, grown) * (1 + _spread(refund)))


def _spread(refund: Refund) -> float:
    """Return 0 to 10 % more, the same every time, so that an outage does not end in a stampede."""
    return int(refund.id[-2:], 16) / 2560


def longest_wait(terms: Terms) -> timedelta:
    """Return a time that is longer than anything is ever planned ahead."""
    waits = (*terms.inquiry_intervals, terms.max_inquiry_interval, terms.not_found_interval, terms.resend_delay)
    return seconds(1.2 * max(*waits, terms.timeout + terms.first_inquiry, _MAX_GROWN_BACKOFF))


def is_due(at: datetime, now: datetime, terms: Terms) -> bool:
    """Return whether a time has come; one too far ahead was planned by a wrong clock, and counts as having come."""
    return not now < at <= now + longest_wait(terms)


def seconds(count: float) -> timedelta:
    """Return a number of seconds as a duration."""
    return timedelta(seconds=count)
