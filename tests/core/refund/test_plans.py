"""What a fact and an operator's resumption do to the plan of a refund, in each state that it may be in."""

from datetime import timedelta

import attrs
import pytest

from refundry.inputs import Operator
from refundry.provider import (
    Blocked,
    Informational,
    NotSent,
    OutcomeKind,
    Pending,
    Resend,
    ReviewReason,
    Scope,
    Unknown,
)
from refundry.refund import Channel, Inquired, NextStep, Refund, Status, policy
from tests.core.refund.test_late_facts import ANTOM, LATE, failed, received, sent, settled
from tests.core.strategies import new_refund

_LOOK = Unknown("it contradicts itself", resend=Resend.NEVER, review=ReviewReason.CONTRADICTORY_ANSWER)
_BLOCKED = Blocked("INVALID_CONTRACT", "c", "a", Scope.REQUEST)
PLANNED = {
    "requested": new_refund(),
    "submitted": sent(),
    "settled": settled(),
    "failed": failed(),
    "pending": received(sent(), Pending(), Channel.REPLY)[1],
    "unknown": received(sent(), Unknown("?"), Channel.REPLY)[1],
    "never again": received(sent(), _LOOK, Channel.REPLY)[1],
    "not sent": received(sent(), NotSent("refused"), Channel.REPLY)[1],
    "blocked": received(sent(), _BLOCKED, Channel.REPLY)[1],
}


@pytest.mark.parametrize("state", PLANNED)
def test_a_fact_leaves_the_plan_as_it_is(state: str) -> None:
    """A fact changes neither what comes next nor when; after a failure it is flagged with what the provider reports."""
    before = PLANNED[state]
    event, after = received(before, Informational("the bank took it", "DBACK_S", {"bank": "X"}))

    assert isinstance(event, Inquired)
    assert OutcomeKind.INFORMATIONAL is event.outcome
    assert (before.next_step, before.next_at, before.status) == (after.next_step, after.next_at, after.status)
    assert (before.next_step, before.next_at) == (event.next_step, event.next_at)
    raised = {review.code: review.message for review in event.review}
    assert (before.status is Status.FAILED) == (ReviewReason.REPORTED_AFTER_FAILURE in raised)
    assert all("the bank took it" in message for message in raised.values())


def _resumed(refund: Refund) -> NextStep:
    at = LATE + timedelta(hours=1)
    return policy.resumed(refund, at, Operator("ada", "it is fixed"), ANTOM).next_step


def test_a_resumed_refund_is_sent_only_if_nothing_can_be_in_flight() -> None:
    """What was blocked before the provider decided is sent again; what may have arrived, or must not, is inquired."""
    blocked = PLANNED["blocked"]
    assert not blocked.in_flight

    assert NextStep.SUBMIT is _resumed(blocked)
    assert NextStep.INQUIRE is _resumed(attrs.evolve(blocked, resend=Resend.NEVER))
    assert NextStep.INQUIRE is _resumed(attrs.evolve(blocked, in_flight=True))
    assert NextStep.INQUIRE is _resumed(PLANNED["never again"])
