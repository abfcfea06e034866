"""Comparison of an answer with the refund that was requested, for providers that repeat ids and amounts in answers.

The rule of this module: what an answer names must match the instruction. What it does not name is not judged here; the
plugin decides what an answer must name.
"""

from typing import Protocol

from refundry.provider.codes import contradiction
from refundry.provider.interface import RefundInstruction
from refundry.provider.outcomes import ReviewReason, Unknown
from refundry.provider.validation import shown


class NamedAmount(Protocol):
    """An amount in minor units, as an answer names it."""

    @property
    def value(self) -> str:
        """Return the minor units as they were written."""

    @property
    def currency(self) -> str | None:
        """Return the currency, or `None` for the one that was requested."""


def mismatch(
    instruction: RefundInstruction,
    *,
    refund_request_id: str | None,
    payment: str | None,
    provider_refund_id: str | None,
    amount: NamedAmount | None,
) -> Unknown | None:
    """Return what is wrong with an answer that does not match the instruction, or `None`.

    An answer about another refund adds no information about ours. Another amount, payment or provider's id under our
    own id means that money may have moved that was not requested.
    """
    if refund_request_id not in (None, instruction.refund_request_id):
        return other_refund(refund_request_id)
    if payment not in (None, instruction.payment):
        return inconsistent(f"the payment {shown(payment)}, not about {instruction.payment}")
    if instruction.provider_refund_id is not None and provider_refund_id not in (None, instruction.provider_refund_id):
        text = f"the provider's refund {shown(provider_refund_id)}, not about {instruction.provider_refund_id}"
        return inconsistent(text)
    if amount is None:
        return None
    requested = (str(instruction.amount.minor), instruction.amount.currency)
    if (amount.value, amount.currency or requested[1]) == requested:
        return None
    named = f"{shown(amount.value)} {shown(amount.currency)}"
    return inconsistent(f"{named} in minor units, not about {' '.join(requested)}")


def other_refund(refund_request_id: str | None) -> Unknown:
    """Return the outcome of a message about another refund: it changes nothing, and needs review."""
    text = f"the provider answered about the refund {shown(refund_request_id)}, not about this one"
    return Unknown(text, review=ReviewReason.CONTRADICTORY_ANSWER)


def inconsistent(what: str) -> Unknown:
    """Return the outcome of a message about our id whose content differs from what was requested."""
    return contradiction(f"the provider answered about {what}")
