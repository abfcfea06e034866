"""What to do next, and what an answer is worth: (refund, the provider's terms, now) -> the next step.

The rule of this module: pure, and every decision about money is here. One id for life; a resend only where the terms
and every earlier answer allow it; nothing final without the provider's word or a person's; nothing decided by the
clock; and always a next step or a person.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import attrs

from refundry import provider as heard
from refundry.errors import Invalid
from refundry.provider import NotSent, Order, Outcome, Resend, Scope, Terms
from refundry.refund import (
    GAVE_UP,
    PERSON,
    POINTED_OUT,
    Channel,
    Event,
    Failed,
    Failure,
    Inquired,
    Refund,
    Settled,
    Status,
    apply,
)


@attrs.frozen(slots=True)
class Submit:
    """Send it, under the id and with the bytes it has for life, not before `at`."""

    at: datetime
    name = "submit"


@attrs.frozen(slots=True)
class Inquire:
    """Ask the provider what became of it, not before `at`."""

    at: datetime
    name = "inquire"


@attrs.frozen(slots=True)
class Person:
    """Only a person can say how to go on."""

    reason: str
    name = PERSON


@attrs.frozen(slots=True)
class Done:
    """It is final."""

    name = "done"


Step = Submit | Inquire | Person | Done

_MAX_BACKOFF: Final = 300.0
_ODD_ANSWERS: Final = 3
"""So many inquiries in a row that contradict what was asked are no accident of the network any more."""


def next_step(refund: Refund, terms: Terms, now: datetime) -> Step:
    """Say what is to be done with a refund, and when."""
    if refund.final:
        return Done()
    if refund.blocked is not None:
        return Person(refund.attention or "blocked")
    if refund.next_step == PERSON:
        return Person(refund.attention or "waits for a person")
    if refund.attempts == 0 and refund.resend is not Resend.NEVER and refund.last not in _HINTS:
        return Submit(max(refund.requested_at, refund.resumed_at or refund.requested_at))
    return _NEXT[refund.last](refund, terms, now)


def _after_submitted(refund: Refund, terms: Terms, now: datetime) -> Step:
    assert refund.sent_at is not None
    return _inquire(refund, terms, refund.sent_at + _seconds(terms.timeout + terms.first_inquiry))


def _after_not_sent(refund: Refund, terms: Terms, now: datetime) -> Step:
    return _submit(refund, terms, now, _backoff(refund, terms))


def _after_pending(refund: Refund, terms: Terms, now: datetime) -> Step:
    return _inquire(refund, terms, _on_schedule(refund, terms))


def _after_unknown(refund: Refund, terms: Terms, now: datetime) -> Step:
    if refund.resend is Resend.SAME and Resend.SAME in terms.resend_after:
        return _submit(refund, terms, now, _backoff(refund, terms))
    if refund.odd >= _ODD_ANSWERS:
        return Person(refund.attention or "its answers make no sense")
    return _inquire(refund, terms, _on_schedule(refund, terms))


def _after_hint(refund: Refund, terms: Terms, now: datetime) -> Step:
    return _inquire(refund, terms, refund.updated_at)


def _after_not_found(refund: Refund, terms: Terms, now: datetime) -> Step:
    if refund.asked_as != refund.sender:
        sender = refund.sender or "nobody"
        return Person(f"not known to {refund.asked_as}, but it was sent by {sender}: that says nothing")
    if refund.not_found <= terms.not_found_tries:
        return _inquire(refund, terms, refund.updated_at + _seconds(terms.not_found_interval))
    if refund.resend is Resend.NEVER:
        return Person("the provider does not know it, and an earlier answer forbids to send it again")
    if Resend.AFTER_NOT_FOUND not in terms.resend_after:
        return Person("the provider does not know it, and its terms do not allow to send it again")
    return _submit(refund, terms, now, refund.updated_at)


def _after_resumed(refund: Refund, terms: Terms, now: datetime) -> Step:
    if refund.out or refund.resend is Resend.NEVER:
        return _inquire(refund, terms, refund.updated_at)
    return _submit(refund, terms, now, refund.updated_at)


_NEXT: Final[Mapping[str, Callable[[Refund, Terms, datetime], Step]]] = {
    "submitted": _after_submitted,
    "not_sent": _after_not_sent,
    "pending": _after_pending,
    "unknown": _after_unknown,
    "not_found": _after_not_found,
    "settled": _after_hint,
    "failed": _after_hint,
    "resumed": _after_resumed,
}
"""What follows the newest thing that happened. `blocked` is not here: a person comes first."""

_HINTS: Final = frozenset({"settled", "failed"})
"""Heard but not believed: the provider seems to know the refund, so ask before anything is sent."""

_STARTS: Final = frozenset({"submitted", "resumed"})
"""After these at least one answer is awaited, however old the refund is."""


def _submit(refund: Refund, terms: Terms, now: datetime, at: datetime) -> Step:
    assert refund.first_sent_at is not None
    tried = refund.attempts - refund.attempts_before_resume - refund.unsent
    if tried >= terms.max_attempts:
        return Person(f"sent {tried} times without an answer that counts")
    if _waited_too_long(refund, terms):
        return Person("it could not be sent for too long")
    horizon = terms.id_horizon
    if refund.out and horizon is not None and max(now, at) - refund.first_sent_at > _seconds(horizon / 2):
        return Person("the provider may have forgotten the id: sending it again could pay twice")
    return Submit(at)


def _inquire(refund: Refund, terms: Terms, at: datetime) -> Step:
    by_provider_id = "provider_refund_id" in terms.inquire_by and refund.provider_refund_id is not None
    if "refund_request_id" not in terms.inquire_by and not by_provider_id:
        return Person("the provider cannot be asked about it without its own id of the refund")
    if _waited_too_long(refund, terms):
        return Person("no final answer for too long")
    return Inquire(max(at, _first_inquiry(refund, terms)))


def _waited_too_long(refund: Refund, terms: Terms) -> bool:
    # Judged by the newest answer and not by the clock: after a long silence of ours the provider is asked first. A
    # person who said "go on" has looked: the wait starts again from there.
    since = max(refund.first_sent_at or refund.requested_at, refund.resumed_at or refund.requested_at)
    return refund.last not in _STARTS and refund.updated_at - since > _seconds(terms.call_person_after)


def _first_inquiry(refund: Refund, terms: Terms) -> datetime:
    return refund.requested_at if refund.sent_at is None else refund.sent_at + _seconds(terms.first_inquiry)


def _on_schedule(refund: Refund, terms: Terms) -> datetime:
    if refund.inquiries == 0:
        return refund.updated_at
    waits = terms.inquiry_intervals
    wait = waits[min(refund.inquiries, len(waits)) - 1]
    return refund.updated_at + _seconds(wait * (1 + _spread(refund)))


def _backoff(refund: Refund, terms: Terms) -> datetime:
    wait = min(terms.resend_delay * 2 ** min(max(refund.backoffs - 1, 0), 16), max(_MAX_BACKOFF, terms.resend_delay))
    return refund.updated_at + _seconds(wait * (1 + _spread(refund)))


def _spread(refund: Refund) -> float:
    """Give each refund its own 0 to 10 % more, so that an outage does not end in a stampede; the same every time."""
    return int(refund.id[-2:], 16) / 2560


def _seconds(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


# --- what an answer is worth ------------------------------------------------------------------------------------------


@attrs.frozen(slots=True, kw_only=True)
class Source:
    """Where an outcome came from: what the event says about it."""

    at: datetime
    channel: Channel
    plugin: str | None = None
    sender: str | None = None
    """The identity that asked, for an inquiry."""
    evidence: str | None = None
    attempt: int | None = None
    """Which attempt was answered, or was the newest when the inquiry left."""
    fresh: bool = True
    """False for an old notification: it ends nothing. It may make us ask, or forbid a resend."""


def learn(refund: Refund, outcome: Outcome | NotSent, source: Source, terms: Terms) -> Event | None:
    """Turn what was heard into the event that records it; None when it tells nothing that is not recorded already."""
    event = understand(refund, outcome, source, terms)
    return with_next(refund, event, terms) if isinstance(event, Inquired) and event.next_step == TO_PLAN else event


TO_PLAN: Final = ""
"""The `next_step` of an event of which only is known what it says, and not yet what follows from it."""


def understand(refund: Refund, outcome: Outcome | NotSent, source: Source, terms: Terms) -> Event | None:
    """Say what the event will be that records what was heard; where it does not end the refund, without what is next.

    The plan may add `attention`, where there is none, and nothing else but `next_step` and `next_at`.
    """
    if isinstance(outcome, heard.Noted):
        if source.channel is Channel.NOTIFICATION:
            return _note(refund, outcome, source)
        outcome = heard.Unknown(f"the answer says nothing of where it stands: {outcome.cause}", outcome.code)
    if _overtaken(refund, source) and isinstance(outcome, NotSent | heard.NotFound):
        return None
    if refund.final:
        return _learn_after_the_end(refund, outcome, source)
    outcome = _worth(refund, outcome, source)
    if isinstance(outcome, heard.NotFound) and _too_early(refund, source, terms):
        return None
    if isinstance(outcome, heard.Settled):
        return _learn_settled(refund, outcome, source)
    if isinstance(outcome, heard.Failed):
        return _learn_failed(refund, outcome, source)
    if isinstance(outcome, heard.NotFound) and _confirms_failure(refund, source, terms):
        assert refund.said_failed is not None
        return _failure(refund.said_failed, source)
    if isinstance(outcome, heard.Blocked) and terms.replays_refusals and _blocked_again(refund, outcome, source):
        return _failure(Failure(outcome.code, outcome.cause, _FINAL_AFTER_ALL), source)
    return _inquired(refund, outcome, source)


_FINAL_AFTER_ALL: Final = (
    "The same answer came again after its cause was mended, so it is final for this id. Ask for a new refund if one is "
    "still wanted."
)


def _overtaken(refund: Refund, source: Source) -> bool:
    """Another attempt has left meanwhile: this speaks for the older one only."""
    return source.attempt is not None and source.attempt != refund.attempts


def _first_word(refund: Refund, source: Source) -> bool:
    """It answers the newest attempt, and nothing else was heard since that left."""
    return source.channel is Channel.REPLY and not _overtaken(refund, source) and refund.last == "submitted"


def _worth(refund: Refund, outcome: Outcome | NotSent, source: Source) -> Outcome | NotSent:
    """Give what is left of an outcome here: only the first word about an attempt may send the next one by itself."""
    if isinstance(outcome, NotSent) and not _first_word(refund, source):
        return heard.Unknown(outcome.cause)
    if isinstance(outcome, heard.NotFound) and source.channel is not Channel.INQUIRY:
        return heard.Unknown(outcome.cause or "not known to the provider, who was not asked", outcome.code)
    asked_as_another = source.channel is Channel.INQUIRY and refund.sender not in (None, source.sender)
    if isinstance(outcome, heard.Failed) and asked_as_another:
        text = f"{source.sender} was told that it failed, but it was sent by {refund.sender}"
        return heard.Unknown(text, outcome.code, resend=Resend.NEVER, attention=text)
    if isinstance(outcome, heard.Blocked) and _overtaken(refund, source):
        return heard.Unknown(outcome.cause, outcome.code)
    if isinstance(outcome, heard.Unknown) and outcome.resend is Resend.SAME and not _first_word(refund, source):
        return attrs.evolve(outcome, resend=Resend.AFTER_NOT_FOUND)
    return outcome


def _too_early(refund: Refund, source: Source, terms: Terms) -> bool:
    """Asked by hand, or twice at once: "not found" counts only that far from the sending and from the one before."""
    if source.at < _first_inquiry(refund, terms):
        return True
    again = refund.last == "not_found" and source.sender == refund.asked_as
    return again and source.at < refund.updated_at + _seconds(terms.not_found_interval)


def _learn_settled(refund: Refund, outcome: heard.Settled, source: Source) -> Event | None:
    if outcome.amount != refund.amount:
        text = f"the provider says it refunded {outcome.amount} {outcome.amount.currency}, not what was asked"
        unsure = heard.Unknown(text, resend=Resend.NEVER, attention=text)
        return _inquired(refund, unsure, source)
    if not source.fresh:
        return _inquired(refund, outcome, source)
    return Settled(
        at=source.at,
        channel=source.channel,
        amount=outcome.amount,
        provider_refund_id=outcome.provider_refund_id,
        settled_at=outcome.settled_at,
        settlement_amount=outcome.settlement_amount,
        quote=outcome.quote,
        details=outcome.details,
        evidence=source.evidence,
        plugin=source.plugin,
    )


def _learn_failed(refund: Refund, outcome: heard.Failed, source: Source) -> Event | None:
    # The reply speaks for its own attempt. Where an earlier one went unanswered, or something else was heard meanwhile,
    # an inquiry must confirm it: whether a provider looks the id up before it refuses is not written down anywhere.
    in_doubt = source.channel is Channel.REPLY and (refund.doubt or not _first_word(refund, source))
    if in_doubt or not source.fresh:
        return _inquired(refund, outcome, source)
    return _failure(Failure(outcome.code, outcome.cause, outcome.advice), source)


def _failure(failure: Failure, source: Source) -> Failed:
    return Failed(
        at=source.at,
        channel=source.channel,
        code=failure.code,
        cause=failure.cause,
        advice=failure.advice,
        evidence=source.evidence,
        plugin=source.plugin,
    )


def _confirms_failure(refund: Refund, source: Source, terms: Terms) -> bool:
    """It was refused for good in doubt, and is now not known often enough: both say that nothing will move.

    Not where a refusal speaks for its own attempt only: the earlier one, refused or not, may still be worked on.
    """
    heard_enough = refund.not_found >= terms.not_found_tries and source.sender == refund.sender
    in_doubt = refund.said_failed is not None and source.channel is Channel.INQUIRY
    return terms.replays_refusals and in_doubt and heard_enough


def _blocked_again(refund: Refund, outcome: heard.Blocked, source: Source) -> bool:
    """A person mended it, it was sent once more, and the same answer came: final answers are replayed (Antom)."""
    mended = refund.attempts_before_resume > 0 and refund.attempts > refund.attempts_before_resume
    same = refund.blocked_code == outcome.code
    return _first_word(refund, source) and mended and same and not refund.doubt


def _note(refund: Refund, outcome: heard.Noted, source: Source) -> Inquired | None:
    """Record a fact once, with everything that is planned left as it is; after a failure, it calls a person."""
    if any(
        (note.code, note.cause, note.details) == (outcome.code, outcome.cause, outcome.details) for note in refund.notes
    ):
        return None
    return Inquired(
        at=source.at,
        channel=source.channel,
        outcome=outcome.kind,
        next_step="done" if refund.final else refund.next_step,
        next_at=refund.next_at,
        code=outcome.code,
        cause=outcome.cause,
        attention=_surprise(refund, outcome),
        evidence=source.evidence,
        plugin=source.plugin,
        details=outcome.details,
    )


def _surprise(refund: Refund, outcome: heard.Noted) -> str | None:
    """Say why a fact needs a person: of a refund that will never pay, there is nothing to tell."""
    if refund.status is not Status.FAILED:
        return None
    text = f"failed here, and now the provider tells of it: {outcome.cause}"
    return "; ".join(filter(None, (refund.attention, text)))


def _repeats(refund: Refund, outcome: Outcome | NotSent) -> bool:
    """It says what is known already: a notification played again must not fill the log or put off an inquiry."""
    words = _words(outcome)
    same_id = words.get("provider_refund_id", refund.provider_refund_id) == refund.provider_refund_id
    same_rule = refund.resend in (Resend.NEVER, words.get("resend", refund.resend))
    return refund.last == outcome.kind and same_id and same_rule and _attention(outcome) in (None, refund.attention)


def _learn_after_the_end(refund: Refund, outcome: Outcome | NotSent, source: Source) -> Event | None:
    contradiction = _contradiction(refund, outcome, source)
    known = (refund.attention or "").split("; ")
    if contradiction is None or contradiction in known:
        return None
    return Inquired(
        at=source.at,
        channel=source.channel,
        outcome=outcome.kind,
        next_step="done",
        attention="; ".join([*filter(None, known), contradiction]),
        evidence=source.evidence,
        sender=source.sender,
        plugin=source.plugin,
        **_words(outcome),
    )


def _contradiction(refund: Refund, outcome: Outcome | NotSent, source: Source) -> str | None:
    if refund.status is Status.FAILED and isinstance(outcome, heard.Settled):
        return f"failed here, and now the provider says it is settled with {outcome.amount} {outcome.amount.currency}"
    if refund.status is Status.FAILED and isinstance(outcome, heard.Pending):
        return "failed here, and now the provider says it is working on it"
    if refund.status is Status.SETTLED and isinstance(outcome, heard.Failed):
        return f"settled here, and now the provider says it failed: {outcome.code}"
    if refund.status is Status.SETTLED and isinstance(outcome, heard.Settled) and outcome.amount != refund.amount:
        return f"settled here, and now the provider says with {outcome.amount} {outcome.amount.currency}"
    # A reply that was overtaken by the end may speak of trouble with the call; the others speak of the refund itself.
    if isinstance(outcome, heard.Unknown) and source.channel is not Channel.REPLY:
        odd = outcome.resend is Resend.NEVER and outcome.attention is not None
        return f"{refund.status} here, and now {outcome.attention}" if odd else None
    return None


def _words(outcome: Outcome | NotSent) -> dict[str, Any]:
    """Give what the outcome has to say, as the event names it."""
    names = ("code", "cause", "advice", "provider_refund_id")
    words = {name: value for name in names if (value := getattr(outcome, name, None)) is not None}
    if isinstance(outcome, heard.Unknown):
        words["resend"] = outcome.resend
    scope = getattr(outcome, "scope", None)
    if scope is not None:
        words["scope"] = str(scope)
    return words


_WAITS: Final = {Scope.ACCOUNT: " (every refund of the account waits)", Scope.REQUEST: " (this refund waits)", None: ""}


def _attention(outcome: Outcome | NotSent) -> str | None:
    if isinstance(outcome, heard.Blocked):
        return f"{outcome.code}: {outcome.cause} {outcome.advice}{_WAITS[outcome.scope]}"
    if isinstance(outcome, heard.Unknown) and outcome.attention is not None:
        return outcome.attention + _WAITS[outcome.scope]
    return None


def _inquired(refund: Refund, outcome: Outcome | NotSent, source: Source) -> Inquired | None:
    if source.channel is Channel.NOTIFICATION and _repeats(refund, outcome):
        return None
    return Inquired(
        at=source.at,
        channel=source.channel,
        outcome=outcome.kind,
        next_step=TO_PLAN,
        attention=_attention(outcome),
        evidence=source.evidence,
        sender=source.sender,
        plugin=source.plugin,
        **_words(outcome),
    )


def with_next(refund: Refund, event: Inquired, terms: Terms) -> Inquired:
    """Write down in an event what is next after it, and when."""
    step = next_step(apply(refund, event), terms, event.at)
    # Not `attrs.evolve`: at every answer that is not final, and at every one that an audit reads again, it shows.
    words = {name: getattr(event, name) for name in _INQUIRED}
    if isinstance(step, Person):
        return Inquired(**words | {"next_step": PERSON, "next_at": None, "attention": event.attention or step.reason})
    return Inquired(**words | {"next_step": step.name, "next_at": getattr(step, "at", None)})


_INQUIRED: Final = tuple(field.name for field in attrs.fields(Inquired))


def resumed(refund: Refund, at: datetime, by: str, why: str, terms: Terms) -> Inquired:
    """Record that a person says: what stood in the way is mended, go on with the same id."""
    event = Inquired(
        at=at,
        channel=Channel.OPERATOR,
        outcome="resumed",
        next_step="done" if refund.final else "inquire",
        resend=refund.resend,
        by=by,
        why=why,
    )
    return event if refund.final else with_next(refund, event, terms)


def pointed_out(
    refund: Refund, text: str, at: datetime, by: str, why: str, evidence: str | None, code: str = POINTED_OUT
) -> Inquired | None:
    """Record that a person should look at a refund, with everything that is planned left; None if they should already.

    Comparing books finds such things, and a worker that cannot go on: it never changes where the refund stands.
    """
    known = list(filter(None, (refund.attention or "").split("; ")))
    new = [part for part in text.split("; ") if part not in known]
    # What keeps a worker from driving a refund is nothing to one that has ended meanwhile.
    if not new or (code == GAVE_UP and refund.final):
        return None
    return Inquired(
        at=at,
        channel=Channel.OPERATOR,
        outcome=heard.Noted.kind,
        next_step="done" if refund.final else refund.next_step,
        next_at=refund.next_at,
        code=code,
        cause=text,
        attention="; ".join([*known, *new]),
        evidence=evidence,
        by=by,
        why=why,
    )


def noted(outcome: Outcome | NotSent, source: Source) -> Inquired:
    """Record what a final refund's provider says when somebody asked, although it changes nothing."""
    return Inquired(
        at=source.at,
        channel=source.channel,
        outcome=outcome.kind,
        next_step="done",
        evidence=source.evidence,
        sender=source.sender,
        plugin=source.plugin,
        details=outcome.details if isinstance(outcome, heard.Settled) else None,
        **_words(outcome),
    )


