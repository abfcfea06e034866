"""What an event records of an outcome, and where the outcome came from.

The rule of this module: pure. Every field of an outcome that an event has a place for is in the event.
"""

from datetime import datetime
from typing import Any, Final, assert_never

import attrs

from refundry.provider import (
    Blocked,
    DefinitiveFailure,
    Informational,
    NotFound,
    NotSent,
    Outcome,
    Pending,
    ReviewReason,
    Scope,
    Succeeded,
    Unknown,
)
from refundry.refund import Channel, Inquired, NextStep, RaisedReview
from refundry.refund.policy.late_facts import stated_facts


@attrs.frozen(slots=True, kw_only=True)
class Source:
    """Where an outcome came from: what the event records about it."""

    at: datetime
    channel: Channel
    plugin: str | None = None
    sender: str | None = None
    """The identity that inquired, for an inquiry."""
    evidence: str | None = None
    attempt: int | None = None
    """The attempt that was answered, or that was the newest when the inquiry was sent."""
    asked_at: datetime | None = None
    """When the inquiry was begun, if it was one: what the provider did not know then, it may have learned since."""
    fresh: bool = True
    """False for an old notification: it ends nothing. It may cause an inquiry, or forbid a resend."""
    repeats: int = 0
    """How many answers like the newest recorded one were only counted since."""


def record(
    outcome: Outcome | NotSent, source: Source, next_step: NextStep, review: tuple[RaisedReview, ...]
) -> Inquired:
    """Return the event that records an outcome which ends nothing."""
    return Inquired(
        at=source.at,
        channel=source.channel,
        outcome=outcome.kind,
        next_step=next_step,
        review=review,
        evidence=source.evidence,
        sender=source.sender,
        plugin=source.plugin,
        settlement=stated_facts(outcome).or_none(),
        repeats=source.repeats,
        **fields_of(outcome),
    )


def fields_of(outcome: Outcome | NotSent) -> dict[str, Any]:
    """Return the outcome's fields under the names that the event has for them."""
    fields = {name: value for name in _KEPT if (value := getattr(outcome, name, None)) is not None}
    if isinstance(outcome, DefinitiveFailure | Informational) and outcome.details is not None:
        fields["details"] = outcome.details
    return fields


_KEPT: Final = (
    "code",
    "cause",
    "advice",
    "provider_refund_id",
    "resend",
    "scope",
    "payment_alias",
    "provider_message",
)


def raised_by(outcome: Outcome | NotSent) -> tuple[RaisedReview, ...]:
    """Return the reasons that an outcome raises why an operator should look."""
    match outcome:
        case Blocked():
            account = outcome.scope is Scope.ACCOUNT
            reason = ReviewReason.BLOCKED_ACCOUNT if account else ReviewReason.BLOCKED_REQUEST
            return (RaisedReview(reason, message_of(outcome) + _ON_HOLD[outcome.scope]),)
        case Unknown() if outcome.review is not None:
            return (RaisedReview(outcome.review, message_of(outcome) + _ON_HOLD[outcome.scope]),)
        case Succeeded() | Pending() | DefinitiveFailure() | NotFound() | Unknown() | Informational() | NotSent():
            return ()
        case _:
            assert_never(outcome)


_ON_HOLD: Final = {
    Scope.ACCOUNT: " (all refunds of the account are on hold)",
    Scope.REQUEST: " (this refund is on hold)",
    None: "",
}


def message_of(outcome: Blocked | Unknown) -> str:
    """Return what an operator reads: the cause, what to do about it if that is known, and the provider's message."""
    text = outcome.cause
    if outcome.advice:
        cause = outcome.cause if outcome.code is None else f"{outcome.code}: {outcome.cause}"
        text = f"{cause if cause.endswith('.') else f'{cause}.'} {outcome.advice}"
    return text + quoted(outcome)


def quoted(outcome: Outcome | NotSent) -> str:
    """Return the provider's own message in brackets; an empty text without one."""
    message = getattr(outcome, "provider_message", None)
    return "" if message is None else f' (provider: "{message}")'
