"""How often a provider is asked about a refund that stays as it is, and how much of it the log keeps."""

from datetime import datetime, timedelta

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refundry.provider import NotFound, NotSent, Outcome, Pending, Resend, ReviewReason, Terms, Unknown
from refundry.refund import Channel, Event, Inquired, Refund, apply, fold, policy
from tests.core.strategies import NOON, OWN, REQUESTED, new_refund, source

DAY = timedelta(days=1)
PATIENT = Terms(escalate_after=60 * 86_400.0)


@attrs.define
class Life:
    """A refund on a simulated clock, with the working data that a store keeps next to its log."""

    refund: Refund
    terms: Terms
    events: list[Event]
    at: datetime = NOON
    """When it is inquired next."""
    repeats: int = 0
    inquired_at: list[datetime] = attrs.field(factory=list)

    def inquire(self, outcome: Outcome) -> bool:
        """Inquire when it is due; return whether the answer was recorded."""
        self.inquired_at.append(self.at)
        asked = attrs.evolve(source(self.at, Channel.INQUIRY), repeats=self.repeats)
        event = policy.interpret(self.refund, outcome, asked, self.terms)
        assert event is not None
        if policy.is_repeat(self.refund, event):
            self.repeats += 1
            self.at = policy.after_repeat(self.refund, self.at, self.terms)
            return False
        self.refund, self.repeats = apply(self.refund, event), 0
        self.events.append(event)
        if isinstance(event, Inquired) and event.next_at is not None:
            self.at = event.next_at
        return True

    def inquire_for(self, duration: timedelta, outcome: Outcome) -> None:
        """Inquire whenever it is due, for so long."""
        while self.at - NOON < duration and self.refund.next_at is not None:
            self.inquire(outcome)


def _sent(outcome: Outcome, terms: Terms = PATIENT, id: str = "00") -> Life:
    """Return the life of a refund whose attempt was answered like this."""
    refund = new_refund(f"0190a0e6-0000-7000-8000-0000000000{id}")
    events: list[Event] = [REQUESTED]
    attempt = policy.attempt(refund, "d" * 64, NOON, OWN, "antom 0.1.0", None, terms)
    for event in (attempt, policy.interpret(apply(refund, attempt), outcome, source(NOON, Channel.REPLY, 1), terms)):
        assert event is not None
        events.append(event)
    after = fold(refund.id, events)
    assert after.next_at is not None
    return Life(after, terms, events, after.next_at)


_INTERVALS = st.lists(st.floats(5, 900), min_size=1, max_size=5).map(tuple)


@settings(max_examples=12)
@given(
    _INTERVALS,
    st.sampled_from([Pending("REFUND_IN_PROCESS", "works on it", "PR1"), Unknown("lost"), Unknown("busy", "BUSY")]),
    st.sampled_from(["00", "7f", "ff"]),
    st.floats(3600, 6 * 3600),
)
def test_a_refund_that_is_pending_for_a_month_has_few_events(
    intervals: tuple[float, ...], outcome: Outcome, id: str, longest: float
) -> None:
    """Fewer than 60 events tell how often it was inquired, and each plans the next step as the whole log does."""
    terms = attrs.evolve(PATIENT, inquiry_intervals=intervals, max_inquiry_interval=longest)
    life = _sent(outcome, terms, id)

    life.inquire_for(30 * DAY, outcome)

    assert len(life.events) < 60
    stated = sum(1 + event.repeats for event in life.events[3:] if isinstance(event, Inquired))
    assert stated + life.repeats == len(life.inquired_at) == life.refund.inquiries + life.repeats
    for count in range(3, len(life.events) + 1):
        state = fold(life.refund.id, life.events[:count])
        assert state.next_at is not None
        assert policy.next_step(state, terms, NOON) == policy.Inquire(state.next_at)


@settings(max_examples=25)
@given(_INTERVALS, st.floats(3600, 6 * 3600))
def test_inquiries_become_rarer_with_the_age_of_the_refund(intervals: tuple[float, ...], longest: float) -> None:
    """The wait is one of the intervals or a tenth of the age, never more than the longest, with 10 % spread."""
    terms = attrs.evolve(PATIENT, inquiry_intervals=intervals, max_inquiry_interval=longest)
    life = _sent(Pending("P"), terms, "ff")

    life.inquire_for(10 * DAY, Pending("P"))

    for before, after in zip(life.inquired_at, life.inquired_at[1:], strict=False):
        wait, age = (after - before).total_seconds(), (before - NOON).total_seconds()
        grown = min(age / 10, longest)
        assert max(min(intervals), grown) <= wait <= 1.1 * max(*intervals, grown)