def confirms_failure(
    refund: Refund, outcome: Outcome | NotSent, identity: str, terms: Terms, asked_at: datetime
) -> bool:
    """Say whether a new id may follow a failed refund, which its provider was asked about as `identity`.

    Only a new id can pay twice, so "not found" is enough only where a named person decided that it failed, and where
    it was asked late enough after the last sending to say anything.
    """
    if refund.status is not Status.FAILED or refund.attention is not None or refund.sender not in (None, identity):
        return False
    late_enough = asked_at >= _first_inquiry(refund, terms)
    not_there = isinstance(outcome, heard.NotFound) and late_enough
    return isinstance(outcome, heard.Failed) or (refund.failed_by is not None and not_there)


def handed_over(refund: Refund, step: Person, at: datetime) -> Inquired:
    """Record that a person is called where no answer says so: time has passed, or the terms are others now."""
    return Inquired(
        at=at,
        channel=Channel.OPERATOR,
        outcome="unknown",
        next_step=PERSON,
        cause=step.reason,
        resend=refund.resend,
        attention=step.reason,
        by="refundry",
    )


def refused(refund: Refund, digest: str, sender: str, at: datetime, plugin: str | None = None) -> Inquired | None:
    """Record why an attempt must not leave; None when it may.

    An id and its bytes are for life, and a provider honours an id for the identity that sent it: for another identity
    it is a new one, and could pay twice.
    """
    if refund.digest not in (None, digest):
        code = "OTHER_BYTES"
        text = "the bytes of the first attempt cannot be sent again: they are gone, or the plugin writes others now"
    elif refund.out and refund.sender != sender:
        code, text = "OTHER_SENDER", f"it may be out from {refund.sender}, and must not be sent again by {sender}"
    else:
        return None
    return Inquired(
        at=at,
        channel=Channel.OPERATOR,
        outcome="blocked",
        next_step=PERSON,
        code=code,
        cause=text,
        resend=refund.resend,
        scope=str(Scope.REQUEST),
        attention=text,
        plugin=plugin,
        by="refundry",
    )


def check_limits(order: Order, terms: Terms) -> None:
    """Raise `Invalid` for an order that is longer than the provider's terms allow, or has other characters."""
    if re.fullmatch(f"[{terms.id_characters}]+", order.refund_request_id, re.ASCII) is None:
        raise Invalid("refund_request_id", f"may only have the characters {terms.id_characters}")
    limits = (
        ("refund_request_id", order.refund_request_id, terms.id_length),
        ("payment", order.payment.removeprefix("merchant:"), terms.payment_length),
        ("reason", order.reason or "", terms.reason_length),
    )
    for field, text, limit in limits:
        if len(text) > limit:
            raise Invalid(field, f"has {len(text)} characters; the provider takes {limit}")


def order_of(refund: Refund, sent: bytes | None = None) -> Order:
    """Give the provider what it needs to know of a refund."""
    return Order(
        refund_request_id=refund.refund_request_id,
        payment=refund.payment,
        amount=refund.amount,
        reason=refund.reason,
        provider_refund_id=refund.provider_refund_id,
        details=refund.request_details,
        sent=sent,
    )
