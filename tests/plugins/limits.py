"""Everything that checks an instruction before a refund is stored."""

from refundry.provider import Provider, RefundInstruction
from refundry.refund.policy import check_limits


def check(provider: Provider, instruction: RefundInstruction) -> None:
    """Raise `Invalid` if the terms of the provider or its own rules refuse the instruction."""
    check_limits(instruction, provider.terms)
    provider.check(instruction)
