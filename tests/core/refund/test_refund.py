"""The fold and the transition table: every legal history has one meaning, and nothing else is a history."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refundry.money import Money
from refundry.provider import OUTCOMES, OutcomeKind, Resend, ReviewReason
from refundry.refund import (
    EVENTS,
    FINAL,
    TRANSITIONS,
    Channel,
    Event,
    Failed,
    Failure,
    IllegalEvent,
    Inquired,
    NextStep,
    RaisedReview,
    Refund,
    Requested,
    Review,
    Settled,
    Status,
    Submitted,
    Trigger,
    apply,
    fold,
)
from tests.core.transitions_doc import transitions_page

ROOT: Final = Path(__file__).parents[3]
ID: Final = "0190a0e6-0000-7000-8000-000000000001"
NOON: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)
EUROS: Final = Money(1233, "EUR", 2)
TRIGGERS: Final = sorted({trigger for _, trigger in TRANSITIONS})
PLAIN_OUTCOMES: Final = sorted(
    set(OutcomeKind) - {OutcomeKind.PENDING, OutcomeKind.NOT_SENT, OutcomeKind.INFORMATIONAL}
)

REQUESTED: Final = Requested(
    at=NOON, account="shop", provider="antom", payment="P1", amount=EUROS, refund_request_id="R1", by="tests"
)
SUBMITTED: Final = Submitted(
    at=NOON, attempt=1, digest="d1", sender="client@host", plugin="antom 0.1.0", next_at=NOON + timedelta(seconds=10)
)
SETTLED: Final = Settled(at=NOON, channel=Channel.REPLY, amount=EUROS, provider_refund_id="PR1")
FAILED: Final = Failed(at=NOON, channel=Channel.INQUIRY, code="REFUND_NOT_SUPPORTED", cause="cannot", advice="do not")


def inquired(
    outcome: OutcomeKind, *, review: tuple[RaisedReview, ...] = (), resend: Resend = Resend.AFTER_NOT_FOUND
) -> Inquired:
    by, why = ("ada", "it is fixed") if outcome is OutcomeKind.RESUMED else (None, None)
    channel = Channel.OPERATOR if outcome is OutcomeKind.RESUMED else Channel.INQUIRY
    return Inquired(
        at=NOON,
        channel=channel,
        outcome=outcome,
        next_step=NextStep.INQUIRE,
        next_at=NOON,
        review=review,
        resend=resend,
        sender="client@host",
        by=by,
        why=why,
    )


HISTORIES: Final[dict[Status, list[Event]]] = {
    Status.REQUESTED: [REQUESTED],
    Status.SUBMITTED: [REQUESTED, SUBMITTED],
    Status.PENDING: [REQUESTED, SUBMITTED, inquired(OutcomeKind.PENDING)],
    Status.UNKNOWN: [REQUESTED, SUBMITTED, inquired(OutcomeKind.UNKNOWN)],
    Status.SETTLED: [REQUESTED, SUBMITTED, SETTLED],
    Status.FAILED: [REQUESTED, SUBMITTED, FAILED],
}


def event_for(trigger: str, outcome: OutcomeKind = OutcomeKind.UNKNOWN, attempt: int = 1) -> Event:
    """Make an event that asks for `trigger`; `outcome` is that of a plain inquiry."""
    if trigger == "requested":
        return REQUESTED
    if trigger == "submitted":
        return Submitted(
            at=NOON, attempt=attempt, digest="d1", sender="client@host", plugin="antom 0.1.0", next_at=NOON
        )
    if trigger.startswith("inquired"):
        kind = trigger.partition(" ")[2]
        return inquired(OutcomeKind(kind) if kind else outcome)
    if trigger == "settled by an operator":
        return Settled(at=NOON, channel=Channel.OPERATOR, amount=EUROS, by="ada", why="the bank's statement")
    if trigger == "failed by an operator":
        return Failed(
            at=NOON, channel=Channel.OPERATOR, code="OPERATOR", cause="c", advice="a", by="ada", why="it came back"
        )
    return SETTLED if trigger == "settled" else FAILED


@st.composite
def histories(draw: st.DrawFn, length: int = 12) -> list[Event]:
    """Draw a legal history: only moves that the table has from the status that the refund is in."""
    events: list[Event] = [REQUESTED]
    refund = fold(ID, events)
    for _ in range(draw(st.integers(0, length))):
        trigger = draw(st.sampled_from([trigger for status, trigger in TRANSITIONS if status is refund.status]))
        event = event_for(trigger, draw(st.sampled_from(PLAIN_OUTCOMES)), refund.attempts + 1)
        events.append(event)
        refund = apply(refund, event)
    return events


@given(events=histories())
def test_one_by_one_equals_all_at_once(events: list[Event]) -> None:
    """Every prefix of a legal history folds, and one more event gives what folding all of them gives."""
    refund = fold(ID, events[:1])
    for count, event in enumerate(events[1:], start=2):
        refund = apply(refund, event)

        assert fold(ID, events[:count]) == refund
        assert count == refund.version


@given(events=histories())
def test_the_same_events_give_the_same_state(events: list[Event]) -> None:
    """Folding asks nothing but the events: twice the same log is twice the same refund."""
    assert fold(ID, events) == fold(ID, iter(events))


@given(events=histories(length=20))
def test_only_an_operator_moves_a_final_refund(events: list[Event]) -> None:
    """Wherever a final status changes, the event came from an operator and has a name and a reason."""
    for count in range(2, len(events) + 1):
        before, after = fold(ID, events[: count - 1]), fold(ID, events[:count])
        event = events[count - 1]
        if before.final and (before.status, before.failure) != (after.status, after.failure):
            assert isinstance(event, Settled | Failed)
            assert (Channel.OPERATOR, True) == (event.channel, bool(event.by and event.why))


@given(events=histories(length=20))
def test_what_was_asked_for_never_changes(events: list[Event]) -> None:
    """No event changes the account, the payment, the amount or the provider id of a refund."""
    refund = fold(ID, events)

    assert (ID, "shop", "P1", EUROS, "R1") == (
        refund.id, refund.account, refund.payment, refund.amount, refund.refund_request_id
    )  # fmt: skip


@given(events=histories(length=20))
def test_an_open_refund_has_a_next_step(events: list[Event]) -> None:
    """A refund is done exactly when it is final; every other has a step that comes next."""
    refund = fold(ID, events)

    assert refund.final == (refund.next_step == "done")
    assert refund.final == (refund.status in FINAL)
    assert not (refund.final and refund.in_flight)


@given(events=histories(length=20))
def test_never_stays_never(events: list[Event]) -> None:
    """Once the provider's word forbids a resend, no later word allows it again."""
    forbidden = False
    for count in range(1, len(events) + 1):
        refund = fold(ID, events[:count])
        assert not forbidden or refund.resend is Resend.NEVER
        forbidden = refund.resend is Resend.NEVER


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("trigger", ["requested", *TRIGGERS])
def test_every_pair_moves_as_the_table_says_or_is_refused(status: Status, trigger: str) -> None:
    """From every status every trigger goes where the table says, by its plain form if need be, or is refused."""
    refund = fold(ID, HISTORIES[status])
    plain = trigger.removesuffix(" by an operator").partition(" ")[0]
    table = {(str(source), str(by)): target for (source, by), target in TRANSITIONS.items()}
    target = table.get((status, trigger)) or table.get((status, plain))

    assert status is refund.status
    if target is None:
        with pytest.raises(IllegalEvent):
            apply(refund, event_for(trigger))
        with pytest.raises(IllegalEvent):
            fold(ID, [*HISTORIES[status], event_for(trigger)])
    else:
        assert target is apply(refund, event_for(trigger)).status


