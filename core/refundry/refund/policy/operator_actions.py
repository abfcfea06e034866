"""What operators and the engine itself decide about a refund, as events, and what may be sent at all.

The rule of this module: pure.
"""

import re
from collections.abc import Sequence
from datetime import datetime

from refundry.errors import Invalid
from refundry.provider import NotSent, Outcome, RefundInstruction, ReviewReason, Scope, Terms, outcomes
from refundry.refund import (
    MANUAL_REVIEW,
    Channel,
    Inquired,
    RaisedReview,
    Refund,
    Status,
)
from refundry.refund.policy.steps import ManualReview, _first_inquiry, with_next_step


def resumed(refund: Refund, at: datetime, by: str, why: str, terms: Terms) -> Inquired:
    """Record that a person says: what stood in the way is mended, go on with the same id."""
    event = Inquired(
        at=at,
        channel=Channel.OPERATOR,
        outcome="resumed",
        next_step="done" if refund.final else "inquire",
        resend=refund.resend,
        by=by,
        why=why,
    )
    return event if refund.final else with_next_step(refund, event, terms)


def flagged(
    refund: Refund, reasons: Sequence[RaisedReview], at: datetime, by: str, why: str, evidence: str | None
) -> Inquired | None:
    """Record that a person should look at a refund, with everything that is planned left; None if they should already.

    Comparing books finds such things, and a worker that cannot go on: it never changes where the refund stands.
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
        outcome=outcomes.Informational.kind,
        next_step="done" if refund.final else refund.next_step,
        next_at=refund.next_at,
        code=str(new[0].code),
        cause="; ".join(reason.message for reason in new),
        review=new,
        evidence=evidence,
        by=by,
        why=why,
    )


def confirms_failure(
    refund: Refund, outcome: Outcome | NotSent, identity: str, terms: Terms, asked_at: datetime
) -> bool:
    """Say whether a new id may follow a failed refund, which its provider was asked about as `identity`.

    Only a new id can pay twice, so "not found" is enough only where a named person decided that it failed, and where
    it was asked late enough after the last sending to say anything.
    """
    if refund.status is not Status.FAILED or refund.review or refund.sender not in (None, identity):
        return False
    late_enough = asked_at >= _first_inquiry(refund, terms)
    not_there = isinstance(outcome, outcomes.NotFound) and late_enough
    return isinstance(outcome, outcomes.DefinitiveFailure) or (refund.failed_by is not None and not_there)


def escalated(refund: Refund, step: ManualReview, at: datetime) -> Inquired:
    """Record that a person is called where no answer says so: time has passed, or the terms are others now."""
    return Inquired(
        at=at,
        channel=Channel.OPERATOR,
        outcome="unknown",
        next_step=MANUAL_REVIEW,
        cause=step.message,
        resend=refund.resend,
        review=(RaisedReview(step.reason, step.message),),
        by="refundry",
    )


def refused(refund: Refund, digest: str, sender: str, at: datetime, plugin: str | None = None) -> Inquired | None:
    """Record why an attempt must not leave; None when it may.

    An id and its bytes are for life, and a provider honours an id for the identity that sent it: for another identity
    it is a new one, and could pay twice.
    """
    if refund.digest not in (None, digest):
        code = ReviewReason.DIFFERENT_BYTES
        text = "the stored request body is missing, and this version of the plugin would build a different one"
    elif refund.out and refund.sender != sender:
        code = ReviewReason.DIFFERENT_SENDER
        text = f"an attempt of {refund.sender} may be in flight, so {sender} must not send it again"
    else:
        return None
    return Inquired(
        at=at,
        channel=Channel.OPERATOR,
        outcome="blocked",
        next_step=MANUAL_REVIEW,
        code=str(code),
        cause=text,
        resend=refund.resend,
        scope=str(Scope.REQUEST),
        review=(RaisedReview(code, text),),
        plugin=plugin,
        by="refundry",
    )


def check_limits(instruction: RefundInstruction, terms: Terms) -> None:
    """Raise `Invalid` for an order that is longer than the provider's terms allow, or has other characters."""
    id = instruction.refund_request_id
    if not isinstance(id, str) or re.fullmatch(f"[{terms.id_characters}]+", id, re.ASCII) is None:
        raise Invalid("refund_request_id", f"may only have the characters {terms.id_characters}")
    limits = (
        ("refund_request_id", instruction.refund_request_id, terms.id_length),
        ("payment", instruction.payment.removeprefix("merchant:"), terms.payment_length),
        ("reason", instruction.reason or "", terms.reason_length),
    )
    for field, text, limit in limits:
        if len(text) > limit:
            raise Invalid(field, f"has {len(text)} characters; the provider takes {limit}")


def instruction_for(refund: Refund, sent: bytes | None = None) -> RefundInstruction:
    """Give the provider what it needs to know of a refund."""
    return RefundInstruction(
        refund_request_id=refund.refund_request_id,
        payment=refund.payment,
        amount=refund.amount,
        reason=refund.reason,
        provider_refund_id=refund.provider_refund_id,
        details=refund.request_details,
        sent=sent,
    )
