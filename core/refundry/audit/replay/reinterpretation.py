"""Reading a provider's stored messages again, to see whether the installed plugin leads to the recorded decision.

The rule of this module: pure, and no private key. The state before an event is folded again, the stored message is read
as if it had just arrived, and what `refundry.refund.policy.interpret` makes of it is compared with the event, field by
field. Two kinds of fields are treated apart. The plan (`next_step`, `next_at`) is left out, because it depends on
terms, which an operator may change, and so is the number of answers that were only counted (`repeats`). Text for people
(`WORDING`) may change with any version: a new wording is reported as such, and never as a different decision.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import accumulate
from operator import attrgetter
from typing import Any, Final

import attrs

from refundry.config import Account
from refundry.formatting import json_line, plain
from refundry.journal import Recorded
from refundry.journal.evidence import is_complete, read_answer, read_notification
from refundry.outbound.calls import read_safely
from refundry.plugin_host.containment import contained
from refundry.provider import NotificationHandler, Outcome, Terms
from refundry.refund import (
    WORDING,
    Channel,
    Event,
    Failed,
    Inquired,
    NextStep,
    Refund,
    Settled,
    Submitted,
    apply,
    fold,
    policy,
)
from refundry.refund.policy import Source
from refundry.views import as_json_value

__all__ = ["Reading", "read_again", "reading_as_json", "reading_in_words", "states_of"]

_LEARNED: Final = (Inquired, Settled, Failed)
"""The events that record what a provider's message means."""
_PLANS: Final = frozenset({"next_step", "next_at", "repeats"})
_WHOLE: Final = "event"


@attrs.frozen(kw_only=True)
class Reading:
    """A field of an event that the installed plugin would record differently now."""

    recorded: Recorded
    field: str
    """A field of the event, or `event` if it would be another event, or none at all."""
    then: Any
    now: Any
    plugin_now: str
    wording: bool = False
    """Only text for people differs: the same decision in other words."""
    sender: str | None = None
    """The identity that asked then, if the account has another one at its provider now: the reading proves nothing."""

    @property
    def plugin_then(self) -> str | None:
        """Name and version of the plugin that read the message then."""
        return self.recorded.event.plugin


def states_of(history: Sequence[Recorded]) -> Sequence[Refund]:
    """Return the state of a refund after each of its events; raise `IllegalEvent` if one cannot follow the other."""
    state = fold(history[0].refund_id, [history[0].event])
    rest: Iterator[Any] = accumulate(history[1:], _after, initial=state)
    return list(rest)


def _after(state: Refund, recorded: Recorded) -> Refund:
    return apply(state, recorded.event)


def read_again(
    account: Account, history: Sequence[Recorded], states: Sequence[Refund], kept: Mapping[str, bytes]
) -> Iterator[tuple[Recorded, Sequence[Reading]]]:
    """Read every stored message of one refund again; yield each event that was read, with its differences.

    `history` is all of its events, `states` the result of `states_of` for them, and `kept` the evidence that is still
    stored. A message that is not in `kept` is skipped.
    """
    for known, recorded in enumerate(history):
        event = recorded.event
        if _was_read(event, kept):
            found = _compare(account, history, states[:known], recorded, event, kept)
            sender = _sender(history, recorded) if found else None
            if sender not in (None, account.provider.identity):
                found = [attrs.evolve(reading, sender=sender) for reading in found]
            yield recorded, found


def _sender(history: Sequence[Recorded], recorded: Recorded) -> str | None:
    """Return the identity that the message answered, if it is known."""
    asked = getattr(recorded.event, "sender", None)
    sent = [item.event.sender for item in history[: recorded.version] if isinstance(item.event, Submitted)]
    return asked or (sent[-1] if sent else None)


def _was_read(event: Event, kept: Mapping[str, bytes]) -> bool:
    """Return whether a plugin read a message for this event: not for an operator's, nor from an incomplete answer."""
    if not isinstance(event, _LEARNED) or event.channel is Channel.OPERATOR:
        return False
    message = None if event.evidence is None else kept.get(event.evidence)
    return message is not None and (event.channel is Channel.NOTIFICATION or is_complete(message))


