"""Reading a provider's kept words again, to see whether today's plugin leads to the decision that was recorded.

The rule of this module: pure, and no private key. What was known before an event is folded again, the kept answer is
read as if it came now, and what `refundry.refund.policy.learn` makes of it is compared with the event, field by field.
What is planned next (`next_step`, `next_at`) is left out: it depends on terms, which an operator may change.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import accumulate
from operator import attrgetter
from typing import Any, Final

import attrs

from refundry.config import Account
from refundry.formatting import json_line, plain
from refundry.journal import Recorded
from refundry.journal.evidence import read_answer, read_notification
from refundry.outbound.calls import understood
from refundry.outbound.transport import BROKE_OFF, TOO_LONG
from refundry.provider import NotificationHandler, Outcome, Terms
from refundry.refund import (
    MANUAL_REVIEW,
    Channel,
    Event,
    Failed,
    Inquired,
    Refund,
    Settled,
    Submitted,
    apply,
    fold,
    policy,
)
from refundry.refund.policy import Source
from refundry.views import as_json_value

__all__ = ["Reading", "read_again", "states_of"]

_HEARD: Final = (Inquired, Settled, Failed)
_PLANS: Final = frozenset({"next_step", "next_at"})
_WHOLE: Final = "event"


@attrs.frozen(kw_only=True)
class Reading:
    """A place where today's reading is another than the recorded one."""

    recorded: Recorded
    field: str
    """A field of the event, or `event` where it would be another event, or none."""
    then: Any
    now: Any
    plugin_now: str
    sender: str | None = None
    """Who asked then, where the account is somebody else at its provider now: then its reading proves nothing."""

    @property
    def plugin_then(self) -> str | None:
        """Name and version of the plugin that read it then."""
        return self.recorded.event.plugin


def states_of(history: Sequence[Recorded]) -> Sequence[Refund]:
    """Give the state of a refund after each of its events; `IllegalEvent` if they do not follow from each other."""
    state = fold(history[0].refund_id, [history[0].event])
    rest: Iterator[Any] = accumulate(history[1:], _after, initial=state)
    return list(rest)


def _after(state: Refund, recorded: Recorded) -> Refund:
    return apply(state, recorded.event)


def read_again(
    account: Account, history: Sequence[Recorded], states: Sequence[Refund], kept: Mapping[str, bytes]
) -> Iterator[tuple[Recorded, Sequence[Reading]]]:
    """Read every kept answer of one refund again: give each event that was read, with what is different today.

    `history` is all of its events and `states` what `states_of` gives of them; `kept` is what there is of their
    evidence. What is not there is not read.
    """
    for known, recorded in enumerate(history):
        event = recorded.event
        if _was_read(event) and getattr(event, "evidence", None) in kept:
            found = _compare(account, history, states[:known], recorded, event, kept)
            sender = _sender(history, recorded) if found else None
            if sender not in (None, account.provider.identity):
                found = [attrs.evolve(reading, sender=sender) for reading in found]
            yield recorded, found


def _sender(history: Sequence[Recorded], recorded: Recorded) -> str | None:
    """Give the identity that was answered, where it is known."""
    asked = getattr(recorded.event, "sender", None)
    sent = [item.event.sender for item in history[: recorded.version] if isinstance(item.event, Submitted)]
    return asked or (sent[-1] if sent else None)


def _was_read(event: Event) -> bool:
    """Say whether a plugin read it: not what a person said, nor the part of an answer that broke off."""
    if not isinstance(event, _HEARD) or event.channel is Channel.OPERATOR:
        return False
    return not (isinstance(event, Inquired) and event.outcome == "unknown" and _broken(event.cause or ""))


def _broken(cause: str) -> bool:
    return cause.startswith((BROKE_OFF, TOO_LONG))


def _compare(
    account: Account,
    history: Sequence[Recorded],
    states: Sequence[Refund],
    recorded: Recorded,
    event: Any,
    kept: Mapping[str, bytes],
) -> Sequence[Reading]:
    """Give the differences of the nearest reading; none if some way in which it may have come gives the same event."""
    nearest: Sequence[Reading] = ()
    try:
        for outcome, source in _heard(account, history, states, event, kept):
            if _is_what_was_said(event, policy.interpret_outcome(states[-1], outcome, source, account.terms)):
                return ()
            for terms in _terms(account.terms):
                found = _differences(recorded, _interpreted(states[-1], outcome, source, terms), account.plugin_id)
                if not found:
                    return ()
                nearest = nearest or found
    except Exception as error:  # a plugin's own, or its refusal of a notification that it took then
        return nearest or [_whole(recorded, f"{type(error).__name__}: {error}", account.plugin_id)]
    return nearest or [_whole(recorded, "nothing that this provider can read", account.plugin_id)]


def _terms(terms: Terms) -> Iterator[Terms]:
    """Give the account's terms, and then others that may have held when it was recorded."""
    yield terms
    patient = attrs.evolve(terms, first_inquiry=0.0, not_found_interval=0.0)
    yield patient
    yield attrs.evolve(patient, not_found_tries=0)
    yield attrs.evolve(patient, not_found_tries=1_000_000)


def _interpreted(refund: Refund, outcome: Outcome, source: Source, terms: Terms) -> Event | None:
    event = policy.interpret(refund, outcome, source, terms)
    asked_after_the_end = event is None and refund.final and source.channel is Channel.INQUIRY
    return policy.late_answer(outcome, source) if asked_after_the_end else event


# --- what was heard ---------------------------------------------------------------------------------------------------


