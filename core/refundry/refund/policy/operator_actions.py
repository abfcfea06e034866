"""What operators decide about a refund, and what the engine decides without an answer, as events.

The rule of this module: pure.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, assert_never

import attrs

from refundry.errors import Invalid
from refundry.inputs import Operator
from refundry.provider import DefinitiveFailure, NotFound, NotSent, Outcome, OutcomeKind, ReviewReason, Terms, Unknown
from refundry.refund import (
    Channel,
    Event,
    Failed,
    Inquired,
    NextStep,
    RaisedReview,
    Refund,
    Requested,
    Settled,
    Status,
    Submitted,
)
from refundry.refund.policy.planning import ManualReview, unanswered_until, with_next_step


@attrs.frozen(slots=True, kw_only=True)
class Decision:
    """What an operator decides about a refund, and how."""

    operator: Operator
    settled: bool
    """True: it was paid. False: it was not, and never will be."""
    offline: bool = False
    """The provider is not asked first."""
    against_evidence: bool = False
    """The decision may contradict what the provider reported."""


def resolved(refund: Refund, history: Sequence[Event], decision: Decision, at: datetime) -> Settled | Failed:
    """Return the event that records an operator's decision: the refund was paid, or never will be.

    Raises `Invalid` if the decision contradicts the provider and does not state so.
    """
    word = _provider_word(history)
    against = word is OutcomeKind.FAILED if decision.settled else word in _PAYS
    if against and not decision.against_evidence:
        text = f"the provider reported that the refund is {_WORDS[word]}; decide so only if its report is wrong"
        raise Invalid("against_evidence", text)
    recorded: dict[str, Any] = {
        "at": at, "channel": Channel.OPERATOR, "by": decision.operator.by, "why": decision.operator.why,
        "offline": decision.offline, "against_evidence": against,
    }  # fmt: skip
    if decision.settled:
        return Settled(amount=refund.amount, **recorded)
    return Failed(
        code="OPERATOR",
        cause="An operator decided that it will not pay.",
        advice="Request a new refund if one is still wanted.",
        **recorded,
    )


_PAYS: Final = frozenset({OutcomeKind.SUCCEEDED, OutcomeKind.PENDING})
_WORDS: Final[Mapping[OutcomeKind | None, str]] = {
    OutcomeKind.SUCCEEDED: "settled",
    OutcomeKind.PENDING: "pending",
    OutcomeKind.FAILED: "failed",
}


def _provider_word(history: Sequence[Event]) -> OutcomeKind | None:
    """Return what the provider reported last of the refund itself, in a verified message; None if it did not."""
    for event in reversed(history):
        match event:
            case Settled() if event.channel is not Channel.OPERATOR:
                return OutcomeKind.SUCCEEDED
            case Failed() if event.channel is not Channel.OPERATOR:
                return OutcomeKind.FAILED
            case Inquired() if event.outcome in _WORDS:
                return event.outcome
            case Requested() | Submitted() | Inquired() | Settled() | Failed():
                continue
            case _:
                assert_never(event)
    return None


def is_answered(outcome: Outcome | NotSent, complete: bool) -> bool:
    """Return whether an inquiry was answered by the provider: completely, and verifiably."""
    unverified = isinstance(outcome, Unknown) and outcome.review is ReviewReason.UNVERIFIED_ANSWER
    return complete and not unverified


def resumed(refund: Refund, at: datetime, operator: Operator, terms: Terms) -> Inquired:
    """Return the event that records an operator's decision to continue, with the same id."""
    event = Inquired(
        at=at,
        channel=Channel.OPERATOR,
        outcome=OutcomeKind.RESUMED,
        next_step=NextStep.DONE if refund.final else NextStep.INQUIRE,
        resend=refund.resend,
        by=operator.by,
        why=operator.why,
    )
    return event if refund.final else with_next_step(refund, event, terms)


def flagged(
    refund: Refund, reasons: Sequence[RaisedReview], at: datetime, operator: Operator, evidence: str | None
) -> Inquired | None:
    """Return the event that flags a refund for review and leaves its plan; None if every reason is open already.

    Reconciliation raises such reasons, and a worker that cannot continue. They never change the status.
    """
    known = {review.code for review in refund.review}
    if refund.final:
        # What keeps a worker from processing a refund does not matter once it has ended.
        known.add(ReviewReason.WORKER_GAVE_UP)
    new = tuple(reason for reason in reasons if reason.code not in known)
    if not new:
        return None
    return Inquired(
        at=at,
        channel=Channel.OPERATOR,
        outcome=OutcomeKind.INFORMATIONAL,
        next_step=refund.next_step,
        next_at=refund.next_at,
        code=str(new[0].code),
        cause="; ".join(reason.message for reason in new),
        review=new,
        evidence=evidence,
        by=operator.by,
        why=operator.why,
    )


def escalated(refund: Refund, step: ManualReview, at: datetime) -> Inquired:
    """Return the event that escalates a refund without an answer: time has passed, or the terms have changed."""
    return Inquired(
        at=at,
        channel=Channel.OPERATOR,
        outcome=OutcomeKind.UNKNOWN,
        next_step=NextStep.MANUAL_REVIEW,
        cause=step.message,
        resend=refund.resend,
        review=(RaisedReview(step.reason, step.message),),
        by="refundry",
    )


def confirms_failure(
    refund: Refund, outcome: Outcome | NotSent, identity: str, terms: Terms, asked_at: datetime
) -> bool:
    """Return whether a new id may replace a failed refund, about which `identity` has just inquired.

    Only a new id can pay twice, so "not found" suffices only if an operator decided that the refund failed, and if the
    inquiry was late enough after the last attempt to be conclusive.
    """
    if refund.status is not Status.FAILED or refund.review or refund.sender not in (None, identity):
        return False
    late_enough = refund.sent_at is None or asked_at >= unanswered_until(refund.sent_at, terms)
    not_there = isinstance(outcome, NotFound) and late_enough
    return isinstance(outcome, DefinitiveFailure) or (refund.failed_by is not None and not_there)
