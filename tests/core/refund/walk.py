"""Every refund there can be: a walk over the real policy and the real fold, with laws that are checked in every state.

The rule of this module: what the laws need to know is kept in `Known`, written down here from what was heard and never
read from the refund, so that a flag which the core forgets is not forgotten here.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from refundry.provider import Resend, Terms, outcomes
from refundry.refund import Channel, Event, Failed, NextStep, Refund, Settled, Submitted, apply, policy
from tests.core.strategies import ALPHABET, EUROS, NOON, OTHER, OWN, new_refund, source

_FAR: Final = timedelta(days=400)


@attrs.frozen
class Words:
    """What is said in a walk: in answers, in notifications; and how often a person says "go on"."""

    said: tuple[str, ...]
    told: tuple[str, ...]
    resumes: int


EVERYTHING: Final = Words(
    ("settled", "pending", "failed", "not found", "unknown", "call again", "never again", "blocked"),
    ("settled", "pending", "failed", "unknown"),
    0,
)
SENDING: Final = Words(("pending", "failed", "not found", "unknown", "call again"), ("settled", "failed"), 0)
MENDING: Final = Words(("pending", "not found", "blocked"), (), 1)


class Broken(AssertionError):
    """A law does not hold."""


@attrs.frozen
class Known:
    """What an observer of every word knows."""

    never: bool = False
    """Somebody said a word after which it must not be sent again."""
    left: int = 0
    """How many attempts left since the beginning, or since a person said "go on"."""
    newest: str = "none"
    """The newest attempt: `out`, `not sent`, `blocked`, or `call again` (out, and asked for once more)."""
    older_out: bool = False
    """What became of an older attempt is not known."""
    heard: bool = False
    """Something was heard since the newest attempt left."""
    row: int = 0
    row_at: datetime | None = None
    hint: bool = False
    """An old notification says that the provider knows the refund, and it was not asked since."""
    refused: bool = False
    blocked_code: str | None = None
    resumed: bool = False
    resumes: int = 0

    @property
    def out(self) -> bool:
        return self.older_out or self.newest in ("out", "call again")


@attrs.frozen
class World:
    refund: Refund
    now: datetime
    known: Known = Known()
    reply_due: bool = False
    old_reply_due: bool = False


@attrs.frozen
class Word:
    """Something that is heard: what, and from where."""

    name: str
    outcome: Any
    source: policy.Source

    @property
    def reply(self) -> bool:
        return self.source.channel is Channel.REPLY


def start() -> World:
    """Give the world in which a refund has just been requested."""
    return World(new_refund(), NOON)


def key(world: World, terms: Terms) -> tuple[Any, ...]:
    """Say what makes two worlds the same: everything but ids, texts, and what no rule looks at any more."""
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
        k.blocked_code, k.refused, k.older_out, k.heard, k.resumes,
        by_id_only and r.provider_refund_id is None,
        now >= sent + timedelta(seconds=terms.first_inquiry),
        now >= r.updated_at + timedelta(seconds=terms.not_found_interval),
        r.updated_at - since > timedelta(seconds=terms.escalate_after),
        world.reply_due, world.old_reply_due,
    )  # fmt: skip
    if k.never and r.resend is Resend.NEVER:  # It is never sent again: what only sending looks at is the same to it.
        return always
    forgotten = terms.id_horizon and now - (r.first_sent_at or NOON) > timedelta(seconds=terms.id_horizon / 2)
    tried = (r.attempts - r.attempts_before_resume - r.unsent, k.left)
    return (*always, k.never, r.resend, r.status, r.in_flight, k.newest, k.hint, forgotten, *tried, r.next_step)


# --- what can happen --------------------------------------------------------------------------------------------------


def moves(world: World, terms: Terms, words: Words) -> Iterator[tuple[str, World]]:
    """Give everything that can happen next, as the gateway lets it happen."""
    yield from _processed(world, terms, words)
    for word in _words(world, words):
        yield from _heard(world, word, terms)
    yield from _persons(world, terms, words)
    if world.now == world.refund.updated_at:
        yield "time passes", attrs.evolve(world, now=world.now + _FAR)


def _processed(world: World, terms: Terms, words: Words) -> Iterator[tuple[str, World]]:
    step = policy.next_step(world.refund, terms, world.now)
    planned = world.refund.next_at
    if isinstance(step, policy.ManualReview) and planned is not None:
        event = policy.escalated(world.refund, step, max(world.now, planned))
        known = attrs.evolve(world.known, row=0, row_at=None, heard=True, refused=False)
        yield "a person is called", _after(attrs.evolve(world, known=known), event, terms)
    if isinstance(step, policy.Submit | policy.Inquire):
        due = attrs.evolve(world, now=max(world.now, step.at))
        again = policy.next_step(world.refund, terms, due.now)
        if isinstance(again, policy.Submit):
            yield "submit", _submitted(due, terms, OWN)
            if world.known.out:
                yield "submit as another", _submitted(due, terms, OTHER)
        elif isinstance(again, policy.Inquire):
            for name in words.said:
                asked = source(due.now, Channel.INQUIRY, due.refund.attempts)
                yield from _heard(due, Word(name, ALPHABET[name], asked), terms)
            other = source(due.now, Channel.INQUIRY, due.refund.attempts, sender=OTHER)
            yield from _heard(due, Word("not found", ALPHABET["not found"], other), terms)


def _words(world: World, words: Words) -> Iterator[Word]:
    now, attempts = world.now, world.refund.attempts
    for name in words.said:
        outcome = ALPHABET[name]
        if world.reply_due:
            yield Word(name, outcome, source(now, Channel.REPLY, attempts))
        if world.old_reply_due:
            yield Word(name, outcome, source(now, Channel.REPLY, attempts - 1))
        yield Word(name, outcome, source(now, Channel.INQUIRY, attempts))
        if attempts:
            yield Word(name, outcome, source(now, Channel.INQUIRY, attempts - 1))
    if world.reply_due:
        yield Word("not sent", ALPHABET["not sent"], source(now, Channel.REPLY, attempts))
    for name in words.told:
        yield Word(name, ALPHABET[name], source(now, Channel.NOTIFICATION))
        yield Word(name, ALPHABET[name], source(now, Channel.NOTIFICATION, fresh=False))


def _persons(world: World, terms: Terms, words: Words) -> Iterator[tuple[str, World]]:
    refund, now, known = world.refund, world.now, world.known
    if known.resumes < words.resumes and not refund.final:
        event = policy.resumed(refund, now, "ada", "mended", terms)
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
        _law(known.out and sender != refund.sender, "only another sender is refused the same bytes, and only in doubt")
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
        known, newest="out", left=known.left + 1, older_out=known.out, heard=False, row=0, row_at=None, hint=False
    )
    world = attrs.evolve(world, known=after, reply_due=True, old_reply_due=world.reply_due and known.newest == "out")
    return _after(world, event, terms)


def _heard(world: World, word: Word, terms: Terms) -> Iterator[tuple[str, World]]:
    event = policy.interpret(world.refund, word.outcome, word.source, terms)
    knows = interpreted(world, word, terms)
    if isinstance(event, Settled | Failed):
        check_may_end(world, knows, event, word, terms)
    attempt = word.source.attempt
    due = world.reply_due and not (word.reply and attempt == world.refund.attempts)
    old = world.old_reply_due and not (word.reply and attempt == world.refund.attempts - 1)
    after = attrs.evolve(world, known=knows, reply_due=due, old_reply_due=old)
    label = f"{word.source.channel} of {attempt} ({word.source.sender}, fresh={word.source.fresh}): {word.name}"
    yield label, after if event is None else _after(after, event, terms)


# --- what an observer knows afterwards --------------------------------------------------------------------------------


def interpreted(world: World, word: Word, terms: Terms) -> Known:
    """Write down what a word teaches, by the rules and not by the code."""
    known, outcome = world.known, word.outcome
    overtaken = word.source.attempt not in (None, world.refund.attempts)
    if overtaken and isinstance(outcome, outcomes.NotFound | outcomes.NotSent):
        return known
    if isinstance(outcome, outcomes.NotFound) and word.source.channel is Channel.INQUIRY:
        return _not_known(world, word, terms)
    direct = word.reply and not overtaken and not known.heard
    changes: dict[str, Any] = {"row": 0, "row_at": None, "heard": True}
    if word.source.channel is Channel.INQUIRY:
        changes["hint"] = False
    if isinstance(outcome, outcomes.Pending | outcomes.Succeeded) or getattr(outcome, "review", None):
        changes["refused"] = False
    if isinstance(outcome, outcomes.Pending) or getattr(outcome, "resend", None) is Resend.NEVER:
        changes["never"] = True
    if isinstance(outcome, outcomes.Succeeded) and outcome.amount != EUROS:
        changes["never"] = True
    elif isinstance(outcome, outcomes.Succeeded | outcomes.DefinitiveFailure) and not word.source.fresh:
        changes["hint"] = True
    elif isinstance(outcome, outcomes.DefinitiveFailure):
        changes |= {"never": True, "refused": True}
    if direct and isinstance(outcome, outcomes.NotSent):
        changes |= {"newest": "not sent", "left": known.left - 1}
    if direct and getattr(outcome, "resend", None) is Resend.SAME:
        changes["newest"] = "call again"
    elif known.newest == "call again":
        changes["newest"] = "out"
    if word.reply and not overtaken and isinstance(outcome, outcomes.Blocked):
        changes |= {"newest": "blocked", "blocked_code": outcome.code, "resumed": False}
    return attrs.evolve(known, **changes)


def _not_known(world: World, word: Word, terms: Terms) -> Known:
    known, at = world.known, word.source.at
    if at < (world.refund.sent_at or NOON) + timedelta(seconds=terms.first_inquiry):
        return known
    known = attrs.evolve(known, heard=True, newest="out" if known.newest == "call again" else known.newest)
    if word.source.sender != world.refund.sender:
        return known
    if known.row_at is not None and at < known.row_at + timedelta(seconds=terms.not_found_interval):
        return known
    return attrs.evolve(known, row=known.row + 1, row_at=at, hint=False)


# --- the laws ---------------------------------------------------------------------------------------------------------


def _law(holds: bool, law: str) -> None:
    if not holds:
        raise Broken(law)


def check_may_submit(world: World, terms: Terms, sender: str) -> None:
    """Sending is allowed when nothing can be out, or when the provider's words and terms allow it."""
    known, refund = world.known, world.refund
    _law(refund.refund_request_id == "R1", "one id for life")
    _law(not known.never, "never sent again after a pending, a definitive failure or a word that forbids it")
    _law(refund.attempts == 0 or sender == refund.sender or not known.out, "another sender only if nothing is out")
    _law(known.left < terms.max_attempts, "not more attempts leave than the terms allow")
    horizon = terms.id_horizon
    if known.out and horizon is not None and refund.first_sent_at is not None:
        age = (world.now - refund.first_sent_at).total_seconds()
        _law(age <= horizon / 2, "never sent when the provider may have forgotten the id")
    if known.newest in ("out", "call again"):
        asked = known.newest == "call again" and Resend.SAME in terms.resend_after
        enough = known.row >= 1 + terms.not_found_tries and Resend.AFTER_NOT_FOUND in terms.resend_after
        _law(asked or enough, "sent again only where asked to, or not found often enough, and the terms allow it")
    _law(not known.hint or not known.out, "a hint makes us ask before anything is sent again")


