"""What is next for a refund, and when: (refund, the provider's terms, now) -> a step.

The rule of this module: pure, and always a next step or a manual review.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

import attrs

from refundry.provider import Resend, ReviewReason, Scope, Terms
from refundry.refund import (
    MANUAL_REVIEW,
    RECONCILIATION_REASONS,
    Inquired,
    RaisedReview,
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
    """Nothing happens until an operator acts, for this reason."""

    reason: ReviewReason
    message: str
    """The reason in words, for people only."""
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
        blocked = ReviewReason.BLOCKED_ACCOUNT if refund.blocked == Scope.ACCOUNT else ReviewReason.BLOCKED_REQUEST
        return _on_hold(refund, ManualReview(blocked, "the provider rejected it before it decided"))
    if refund.next_step == MANUAL_REVIEW:
        return _on_hold(refund, ManualReview(ReviewReason.NO_FINAL_ANSWER, "it needs an operator"))
    if refund.attempts == 0 and refund.resend is not Resend.NEVER and refund.last not in _HINTS:
        return Submit(max(refund.requested_at, refund.resumed_at or refund.requested_at))
    return _NEXT[refund.last](refund, terms, now)


_FROM_OUTSIDE: Final = RECONCILIATION_REASONS | {ReviewReason.WORKER_GAVE_UP}
"""Reasons that put nothing on hold: what was planned continues."""


def _on_hold(refund: Refund, otherwise: ManualReview) -> ManualReview:
    """Return the newest open reason that holds the refund."""
    for review in reversed(refund.review):
        if review.code not in _FROM_OUTSIDE:
            return ManualReview(review.code, review.message)
    return otherwise


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
        return ManualReview(
            ReviewReason.INCONSISTENT_ANSWERS,
            f"{refund.odd} inquiries in a row were answered with something that needs an operator",
        )
    return _inquire(refund, terms, _on_schedule(refund, terms))


def _after_hint(refund: Refund, terms: Terms, now: datetime) -> Step:
    return _inquire(refund, terms, refund.updated_at)


def _after_not_found(refund: Refund, terms: Terms, now: datetime) -> Step:
    if refund.asked_as != refund.sender:
        sent = "it was never sent" if refund.sender is None else f"it was sent as {refund.sender}"
        text = f"{refund.asked_as} has no record of it, but {sent}: that proves nothing"
        return ManualReview(ReviewReason.NOT_FOUND_BY_OTHER_IDENTITY, text)
    if refund.not_found <= terms.not_found_tries:
        return _inquire(refund, terms, refund.updated_at + _seconds(terms.not_found_interval))
    if refund.resend is Resend.NEVER:
        text = "the provider has no record of it, and an earlier answer forbids sending it again"
        return ManualReview(ReviewReason.NOT_FOUND_RESEND_FORBIDDEN, text)
    if Resend.AFTER_NOT_FOUND not in terms.resend_after:
        text = "the provider has no record of it, and its terms do not allow sending it again"
        return ManualReview(ReviewReason.NOT_FOUND_RESEND_FORBIDDEN, text)
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
        return ManualReview(ReviewReason.MAX_ATTEMPTS, f"sent {tried} times without a conclusive answer")
    if _waited_too_long(refund, terms):
        return ManualReview(ReviewReason.COULD_NOT_BE_SENT, "it could not be sent for too long")
    horizon = terms.id_horizon
    if refund.out and horizon is not None and max(now, at) - refund.first_sent_at > _seconds(horizon / 2):
        text = "the provider may have forgotten the refund request id: sending it again could pay twice"
        return ManualReview(ReviewReason.ID_HORIZON, text)
    return Submit(at)


def _inquire(refund: Refund, terms: Terms, at: datetime) -> Step:
    by_provider_id = "provider_refund_id" in terms.inquire_by and refund.provider_refund_id is not None
    if "refund_request_id" not in terms.inquire_by and not by_provider_id:
        text = "the provider can only be asked by its own refund id, which is not known"
        return ManualReview(ReviewReason.NOT_INQUIRABLE, text)
    if _waited_too_long(refund, terms):
        return ManualReview(ReviewReason.NO_FINAL_ANSWER, "no final answer for too long")
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
    after = apply(refund, event)
    step = next_step(after, terms, event.at)
    # Not `attrs.evolve`: at every answer that is not final, and at every one that an audit reads again, it shows.
    words = {name: getattr(event, name) for name in _INQUIRED}
    if isinstance(step, ManualReview):
        known = any(review.code is step.reason for review in after.review)
        review = event.review if known else (*event.review, RaisedReview(step.reason, step.message))
        return Inquired(**words | {"next_step": MANUAL_REVIEW, "next_at": None, "review": review})
    return Inquired(**words | {"next_step": step.name, "next_at": getattr(step, "at", None)})


_INQUIRED: Final = tuple(field.name for field in attrs.fields(Inquired))
