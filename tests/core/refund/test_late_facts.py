"""What a provider states besides the status: recorded once, with its evidence, and shown with its newest value."""

from datetime import timedelta
from typing import Any, Final

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refundry.money import Money
from refundry.provider import DefinitiveFailure, NotFound, OutcomeKind, Pending, Quote, ReviewReason, Succeeded, Unknown
from refundry.refund import Channel, Event, Failed, Inquired, Refund, Settled, Submitted, apply, policy
from refundry.refund.policy import interpret
from tests.core.strategies import EUROS, NOON, OWN, TERMS, new_refund, source

ANTOM: Final = TERMS["defaults of Antom"]
LATE: Final = NOON + timedelta(hours=1)
TIME: Final = "2026-11-22T20:00:00+08:00"
YEN: Final = Money(1500, "JPY", 0)
QUOTE: Final = Quote("EUR/JPY", "160.1")
FACTS: Final[dict[str, Any]] = {
    "settled_at": TIME, "settlement_amount": YEN, "quote": QUOTE, "details": {"arn": "77", "dback_status": "P"},
}  # fmt: skip


def sent() -> Refund:
    """Return a refund with an attempt that may have reached the provider."""
    attempt = Submitted(at=NOON, attempt=1, digest="d1", sender=OWN, plugin="antom 0.1.0", next_at=LATE)
    return apply(new_refund(), attempt)


def settled() -> Refund:
    """Return a refund whose settling reply stated nothing but that it is done."""
    return apply(sent(), Settled(at=NOON, channel=Channel.REPLY, amount=EUROS))


def failed(**changes: Any) -> Refund:
    """Return a refund that failed."""
    event = Failed(at=NOON, channel=Channel.REPLY, code="RISK_REJECT", cause="refused", advice="ask an operator")
    return apply(sent(), attrs.evolve(event, **changes))


def received(
    refund: Refund, outcome: Any, channel: Channel = Channel.NOTIFICATION, *, fresh: bool = True
) -> tuple[Event | None, Refund]:
    """Return the event that records a message, and the refund after it."""
    origin = attrs.evolve(source(LATE, channel, refund.attempts, fresh=fresh), evidence="ab" * 32)
    event = interpret(refund, outcome, origin, ANTOM)
    return event, refund if event is None else apply(refund, event)


@pytest.mark.parametrize("channel", [Channel.NOTIFICATION, Channel.REPLY])
@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("name", FACTS)
def test_each_fact_that_arrives_after_the_settlement_is_recorded_and_shown(
    name: str, fresh: bool, channel: Channel
) -> None:
    """A message that alone states one fact is an informational event with evidence, and the refund shows the fact."""
    event, after = received(settled(), Succeeded(EUROS, **{name: FACTS[name]}), channel, fresh=fresh)

    assert isinstance(event, Inquired)
    assert (OutcomeKind.INFORMATIONAL, "ab" * 32) == (event.outcome, event.evidence)
    assert FACTS[name] == getattr(after, name)
    assert ("settled", (), NOON) == (after.status, after.review, after.updated_at)


def test_an_inquiry_after_the_settlement_adds_its_facts() -> None:
    """The answer to an inquiry is recorded as ever, and what it states is shown."""
    event, after = received(settled(), Succeeded(EUROS, "PR1", **FACTS), Channel.INQUIRY)

    assert isinstance(event, Inquired)
    assert OutcomeKind.SUCCEEDED is event.outcome
    assert FACTS == {name: getattr(after, name) for name in FACTS}
    assert "PR1" == after.provider_refund_id


def test_a_repeated_message_is_not_recorded_again() -> None:
    """What was stated before is not new, also when something newer replaced it: a replay changes nothing."""
    pending, returned = {"dback_status": "P"}, {"dback_status": "F"}
    refund = settled()
    for details in (pending, returned):
        event, refund = received(refund, Succeeded(EUROS, settled_at=TIME, details=details))
        assert event is not None
    for details in (pending, returned):
        event, refund = received(refund, Succeeded(EUROS, settled_at=TIME, details=details))
        assert event is None

    assert returned == refund.details


@given(messages=st.lists(st.sampled_from([{"a": 1}, {"a": 2}, {"b": 1}, {"a": 1, "b": 2}]), max_size=8))
def test_the_newest_value_of_each_detail_is_shown(messages: list[dict[str, int]]) -> None:
    """Of every field the value that was new last is shown, and no more events are recorded than values were new."""
    refund, expected, seen = settled(), dict[str, int](), set[tuple[str, int]]()
    for details in messages:
        event, refund = received(refund, Succeeded(EUROS, details=details))
        assert (event is not None) == (not set(details.items()) <= seen)
        expected |= details if event is not None else {}
        seen |= set(details.items())

    assert expected == (refund.details or {})


