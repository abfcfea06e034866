"""The policy against a provider with its own ledger: whatever is lost, late or repeated, money moves once."""

import random
from datetime import datetime, timedelta
from itertools import permutations
from typing import Any, Final

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refundry.inputs import Operator
from refundry.provider import Outcome, Resend, ReviewReason, Scope, Terms, outcomes
from refundry.refund import (
    Channel,
    Event,
    Failed,
    Inquired,
    NextStep,
    RaisedReview,
    Refund,
    Review,
    Status,
    Submitted,
    apply,
    policy,
)
from tests.core.refund.planting import plant
from tests.core.strategies import (
    ALPHABET,
    EUROS,
    NOON,
    OTHER,
    OTHER_EUROS,
    OWN,
    TERMS,
    any_outcome,
    new_refund,
    source,
    terms,
)

_STEPS: Final = 400
_SEEDS: Final = 250


class FalseReport(AssertionError):
    """The log and the provider's ledger differ, or money moved twice."""


# --- a provider with a ledger -----------------------------------------------------------------------------------------


class Ledger:
    """A provider as the documents describe it: idempotent by id; requests and answers get lost, or it is slow."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._refuses = chance.random() < 0.2
        self._faults = chance.choice([0.0, 0.3, 0.7])
        self._state: dict[str, str] = {}
        self._due: list[tuple[datetime, str, str]] = []
        self.moved: dict[str, int] = {}

    def catch_up(self, now: datetime) -> None:
        for item in sorted(item for item in self._due if item[0] <= now):
            self._due.remove(item)
            self._set(item[1], item[2])

    def refund(self, id: str, now: datetime) -> Outcome | outcomes.NotSent:
        fault = self._chance.random()
        if fault < self._faults * 0.2:
            return outcomes.NotSent("connection refused")
        if fault < self._faults * 0.4:
            return outcomes.Unknown("the request was lost")
        if fault < self._faults * 0.5:
            return ALPHABET["call again"]
        if id not in self._state:
            end = "failed" if self._refuses else "settled"
            slow = self._chance.random() < 0.5
            # Taken late: by the documents not later than an inquiry that says "not found" means "not placed".
            taken = now + timedelta(seconds=self._chance.choice([0, 25]))
            self._due.append((taken, id, "pending" if slow else end))
            if slow:
                self._due.append((taken + timedelta(seconds=self._chance.uniform(1, 300)), id, end))
        self.catch_up(now)
        return outcomes.Unknown("the answer was lost") if fault < self._faults else self._says(id)

    def _set(self, id: str, state: str) -> None:
        before = self._state.get(id)
        if before in ("settled", "failed") or (before, state) == ("pending", "pending"):
            return
        self._state[id] = state
        if state == "settled":
            self.moved[id] = self.moved.get(id, 0) + 1

    def inquire(self, id: str) -> Outcome:
        return outcomes.Unknown("lost") if self._chance.random() < self._faults / 2 else self._says(id)

    def _says(self, id: str) -> Any:
        return ALPHABET[self._state.get(id, "not found")]

    def ends(self) -> dict[str, str]:
        return dict(self._state)


def process(seed: int, rules: Terms) -> None:
    """Process one refund as the gateway does, with crashes and notifications, and compare it with the ledger."""
    chance = random.Random(seed)
    ledger, refund, now = Ledger(chance), new_refund(), NOON
    for _ in range(_STEPS):
        step = policy.next_step(refund, rules, now)
        if isinstance(step, policy.ManualReview) and refund.next_at is not None:
            refund = apply(refund, policy.escalated(refund, step, max(now, refund.next_at)))
        if not isinstance(step, policy.Submit | policy.Inquire):
            break
        now = max(now, step.at)
        ledger.catch_up(now)
        refund, now = _step(refund, step, ledger, chance, rules, now)
        _compare(refund, ledger)
    else:
        raise FalseReport("neither final nor with an operator")
    ledger.catch_up(now + timedelta(days=1))
    _compare(refund, ledger)
    if not refund.final and not (refund.next_step == NextStep.MANUAL_REVIEW and refund.review):
        raise FalseReport("it has no next step")


def _step(
    refund: Refund, step: policy.Step, ledger: Ledger, chance: random.Random, rules: Terms, now: datetime
) -> tuple[Refund, datetime]:
    crash, channel = chance.random() < 0.1, Channel.INQUIRY
    outcome: Outcome | outcomes.NotSent
    if isinstance(step, policy.Submit):
        refund, channel = _submitted(refund, now, rules), Channel.REPLY
        outcome = ledger.refund(refund.refund_request_id, now)
    else:
        outcome = ledger.inquire(refund.refund_request_id)
    now += timedelta(seconds=chance.uniform(0.1, 2))
    if crash:
        return refund, now
    notified = chance.random() < 0.1 and ledger.ends().get(refund.refund_request_id)
    if notified:
        refund = _interpreted(refund, ALPHABET[str(notified)], source(now, Channel.NOTIFICATION), rules)
    return _interpreted(refund, outcome, source(now, channel, refund.attempts), rules), now


def _submitted(refund: Refund, at: datetime, rules: Terms) -> Refund:
    event = Submitted(
        at=at, attempt=refund.attempts + 1, digest="d1", sender=OWN, plugin="antom 0.1.0",
        next_at=at + timedelta(seconds=rules.timeout + rules.first_inquiry),
    )  # fmt: skip
    return apply(refund, event)


def _interpreted(refund: Refund, outcome: Outcome | outcomes.NotSent, where: policy.Source, rules: Terms) -> Refund:
    event = policy.interpret(refund, outcome, where, rules)
    return refund if event is None else apply(refund, event)


def _compare(refund: Refund, ledger: Ledger) -> None:
    states = ledger.ends()
    if sum(ledger.moved.values()) > 1 or len(states) > 1:
        raise FalseReport(f"moved {ledger.moved} under {states}")
    if refund.status is Status.SETTLED and not ledger.moved:
        raise FalseReport("settled, and nothing moved")
    if refund.status is Status.FAILED and (ledger.moved or states.get("R1") != "failed"):
        raise FalseReport("failed, and the provider did not refuse it permanently")


def process_all(seeds: int = _SEEDS) -> None:
    for rules in TERMS.values():
        for seed in range(seeds):
            process(seed, rules)


def test_money_moves_once_and_is_reported_right() -> None:
    """Whatever is lost, late, repeated or cut off by a crash, the log matches the ledger, and everything ends."""
    process_all()


# --- planted bugs -----------------------------------------------------------------------------------------------------

_interpret = policy.interpret
_next_step = policy.next_step


def _timeout_is_failure(refund: Refund, outcome: Any, where: policy.Source, rules: Terms) -> Event | None:
    lost = isinstance(outcome, outcomes.Unknown) and where.channel is Channel.REPLY
    return _interpret(refund, outcomes.DefinitiveFailure("TIMEOUT", "c", "a") if lost else outcome, where, rules)


def _not_found_is_failure(refund: Refund, outcome: Any, where: policy.Source, rules: Terms) -> Event | None:
    lost = isinstance(outcome, outcomes.NotFound)
    return _interpret(refund, outcomes.DefinitiveFailure("NOT_FOUND", "c", "a") if lost else outcome, where, rules)


def _pending_is_settled(refund: Refund, outcome: Any, where: policy.Source, rules: Terms) -> Event | None:
    return _interpret(
        refund, outcomes.Succeeded(EUROS) if isinstance(outcome, outcomes.Pending) else outcome, where, rules
    )


def _new_id_on_not_found(refund: Refund, rules: Terms, now: datetime) -> policy.Step:
    if refund.last == "not_found" and refund.attempts:
        object.__setattr__(refund, "refund_request_id", "R2")
        return policy.Submit(now)
    return _next_step(refund, rules, now)


def _always_ask(refund: Refund, rules: Terms, now: datetime) -> policy.Step:
    return _next_step(refund, rules, now) if refund.final else policy.Inquire(refund.updated_at)


@pytest.mark.parametrize(
    ("name", "bug"),
    [
        ("interpret", _timeout_is_failure),
        ("interpret", _not_found_is_failure),
        ("interpret", _pending_is_settled),
        ("next_step", _new_id_on_not_found),
        ("next_step", _always_ask),
    ],
)
def test_the_ledger_finds_planted_bugs(name: str, bug: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same comparison finds a policy with a known bug."""
    plant(monkeypatch, name, bug)

    with pytest.raises(FalseReport):
        process_all()