@pytest.mark.parametrize(
    "outcome",
    [
        Pending("P", provider_refund_id="PR1"),
        Pending("Q"),
        Unknown("lost"),
        NotFound("N"),
        Unknown("not readable", review=ReviewReason.UNREADABLE_ANSWER),
        Unknown("never", resend=Resend.NEVER),
    ],
    ids=str,
)
def test_news_is_recorded_at_once(outcome: Outcome) -> None:
    """However soon after an answer that was only counted, an answer with anything new is an event."""
    life = _sent(Pending("P"))
    while life.inquire(Pending("P")):
        pass
    counted = life.repeats

    assert life.inquire(outcome)
    event = life.events[-1]
    assert isinstance(event, Inquired)
    assert event.repeats == counted == 1


def test_the_same_answer_after_an_unsettling_one_is_news() -> None:
    """An answer that differs from the newest event is recorded, even if an older event states the same."""
    life = _sent(Pending("P"))
    while life.inquire(Pending("P")):
        pass

    assert life.inquire(Unknown("lost"))
    assert life.inquire(Pending("P"))


def test_counted_answers_do_not_delay_an_operator() -> None:
    """A refund without a final answer is escalated by the first inquiry after `escalate_after`."""
    life = _sent(Pending("P"), Terms())

    life.inquire_for(30 * DAY, Pending("P"))

    assert [ReviewReason.NO_FINAL_ANSWER] == [review.code for review in life.refund.review]
    assert timedelta(days=7) < life.refund.updated_at - NOON < timedelta(days=7.3)


@pytest.mark.parametrize(
    "answers",
    [[Unknown("busy", "BUSY")] * 5, [Unknown("not readable", review=ReviewReason.UNREADABLE_ANSWER)] * 3],
    ids=["an error", "inconsistent"],
)
def test_answers_that_lead_to_a_review_are_recorded(answers: list[Outcome]) -> None:
    """Until the same trouble has flagged the refund for review, each answer is an event, however soon it comes."""
    life = _sent(Pending("P"))
    while life.inquire(Pending("P")):
        pass

    recorded = [life.inquire(answer) for answer in answers]

    assert all(recorded[:-1])
    assert life.refund.review


def test_an_error_that_is_only_counted_is_flagged_all_the_same() -> None:
    """The fourth answer in a row with one error is an event with the reason for a review, which is raised once."""
    busy = Unknown("busy", "BUSY", advice="Ask for help.")
    life = _sent(Pending("P"))

    reviews = [(life.inquire(busy), [review.code for review in life.refund.review])[1] for _ in range(30)]

    assert [[]] * 3 + [[ReviewReason.REPEATED_ERROR]] * 27 == reviews
    assert 1 == sum(bool(event.review) for event in life.events if isinstance(event, Inquired))


def test_a_message_that_differs_each_time_is_not_news() -> None:
    """A provider may write the number of the call into its message and its further fields: the log does not grow."""
    life = _sent(Pending("P"))
    answers = [Pending("P", provider_message=f"call {n}", details={"trace": str(n)}) for n in range(300)]

    assert sum(map(life.inquire, answers)) < 60
    assert life.inquire(Pending("P", details={"trace": "x", "arn": "77"}))


@settings(max_examples=10)
@given(_INTERVALS, st.floats(300, 1200), st.floats(0.1, 7200))
def test_no_wait_is_longer_than_the_longest(intervals: tuple[float, ...], longest: float, delay: float) -> None:
    """However old a refund is, neither an inquiry nor a resend is planned so far ahead that a clock must be wrong."""
    terms = attrs.evolve(PATIENT, inquiry_intervals=intervals, max_inquiry_interval=longest, resend_delay=delay)
    refund = new_refund("0190a0e6-0000-7000-8000-0000000000ff")
    for at in (NOON, NOON + 20 * DAY):
        attempt = policy.attempt(refund, "d" * 64, at, OWN, "antom 0.1.0", None, terms)
        refund = apply(refund, attempt)
        event = policy.interpret(refund, NotSent("refused"), source(at, Channel.REPLY, refund.attempts), terms)
        assert isinstance(event, Inquired)
        refund = apply(refund, event)
        assert event.next_at is not None
        assert event.next_at - at < policy.longest_wait(terms)
    life = _sent(Pending("P"), terms, "ff")
    life.inquire_for(DAY, Pending("P"))
    assert life.at - life.inquired_at[-1] < policy.longest_wait(terms)
