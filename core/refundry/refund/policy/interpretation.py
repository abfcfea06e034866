"""What an outcome means for a refund: (refund, outcome, source, terms) -> the event that records it.

The rule of this module: pure. Nothing becomes final without the provider's word or an operator's.
"""

from datetime import datetime
from typing import Any, Final

import attrs

from refundry.provider import NotSent, Outcome, Resend, ReviewReason, Scope, Terms, outcomes
from refundry.refund import (
    Channel,
    Event,
    Failed,
    Failure,
    Inquired,
    RaisedReview,
    Refund,
    Settled,
    Status,
)
from refundry.refund.policy.steps import TO_PLAN, _first_inquiry, _seconds, with_next_step


@attrs.frozen(slots=True, kw_only=True)
class Source:
    """Where an outcome came from: what the event says about it."""

    at: datetime
    channel: Channel
    plugin: str | None = None
    sender: str | None = None
    """The identity that asked, for an inquiry."""
    evidence: str | None = None
    attempt: int | None = None
    """Which attempt was answered, or was the newest when the inquiry left."""
    fresh: bool = True
    """False for an old notification: it ends nothing. It may make us ask, or forbid a resend."""


def interpret(refund: Refund, outcome: Outcome | NotSent, source: Source, terms: Terms) -> Event | None:
    """Turn what was heard into the event that records it; None when it tells nothing that is not recorded already."""
    event = interpret_outcome(refund, outcome, source, terms)
    return with_next_step(refund, event, terms) if isinstance(event, Inquired) and event.next_step == TO_PLAN else event


def interpret_outcome(refund: Refund, outcome: Outcome | NotSent, source: Source, terms: Terms) -> Event | None:
    """Say what the event will be that records what was heard; where it does not end the refund, without what is next.

    The plan may add `review`, where there is none, and nothing else but `next_step` and `next_at`.
    """
    if isinstance(outcome, outcomes.Informational):
        if source.channel is Channel.NOTIFICATION:
            return _note(refund, outcome, source)
        outcome = outcomes.Unknown(f"the answer says nothing of where it stands: {outcome.cause}", outcome.code)
    if _overtaken(refund, source) and isinstance(outcome, NotSent | outcomes.NotFound):
        return None
    if refund.final:
        return _interpret_after_the_end(refund, outcome, source)
    outcome = _worth(refund, outcome, source)
    if isinstance(outcome, outcomes.NotFound) and _too_early(refund, source, terms):
        return None
    if isinstance(outcome, outcomes.Succeeded):
        return _interpret_success(refund, outcome, source)
    if isinstance(outcome, outcomes.DefinitiveFailure):
        return _interpret_failure(refund, outcome, source)
    if isinstance(outcome, outcomes.NotFound) and _confirms_failure(refund, source, terms):
        assert refund.said_failed is not None
        return _failure(refund.said_failed, source)
    if isinstance(outcome, outcomes.Blocked) and terms.replays_refusals and _blocked_again(refund, outcome, source):
        return _failure(Failure(outcome.code, outcome.cause, _FINAL_AFTER_ALL), source)
    return _inquired(refund, outcome, source)


_FINAL_AFTER_ALL: Final = (
    "The same answer came again after its cause was mended, so it is final for this id. Ask for a new refund if one is "
    "still wanted."
)


def _overtaken(refund: Refund, source: Source) -> bool:
    """Another attempt has left meanwhile: this speaks for the older one only."""
    return source.attempt is not None and source.attempt != refund.attempts


def _first_word(refund: Refund, source: Source) -> bool:
    """It answers the newest attempt, and nothing else was heard since that left."""
    return source.channel is Channel.REPLY and not _overtaken(refund, source) and refund.last == "submitted"


def _worth(refund: Refund, outcome: Outcome | NotSent, source: Source) -> Outcome | NotSent:
    """Give what is left of an outcome here: only the first word about an attempt may send the next one by itself."""
    if isinstance(outcome, NotSent) and not _first_word(refund, source):
        return outcomes.Unknown(outcome.cause)
    if isinstance(outcome, outcomes.NotFound) and source.channel is not Channel.INQUIRY:
        return outcomes.Unknown(outcome.cause or "not known to the provider, who was not asked", outcome.code)
    asked_as_another = source.channel is Channel.INQUIRY and refund.sender not in (None, source.sender)
    if isinstance(outcome, outcomes.DefinitiveFailure) and asked_as_another:
        text = f"{source.sender} was told that it failed, but it was sent by {refund.sender}"
        return outcomes.Unknown(text, outcome.code, resend=Resend.NEVER, review=ReviewReason.FAILURE_BY_OTHER_IDENTITY)
    if isinstance(outcome, outcomes.Blocked) and _overtaken(refund, source):
        return outcomes.Unknown(outcome.cause, outcome.code)
    if isinstance(outcome, outcomes.Unknown) and outcome.resend is Resend.SAME and not _first_word(refund, source):
        return attrs.evolve(outcome, resend=Resend.AFTER_NOT_FOUND)
    return outcome