# --- what follows from any sequence -----------------------------------------------------------------------------------


@given(rules=terms(), words=st.lists(any_outcome(), max_size=12), data=st.data())
def test_no_sequence_of_words_breaks_the_fold(rules: Terms, words: list[Outcome | outcomes.NotSent], data: Any) -> None:
    """Whatever arrives, at any time, the log folds, and holds the outcome and the step that the policy plans."""
    refund, now = new_refund(), NOON
    for outcome in words:
        step = policy.next_step(refund, rules, now)
        now += timedelta(seconds=data.draw(st.sampled_from([0, 20, 400, 86_400])))
        if isinstance(step, policy.Submit):
            refund = _submitted(refund, now, rules)
        where = source(
            now,
            data.draw(st.sampled_from([Channel.REPLY, Channel.INQUIRY, Channel.NOTIFICATION])),
            max(refund.attempts - data.draw(st.integers(0, 1)), 0),
            sender=data.draw(st.sampled_from([OWN, OTHER])),
            fresh=data.draw(st.booleans()),
        )
        event = policy.interpret(refund, outcome, where, rules)

        assert _without_plan(event) == _without_plan(
            policy.interpret_outcome(refund, outcome, where, rules), like=event
        )

        if event is None:
            continue
        refund = apply(refund, event)
        if isinstance(event, Inquired) and event.outcome == "informational":
            continue  # what was planned stays, whatever it was

        assert policy.next_step(refund, rules, event.at).name == refund.next_step
        assert (refund.next_at is None) == (refund.next_step in (NextStep.MANUAL_REVIEW, "done"))
        assert refund.review or refund.next_step != NextStep.MANUAL_REVIEW