def test_what_can_never_happen() -> None:
    """The pairs that are refused are exactly these; none of them may ever be added to the table in passing."""
    refused = {
        (status, trigger)
        for status in Status
        for trigger in ("submitted", "settled", "failed", "inquired")
        if (status, trigger) not in TRANSITIONS
    }

    assert {
        (Status.SUBMITTED, "submitted"),
        (Status.PENDING, "submitted"),
        (Status.SETTLED, "submitted"),
        (Status.SETTLED, "settled"),
        (Status.SETTLED, "failed"),
        (Status.FAILED, "submitted"),
        (Status.FAILED, "settled"),
        (Status.FAILED, "failed"),
    } == refused


def test_a_final_status_is_left_only_by_an_operator() -> None:
    """No row of the table leads out of a final status unless an operator decides."""
    leaving = {trigger for (status, trigger), target in TRANSITIONS.items() if status in FINAL and target != status}

    assert {"settled by an operator", "failed by an operator"} == leaving


@pytest.mark.parametrize("status", [status for status in Status if status not in FINAL])
def test_every_open_status_can_end(status: Status) -> None:
    """No open refund is in a dead end: each can still be settled and can still fail."""
    assert TRANSITIONS[status, Trigger.SETTLED] is Status.SETTLED
    assert TRANSITIONS[status, Trigger.FAILED] is Status.FAILED