def _heard(
    account: Account, history: Sequence[Recorded], states: Sequence[Refund], event: Any, kept: Mapping[str, bytes]
) -> Iterator[tuple[Outcome, Source]]:
    """Give what the kept words mean today, in every way in which they may have come, the likeliest first."""
    source = partial(Source, at=event.at, channel=event.channel, plugin=event.plugin, evidence=event.evidence)
    words = kept[event.evidence]
    if event.channel is Channel.REPLY:
        return _replied(account, history, states, source, words, kept)
    if event.channel is Channel.INQUIRY:
        sender = event.sender if isinstance(event, Inquired) else states[-1].sender
        asked = partial(source, sender=sender or account.provider.identity)
        return _inquired(account, states, asked, event.at, words)
    return _notified(account, states, source, event.at, words)


_Sources = Callable[..., Source]


def _replied(
    account: Account,
    history: Sequence[Recorded],
    states: Sequence[Refund],
    source: _Sources,
    words: bytes,
    kept: Mapping[str, bytes],
) -> Iterator[tuple[Outcome, Source]]:
    """Read it as the answer to the newest attempt, then to those before it: another may have left meanwhile."""
    answer = read_answer(words)
    for at in reversed(range(1, len(states))):
        sent = history[at].event
        if isinstance(sent, Submitted):
            instruction = policy.instruction_for(states[at - 1], kept.get(sent.digest))
            call = account.provider.refund(instruction, sent.at)
            yield understood(partial(call.read, answer)), source(attempt=sent.attempt)


def _inquired(
    account: Account, states: Sequence[Refund], source: _Sources, at: datetime, words: bytes
) -> Iterator[tuple[Outcome, Source]]:
    """Read it as an answer to a question asked of the newest state, then of those before it."""
    answer = read_answer(words)
    for state in _distinct(states):
        call = account.provider.inquire(policy.instruction_for(state), at)
        yield understood(partial(call.read, answer)), source(attempt=state.attempts)


def _notified(
    account: Account, states: Sequence[Refund], source: _Sources, at: datetime, words: bytes
) -> Iterator[tuple[Outcome, Source]]:
    """Verify and read it; `Forged` and `Unreadable` mean that it says nothing today."""
    if not isinstance(account.provider, NotificationHandler):
        return
    told = account.provider.parse_notification(read_notification(words))
    freshness = timedelta(seconds=account.terms.notification_freshness)
    fresh = told.at is not None and abs(at - told.at) <= freshness
    for state in _distinct(states):
        outcome = understood(partial(told.read, policy.instruction_for(state)))
        yield outcome, source(fresh=fresh)
        yield outcome, source(fresh=not fresh)


def _distinct(states: Sequence[Refund]) -> Iterator[Refund]:
    """Give the states, newest first, as far as a question asked of them would differ."""
    seen: set[tuple[int, str | None]] = set()
    for state in reversed(states):
        asked = state.attempts, state.provider_refund_id
        if asked not in seen:
            seen.add(asked)
            yield state


# --- comparing --------------------------------------------------------------------------------------------------------

_COMPARED: Final = {
    kind: tuple(field.name for field in attrs.fields(kind) if field.name not in _PLANS) for kind in _HEARD
}


def _differences(recorded: Recorded, now: Event | None, plugin: str) -> Sequence[Reading]:
    then = recorded.event
    if now == then:
        return ()
    if type(now) is not type(then):
        return [_whole(recorded, now, plugin)]
    return [
        Reading(recorded=recorded, field=name, then=was, now=would_be, plugin_now=plugin)
        for name in _COMPARED[type(then)]  # type: ignore[index]  # the others are never heard
        if (was := getattr(then, name)) != (would_be := getattr(now, name))
        and not (name == "review" and _planned(then, now))
    ]


_SAID: Final[Mapping[type[Any], Callable[[Any], Any]]] = {kind: attrgetter(*names) for kind, names in _COMPARED.items()}


def _is_what_was_said(then: Any, now: Event | None) -> bool:
    """Say whether no plan could make them differ, so that none has to be made: that costs most of the comparison."""
    kind = type(then)
    if type(now) is not kind or _SAID[kind](then) != _SAID[kind](now):
        return False
    # A plan that calls a person gives the reason: one that was recorded without is no plan of ours.
    return kind is not Inquired or (then.scope is None and (then.next_step != MANUAL_REVIEW or then.review is not None))


def _planned(then: Any, now: Any) -> bool:
    """Say whether it is the terms that call a person in one of the two and not in the other."""
    return bool((then.next_step == MANUAL_REVIEW) != (now.next_step == MANUAL_REVIEW) and then.scope is None)


def _whole(recorded: Recorded, now: Event | str | None, plugin: str) -> Reading:
    would_be = now if isinstance(now, str) else "nothing" if now is None else _said(now)
    return Reading(recorded=recorded, field=_WHOLE, then=_said(recorded.event), now=would_be, plugin_now=plugin)


def _said(event: Event) -> str:
    return f"{event.topic} ({event.outcome})" if isinstance(event, Inquired) else event.topic


def reading_as_json(reading: Reading) -> dict[str, Any]:
    """Show where a plugin reads an answer otherwise than it was recorded."""
    return {
        "position": reading.recorded.position,
        "version": reading.recorded.version,
        "field": reading.field,
        "then": as_json_value(reading.then),
        "now": as_json_value(reading.now),
        "plugin_then": reading.plugin_then,
        "plugin_now": reading.plugin_now,
        "sender": reading.sender,
    }


def reading_in_words(reading: Reading) -> str:
    """Say in one line what was read then, and what is read now."""
    then, now = f"then {json_line(as_json_value(reading.then))}", f"now {json_line(as_json_value(reading.now))}"
    read = f"read by {reading.plugin_then} then, by {reading.plugin_now} now"
    other = "" if reading.sender is None else f"; it was asked as {reading.sender}, which the account is no more"
    return plain(f"{reading.field}: {then}, {now} ({read}{other})")