def _without_plan(event: Event | None, like: Event | None = None) -> Event | None:
    """Return an event without its plan; with the plan's reason for a review only if `like` has one."""
    if not isinstance(event, Inquired):
        return event
    review = event.review
    if isinstance(like, Inquired) and like.review[: len(review)] == review:
        planned = like.review[len(review) :]
        held = like.next_step == NextStep.MANUAL_REVIEW
        if held or [ReviewReason.INCONSISTENT_ANSWERS] == [reason.code for reason in planned]:
            review = like.review
    return attrs.evolve(event, next_step=NextStep.INQUIRE, next_at=None, review=review)


@pytest.mark.parametrize("name", ALPHABET)
@pytest.mark.parametrize("rules", TERMS.values(), ids=TERMS)
def test_a_provider_that_says_one_thing_for_ever_ends(name: str, rules: Terms) -> None:
    """Whatever a provider answers again and again, the refund ends or goes to an operator, with the reason."""
    rules, refund, now = attrs.evolve(rules, escalate_after=3600.0), new_refund(), NOON
    for _ in range(_STEPS):
        step = policy.next_step(refund, rules, now)
        if not isinstance(step, policy.Submit | policy.Inquire):
            break
        now = max(now, step.at)
        channel = Channel.REPLY if isinstance(step, policy.Submit) else Channel.INQUIRY
        refund = _submitted(refund, now, rules) if channel is Channel.REPLY else refund
        now += timedelta(seconds=1)
        refund = _interpreted(refund, ALPHABET[name], source(now, channel, refund.attempts), rules)

    assert refund.final or (refund.next_step == NextStep.MANUAL_REVIEW and refund.review)


def _sent() -> Refund:
    return _submitted(new_refund(), NOON, Terms())


_AT: Final = NOON + timedelta(seconds=60)
_DIFFERENT: Final = RaisedReview(ReviewReason.RECONCILIATION_STATUS, "the report says refunded")
_FACTS: Final = ("pending", "settled", "unknown", "pending", "not found")


