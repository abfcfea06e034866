"""What an outcome means for a refund: (refund, outcome, source, terms) -> the event that records it.

The rule of this module: pure. Nothing becomes final without the provider's word or an operator's.
"""

from datetime import datetime, timedelta
from typing import Final, assert_never

import attrs

from refundry.provider import (
    Blocked,
    DefinitiveFailure,
    Informational,
    NotFound,
    NotSent,
    Outcome,
    OutcomeKind,
    Pending,
    Resend,
    ReviewReason,
    Succeeded,
    Terms,
    Unknown,
)
from refundry.refund import (
    Channel,
    Event,
    Failed,
    Failure,
    Inquired,
    Last,
    NextStep,
    RaisedReview,
    Refund,
    Settled,
    Status,
)
from refundry.refund.policy.late_facts import adds_facts, late_facts, stated_facts
from refundry.refund.policy.planning import first_inquiry, seconds, unanswered_until, with_next_step
from refundry.refund.policy.recording import Source, fields_of, message_of, quoted, raised_by, record


def is_fresh(signed_at: datetime | None, received_at: datetime, terms: Terms) -> bool:
    """Return whether a notification is recent enough to end a refund; one without a time is not."""
    freshness = timedelta(seconds=terms.notification_freshness)
    return signed_at is not None and abs(received_at - signed_at) <= freshness


def interpret(refund: Refund, outcome: Outcome | NotSent, source: Source, terms: Terms) -> Event | None:
    """Return the event that records an outcome; None if it adds nothing to what is recorded."""
    event = interpret_outcome(refund, outcome, source, terms)
    if isinstance(event, Inquired) and not refund.final and event.outcome is not OutcomeKind.INFORMATIONAL:
        return with_next_step(refund, event, terms)
    return event


def interpret_outcome(refund: Refund, outcome: Outcome | NotSent, source: Source, terms: Terms) -> Event | None:
    """Return the event that `interpret` returns, before what comes next is planned.

    The plan replaces `next_step` and `next_at`, and may add to `review`.
    """
    if isinstance(outcome, Informational):
        if source.channel is Channel.NOTIFICATION:
            return _note(refund, outcome, source)
        outcome = Unknown(f"the answer does not show the refund's status: {outcome.cause}", outcome.code)
    if refund.final:
        return _interpret_after_the_end(refund, outcome, source)
    if _is_overtaken(refund, source) and isinstance(outcome, NotSent | NotFound):
        return None
    return _interpret_open(refund, _limited(refund, outcome, source), source, terms)


def _interpret_open(refund: Refund, outcome: Outcome | NotSent, source: Source, terms: Terms) -> Event | None:
    match outcome:
        case Succeeded():
            return _interpret_success(refund, outcome, source)
        case DefinitiveFailure():
            return _interpret_failure(refund, outcome, source)
        case NotFound():
            return _interpret_not_found(refund, outcome, source, terms)
        case Blocked():
            if terms.replays_refusals and _is_blocked_again(refund, outcome, source):
                failure = Failure(outcome.code, outcome.cause, _FINAL_AFTER_ALL, outcome.provider_message)
                return _failure(failure, source)
            return _inquired(refund, outcome, source)
        case Unknown():
            return _inquired(refund, _flagged_if_repeated(refund, outcome, source), source)
        case Pending() | Informational() | NotSent():
            return _inquired(refund, outcome, source)
        case _:
            assert_never(outcome)


_REPEATED_ERRORS: Final = 3
"""Having been answered with the same error as often again, another inquiry is unlikely to help."""


def _flagged_if_repeated(refund: Refund, outcome: Unknown, source: Source) -> Unknown:
    """Return an error that inquiries keep being answered with as one that needs review; inquiries continue."""
    inquired = source.channel is Channel.INQUIRY and outcome.code is not None
    again = inquired and refund.last is Last.UNKNOWN and refund.code == outcome.code
    new = outcome.review is None and ReviewReason.REPEATED_ERROR not in _codes(refund)
    flag = again and new and refund.repeated_errors + 1 + source.repeats >= _REPEATED_ERRORS
    return attrs.evolve(outcome, review=ReviewReason.REPEATED_ERROR) if flag else outcome


