"""What is recorded about a refund that is final: the contradictions by code, with what the provider reports."""

from typing import Any

import attrs
import pytest

from refundry.money import Money
from refundry.provider import DefinitiveFailure, Outcome, Pending, Resend, ReviewReason, Succeeded, Unknown
from refundry.refund import Channel, Inquired, NextStep, Refund
from tests.core.refund.test_late_facts import failed, received, settled
from tests.core.strategies import EUROS

MORE = Money(EUROS.minor + 1, EUROS.currency, EUROS.exponent)
_SIGNED = Unknown("it contradicts itself", resend=Resend.NEVER, review=ReviewReason.CONTRADICTORY_ANSWER)
CONTRADICTIONS: dict[str, tuple[Refund, Outcome, ReviewReason, str]] = {
    "success": (failed(), Succeeded(EUROS), ReviewReason.SETTLED_AFTER_FAILURE, str(EUROS)),
    "pending": (failed(), Pending(), ReviewReason.PENDING_AFTER_FAILURE, "processing"),
    "failure": (settled(), DefinitiveFailure("NO", "c", "a"), ReviewReason.FAILED_AFTER_SETTLEMENT, "NO"),
    "another amount": (settled(), Succeeded(MORE), ReviewReason.AMOUNT_CHANGED_AFTER_SETTLEMENT, str(MORE)),
    "signed nonsense": (settled(), _SIGNED, ReviewReason.CONTRADICTS_FINAL_STATE, "contradicts itself"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
@pytest.mark.parametrize("channel", [Channel.INQUIRY, Channel.NOTIFICATION])
def test_a_contradiction_is_flagged_once_by_its_code(name: str, channel: Channel) -> None:
    """It changes no state, plans nothing, and is flagged with its own code and what the provider reports, once."""
    refund, outcome, code, words = CONTRADICTIONS[name]
    event, after = received(refund, outcome, channel)

    assert isinstance(event, Inquired)
    assert [code] == [review.code for review in event.review]
    assert words in event.review[0].message
    assert (NextStep.DONE, None) == (event.next_step, event.next_at)
    assert (refund.status, NextStep.DONE) == (after.status, after.next_step)
    again, same = received(after, outcome, channel)
    assert [code] == [review.code for review in same.review]
    assert again is None or not getattr(again, "review", ())


@pytest.mark.parametrize("part", [{"resend": Resend.AFTER_NOT_FOUND}, {"review": None}])
def test_an_answer_that_proves_nothing_contradicts_nothing(part: dict[str, Any]) -> None:
    """Only an answer that both needs review and forbids sending again contradicts the end."""
    event, _ = received(settled(), attrs.evolve(_SIGNED, **part), Channel.INQUIRY)

    assert isinstance(event, Inquired)
    assert () == event.review
    assert NextStep.DONE is event.next_step