@pytest.mark.parametrize("instruction", sorted(set(permutations(_FACTS))), ids=",".join)
def test_no_order_of_facts_takes_a_settled_refund_back(instruction: tuple[str, ...]) -> None:
    """Pending, unknown and not found, before or after: a settled refund stays settled and needs no review."""
    refund = _sent()
    for count, name in enumerate(instruction):
        at = _AT + timedelta(seconds=count * 20)
        refund = _interpreted(refund, ALPHABET[name], source(at, Channel.INQUIRY, 1), Terms())

    assert (Status.SETTLED, ()) == (refund.status, refund.review)


@pytest.mark.parametrize("name", ["nothing", "pending", "not found", "unknown", "settled", "failed"])
def test_a_note_changes_nothing_but_the_notes(name: str) -> None:
    """A fact leaves everything but a failed refund's review as it is, before and after the end, and is noted once."""
    fact = outcomes.Informational("The bank sent the money back.", "DBACK_F", {"dback_status": "F"})
    before = _sent()
    if name != "nothing":
        before = _interpreted(before, ALPHABET[name], source(_AT, Channel.INQUIRY, 1), Terms())
    after = _interpreted(before, fact, source(_AT + timedelta(days=1), Channel.NOTIFICATION), Terms())
    again = policy.interpret(after, fact, source(_AT + timedelta(days=2), Channel.NOTIFICATION), Terms())

    raised = {ReviewReason.REPORTED_AFTER_FAILURE} if name == "failed" else set()

    assert before == attrs.evolve(after, version=before.version, notes=(), review=before.review)
    assert raised == {review.code for review in after.review if after.final}
    assert [("DBACK_F", {"dback_status": "F"})] == [(note.code, note.details) for note in after.notes]
    assert again is None


@pytest.mark.parametrize(("name", "looked"), [("settled", False), ("failed", False), ("failed", True)])
def test_a_difference_from_a_report_outlasts_a_failure(name: str, looked: bool) -> None:
    """A refund that a report lists and that fails still needs review, unless an operator has looked at it."""
    event = policy.flagged(_sent(), [_DIFFERENT], _AT, Operator("ada", "reconciliation"), None)
    assert event is not None
    refund = apply(_sent(), event)
    if looked:
        refund = apply(refund, policy.resumed(refund, _AT, Operator("ada", "looked"), Terms()))
    refund = _interpreted(refund, ALPHABET[name], source(_AT, Channel.INQUIRY, 1), Terms())

    raised = (Review(_DIFFERENT.code, _DIFFERENT.message, _AT),) if name == "failed" and not looked else ()
    assert (True, raised) == (refund.final, refund.review)


def test_an_operator_s_decision_closes_a_difference_from_a_report() -> None:
    """An operator who decides how a refund ended knows what the report says: no review is needed any more."""
    event = policy.flagged(_sent(), [_DIFFERENT], _AT, Operator("ada", "reconciliation"), None)
    assert event is not None
    decided = Failed(
        at=_AT, channel=Channel.OPERATOR, code="OPERATOR", cause="c", advice="a", by="ada", why="seen in the console"
    )

    assert apply(apply(_sent(), event), decided).review == ()


@pytest.mark.parametrize(("replays", "status"), [(True, Status.FAILED), (False, Status.UNKNOWN)])
def test_not_found_confirms_a_refusal_only_where_refusals_are_replayed(replays: bool, status: Status) -> None:
    """An unconfirmed failure, then not found: failed if a repeated request gets the first answer, else on hold."""
    rules = Terms(replays_refusals=replays, not_found_tries=1)
    refund = _submitted(
        _interpreted(_sent(), outcomes.Unknown("lost"), source(_AT, Channel.REPLY, 1), rules), _AT, rules
    )
    refund = _interpreted(refund, outcomes.DefinitiveFailure("NO", "c", "a"), source(_AT, Channel.REPLY, 2), rules)
    for minutes in (1, 2):
        refund = _interpreted(
            refund, outcomes.NotFound(), source(_AT + timedelta(minutes=minutes), Channel.INQUIRY, 2), rules
        )

    assert (status, "done" if replays else NextStep.MANUAL_REVIEW) == (refund.status, refund.next_step)


@pytest.mark.parametrize("channel", [Channel.REPLY, Channel.INQUIRY])
def test_an_answer_that_only_notes_is_no_answer(channel: Channel) -> None:
    """A fact does not show the status: as an answer it leaves the refund unknown, and another inquiry follows."""
    event = policy.interpret(_sent(), outcomes.Informational("a fact", "FACT"), source(_AT, channel, 1), Terms())

    assert ("unknown", "inquire") == (getattr(event, "outcome", None), getattr(event, "next_step", None))