_FINAL_AFTER_ALL: Final = (
    "The same answer came again after its cause had been fixed, so it is final for this id. Request a new refund if one"
    " is still wanted."
)


# --- how far an outcome reaches ---------------------------------------------------------------------------------------


def _is_overtaken(refund: Refund, source: Source) -> bool:
    """Return whether another attempt was made meanwhile, so that the outcome concerns the older one only."""
    return source.attempt is not None and source.attempt != refund.attempts


def _is_first_answer(refund: Refund, source: Source) -> bool:
    """Return whether it answers the newest attempt, and nothing else was learned since that was sent."""
    return source.channel is Channel.REPLY and not _is_overtaken(refund, source) and refund.last is Last.SUBMITTED


def _limited(refund: Refund, outcome: Outcome | NotSent, source: Source) -> Outcome | NotSent:
    """Return what an outcome proves here: only the first answer to an attempt may cause the next one directly."""
    inquired_as_other = source.channel is Channel.INQUIRY and refund.sender not in (None, source.sender)
    match outcome:
        case Pending() | Succeeded() | Informational():
            return outcome
        case NotSent() if not _is_first_answer(refund, source):
            return Unknown(outcome.cause)
        case NotFound() if source.channel is not Channel.INQUIRY:
            return Unknown(outcome.cause or "not known to the provider, although there was no inquiry", outcome.code)
        case DefinitiveFailure() if inquired_as_other:
            text = f"the provider reported a failure to {source.sender}, but {refund.sender} sent it"
            return Unknown(text, outcome.code, Resend.NEVER, ReviewReason.FAILURE_BY_OTHER_IDENTITY)
        case Blocked() if _is_overtaken(refund, source):
            return Unknown(outcome.cause, outcome.code)
        case Unknown() if outcome.resend is Resend.SAME and not _is_first_answer(refund, source):
            return attrs.evolve(outcome, resend=Resend.AFTER_NOT_FOUND)
        case DefinitiveFailure() | NotFound() | Unknown() | Blocked() | NotSent():
            return outcome
        case _:
            assert_never(outcome)


def _is_too_early(refund: Refund, source: Source, terms: Terms) -> bool:
    """Return whether "not found" came too soon after the attempt, or after the "not found" before it, to count."""
    conclusive = first_inquiry(refund, terms)
    if refund.last in (Last.SUBMITTED, Last.REQUESTED) and refund.sent_at is not None:
        conclusive = unanswered_until(refund.sent_at, terms)
    asked_at = source.asked_at or source.at
    if asked_at < conclusive:
        return True
    again = refund.last is Last.NOT_FOUND and source.sender == refund.inquired_as
    return again and asked_at < refund.updated_at + seconds(terms.not_found_interval)


# --- an open refund ---------------------------------------------------------------------------------------------------


def _interpret_success(refund: Refund, outcome: Succeeded, source: Source) -> Event | None:
    if outcome.amount != refund.amount:
        text = f"the provider reports a refund of {_shown(outcome)}, which is not the amount that was requested"
        return _inquired(refund, Unknown(text, None, Resend.NEVER, ReviewReason.CONTRADICTORY_ANSWER), source)
    if not source.fresh:
        return _inquired(refund, outcome, source)
    facts = stated_facts(outcome)
    return Settled(
        at=source.at,
        channel=source.channel,
        amount=outcome.amount,
        provider_refund_id=outcome.provider_refund_id,
        settled_at=facts.settled_at,
        settlement_amount=facts.settlement_amount,
        quote=facts.quote,
        details=facts.details,
        evidence=source.evidence,
        plugin=source.plugin,
        payment_alias=outcome.payment_alias,
    )


