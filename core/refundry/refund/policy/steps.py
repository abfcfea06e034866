"""What is next for a refund, and when: (refund, the provider's terms, now) -> a step.

The rule of this module: pure, and always a next step or a manual review.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

import attrs

from refundry.provider import Resend, Terms
from refundry.refund import (
    MANUAL_REVIEW,
    Inquired,
    Refund,
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
class ManualReview:
    """Only a person can say how to go on."""

    reason: str
    name = MANUAL_REVIEW


@attrs.frozen(slots=True)
class Done:
    """It is final."""

    name = "done"


Step = Submit | Inquire | ManualReview | Done


_MAX_BACKOFF: Final = 300.0


_ODD_ANSWERS: Final = 3
"""So many inquiries in a row that contradict what was asked are no accident of the network any more."""


def next_step(refund: Refund, terms: Terms, now: datetime) -> Step:
    """Say what is to be done with a refund, and when."""
    if refund.final:
        return Done()
    if refund.blocked is not None:
        return ManualReview(refund.review or "blocked")
    if refund.next_step == MANUAL_REVIEW:
        return ManualReview(refund.review or "waits for a person")
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
        return ManualReview(refund.review or "its answers make no sense")
    return _inquire(refund, terms, _on_schedule(refund, terms))


def _after_hint(refund: Refund, terms: Terms, now: datetime) -> Step:
    return _inquire(refund, terms, refund.updated_at)


def _after_not_found(refund: Refund, terms: Terms, now: datetime) -> Step:
    if refund.asked_as != refund.sender:
        sender = refund.sender or "nobody"
        return ManualReview(f"not known to {refund.asked_as}, but it was sent by {sender}: that says nothing")
    if refund.not_found <= terms.not_found_tries:
        return _inquire(refund, terms, refund.updated_at + _seconds(terms.not_found_interval))
    if refund.resend is Resend.NEVER:
        return ManualReview("the provider does not know it, and an earlier answer forbids to send it again")
    if Resend.AFTER_NOT_FOUND not in terms.resend_after:
        return ManualReview("the provider does not know it, and its terms do not allow to send it again")
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
    "succeeded": _after_hint,
    "failed": _after_hint,
    "resumed": _after_resumed,
}
"""What follows the newest thing that happened. `blocked` is not here: a person comes first."""


_HINTS: Final = frozenset({"succeeded", "failed"})
"""Heard but not believed: the provider seems to know the refund, so ask before anything is sent."""


_STARTS: Final = frozenset({"submitted", "resumed"})
"""After these at least one answer is awaited, however old the refund is."""


def _submit(refund: Refund, terms: Terms, now: datetime, at: datetime) -> Step:
    assert refund.first_sent_at is not None
    tried = refund.attempts - refund.attempts_before_resume - refund.unsent
    if tried >= terms.max_attempts:
        return ManualReview(f"sent {tried} times without an answer that counts")
    if _waited_too_long(refund, terms):
        return ManualReview("it could not be sent for too long")
    horizon = terms.id_horizon
    if refund.out and horizon is not None and max(now, at) - refund.first_sent_at > _seconds(horizon / 2):
        return ManualReview("the provider may have forgotten the id: sending it again could pay twice")
    return Submit(at)


def _inquire(refund: Refund, terms: Terms, at: datetime) -> Step:
    by_provider_id = "provider_refund_id" in terms.inquire_by and refund.provider_refund_id is not None
    if "refund_request_id" not in terms.inquire_by and not by_provider_id:
        return ManualReview("the provider cannot be asked about it without its own id of the refund")
    if _waited_too_long(refund, terms):
        return ManualReview("no final answer for too long")
    return Inquire(max(at, _first_inquiry(refund, terms)))


def _waited_too_long(refund: Refund, terms: Terms) -> bool:
    # Judged by the newest answer and not by the clock: after a long silence of ours the provider is asked first. A
    # person who said "go on" has looked: the wait starts again from there.
    since = max(refund.first_sent_at or refund.requested_at, refund.resumed_at or refund.requested_at)
    return refund.last not in _STARTS and refund.updated_at - since > _seconds(terms.escalate_after)


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


TO_PLAN: Final = ""
"""The `next_step` of an event of which only is known what it says, and not yet what follows from it."""


def with_next_step(refund: Refund, event: Inquired, terms: Terms) -> Inquired:
    """Write down in an event what is next after it, and when."""
    step = next_step(apply(refund, event), terms, event.at)
    # Not `attrs.evolve`: at every answer that is not final, and at every one that an audit reads again, it shows.
    words = {name: getattr(event, name) for name in _INQUIRED}
    if isinstance(step, ManualReview):
        return Inquired(**words | {"next_step": MANUAL_REVIEW, "next_at": None, "review": event.review or step.reason})
    return Inquired(**words | {"next_step": step.name, "next_at": getattr(step, "at", None)})


_INQUIRED: Final = tuple(field.name for field in attrs.fields(Inquired))