@pytest.mark.parametrize(("replays", "status"), [(True, Status.FAILED), (False, Status.UNKNOWN)])
def test_a_refusal_that_comes_again_is_final_only_where_refusals_are_replayed(replays: bool, status: Status) -> None:
    """Fixed and refused with the same code: final if ids are answered as at first, otherwise on hold again."""
    rules = Terms(replays_refusals=replays)
    refund = _interpreted(_sent(), outcomes.Blocked("LOW", "low", "top up"), source(_AT, Channel.REPLY, 1), rules)
    refund = apply(refund, policy.resumed(refund, _AT, Operator("ada", "topped up"), rules))
    refund = _submitted(refund, _AT, rules)
    refund = _interpreted(refund, outcomes.Blocked("LOW", "low", "top up"), source(_AT, Channel.REPLY, 2), rules)

    assert status is refund.status
    assert refund.final or refund.next_step == NextStep.MANUAL_REVIEW


@pytest.mark.parametrize("instruction", [("settled", "failed"), ("failed", "settled"), ("failed", "pending")])
def test_a_contradiction_is_recorded_once(instruction: tuple[str, str]) -> None:
    """The first final report decides; one that contradicts it is recorded once and flagged for review."""
    first = _interpreted(_sent(), ALPHABET[instruction[0]], source(_AT, Channel.NOTIFICATION), Terms())
    refund = first
    for _ in range(3):
        refund = _interpreted(refund, ALPHABET[instruction[1]], source(_AT, Channel.NOTIFICATION), Terms())

    assert (first.status, first.version + 1) == (refund.status, refund.version)
    assert refund.review


def test_two_contradictions_in_turn_are_recorded_once_each() -> None:
    """Two contradicting words that come in turn fill neither the log nor hide each other."""
    refund = _interpreted(_sent(), ALPHABET["settled"], source(_AT, Channel.INQUIRY, 1), Terms())
    for name in ("failed", "settled with another amount") * 3:
        refund = _interpreted(refund, ALPHABET[name], source(_AT, Channel.NOTIFICATION), Terms())

    assert 5 == refund.version
    assert [ReviewReason.FAILED_AFTER_SETTLEMENT, ReviewReason.AMOUNT_CHANGED_AFTER_SETTLEMENT] == [
        review.code for review in refund.review
    ]


# --- single rules, each of which was broken once ----------------------------------------------------------------------


@pytest.mark.parametrize("terms", [Terms(), Terms(inquiry_intervals=(2.0, 9000.0)), Terms(inquiry_intervals=(5.0,))])
def test_unbelievable_answers_never_end_the_inquiries(terms: Terms) -> None:
    """Inquiries continue after any number of them, more slowly; the refund is flagged once, and not on hold."""
    refund = _interpreted(_sent(), ALPHABET["unknown"], source(_AT, Channel.REPLY, 1), terms)
    waits = []
    for _ in range(20):
        step = policy.next_step(refund, terms, refund.updated_at)
        assert isinstance(step, policy.Inquire)
        waits.append(step.at - refund.updated_at)
        refund = _interpreted(refund, ALPHABET["unusual"], source(step.at, Channel.INQUIRY, 1), terms)

    slow = timedelta(seconds=2 * max(terms.inquiry_intervals))
    codes = [review.code for review in refund.review]
    assert [ReviewReason.UNVERIFIED_ANSWER, ReviewReason.INCONSISTENT_ANSWERS] == codes
    assert waits[2] < slow <= waits[3]
    assert sorted(waits[2:]) == waits[2:]
    assert waits[-1] <= max(slow, timedelta(seconds=terms.max_inquiry_interval)) * 1.1