def test_every_status_can_be_reached() -> None:
    """The table leads from `requested` to every other status."""
    reached = {Status.REQUESTED}
    for _ in Status:
        reached |= {target for (source, _), target in TRANSITIONS.items() if source in reached}

    assert set(Status) == reached


@pytest.mark.parametrize(
    "events", [[], [SUBMITTED], [SETTLED], [FAILED], [inquired(OutcomeKind.UNKNOWN)], [REQUESTED, REQUESTED]]
)
def test_a_history_begins_with_one_request(events: list[Event]) -> None:
    """`Requested` is the first event, and only the first."""
    with pytest.raises(IllegalEvent):
        fold(ID, events)


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize(("by", "why"), [(None, None), ("ada", None), (None, "because"), ("", "because"), ("ada", "")])
def test_a_decision_names_the_operator_and_the_reason(status: Status, by: str | None, why: str | None) -> None:
    """An operator's decision without a name or without a reason is refused, from every status."""
    refund = fold(ID, HISTORIES[status])
    decisions: list[Event] = [
        Settled(at=NOON, channel=Channel.OPERATOR, amount=EUROS, by=by, why=why),
        Failed(at=NOON, channel=Channel.OPERATOR, code="OPERATOR", cause="c", advice="a", by=by, why=why),
    ]

    for decision in decisions:
        with pytest.raises(IllegalEvent):
            apply(refund, decision)


@pytest.mark.parametrize("status", Status)
def test_resuming_needs_a_name_and_a_reason(status: Status) -> None:
    """No block is lifted and no review closed without a name and a reason."""
    refund = fold(ID, HISTORIES[status])
    nameless = Inquired(at=NOON, channel=Channel.OPERATOR, outcome=OutcomeKind.RESUMED, next_step=NextStep.INQUIRE)

    with pytest.raises(IllegalEvent):
        apply(refund, nameless)


@pytest.mark.parametrize("status", sorted(FINAL))
@pytest.mark.parametrize("channel", [Channel.REPLY, Channel.INQUIRY, Channel.NOTIFICATION])
def test_a_name_does_not_make_an_operator(status: Status, channel: Channel) -> None:
    """A provider's word does not move a final refund, even if it carries a name."""
    refund = fold(ID, HISTORIES[status])

    with pytest.raises(IllegalEvent):
        apply(refund, Settled(at=NOON, channel=channel, amount=EUROS, by="ada", why="because"))


@pytest.mark.parametrize("status", sorted(FINAL))
@pytest.mark.parametrize("outcome", sorted(set(OutcomeKind) - {OutcomeKind.INFORMATIONAL, OutcomeKind.RESUMED}))
def test_a_contradiction_is_recorded_and_flagged_for_review(status: Status, outcome: OutcomeKind) -> None:
    """After a final state a contradicting fact changes nothing but the review, the time and the version."""
    refund = fold(ID, HISTORIES[status])
    raised = RaisedReview(ReviewReason.CONTRADICTS_FINAL_STATE, "the provider reports something else")
    after = apply(refund, inquired(outcome, review=(raised,), resend=Resend.SAME))

    assert (Review(raised.code, raised.message, NOON),) == after.review
    assert refund.version + 1 == after.version
    assert _without_review(refund) == _without_review(after)