def _too_early(refund: Refund, source: Source, terms: Terms) -> bool:
    """Asked by hand, or twice at once: "not found" counts only that far from the sending and from the one before."""
    if source.at < _first_inquiry(refund, terms):
        return True
    again = refund.last == "not_found" and source.sender == refund.asked_as
    return again and source.at < refund.updated_at + _seconds(terms.not_found_interval)


def _interpret_success(refund: Refund, outcome: outcomes.Succeeded, source: Source) -> Event | None:
    if outcome.amount != refund.amount:
        text = f"the provider says it refunded {outcome.amount} {outcome.amount.currency}, not what was asked"
        unsure = outcomes.Unknown(text, resend=Resend.NEVER, review=ReviewReason.CONTRADICTORY_ANSWER)
        return _inquired(refund, unsure, source)
    if not source.fresh:
        return _inquired(refund, outcome, source)
    return Settled(
        at=source.at,
        channel=source.channel,
        amount=outcome.amount,
        provider_refund_id=outcome.provider_refund_id,
        settled_at=outcome.settled_at,
        settlement_amount=outcome.settlement_amount,
        quote=outcome.quote,
        details=outcome.details,
        evidence=source.evidence,
        plugin=source.plugin,
    )


def _interpret_failure(refund: Refund, outcome: outcomes.DefinitiveFailure, source: Source) -> Event | None:
    # The reply speaks for its own attempt. Where an earlier one went unanswered, or something else was heard meanwhile,
    # an inquiry must confirm it: whether a provider looks the id up before it refuses is not written down anywhere.
    in_doubt = source.channel is Channel.REPLY and (refund.doubt or not _first_word(refund, source))
    if in_doubt or not source.fresh:
        return _inquired(refund, outcome, source)
    return _failure(Failure(outcome.code, outcome.cause, outcome.advice), source)


def _failure(failure: Failure, source: Source) -> Failed:
    return Failed(
        at=source.at,
        channel=source.channel,
        code=failure.code,
        cause=failure.cause,
        advice=failure.advice,
        evidence=source.evidence,
        plugin=source.plugin,
    )


def _confirms_failure(refund: Refund, source: Source, terms: Terms) -> bool:
    """It was refused for good in doubt, and is now not known often enough: both say that nothing will move.

    Not where a refusal speaks for its own attempt only: the earlier one, refused or not, may still be worked on.
    """
    heard_enough = refund.not_found >= terms.not_found_tries and source.sender == refund.sender
    in_doubt = refund.said_failed is not None and source.channel is Channel.INQUIRY
    return terms.replays_refusals and in_doubt and heard_enough


def _blocked_again(refund: Refund, outcome: outcomes.Blocked, source: Source) -> bool:
    """A person mended it, it was sent once more, and the same answer came: final answers are replayed (Antom)."""
    mended = refund.attempts_before_resume > 0 and refund.attempts > refund.attempts_before_resume
    same = refund.blocked_code == outcome.code
    return _first_word(refund, source) and mended and same and not refund.doubt


def _note(refund: Refund, outcome: outcomes.Informational, source: Source) -> Inquired | None:
    """Record a fact once, with everything that is planned left as it is; after a failure, it calls a person."""
    if any((note.code, note.details) == (outcome.code, outcome.details) for note in refund.notes):
        return None
    return Inquired(
        at=source.at,
        channel=source.channel,
        outcome=outcome.kind,
        next_step="done" if refund.final else refund.next_step,
        next_at=refund.next_at,
        code=outcome.code,
        cause=outcome.cause,
        review=_surprise(refund, outcome),
        evidence=source.evidence,
        plugin=source.plugin,
        details=outcome.details,
    )


def _surprise(refund: Refund, outcome: outcomes.Informational) -> tuple[RaisedReview, ...]:
    """Return why a fact needs an operator: of a refund that will never be paid, there is nothing to report."""
    if refund.status is not Status.FAILED:
        return ()
    text = f"failed in Refundry, and the provider now reports: {outcome.cause}"
    return (RaisedReview(ReviewReason.REPORTED_AFTER_FAILURE, text),)


def _repeats(refund: Refund, outcome: Outcome | NotSent) -> bool:
    """It says what is known already: a notification played again must not fill the log or put off an inquiry."""
    words = _words(outcome)
    same_id = words.get("provider_refund_id", refund.provider_refund_id) == refund.provider_refund_id
    same_rule = refund.resend in (Resend.NEVER, words.get("resend", refund.resend))
    return refund.last == outcome.kind and same_id and same_rule and _is_open(refund, outcome)


def _is_open(refund: Refund, outcome: Outcome | NotSent) -> bool:
    """Return whether every reason that the outcome raises is open already, for the same code of the provider."""
    raised = _review(outcome)
    same_code = getattr(outcome, "code", None) == refund.code
    return not raised or (same_code and {reason.code for reason in raised} <= _codes(refund))


def _codes(refund: Refund) -> set[ReviewReason]:
    return {review.code for review in refund.review}