def _interpret_failure(refund: Refund, outcome: DefinitiveFailure, source: Source) -> Event | None:
    # A reply concerns its own attempt. If an earlier one is unresolved, or something else was learned meanwhile, an
    # inquiry must confirm it: no provider documents whether it looks the id up before it refuses.
    unresolved = refund.unresolved_attempt or not _is_first_answer(refund, source)
    if (source.channel is Channel.REPLY and unresolved) or not source.fresh:
        return _inquired(refund, outcome, source)
    failure = Failure(outcome.code, outcome.cause, outcome.advice, outcome.provider_message, outcome.details)
    return _failure(failure, source, outcome.provider_refund_id)


def _interpret_not_found(refund: Refund, outcome: NotFound, source: Source, terms: Terms) -> Event | None:
    if refund.updated_at > source.at + seconds(terms.timeout):
        # The clock was set back, and how long ago it was sent cannot be known. With this event a time begins that can.
        text = (
            "not found; the clock was set back since the newest event, so that it is not known how long ago it was sent"
        )
        return _inquired(refund, Unknown(text, outcome.code), source)
    if _is_too_early(refund, source, terms):
        return _too_early(refund, outcome, source) if source.channel is Channel.INQUIRY else None
    # The refusal and enough "not found" both mean that no money will move. That does not hold if a provider may answer
    # each attempt differently: an earlier one, refused or not, may still be in progress.
    enough = refund.not_found >= terms.not_found_tries and source.sender == refund.sender
    confirms = terms.replays_refusals and source.channel is Channel.INQUIRY and enough
    if refund.unconfirmed_failure is not None and confirms:
        return _failure(refund.unconfirmed_failure, source)
    return _inquired(refund, outcome, source)


def _too_early(refund: Refund, outcome: NotFound, source: Source) -> Inquired:
    """Record a "not found" that does not count, and leave the plan as it is."""
    early = Informational("The provider does not know the refund; it was asked too early for that to count.", EARLY)
    event = record(attrs.evolve(early, code=outcome.code or EARLY), source, refund.next_step, ())
    return attrs.evolve(event, next_at=refund.next_at, provider_message=outcome.provider_message)


EARLY: Final = "TOO_EARLY"
"""The code of a "not found" without a code of the provider that came too early to count."""


def _is_blocked_again(refund: Refund, outcome: Blocked, source: Source) -> bool:
    """Return whether the same answer came again after an operator fixed its cause: such answers are replayed."""
    fixed = refund.attempts_before_resume > 0 and refund.attempts > refund.attempts_before_resume
    same = refund.blocked_code == outcome.code
    return _is_first_answer(refund, source) and fixed and same and not refund.unresolved_attempt


def _failure(failure: Failure, source: Source, provider_refund_id: str | None = None) -> Failed:
    return Failed(
        at=source.at,
        channel=source.channel,
        code=failure.code,
        cause=failure.cause,
        advice=failure.advice,
        evidence=source.evidence,
        plugin=source.plugin,
        provider_refund_id=provider_refund_id,
        provider_message=failure.provider_message,
        details=failure.details,
    )


def _inquired(refund: Refund, outcome: Outcome | NotSent, source: Source) -> Inquired | None:
    if source.channel is Channel.NOTIFICATION and _repeats(refund, outcome):
        return None
    return record(outcome, source, NextStep.INQUIRE, raised_by(outcome))


def _repeats(refund: Refund, outcome: Outcome | NotSent) -> bool:
    """Return whether nothing in it is new: a notification played again must not fill the log or delay an inquiry."""
    fields = fields_of(outcome)
    same_id = fields.get("provider_refund_id", refund.provider_refund_id) == refund.provider_refund_id
    same_rule = refund.resend in (Resend.NEVER, fields.get("resend", refund.resend))
    same_hold = fields.get("scope", refund.blocked) == refund.blocked
    raised = {reason.code for reason in raised_by(outcome)}
    open_already = raised <= _codes(refund) and fields.get("code") == refund.code
    same = refund.last.value == outcome.kind.value and same_id and same_rule and same_hold
    return same and (not raised or open_already) and not adds_facts(refund, outcome)