def _without_review(refund: Refund) -> dict[str, object]:
    changing = {"review", "updated_at", "version"}
    return {
        name: getattr(refund, name) for name in (field.name for field in attrs.fields(Refund)) if name not in changing
    }


def test_an_operator_can_turn_a_settled_refund_into_a_failed_one_and_back() -> None:
    """A named decision corrects a final state, and nothing of the wrong end remains."""
    settled = fold(ID, HISTORIES[Status.SETTLED])
    failed = apply(settled, event_for("failed by an operator"))
    again = apply(failed, event_for("settled by an operator"))

    assert (Status.FAILED, None, Failure("OPERATOR", "c", "a")) == (
        failed.status,
        failed.settled_amount,
        failed.failure,
    )
    assert (Status.SETTLED, EUROS, None) == (again.status, again.settled_amount, again.failure)


def test_a_resend_is_the_same_bytes() -> None:
    """An attempt with another digest than the first is refused."""
    refund = fold(ID, HISTORIES[Status.UNKNOWN])
    other = Submitted(at=NOON, attempt=2, digest="d2", sender="client@host", plugin="antom 0.1.0", next_at=NOON)

    with pytest.raises(IllegalEvent, match="different bytes"):
        apply(refund, other)


def test_not_sent_leaves_nothing_in_flight_unless_something_was() -> None:
    """A refund whose only attempt was not sent is as requested; with an earlier unresolved attempt it is unknown."""
    clean = fold(ID, [REQUESTED, SUBMITTED, inquired(OutcomeKind.NOT_SENT)])
    unresolved = fold(
        ID,
        [REQUESTED, SUBMITTED, inquired(OutcomeKind.UNKNOWN), event_for("submitted"), inquired(OutcomeKind.NOT_SENT)],
    )

    assert (Status.REQUESTED, False) == (clean.status, clean.in_flight)
    assert (Status.UNKNOWN, True) == (unresolved.status, unresolved.in_flight)


def test_not_found_counts_only_from_the_account_that_sent() -> None:
    """Another identity's "not found" says nothing about what this one sent."""
    refund = fold(ID, HISTORIES[Status.UNKNOWN])
    other = Inquired(
        at=NOON,
        channel=Channel.INQUIRY,
        outcome=OutcomeKind.NOT_FOUND,
        next_step=NextStep.INQUIRE,
        sender="other@host",
    )

    assert 0 == apply(refund, other).not_found
    assert 1 == apply(refund, inquired(OutcomeKind.NOT_FOUND)).not_found


def test_not_found_counts_only_in_a_row() -> None:
    """Any other answer restarts the count of "not found"."""
    refund = fold(ID, [*HISTORIES[Status.UNKNOWN], inquired(OutcomeKind.NOT_FOUND), inquired(OutcomeKind.NOT_FOUND)])

    assert 2 == refund.not_found
    assert 0 == apply(refund, inquired(OutcomeKind.UNKNOWN)).not_found


def test_there_are_five_events_with_topics_of_their_own() -> None:
    """The names in the log are fixed: a rename of a class does not reach them, and no two events share one."""
    assert ["requested", "submitted", "inquired", "settled", "failed"] == [event.topic for event in EVENTS]


def test_the_page_shows_the_table() -> None:
    """The checked-in page of transitions is what the table gives."""
    page = ROOT / "docs" / "reference" / "transitions.md"

    assert transitions_page() == page.read_text(encoding="utf-8")


def test_the_fold_handles_every_outcome() -> None:
    """Every kind that an `Inquired` event can record changes the state in a defined way, and has a newest change."""
    for outcome in OutcomeKind:
        refund = apply(fold(ID, HISTORIES[Status.UNKNOWN]), inquired(outcome))
        changed = outcome is not OutcomeKind.INFORMATIONAL

        assert str(outcome if changed else OutcomeKind.UNKNOWN) == str(refund.last)


def test_no_outcome_shares_its_name_with_an_event() -> None:
    """What a message means and what is recorded are never confused: their classes have different names and kinds."""
    assert not {outcome.__name__ for outcome in OUTCOMES} & {event.__name__ for event in EVENTS}
    assert len(OUTCOMES) == len({outcome.kind for outcome in OUTCOMES})