@pytest.mark.parametrize("name", ["pending", "not found", "settled"])
def test_a_believable_answer_is_accepted_after_unbelievable_ones(name: str) -> None:
    """When the provider answers again, its answer counts without an operator, and the usual schedule returns."""
    terms = Terms()
    refund = _interpreted(_sent(), ALPHABET["unknown"], source(_AT, Channel.REPLY, 1), terms)
    for minute in range(1, 6):
        at = _AT + timedelta(minutes=minute)
        refund = _interpreted(refund, ALPHABET["unusual"], source(at, Channel.INQUIRY, 1), terms)
    at = _AT + timedelta(minutes=9)
    refund = _interpreted(refund, ALPHABET[name], source(at, Channel.INQUIRY, 1), terms)

    assert refund.final or isinstance(policy.next_step(refund, terms, at), policy.Inquire)
    assert refund.final or (refund.next_at or at) - at <= timedelta(seconds=330)


def test_not_sent_after_a_pending_never_sends_again() -> None:
    """A second attempt that did not leave is not repeated when the provider says meanwhile that it works on it."""
    refund = _sent()
    for count in range(4):
        at = _AT + timedelta(seconds=20 * count)
        refund = _interpreted(refund, ALPHABET["not found"], source(at, Channel.INQUIRY, 1), Terms())
    at = _AT + timedelta(seconds=100)
    refund = _submitted(refund, at, Terms())
    refund = _interpreted(refund, ALPHABET["pending"], source(at, Channel.NOTIFICATION), Terms())
    refund = _interpreted(refund, ALPHABET["not sent"], source(at, Channel.REPLY, 2), Terms())

    assert isinstance(policy.next_step(refund, Terms(), at), policy.Inquire)


def test_not_found_counts_only_so_far_apart() -> None:
    """Ten inquiries in a second, or one right after sending, do not count as ten times "not found"."""
    refund = _interpreted(
        _sent(), ALPHABET["not found"], source(NOON + timedelta(seconds=1), Channel.INQUIRY, 1), Terms()
    )
    for count in range(10):
        at = _AT + timedelta(milliseconds=100 * count)
        refund = _interpreted(refund, ALPHABET["not found"], source(at, Channel.INQUIRY, 1), Terms())

    assert 1 == refund.not_found
    assert isinstance(policy.next_step(refund, Terms(), at), policy.Inquire)


def test_not_found_is_conclusive_only_after_the_call_can_have_ended() -> None:
    """While an attempt is unanswered and may still be running, "not found" about it does not count."""
    terms = Terms()
    running = NOON + timedelta(seconds=terms.timeout + terms.first_inquiry, milliseconds=-1)
    early = policy.interpret(_sent(), ALPHABET["not found"], source(running, Channel.INQUIRY, 1), terms)
    ended = running + timedelta(milliseconds=1)
    late = policy.interpret(_sent(), ALPHABET["not found"], source(ended, Channel.INQUIRY, 1), terms)

    assert isinstance(early, Inquired)
    assert ("informational", _sent().next_step, _sent().next_at) == (early.outcome, early.next_step, early.next_at)
    assert "not_found" == getattr(late, "outcome", None)


def test_an_old_word_between_starts_the_row_again() -> None:
    """An old notification of a settlement amid "not found" means asking as often again before anything is sent."""
    refund = _sent()
    for count in range(3):
        at = _AT + timedelta(seconds=20 * count)
        refund = _interpreted(refund, ALPHABET["not found"], source(at, Channel.INQUIRY, 1), Terms())
    refund = _interpreted(refund, ALPHABET["settled"], source(at, Channel.NOTIFICATION, fresh=False), Terms())
    refund = _interpreted(
        refund, ALPHABET["not found"], source(at + timedelta(seconds=20), Channel.INQUIRY, 1), Terms()
    )

    assert isinstance(policy.next_step(refund, Terms(), at), policy.Inquire)


def test_after_a_long_silence_it_is_asked_first() -> None:
    """A store that was off for a month asks the provider before it calls people."""
    assert isinstance(policy.next_step(_sent(), Terms(), NOON + timedelta(days=31)), policy.Inquire)


def test_resuming_without_a_possible_inquiry_keeps_the_reason() -> None:
    """If no inquiry is possible, resuming leaves a refund on hold with its reason and not with an empty one."""
    rules = TERMS["asked by the provider's id only"]
    refund = apply(_sent(), policy.resumed(_sent(), _AT, Operator("ada", "go on"), rules))

    assert (NextStep.MANUAL_REVIEW, True) == (refund.next_step, bool(refund.review))