def _compare(
    account: Account,
    history: Sequence[Recorded],
    states: Sequence[Refund],
    recorded: Recorded,
    event: Any,
    kept: Mapping[str, bytes],
) -> Sequence[Reading]:
    """Return the differences of the nearest reading; none if any way in which it may have arrived gives this event."""
    nearest: Sequence[Reading] = ()
    try:
        for outcome, source in _outcomes(account, history, states, event, kept):
            if _is_same(event, policy.interpret_outcome(states[-1], outcome, source, account.terms)):
                return ()
            for terms in _terms(account.terms):
                found = _differences(recorded, policy.interpret(states[-1], outcome, source, terms), account.plugin_id)
                if not found:
                    return ()
                nearest = _nearer(nearest, found)
    except Exception as error:  # a plugin's own, or its refusal of a notification that it accepted then
        return nearest or [_whole(recorded, f"{type(error).__name__}: {error}", account.plugin_id)]
    return nearest or [_whole(recorded, "nothing that this provider can read", account.plugin_id)]


def _nearer(known: Sequence[Reading], found: Sequence[Reading]) -> Sequence[Reading]:
    """Return the first reading, unless it differs in more than its wording and the other does not."""
    return found if not known or (_only_wording(found) and not _only_wording(known)) else known


def _only_wording(readings: Sequence[Reading]) -> bool:
    return all(reading.wording for reading in readings)


def _terms(terms: Terms) -> Iterator[Terms]:
    """Yield the account's terms, and then others that may have applied when the event was recorded."""
    yield terms
    patient = attrs.evolve(terms, timeout=0.0, first_inquiry=0.0, not_found_interval=0.0)
    yield patient
    yield attrs.evolve(patient, not_found_tries=0)
    yield attrs.evolve(patient, not_found_tries=1_000_000)
    yield attrs.evolve(terms, first_inquiry=1e6)


# --- what a stored message means now ----------------------------------------------------------------------------------


def _outcomes(
    account: Account, history: Sequence[Recorded], states: Sequence[Refund], event: Any, kept: Mapping[str, bytes]
) -> Iterator[tuple[Outcome, Source]]:
    """Yield what the message means now, for every way in which it may have arrived, the likeliest first."""
    source = partial(Source, at=event.at, channel=event.channel, plugin=event.plugin, evidence=event.evidence)
    message = kept[event.evidence]
    if event.channel is Channel.REPLY:
        return _replied(account, history, states, source, message, kept)
    if event.channel is Channel.INQUIRY:
        sender = event.sender if isinstance(event, Inquired) else states[-1].sender
        asked = partial(source, sender=sender or account.provider.identity)
        return _inquired(account, states, asked, event.at, message)
    return _notified(account, states, source, event.at, message)


_Sources = Callable[..., Source]


def _replied(
    account: Account,
    history: Sequence[Recorded],
    states: Sequence[Refund],
    source: _Sources,
    message: bytes,
    kept: Mapping[str, bytes],
) -> Iterator[tuple[Outcome, Source]]:
    """Read it as the reply to the newest attempt, then to earlier ones: a later attempt may have overtaken it."""
    answer = read_answer(message)
    for at in reversed(range(1, len(states))):
        sent = history[at].event
        if isinstance(sent, Submitted):
            instruction = policy.instruction_for(states[at - 1], kept.get(sent.digest))
            call = contained(partial(account.provider.refund, instruction, sent.at))
            yield read_safely(partial(call.read, answer)), source(attempt=sent.attempt)


def _inquired(
    account: Account, states: Sequence[Refund], source: _Sources, at: datetime, message: bytes
) -> Iterator[tuple[Outcome, Source]]:
    """Read it as the answer to an inquiry made in the newest state, then in earlier ones."""
    answer = read_answer(message)
    for state in _distinct(states):
        call = contained(partial(account.provider.inquire, policy.instruction_for(state), at))
        yield read_safely(partial(call.read, answer)), source(attempt=state.attempts)


