"""Every refund there can be: a walk over the real policy and the real fold, with laws that are checked in every state.

The rule of this module: what the laws need to know is kept in `Known`, which is derived from the messages and never
read from the refund, so that a flag that the core forgets is not forgotten here.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from refundry.inputs import Operator
from refundry.provider import Resend, Terms, outcomes
from refundry.refund import Channel, Event, Failed, NextStep, Refund, Settled, Submitted, apply, fold, policy
from tests.core.strategies import ALPHABET, EUROS, NOON, OTHER, OWN, REQUESTED, new_refund, source

_FAR: Final = timedelta(days=400)


@attrs.frozen
class Words:
    """What a walk consists of: answers, notifications, and how often an operator resumes the refund."""

    answers: tuple[str, ...]
    notifications: tuple[str, ...]
    resumes: int


EVERYTHING: Final = Words(
    ("settled", "pending", "failed", "not found", "unknown", "call again", "never again", "blocked"),
    ("settled", "pending", "failed", "unknown"),
    0,
)
SENDING: Final = Words(("pending", "failed", "not found", "unknown", "call again"), ("settled", "failed"), 0)
FIXING: Final = Words(("pending", "not found", "blocked"), (), 1)


class Broken(AssertionError):
    """A law does not hold."""


@attrs.frozen
class Known:
    """What an observer of every message knows."""

    never: bool = False
    """A message came after which it must not be sent again."""
    left: int = 0
    """How many attempts were sent since the beginning, or since an operator resumed the refund."""
    newest: str = "none"
    """The newest attempt: `in flight`, `not sent`, `blocked`, or `call again` (in flight, and asked for once more)."""
    older_in_flight: bool = False
    """An older attempt is unresolved."""
    learned: bool = False
    """Something was learned since the newest attempt was sent."""
    row: int = 0
    row_at: datetime | None = None
    hint: bool = False
    """An old notification shows that the provider knows the refund, and there was no inquiry since."""
    refused: bool = False
    blocked_code: str | None = None
    resumed: bool = False
    resumes: int = 0

    @property
    def in_flight(self) -> bool:
        return self.older_in_flight or self.newest in ("in flight", "call again")


@attrs.frozen
class World:
    refund: Refund
    now: datetime
    known: Known = Known()
    reply_due: bool = False
    old_reply_due: bool = False


@attrs.frozen
class Message:
    """A message: what it means, and where it came from."""

    name: str
    outcome: Any
    source: policy.Source

    @property
    def reply(self) -> bool:
        return self.source.channel is Channel.REPLY


def start() -> World:
    """Return the world in which a refund has just been requested."""
    return World(new_refund(), NOON)


def start_possibly_sent(terms: Terms) -> World:
    """Return the world in which a refund was requested that may have been sent before it was recorded."""
    requested = attrs.evolve(REQUESTED, possible_sender=OWN, inquire_at=policy.unanswered_until(NOON, terms))
    return World(fold(new_refund().id, [requested]), NOON, Known(newest="in flight"))


def key(world: World, terms: Terms) -> tuple[Any, ...]:
    """Return what makes two worlds the same: all but ids, texts, and what no rule reads any more."""
    r, k, now = world.refund, world.known, world.now
    if r.final:
        return (r.status, frozenset(review.code for review in r.review))
    sent, since = r.sent_at or NOON, max(r.first_sent_at or NOON, r.resumed_at or NOON)
    by_id_only = "refund_request_id" not in terms.inquire_by
    always = (
        r.attempts == 0, r.unresolved_attempt, r.last, r.inquired_as == r.sender, min(r.inconsistent_answers, 3),
        r.unconfirmed_failure is None,
        min(r.not_found, terms.not_found_tries + 1), min(k.row, terms.not_found_tries + 1),
        r.next_step == NextStep.MANUAL_REVIEW, r.blocked, r.blocked_code,
        k.blocked_code, k.refused, k.older_in_flight, k.learned, k.resumes,
        by_id_only and r.provider_refund_id is None,
        now >= sent + timedelta(seconds=terms.first_inquiry),
        now >= r.updated_at + timedelta(seconds=terms.not_found_interval),
        r.updated_at - since > timedelta(seconds=terms.escalate_after),
        world.reply_due, world.old_reply_due,
    )  # fmt: skip
    if k.never and r.resend is Resend.NEVER:  # It is never sent again: what only sending reads makes no difference.
        return always
    forgotten = terms.id_horizon and now - (r.first_sent_at or NOON) > timedelta(seconds=terms.id_horizon / 2)
    tried = (r.attempts - r.attempts_before_resume - r.unsent, k.left)
    return (*always, k.never, r.resend, r.status, r.in_flight, k.newest, k.hint, forgotten, *tried, r.next_step)


# --- what can happen --------------------------------------------------------------------------------------------------


def moves(world: World, terms: Terms, words: Words) -> Iterator[tuple[str, World]]:
    """Return everything that can happen next, as the gateway lets it happen."""
    yield from _processed(world, terms, words)
    for message in _words(world, words):
        yield from _received(world, message, terms)
    yield from _operators(world, terms, words)
    if world.now == world.refund.updated_at:
        yield "time passes", attrs.evolve(world, now=world.now + _FAR)


def _processed(world: World, terms: Terms, words: Words) -> Iterator[tuple[str, World]]:
    step = policy.next_step(world.refund, terms, world.now)
    planned = world.refund.next_at
    if isinstance(step, policy.ManualReview) and planned is not None:
        event = policy.escalated(world.refund, step, max(world.now, planned))
        known = attrs.evolve(world.known, row=0, row_at=None, learned=True, refused=False)
        yield "escalated", _after(attrs.evolve(world, known=known), event, terms)
    if isinstance(step, policy.Submit | policy.Inquire):
        due = attrs.evolve(world, now=max(world.now, step.at))
        again = policy.next_step(world.refund, terms, due.now)
        if isinstance(again, policy.Submit):
            yield "submit", _submitted(due, terms, OWN)
            if world.known.in_flight:
                yield "submit as another", _submitted(due, terms, OTHER)
        elif isinstance(again, policy.Inquire):
            for name in words.answers:
                asked = source(due.now, Channel.INQUIRY, due.refund.attempts)
                yield from _received(due, Message(name, ALPHABET[name], asked), terms)
            other = source(due.now, Channel.INQUIRY, due.refund.attempts, sender=OTHER)
            yield from _received(due, Message("not found", ALPHABET["not found"], other), terms)


def _words(world: World, words: Words) -> Iterator[Message]:
    now, attempts = world.now, world.refund.attempts
    for name in words.answers:
        outcome = ALPHABET[name]
        if world.reply_due:
            yield Message(name, outcome, source(now, Channel.REPLY, attempts))
        if world.old_reply_due:
            yield Message(name, outcome, source(now, Channel.REPLY, attempts - 1))
        yield Message(name, outcome, source(now, Channel.INQUIRY, attempts))
        if attempts:
            yield Message(name, outcome, source(now, Channel.INQUIRY, attempts - 1))
    if world.reply_due:
        yield Message("not sent", ALPHABET["not sent"], source(now, Channel.REPLY, attempts))
    for name in words.notifications:
        yield Message(name, ALPHABET[name], source(now, Channel.NOTIFICATION))
        yield Message(name, ALPHABET[name], source(now, Channel.NOTIFICATION, fresh=False))


def _operators(world: World, terms: Terms, words: Words) -> Iterator[tuple[str, World]]:
    refund, now, known = world.refund, world.now, world.known
    if known.resumes < words.resumes and not refund.final:
        event = policy.resumed(refund, now, Operator("ada", "fixed"), terms)
        after = attrs.evolve(known, left=0, row=0, row_at=None, resumed=True, resumes=known.resumes + 1)
        yield "resume", _after(attrs.evolve(world, known=after), event, terms)
    by_hand: tuple[Event, ...] = (
        Settled(at=now, channel=Channel.OPERATOR, amount=EUROS, by="ada", why="the bank says so"),
        Failed(at=now, channel=Channel.OPERATOR, code="P", cause="c", advice="a", by="ada", why="the bank says so"),
    )
    for decision in by_hand:
        yield f"{decision.topic} by an operator", _after(world, decision, terms)


def _after(world: World, event: Event, terms: Terms) -> World:
    after = attrs.evolve(world, refund=apply(world.refund, event), now=event.at)
    check_recorded(after, terms)
    return after


def _submitted(world: World, terms: Terms, sender: str) -> World:
    refund, known, now = world.refund, world.known, world.now
    refused = policy.refusal_to_send(refund, "d1", sender, now)
    if refused is not None:
        _law(
            known.in_flight and sender != refund.sender,
            "only another sender is refused the same bytes, and only while one is in flight",
        )
        return _after(world, refused, terms)
    check_may_submit(world, terms, sender)
    event = Submitted(
        at=now,
        attempt=refund.attempts + 1,
        digest="d1",
        sender=sender,
        plugin="antom 0.1.0",
        next_at=now + timedelta(seconds=terms.timeout + terms.first_inquiry),
    )
    after = attrs.evolve(
        known,
        newest="in flight",
        left=known.left + 1,
        older_in_flight=known.in_flight,
        learned=False,
        row=0,
        row_at=None,
        hint=False,
    )
    world = attrs.evolve(
        world, known=after, reply_due=True, old_reply_due=world.reply_due and known.newest == "in flight"
    )
    return _after(world, event, terms)


def _received(world: World, message: Message, terms: Terms) -> Iterator[tuple[str, World]]:
    event = policy.interpret(world.refund, message.outcome, message.source, terms)
    knows = interpreted(world, message, terms)
    if isinstance(event, Settled | Failed):
        check_may_end(world, knows, event, message, terms)
    attempt = message.source.attempt
    due = world.reply_due and not (message.reply and attempt == world.refund.attempts)
    old = world.old_reply_due and not (message.reply and attempt == world.refund.attempts - 1)
    after = attrs.evolve(world, known=knows, reply_due=due, old_reply_due=old)
    label = (
        f"{message.source.channel} of {attempt} ({message.source.sender}, fresh={message.source.fresh}): {message.name}"
    )
    yield label, after if event is None else _after(after, event, terms)


# --- what an observer knows afterwards --------------------------------------------------------------------------------


def interpreted(world: World, message: Message, terms: Terms) -> Known:
    """Return what is known after a message, by the rules and not by the code."""
    known, outcome = world.known, message.outcome
    overtaken = message.source.attempt not in (None, world.refund.attempts)
    if overtaken and isinstance(outcome, outcomes.NotFound | outcomes.NotSent):
        return known
    if isinstance(outcome, outcomes.NotFound) and message.source.channel is Channel.INQUIRY:
        return _not_known(world, message, terms)
    direct = message.reply and not overtaken and not known.learned
    changes: dict[str, Any] = {"row": 0, "row_at": None, "learned": True}
    if message.source.channel is Channel.INQUIRY:
        changes["hint"] = False
    if isinstance(outcome, outcomes.Pending | outcomes.Succeeded) or getattr(outcome, "review", None):
        changes["refused"] = False
    if isinstance(outcome, outcomes.Pending) or getattr(outcome, "resend", None) is Resend.NEVER:
        changes["never"] = True
    if isinstance(outcome, outcomes.Succeeded) and outcome.amount != EUROS:
        changes["never"] = True
    elif isinstance(outcome, outcomes.Succeeded | outcomes.DefinitiveFailure) and not message.source.fresh:
        changes["hint"] = True
    elif isinstance(outcome, outcomes.DefinitiveFailure):
        changes |= {"never": True, "refused": True}
    if direct and isinstance(outcome, outcomes.NotSent):
        changes |= {"newest": "not sent", "left": known.left - 1}
    if direct and getattr(outcome, "resend", None) is Resend.SAME:
        changes["newest"] = "call again"
    elif known.newest == "call again":
        changes["newest"] = "in flight"
    if message.reply and not overtaken and isinstance(outcome, outcomes.Blocked):
        changes |= {"newest": "blocked", "blocked_code": outcome.code, "resumed": False}
    return attrs.evolve(known, **changes)


def _not_known(world: World, message: Message, terms: Terms) -> Known:
    known, at = world.known, message.source.at
    if at < (world.refund.sent_at or NOON) + timedelta(seconds=terms.first_inquiry):
        return known
    known = attrs.evolve(known, learned=True, newest="in flight" if known.newest == "call again" else known.newest)
    if message.source.sender != world.refund.sender:
        return known
    if known.row_at is not None and at < known.row_at + timedelta(seconds=terms.not_found_interval):
        return known
    return attrs.evolve(known, row=known.row + 1, row_at=at, hint=False)


# --- the laws ---------------------------------------------------------------------------------------------------------


def _law(holds: bool, law: str) -> None:
    if not holds:
        raise Broken(law)


def check_may_submit(world: World, terms: Terms, sender: str) -> None:
    """Check that nothing can be in flight, or that the provider's messages and terms allow another attempt."""
    known, refund = world.known, world.refund
    _law(refund.refund_request_id == "R1", "one id, permanently")
    _law(not known.never, "never sent again after a pending, a definitive failure or an answer that forbids it")
    _law(
        refund.attempts == 0 or sender == refund.sender or not known.in_flight,
        "another sender only if nothing is in flight",
    )
    _law(known.left < terms.max_attempts, "no more attempts are sent than the terms allow")
    horizon = terms.id_horizon
    if known.in_flight and horizon is not None and refund.first_sent_at is not None:
        age = (world.now - refund.first_sent_at).total_seconds()
        _law(age <= horizon / 2, "never sent when the provider may have forgotten the id")
    if known.newest in ("in flight", "call again"):
        asked = known.newest == "call again" and Resend.SAME in terms.resend_after
        enough = known.row >= 1 + terms.not_found_tries and Resend.AFTER_NOT_FOUND in terms.resend_after
        _law(
            asked or enough,
            "sent again only if the provider asks for it, or after enough not found, and the terms allow it",
        )
    _law(not known.hint or not known.in_flight, "a hint causes an inquiry before anything is sent again")