def test_a_block_of_the_inquiry_is_no_answer_to_the_attempt() -> None:
    """Only the same answer to two attempts closes a refund; the same code to an inquiry is another matter."""
    refund = _interpreted(_sent(), ALPHABET["not sent"], source(_AT, Channel.REPLY, 1), Terms())
    refund = _interpreted(refund, ALPHABET["blocked"], source(_AT, Channel.INQUIRY, 1), Terms())
    refund = apply(refund, policy.resumed(refund, _AT, Operator("ada", "fixed"), Terms()))
    refund = _submitted(refund, _AT, Terms())
    refund = _interpreted(refund, ALPHABET["blocked"], source(_AT, Channel.REPLY, 2), Terms())

    assert (False, "request") == (refund.final, refund.blocked)


def test_a_block_that_comes_again_after_the_fix_is_final() -> None:
    """Fixed, sent once more with the same id, and answered the same: final answers are replayed."""
    refund = _interpreted(_sent(), ALPHABET["blocked"], source(_AT, Channel.REPLY, 1), Terms())
    refund = apply(refund, policy.resumed(refund, _AT, Operator("ada", "fixed"), Terms()))
    refund = _submitted(refund, _AT, Terms())
    refund = _interpreted(refund, ALPHABET["blocked"], source(_AT, Channel.REPLY, 2), Terms())

    assert Status.FAILED is refund.status


def test_the_first_word_of_the_providers_id_is_not_dropped() -> None:
    """A second "still working" that brings the provider's id, by which it can be asked at last, is recorded."""
    rules = TERMS["asked by the provider's id only"]
    refund = _interpreted(_sent(), outcomes.Pending(), source(_AT, Channel.REPLY, 1), rules)
    assert NextStep.MANUAL_REVIEW == refund.next_step

    refund = _interpreted(refund, ALPHABET["pending"], source(_AT, Channel.NOTIFICATION), rules)

    assert ("PR1", "inquire") == (refund.provider_refund_id, refund.next_step)


def test_a_notification_played_again_is_recorded_once() -> None:
    """An old notification that is replayed neither fills the log nor delays an inquiry."""
    for name in ("settled", "failed", "pending", "unknown", "unusual", "settled with another amount"):
        refund = _interpreted(_sent(), ALPHABET[name], source(_AT, Channel.NOTIFICATION, fresh=False), Terms())
        again = _interpreted(
            refund, ALPHABET[name], source(_AT + timedelta(1), Channel.NOTIFICATION, fresh=False), Terms()
        )

        assert refund == again


@pytest.mark.parametrize("scope", Scope)
def test_a_hold_is_not_dropped_as_a_repetition(scope: Scope) -> None:
    """A notification that puts the refund on hold is recorded, although its reason is open already."""
    flagged = outcomes.Unknown("unusual", resend=Resend.NEVER, review=ReviewReason.CONTRADICTORY_ANSWER)
    refund = _interpreted(_sent(), flagged, source(_AT, Channel.NOTIFICATION), Terms())
    refund = _interpreted(refund, attrs.evolve(flagged, scope=scope), source(_AT, Channel.NOTIFICATION), Terms())

    assert (scope, NextStep.MANUAL_REVIEW) == (refund.blocked, refund.next_step)


def test_an_unknown_answer_on_hold_takes_an_unconfirmed_failure_back() -> None:
    """What waits for an operator is not ended as failed by a later "not found"."""
    rules = attrs.evolve(Terms(), not_found_tries=0)
    refund = _interpreted(_sent(), ALPHABET["unknown"], source(_AT, Channel.REPLY, 1), rules)
    refund = _submitted(refund, _AT, rules)
    refund = _interpreted(refund, ALPHABET["failed"], source(_AT, Channel.REPLY, 2), rules)
    refund = _interpreted(refund, ALPHABET["blocked"], source(_AT, Channel.INQUIRY, 2), rules)
    unconfirmed = refund.unconfirmed_failure
    refund = _interpreted(refund, ALPHABET["unknown"], source(_AT, Channel.INQUIRY, 2), rules)

    assert unconfirmed is not None
    assert (NextStep.MANUAL_REVIEW, None) == (refund.next_step, refund.unconfirmed_failure)


