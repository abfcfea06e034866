"""What to do next, and what an answer is worth: (refund, the provider's terms, now) -> the next step.

The rule of this module: pure, and every decision about money is here. One id for life; a resend only where the terms
and every earlier answer allow it; nothing final without the provider's word or a person's; nothing decided by the
clock; and always a next step or a person.
"""

from refundry.refund.policy.interpretation import Source, interpret, interpret_outcome, late_answer
from refundry.refund.policy.operator_actions import (
    check_limits,
    confirms_failure,
    escalated,
    flagged,
    instruction_for,
    refused,
    resumed,
)
from refundry.refund.policy.steps import TO_PLAN, Done, Inquire, ManualReview, Step, Submit, next_step, with_next_step

__all__ = [
    "check_limits",
    "confirms_failure",
    "Done",
    "escalated",
    "Inquire",
    "interpret",
    "next_step",
    "late_answer",
    "instruction_for",
    "ManualReview",
    "flagged",
    "refused",
    "resumed",
    "Source",
    "Step",
    "Submit",
    "TO_PLAN",
    "interpret_outcome",
    "with_next_step",
]
