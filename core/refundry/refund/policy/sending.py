"""What may be sent to a provider: the instruction, its limits, and when an attempt must not leave.

The rule of this module: pure. One refund is one id with one body, permanently.
"""

import re
from datetime import datetime

from refundry.errors import Invalid
from refundry.provider import OutcomeKind, RefundInstruction, ReviewReason, Scope, Terms, validation
from refundry.refund import Channel, Inquired, NextStep, RaisedReview, Refund, Submitted
from refundry.refund.policy.planning import unanswered_until


def instruction_for(refund: Refund, sent: bytes | None = None) -> RefundInstruction:
    """Return what the provider is asked to refund; `sent` are the bytes of the first attempt, if there was one."""
    return RefundInstruction(
        refund_request_id=refund.refund_request_id,
        payment=refund.payment,
        amount=refund.amount,
        reason=refund.reason,
        provider_refund_id=refund.provider_refund_id,
        details=refund.request_details,
        sent=sent,
    )


def check_limits(instruction: RefundInstruction, terms: Terms) -> None:
    """Raise `Invalid` if a text is empty, longer than the provider's terms allow or contains other characters.

    This is the only check of a refund's id, and of how long a text may be: a plugin repeats none of it.
    """
    payment = instruction.payment.removeprefix(validation.MERCHANT)
    if not payment:
        raise Invalid("payment", "must not be empty")
    if re.fullmatch(f"[{terms.id_characters}]+", instruction.refund_request_id, re.ASCII) is None:
        raise Invalid("refund_request_id", f"may contain only the characters {terms.id_characters}")
    limits = (
        ("refund_request_id", instruction.refund_request_id, terms.id_length),
        ("payment", payment, terms.payment_length),
        ("reason", instruction.reason or "", terms.reason_length),
    )
    for field, text, limit in limits:
        if len(text) > limit:
            raise Invalid(field, f"has {len(text)} characters; the provider accepts {limit}")


def attempt(
    refund: Refund, digest: str, at: datetime, sender: str, plugin: str, key_version: str | None, terms: Terms
) -> Submitted:
    """Return the event that records the next attempt, before its first byte is sent."""
    return Submitted(
        at=at,
        attempt=refund.attempts + 1,
        digest=digest,
        sender=sender,
        plugin=plugin,
        key_version=key_version,
        next_at=unanswered_until(at, terms),
    )


def refusal_to_send(
    refund: Refund, digest: str, sender: str, at: datetime, plugin: str | None = None
) -> Inquired | None:
    """Return the event that records why an attempt must not be sent; None if it may.

    An id and its bytes are permanent, and a provider recognizes an id only from the identity that sent it: from another
    identity it would be a new one, and could pay twice.
    """
    if refund.digest not in (None, digest):
        code = ReviewReason.DIFFERENT_BYTES
        text = "the stored request body is missing, and this version of the plugin would build a different one"
    elif refund.in_flight and refund.sender != sender:
        code = ReviewReason.DIFFERENT_SENDER
        text = f"an attempt of {refund.sender} may be in flight, so {sender} must not send it again"
    else:
        return None
    return _refused(refund, code, text, at, plugin)


def other_provider(refund: Refund, provider: str) -> str | None:
    """Return what is wrong if a refund was requested from another provider than this one; None if nothing is.

    The other provider does not know its id, or knows another refund by it.
    """
    if refund.provider == provider:
        return None
    return f"it was requested from {refund.provider}, and the account {refund.account!r} is now one at {provider}"


def refusal_of_provider(refund: Refund, wrong: str, at: datetime) -> Inquired:
    """Return the event that records that a refund waits, because of what `other_provider` found wrong."""
    return _refused(refund, ReviewReason.DIFFERENT_PROVIDER, wrong, at, None)


def _refused(refund: Refund, code: ReviewReason, text: str, at: datetime, plugin: str | None) -> Inquired:
    return Inquired(
        at=at,
        channel=Channel.OPERATOR,
        outcome=OutcomeKind.BLOCKED,
        next_step=NextStep.MANUAL_REVIEW,
        code=str(code),
        cause=text,
        resend=refund.resend,
        scope=Scope.REQUEST,
        review=(RaisedReview(code, text),),
        plugin=plugin,
        by="refundry",
    )