@pytest.mark.parametrize("name", ["pending", "settled with another amount", "unusual"])
def test_a_contradicted_refusal_is_not_confirmed_by_not_found(name: str) -> None:
    """An unconfirmed failure that is contradicted is not confirmed by "not found": the refund goes to an operator."""
    rules = attrs.evolve(Terms(), not_found_tries=0)
    refund = _interpreted(_sent(), ALPHABET["not found"], source(_AT, Channel.INQUIRY, 1), rules)
    refund = _submitted(refund, _AT, rules)
    for count, answer in enumerate(["failed", name, "not found"]):
        channel = Channel.INQUIRY if count else Channel.REPLY
        refund = _interpreted(refund, ALPHABET[answer], source(_AT + timedelta(minutes=count), channel, 2), rules)

    assert (False, NextStep.MANUAL_REVIEW) == (refund.final, refund.next_step)


def test_another_sender_never_repeats_what_may_be_out() -> None:
    """An id is honoured for who sent it: for another sender it is new, and is refused while the first may be out."""
    refused = policy.refusal_to_send(_sent(), "d1", OTHER, _AT)

    assert refused is not None
    assert ("DIFFERENT_SENDER", NextStep.MANUAL_REVIEW) == (refused.code, apply(_sent(), refused).next_step)
    assert policy.refusal_to_send(_sent(), "d1", OWN, _AT) is None
    assert policy.refusal_to_send(_sent(), "d2", OWN, _AT) is not None


def test_settled_only_with_exactly_our_amount() -> None:
    """Another amount is never settled and never sent again, and needs review."""
    refund = _interpreted(_sent(), outcomes.Succeeded(OTHER_EUROS), source(_AT, Channel.INQUIRY, 1), Terms())

    assert (False, Resend.NEVER, True) == (refund.final, refund.resend, bool(refund.review))


def test_a_failure_reported_to_another_identity_is_not_believed() -> None:
    """A failure allows a new id, so it counts only from the identity that sent; three times it is flagged."""
    refund = _sent()
    for count in range(3):
        where = attrs.evolve(source(_AT + timedelta(minutes=count), Channel.INQUIRY, 1), sender=OTHER)
        refund = _interpreted(refund, ALPHABET["failed"], where, Terms())

    assert (False, NextStep.INQUIRE, Resend.NEVER) == (refund.final, refund.next_step, refund.resend)
    assert ReviewReason.INCONSISTENT_ANSWERS in [review.code for review in refund.review]


def test_what_never_left_does_not_count_as_sent() -> None:
    """An outage in which nothing is sent needs no operator, however many attempts it takes, until it lasts for days."""
    refund, at = _sent(), _AT
    for _ in range(100):
        refund = _interpreted(refund, outcomes.NotSent("refused"), source(at, Channel.REPLY, refund.attempts), Terms())
        step = policy.next_step(refund, Terms(), at)
        assert isinstance(step, policy.Submit)
        at = step.at
        refund = _submitted(refund, at, Terms())
    days = at + timedelta(days=8)
    refund = _interpreted(refund, outcomes.NotSent("refused"), source(days, Channel.REPLY, refund.attempts), Terms())

    assert isinstance(policy.next_step(refund, Terms(), days), policy.ManualReview)


def test_trouble_with_the_call_is_no_contradiction_after_the_end() -> None:
    """A reply "system error, do not repeat" after a notification settled the refund needs no review."""
    refund = _interpreted(_sent(), ALPHABET["settled"], source(_AT, Channel.NOTIFICATION), Terms())
    trouble = outcomes.Unknown("a system error", "SYSTEM_ERROR", Resend.NEVER, ReviewReason.UNCONFIRMED_REFUSAL)
    after = _interpreted(refund, trouble, source(_AT, Channel.REPLY, 1), Terms())

    assert (Status.SETTLED, ()) == (after.status, after.review)
    asked = _interpreted(refund, trouble, source(_AT, Channel.INQUIRY, 1), Terms())
    assert [ReviewReason.CONTRADICTS_FINAL_STATE] == [review.code for review in asked.review]