def _interpret_after_the_end(refund: Refund, outcome: Outcome | NotSent, source: Source) -> Event | None:
    contradiction = _contradiction(refund, outcome, source)
    if contradiction is None or contradiction.code in _codes(refund):
        return None
    return Inquired(
        at=source.at,
        channel=source.channel,
        outcome=outcome.kind,
        next_step="done",
        review=(contradiction,),
        evidence=source.evidence,
        sender=source.sender,
        plugin=source.plugin,
        **_words(outcome),
    )


def _contradiction(refund: Refund, outcome: Outcome | NotSent, source: Source) -> RaisedReview | None:
    if refund.status is Status.FAILED and isinstance(outcome, outcomes.Succeeded):
        text = f"failed in Refundry; the provider now reports that {_shown(outcome)} settled"
        return RaisedReview(ReviewReason.SETTLED_AFTER_FAILURE, text)
    if refund.status is Status.FAILED and isinstance(outcome, outcomes.Pending):
        text = "failed in Refundry; the provider now reports that it is processing it"
        return RaisedReview(ReviewReason.PENDING_AFTER_FAILURE, text)
    if refund.status is Status.SETTLED and isinstance(outcome, outcomes.DefinitiveFailure):
        text = f"settled in Refundry; the provider now reports that it failed: {outcome.code}"
        return RaisedReview(ReviewReason.FAILED_AFTER_SETTLEMENT, text)
    if refund.status is Status.SETTLED and isinstance(outcome, outcomes.Succeeded) and outcome.amount != refund.amount:
        text = f"settled in Refundry; the provider now reports an amount of {_shown(outcome)}"
        return RaisedReview(ReviewReason.AMOUNT_CHANGED_AFTER_SETTLEMENT, text)
    # A reply that was overtaken by the end may speak of trouble with the call; the others speak of the refund itself.
    if isinstance(outcome, outcomes.Unknown) and source.channel is not Channel.REPLY:
        doubtful = outcome.resend is Resend.NEVER and outcome.review is not None
        text = f"{refund.status} in Refundry; the provider now answers: {_message(outcome)}"
        return RaisedReview(ReviewReason.CONTRADICTS_FINAL_STATE, text) if doubtful else None
    return None


def _shown(outcome: outcomes.Succeeded) -> str:
    return f"{outcome.amount} {outcome.amount.currency}"


def _words(outcome: Outcome | NotSent) -> dict[str, Any]:
    """Give what the outcome has to say, as the event names it."""
    names = ("code", "cause", "advice", "provider_refund_id")
    words = {name: value for name in names if (value := getattr(outcome, name, None)) is not None}
    if isinstance(outcome, outcomes.Unknown):
        words["resend"] = outcome.resend
    scope = getattr(outcome, "scope", None)
    if scope is not None:
        words["scope"] = str(scope)
    return words


_WAITS: Final = {Scope.ACCOUNT: " (every refund of the account waits)", Scope.REQUEST: " (this refund waits)", None: ""}


def _review(outcome: Outcome | NotSent) -> tuple[RaisedReview, ...]:
    """Return the reasons that an outcome raises why an operator should look."""
    if isinstance(outcome, outcomes.Blocked):
        account = outcome.scope is Scope.ACCOUNT
        reason = ReviewReason.BLOCKED_ACCOUNT if account else ReviewReason.BLOCKED_REQUEST
        return (RaisedReview(reason, _message(outcome) + _WAITS[outcome.scope]),)
    if isinstance(outcome, outcomes.Unknown) and outcome.review is not None:
        return (RaisedReview(outcome.review, _message(outcome) + _WAITS[outcome.scope]),)
    return ()


def _message(outcome: outcomes.Blocked | outcomes.Unknown) -> str:
    """Return what an operator reads: the cause, and what to do about it if the provider's documents say so."""
    if not outcome.advice:
        return outcome.cause
    cause = outcome.cause if outcome.code is None else f"{outcome.code}: {outcome.cause}"
    return f"{cause if cause.endswith('.') else f'{cause}.'} {outcome.advice}"


def _inquired(refund: Refund, outcome: Outcome | NotSent, source: Source) -> Inquired | None:
    if source.channel is Channel.NOTIFICATION and _repeats(refund, outcome):
        return None
    return Inquired(
        at=source.at,
        channel=source.channel,
        outcome=outcome.kind,
        next_step=TO_PLAN,
        review=_review(outcome),
        evidence=source.evidence,
        sender=source.sender,
        plugin=source.plugin,
        **_words(outcome),
    )


def late_answer(outcome: Outcome | NotSent, source: Source) -> Inquired:
    """Record what a final refund's provider says when somebody asked, although it changes nothing."""
    return Inquired(
        at=source.at,
        channel=source.channel,
        outcome=outcome.kind,
        next_step="done",
        evidence=source.evidence,
        sender=source.sender,
        plugin=source.plugin,
        details=outcome.details if isinstance(outcome, outcomes.Succeeded) else None,
        **_words(outcome),
    )