def test_facts_of_a_message_that_could_not_settle_are_kept_for_the_settlement() -> None:
    """An old notification ends nothing, and what it alone stated is shown once the refund has settled."""
    event, refund = received(sent(), Succeeded(EUROS, **FACTS), fresh=False)
    assert isinstance(event, Inquired)
    assert (None, None) == (refund.settled_at, refund.details)
    event, refund = received(refund, Succeeded(EUROS, details={"arn": "78"}), Channel.INQUIRY)

    assert isinstance(event, Settled)
    assert (TIME, YEN, QUOTE) == (refund.settled_at, refund.settlement_amount, refund.quote)
    assert {"arn": "78", "dback_status": "P"} == refund.details


def test_facts_of_a_pending_answer_are_kept_for_the_settlement() -> None:
    """What a provider states when it accepts a refund is shown once the refund has settled."""
    _, refund = received(sent(), Pending("S", "accepted", details={"description": "too small"}), Channel.REPLY)
    _, refund = received(refund, Succeeded(EUROS), Channel.INQUIRY)

    assert {"description": "too small"} == refund.details


@pytest.mark.parametrize(
    "text", ["yesterday", "2026-11-22 20:00:00", "2026-02-30T20:00:00Z", "2026-11-22T20:00:00", "9" * 999]
)
def test_a_time_that_is_not_iso_8601_is_a_detail(text: str) -> None:
    """`settled_at` holds a time with its offset or nothing; what the provider wrote instead is among the details."""
    event, _ = received(sent(), Succeeded(EUROS, settled_at=text, details={"arn": "77"}), Channel.REPLY)

    assert isinstance(event, Settled)
    assert (None, {"arn": "77", "settled_at": text}) == (event.settled_at, event.details)


FAILURE: Final = DefinitiveFailure(
    "RISK_REJECT", "refused", "ask an operator", "PR9", "Risk control says no.", {"refundTime": TIME}
)


def test_a_failure_carries_everything_that_the_provider_reported() -> None:
    """Id, message and further fields are in `Failed` and in the refund."""
    event, refund = received(sent(), FAILURE, Channel.REPLY)

    assert isinstance(event, Failed)
    assert ("PR9", "Risk control says no.", {"refundTime": TIME}) == (
        event.provider_refund_id, event.provider_message, event.details,
    )  # fmt: skip
    assert refund.failure is not None
    assert ("PR9", "Risk control says no.") == (refund.provider_refund_id, refund.provider_message)
    assert ("Risk control says no.", {"refundTime": TIME}) == (refund.failure.provider_message, refund.failure.details)


def test_a_failure_that_an_inquiry_had_to_confirm_carries_it_too() -> None:
    """Message and further fields of the unconfirmed failure are those of the failure."""
    unresolved = attrs.evolve(sent(), unresolved_attempt=True)
    event, refund = received(unresolved, FAILURE, Channel.REPLY)
    assert isinstance(event, Inquired)
    assert (FAILURE.details, FAILURE.provider_message) == (event.details, event.provider_message)
    refund = attrs.evolve(refund, not_found=ANTOM.not_found_tries)
    not_found = policy.Source(at=LATE + timedelta(days=1), channel=Channel.INQUIRY, sender=OWN, attempt=1)
    ended = interpret(refund, NotFound("ORDER_NOT_EXIST", "not known"), not_found, ANTOM)

    assert isinstance(ended, Failed)
    assert (FAILURE.details, FAILURE.provider_message) == (ended.details, ended.provider_message)


def test_what_a_late_notification_reports_about_a_failure_is_recorded_once() -> None:
    """A refund that failed without details takes them from the notification: one event with evidence, no review."""
    event, refund = received(failed(), FAILURE)
    again, _ = received(refund, FAILURE)

    assert isinstance(event, Inquired)
    assert (OutcomeKind.INFORMATIONAL, "RISK_REJECT", "ab" * 32) == (event.outcome, event.code, event.evidence)
    assert ("PR9", ()) == (refund.provider_refund_id, refund.review)
    assert [FAILURE.details] == [note.details for note in refund.notes]
    assert again is None


def test_a_review_quotes_the_provider() -> None:
    """The provider's own message follows our cause and advice in the reason for a review."""
    outcome = Unknown(
        "refused", "F", review=ReviewReason.UNCONFIRMED_REFUSAL, advice="Call them.", provider_message="余额不足"
    )
    event, refund = received(sent(), outcome, Channel.REPLY)

    assert isinstance(event, Inquired)
    assert "余额不足" == event.provider_message == refund.provider_message
    assert 'F: refused. Call them. (provider: "余额不足")' == refund.review[0].message