def check_may_end(world: World, knows: Known, event: Event, message: Message, terms: Terms) -> None:
    """Check that only the provider's report ends a refund, verified and in order."""
    outcome, known = message.outcome, world.known
    if isinstance(event, Settled):
        right = (
            isinstance(outcome, outcomes.Succeeded) and outcome.amount == EUROS == event.amount and message.source.fresh
        )
        _law(right, "settled only by a fresh report of exactly the requested amount")
    elif isinstance(outcome, outcomes.DefinitiveFailure):
        _law(message.source.fresh, "failed only by a fresh report")
        _law(not message.reply or not (known.older_in_flight or known.learned), "a reply concerns only its own attempt")
    elif isinstance(outcome, outcomes.NotFound):
        enough = knows.row >= 1 + terms.not_found_tries and message.source.sender == world.refund.sender
        _law(
            known.refused and enough, "an unconfirmed failure is confirmed by not found, as often as the terms require"
        )
    else:
        again = isinstance(outcome, outcomes.Blocked) and outcome.code == known.blocked_code and known.resumed
        _law(
            again and message.reply and not known.older_in_flight,
            "blocked is failed only after a fix and the same answer again",
        )


def check_recorded(world: World, terms: Terms) -> None:
    """Check that the log has the step that the policy plans, and that there is a step, a manual review or an end."""
    refund = world.refund
    step = policy.next_step(refund, terms, refund.updated_at)
    # If no inquiry is possible, the answer to the newest attempt is awaited until then all the same, as is that of an
    # attempt that may have been made before.
    if not (refund.last in ("submitted", "requested") and step.name == NextStep.MANUAL_REVIEW):
        _law(step.name == refund.next_step, f"the log has {refund.next_step}, the policy {step.name}")
        _law(getattr(step, "at", None) == refund.next_at, "the log and the policy agree when")
    _law(
        (refund.next_at is None) == (refund.next_step in (NextStep.MANUAL_REVIEW, NextStep.DONE)),
        "work that is due has a time in the index",
    )
    _law(refund.final == isinstance(step, policy.Done), "done exactly when final")
    ahead = timedelta(0) if refund.next_at is None else refund.next_at - refund.updated_at
    _law(ahead <= policy.longest_wait(terms), "nothing is planned further ahead than the longest wait")
    if refund.next_step == NextStep.MANUAL_REVIEW:
        _law(bool(refund.review) and step.name == NextStep.MANUAL_REVIEW, "a manual review has a reason")
    for later in (timedelta(hours=2), _FAR, 10 * _FAR):
        then = policy.next_step(refund, terms, refund.updated_at + later)
        same = type(then) is type(step) or (isinstance(step, policy.Submit) and isinstance(then, policy.ManualReview))
        _law(same, "the clock decides nothing; at most it escalates")


