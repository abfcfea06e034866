"""Every decision about money: what an answer proves, and what to do next.

Theory of operation
-------------------

*What is known.* Refundry never knows what happened at a provider; it knows what it sent and what it received. The state
of a refund (`refundry.refund.Refund`) is the sum of both, and nothing else. Everything here is a function of that
state, of the provider's terms and of the time that is passed in: no clock, no store, no network. Two processes that
have read the same log therefore decide the same.

*Why inquiries.* An attempt can reach the provider although no answer ever reaches Refundry. From the moment an attempt
is recorded, which is before its first byte is sent, the refund is `in_flight`. Only an answer that proves that the
attempt did nothing (it was not sent, or the provider blocked it before deciding) takes that back, and only for its own
attempt: if an earlier one was never answered (`unresolved_attempt`), the refund stays in flight. A timeout is not an
answer. So after every attempt the next step is an inquiry, and an inquiry is always safe, as it moves no money. A
refund that may have been sent before it was recorded, by a store that was lost, is in flight without an attempt: the
first step is an inquiry, and the rules for a resend apply to its first attempt.

*What an answer proves.* It depends on how it came:

- A reply concerns its own attempt. It decides only if nothing else was learned since that attempt. A failure in a reply
  is a definitive failure only if no earlier attempt is unresolved; otherwise it is an unconfirmed failure, and an
  inquiry must confirm it.
- An answer to an inquiry concerns the refund request id, as seen by the identity that inquired. "Not found" and
  "failed" count only for the identity that sent, because providers scope ids to it.
- A notification concerns the refund, too, but anybody may replay an old one. An old notification ends nothing; it may
  cause an inquiry or forbid a resend (`is_fresh`).
- A success must match the amount and the currency to the last digit. Another amount is never settled, and is never sent
  again.

An outcome may prove less than it claims (`_limited` in `interpretation`), and never more.

*When it may be sent again.* The same id and the same bytes, always (`refusal_to_send`). A resend needs permission from
both sides: the provider's terms must allow it (`Terms.resend_after`), and the answers must lead there. Either the
provider asked for the same call again, as the first answer to the newest attempt; or it answered "not found" as often,
and as far apart, as its terms require; or the attempt was certainly not sent. An answer that forbids a resend forbids
it permanently: a refund that was once pending, or that once failed, or whose answers contradict the request, is never
sent again. There is a limit to the attempts, and none is made when the provider may have forgotten the id.

*What is final.* Settled and failed. Only the provider's own report ends a refund, or a named operator. After the end
nothing moves it but a named operator; an answer that contradicts the end is recorded and flagged for review, once.
Every inquiry about a final refund is recorded, as an operator asked for it.

*Who may decide.* The provider, by a verified message. An operator, by name and with a reason, on top of the state that
they saw; a decision against what the provider reported must state so, and stays flagged until it is reviewed
(`resolved`). Never the clock: waiting too long escalates a refund to an operator and decides nothing. Never a plugin:
it states what a message means, and the core decides what that proves.

*What a review means.* A `Review` is a reason why an operator should look. Most reasons leave the plan as it is, and
inquiries continue; a final answer closes them. A refund whose next step is a manual review is on hold: nothing happens
until an operator resumes or resolves it. There is no third case: an open refund has a next step with a time, or it is
on hold for a reason that is recorded.

The parts
---------

- `planning`: state -> what comes next, and when.
- `interpretation`: state and outcome -> the event that records it.
- `recording`: outcome -> what its event records.
- `late_facts`: what a message adds besides a status, also after the end.
- `operator_actions`: state and an operator's decision -> the event that records it.
- `sending`: what is sent, and when it must not be.
"""

from refundry.refund.policy.interpretation import interpret, interpret_outcome, is_fresh
from refundry.refund.policy.operator_actions import (
    Decision,
    confirms_failure,
    escalated,
    flagged,
    is_answered,
    resolved,
    resumed,
)
from refundry.refund.policy.planning import (
    Done,
    Inquire,
    ManualReview,
    Step,
    Submit,
    after_repeat,
    is_due,
    is_repeat,
    longest_wait,
    next_step,
    unanswered_until,
    with_next_step,
)
from refundry.refund.policy.recording import Source
from refundry.refund.policy.sending import (
    attempt,
    check_limits,
    instruction_for,
    other_provider,
    refusal_of_provider,
    refusal_to_send,
)

__all__ = [
    "after_repeat",
    "attempt",
    "check_limits",
    "confirms_failure",
    "Decision",
    "Done",
    "escalated",
    "flagged",
    "Inquire",
    "instruction_for",
    "interpret",
    "interpret_outcome",
    "is_answered",
    "is_due",
    "is_fresh",
    "is_repeat",
    "longest_wait",
    "ManualReview",
    "next_step",
    "other_provider",
    "refusal_of_provider",
    "refusal_to_send",
    "resolved",
    "resumed",
    "Source",
    "Step",
    "Submit",
    "unanswered_until",
    "with_next_step",
]