def check_may_end(world: World, knows: Known, event: Event, word: Word, terms: Terms) -> None:
    """Nothing is final but by the provider's word, checked and in order."""
    outcome, known = word.outcome, world.known
    if isinstance(event, Settled):
        right = (
            isinstance(outcome, outcomes.Succeeded) and outcome.amount == EUROS == event.amount and word.source.fresh
        )
        _law(right, "settled only by a fresh word about exactly our amount")
    elif isinstance(outcome, outcomes.DefinitiveFailure):
        _law(word.source.fresh, "failed only by a fresh word")
        _law(not word.reply or not (known.older_out or known.heard), "a reply speaks only for its own attempt")
    elif isinstance(outcome, outcomes.NotFound):
        enough = knows.row >= 1 + terms.not_found_tries and word.source.sender == world.refund.sender
        _law(known.refused and enough, "a refusal in doubt is confirmed by not found, as often as the terms say")
    else:
        again = isinstance(outcome, outcomes.Blocked) and outcome.code == known.blocked_code and known.resumed
        _law(again and word.reply and not known.older_out, "blocked is failed only when mended and said once more")


def check_recorded(world: World, terms: Terms) -> None:
    """The next step is in the log as the policy says it, and there always is one, or a person, or an end."""
    refund = world.refund
    step = policy.next_step(refund, terms, refund.updated_at)
    # Where nobody can be asked, the answer to the newest attempt is awaited until then all the same.
    if not (refund.last == "submitted" and step.name == NextStep.MANUAL_REVIEW):
        _law(step.name == refund.next_step, f"the log says {refund.next_step}, the policy {step.name}")
        _law(getattr(step, "at", None) == refund.next_at, "the log and the policy agree when")
    _law(
        (refund.next_at is None) == (refund.next_step in (NextStep.MANUAL_REVIEW, "done")),
        "what is due has a time in the index",
    )
    _law(refund.final == isinstance(step, policy.Done), "done exactly when final")
    if refund.next_step == NextStep.MANUAL_REVIEW:
        _law(bool(refund.review) and step.name == NextStep.MANUAL_REVIEW, "a person who is called is told why")
    for later in (timedelta(hours=2), _FAR, 10 * _FAR):
        then = policy.next_step(refund, terms, refund.updated_at + later)
        same = type(then) is type(step) or (isinstance(step, policy.Submit) and isinstance(then, policy.ManualReview))
        _law(same, "the clock decides nothing; at most it calls a person")


# --- the walk ---------------------------------------------------------------------------------------------------------


def explore(terms: Terms, words: Words, limit: int = 200_000) -> set[tuple[Any, ...]]:
    """Walk through every world there is; `Broken` names the law and the way to where it does not hold."""
    first = start()
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


__all__ = ["EVERYTHING", "MENDING", "SENDING", "Broken", "Words", "World", "explore", "key", "moves", "start"]