def _notified(
    account: Account, states: Sequence[Refund], source: _Sources, at: datetime, message: bytes
) -> Iterator[tuple[Outcome, Source]]:
    """Verify and read it; `Forged` and `Unreadable` mean that it would be rejected now."""
    if not isinstance(account.provider, NotificationHandler):
        return
    notification = contained(partial(account.provider.parse_notification, read_notification(message)))
    fresh = policy.is_fresh(notification.at, at, account.terms)
    for state in _distinct(states):
        outcome = read_safely(partial(notification.read, policy.instruction_for(state)))
        yield outcome, source(fresh=fresh)
        yield outcome, source(fresh=not fresh)


def _distinct(states: Sequence[Refund]) -> Iterator[Refund]:
    """Yield the states, newest first, skipping those in which the inquiry would have been the same."""
    seen: set[tuple[int, str | None]] = set()
    for state in reversed(states):
        asked = state.attempts, state.provider_refund_id
        if asked not in seen:
            seen.add(asked)
            yield state


# --- comparing --------------------------------------------------------------------------------------------------------

_COMPARED: Final = {
    kind: tuple(field.name for field in attrs.fields(kind) if field.name not in _PLANS) for kind in _LEARNED
}


def _differences(recorded: Recorded, now: Event | None, plugin: str) -> Sequence[Reading]:
    then = recorded.event
    if now == then:
        return ()
    if type(now) is not type(then):
        return [_whole(recorded, now, plugin)]
    return [
        Reading(
            recorded=recorded, field=name, then=was, now=would_be, plugin_now=plugin,
            wording=_is_wording(name, was, would_be),
        )
        for name in _COMPARED[type(then)]  # type: ignore[index]  # no other event records a message
        if (was := getattr(then, name)) != (would_be := getattr(now, name))
        and not (name == "review" and _is_planned(then, now))
    ]  # fmt: skip


def _is_wording(field: str, then: Any, now: Any) -> bool:
    """Return whether two values of a field differ only in text for people."""
    if field == "review":
        return [reason.code for reason in then] == [reason.code for reason in now]
    return field in WORDING


_VALUES: Final[Mapping[type[Any], Callable[[Any], Any]]] = {
    kind: attrgetter(*names) for kind, names in _COMPARED.items()
}


def _is_same(then: Any, now: Event | None) -> bool:
    """Return whether no plan could make the events differ; planning is most of the work and can then be skipped."""
    kind = type(then)
    if type(now) is not kind or _VALUES[kind](then) != _VALUES[kind](now):
        return False
    # The plan gives the reason when it escalates, so an escalation that was recorded without one is not the plan's.
    return kind is not Inquired or (
        then.scope is None and (then.next_step != NextStep.MANUAL_REVIEW or bool(then.review))
    )


def _is_planned(then: Any, now: Any) -> bool:
    """Return whether the terms escalate one of the two events to an operator and not the other."""
    return bool(
        (then.next_step == NextStep.MANUAL_REVIEW) != (now.next_step == NextStep.MANUAL_REVIEW) and then.scope is None
    )


def _whole(recorded: Recorded, now: Event | str | None, plugin: str) -> Reading:
    would_be = now if isinstance(now, str) else "nothing" if now is None else _in_short(now)
    return Reading(recorded=recorded, field=_WHOLE, then=_in_short(recorded.event), now=would_be, plugin_now=plugin)


def _in_short(event: Event) -> str:
    return f"{event.topic} ({event.outcome})" if isinstance(event, Inquired) else event.topic


def reading_as_json(reading: Reading) -> dict[str, Any]:
    """Return a difference as a JSON value."""
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
    """Return one line that compares what was recorded with what would be recorded now."""
    then, now = f"then {json_line(as_json_value(reading.then))}", f"now {json_line(as_json_value(reading.now))}"
    read = f"read by {reading.plugin_then} then, by {reading.plugin_now} now"
    other = (
        ""
        if reading.sender is None
        else f"; it answered {reading.sender}, which is not the account's identity any longer"
    )
    return plain(f"{reading.field}: {then}, {now} ({read}{other})")