# --- the walk ---------------------------------------------------------------------------------------------------------


def explore(
    terms: Terms, words: Words, limit: int = 200_000, first: World | None = None
) -> set[tuple[Any, ...]]:  # fmt: skip
    """Return every world that can be reached; `Broken` names the law that does not hold, and the way there."""
    first = first or start()
    came: dict[tuple[Any, ...], tuple[tuple[Any, ...] | None, str]] = {key(first, terms): (None, "requested")}
    edge = [first]
    while edge:
        following = []
        for world in edge:
            here = key(world, terms)
            try:
                for label, after in moves(world, terms, words):
                    there = key(after, terms)
                    if there not in came:
                        came[there] = (here, label)
                        if not after.refund.final:
                            following.append(after)
            except Exception as error:
                raise Broken(f"{error!r} after {' / '.join(_way(came, here))}") from error
        edge = following
        if len(came) > limit:
            raise Broken("there is no end of states")
    return set(came)


def _way(came: dict[tuple[Any, ...], tuple[tuple[Any, ...] | None, str]], here: tuple[Any, ...]) -> list[str]:
    labels: list[str] = []
    step: tuple[Any, ...] | None = here
    while step is not None:
        step, label = came[step]
        labels.append(label)
    return labels[::-1]


__all__ = ["EVERYTHING", "FIXING", "SENDING", "Broken", "Words", "World", "explore", "key", "moves", "start"]