# --- a final refund ---------------------------------------------------------------------------------------------------


def _interpret_after_the_end(refund: Refund, outcome: Outcome | NotSent, source: Source) -> Event | None:
    """Return what is recorded about a final refund: a contradiction, once, new facts, and what inquiries answer."""
    contradiction = _contradiction(refund, outcome, source)
    if contradiction is not None and contradiction.code not in _codes(refund):
        return record(outcome, source, NextStep.DONE, (contradiction,))
    if source.channel is Channel.INQUIRY:
        return record(outcome, source, NextStep.DONE, ())
    if contradiction is None and adds_facts(refund, outcome):
        return late_facts(record(outcome, source, NextStep.DONE, ()))
    return None


def _contradiction(refund: Refund, outcome: Outcome | NotSent, source: Source) -> RaisedReview | None:
    # A reply that was overtaken by the end may report trouble with the call; others concern the refund itself.
    if isinstance(outcome, Unknown) and source.channel is not Channel.REPLY:
        text = f"{refund.status} in Refundry; the provider now answers: {message_of(outcome)}"
        unresolved = outcome.resend is Resend.NEVER and outcome.review is not None
        return RaisedReview(ReviewReason.CONTRADICTS_FINAL_STATE, text) if unresolved else None
    match refund.status:
        case Status.FAILED:
            return _contradiction_of_failure(outcome)
        case Status.SETTLED:
            return _contradiction_of_settlement(refund, outcome)
        case Status.REQUESTED | Status.SUBMITTED | Status.PENDING | Status.UNKNOWN:
            raise AssertionError(f"a refund that is {refund.status} is not final")
        case _:
            assert_never(refund.status)


def _contradiction_of_failure(outcome: Outcome | NotSent) -> RaisedReview | None:
    match outcome:
        case Succeeded():
            text = f"failed in Refundry; the provider now reports that {_shown(outcome)} settled"
            return RaisedReview(ReviewReason.SETTLED_AFTER_FAILURE, text)
        case Pending():
            text = "failed in Refundry; the provider now reports that it is processing it"
            return RaisedReview(ReviewReason.PENDING_AFTER_FAILURE, text)
        case DefinitiveFailure() | NotFound() | Unknown() | Blocked() | Informational() | NotSent():
            return None
        case _:
            assert_never(outcome)


def _contradiction_of_settlement(refund: Refund, outcome: Outcome | NotSent) -> RaisedReview | None:
    match outcome:
        case DefinitiveFailure():
            text = f"settled in Refundry; the provider now reports that it failed: {outcome.code}{quoted(outcome)}"
            return RaisedReview(ReviewReason.FAILED_AFTER_SETTLEMENT, text)
        case Succeeded() if outcome.amount != refund.amount:
            text = f"settled in Refundry; the provider now reports an amount of {_shown(outcome)}"
            return RaisedReview(ReviewReason.AMOUNT_CHANGED_AFTER_SETTLEMENT, text)
        case Succeeded() | Pending() | NotFound() | Unknown() | Blocked() | Informational() | NotSent():
            return None
        case _:
            assert_never(outcome)


def _note(refund: Refund, outcome: Informational, source: Source) -> Inquired | None:
    """Record a fact once and leave the plan as it is; after a failure it is flagged for review."""
    if any((note.code, note.details) == (outcome.code, outcome.details) for note in refund.notes):
        return None
    review: tuple[RaisedReview, ...] = ()
    if refund.status is Status.FAILED:
        text = f"failed in Refundry, and the provider now reports: {outcome.cause}"
        review = (RaisedReview(ReviewReason.REPORTED_AFTER_FAILURE, text),)
    return attrs.evolve(record(outcome, source, refund.next_step, review), next_at=refund.next_at)


def _shown(outcome: Succeeded) -> str:
    return f"{outcome.amount} {outcome.amount.currency}"


def _codes(refund: Refund) -> set[ReviewReason]:
    return {review.code for review in refund.review}
