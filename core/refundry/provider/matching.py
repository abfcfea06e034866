"""Comparing what an answer is about with what was asked: for plugins whose provider echoes ids and amounts as texts.

The rule of this module: what an answer names must be the order's; what it does not name is not judged here, and is for
the plugin to miss.
"""

from refundry.provider import RefundInstruction, Resend, ReviewReason, Unknown
from refundry.provider.validation import shown


def wrong_echo(
    instruction: RefundInstruction,
    *,
    refund_request_id: str | None,
    payment: str | None,
    refund_id: str | None,
    amount: tuple[str, str | None] | None,
) -> Unknown | None:
    """Say what is wrong when an answer is about something else than the order; `amount` is minor units and a currency.

    An answer about another id says nothing of ours. Another amount, payment or provider's id under our own id means
    that something may have moved that nobody asked for: it is never sent again, and a person looks.
    """
    if refund_request_id not in (None, instruction.refund_request_id):
        text = f"the provider answered about the refund {shown(refund_request_id)}, not about this one"
        return Unknown(text, review=ReviewReason.CONTRADICTORY_ANSWER)
    if payment not in (None, instruction.payment):
        return _elsewhere(f"the payment {shown(payment)}, not about {instruction.payment}")
    if instruction.provider_refund_id is not None and refund_id not in (None, instruction.provider_refund_id):
        return _elsewhere(f"the provider's refund {shown(refund_id)}, not about {instruction.provider_refund_id}")
    if amount is None:
        return None
    asked = (str(instruction.amount.minor), instruction.amount.currency)
    if (amount[0], amount[1] or asked[1]) != asked:
        said = f"{shown(amount[0])} {shown(amount[1])}"
        return _elsewhere(f"{said} in minor units, not about {' '.join(asked)}")
    return None


def _elsewhere(what: str) -> Unknown:
    text = f"the provider answered about {what}"
    return Unknown(text, resend=Resend.NEVER, review=ReviewReason.CONTRADICTORY_ANSWER)
