"""The refund: five events, the table of transitions, and the fold that turns events into state.

The rule of this module: pure. State is what the events say and nothing else; the same events give the same state under
every later version of this code. After a final state nothing moves a refund but an event that names the person.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import attrs

from refundry.money import Money
from refundry.provider import Quote, Resend, ReviewReason
from refundry.refund.events import Channel, Event, Failed, Inquired, Requested, Settled, Submitted
from refundry.refund.transitions import FINAL, TRANSITIONS, IllegalEvent, Status


@attrs.frozen(slots=True)
class Failure:
    """Why a refund failed, and what to do about it."""

    code: str
    cause: str
    advice: str


@attrs.frozen(slots=True)
class Note:
    """A fact that the provider told and that changes nothing about where the refund stands."""

    at: datetime
    """When we heard of it."""
    cause: str
    code: str | None = None
    details: Mapping[str, Any] | None = None


@attrs.frozen(slots=True)
class Review:
    """An open reason why an operator should look at a refund."""

    code: ReviewReason
    message: str
    """The reason in words, as it was raised last; for people only."""
    since: datetime
    """The time of the event that first raised it."""


@attrs.frozen(slots=False, kw_only=True)
class Refund:
    """One refund as its events say it is."""

    id: str
    version: int
    """How many events it has: what the next write is checked against."""
    status: Status
    account: str
    provider: str
    payment: str
    amount: Money
    refund_request_id: str
    requested_by: str
    requested_at: datetime
    updated_at: datetime
    reason: str | None = None
    payment_total: Money | None = None
    retry_of: str | None = None
    request_details: Mapping[str, Any] | None = None
    review: tuple[Review, ...] = ()
    """Why an operator should look, oldest reason first and each code once; empty when no review is needed."""

    # What was sent.
    attempts: int = 0
    attempts_before_resume: int = 0
    unsent: int = 0
    """How many of the attempts since then certainly did not leave."""
    digest: str | None = None
    sender: str | None = None
    first_sent_at: datetime | None = None
    sent_at: datetime | None = None
    out: bool = False
    """An attempt may be in the provider's hands and its fate is not known."""
    doubt: bool = False
    """Some attempt was left without an answer, at some time."""

    # What was heard.
    last: str = "requested"
    """The newest thing that happened: `requested`, `submitted`, `resumed` or an outcome."""
    code: str | None = None
    resend: Resend = Resend.AFTER_NOT_FOUND
    not_found: int = 0
    """How often in a row the identity that sent was told "not found"."""
    asked_as: str | None = None
    """The identity that asked last."""
    odd: int = 0
    """How many inquiries in a row were answered with something that needs a person's eye."""
    inquiries: int = 0
    """How many inquiries were answered since the last attempt."""
    backoffs: int = 0
    """How many attempts in a row ended with "not sent" or "call again"."""
    blocked: str | None = None
    """How far what blocks it reaches (`request`, `account`); None when nothing does."""
    blocked_code: str | None = None
    """With which code an attempt was answered that was blocked last."""
    resumed_at: datetime | None = None
    """When a person last said: go on."""
    said_failed: Failure | None = None
    """A failure that was said in doubt, and that nothing has contradicted since: an inquiry must confirm it."""

    # What comes next, as it was written down.
    next_step: str = "submit"
    next_at: datetime | None = None

    # How it ended.
    provider_refund_id: str | None = None
    settled_at: str | None = None
    settled_amount: Money | None = None
    settlement_amount: Money | None = None
    quote: Quote | None = None
    details: Mapping[str, Any] | None = None
    failure: Failure | None = None
    failed_by: str | None = None
    """The person who decided that it failed, if one did."""
    notes: tuple[Note, ...] = ()

    @property
    def final(self) -> bool:
        """Say whether it is settled or failed."""
        return self.status in FINAL


RECONCILIATION_REASONS: Final = frozenset(
    {
        ReviewReason.RECONCILIATION_STATUS,
        ReviewReason.RECONCILIATION_AMOUNT,
        ReviewReason.RECONCILIATION_REFUND_ID,
        ReviewReason.RECONCILIATION_DUPLICATE,
        ReviewReason.RECONCILIATION_MISSING,
    }
)
"""The reasons that comparing a provider's report with the ledger raises."""


_State = dict[str, Any]


def fold(id: str, events: Iterable[Event]) -> Refund:
    """Build a refund from all its events, oldest first; `IllegalEvent` if they do not follow from each other."""
    state: _State = {"id": id, "version": 0}
    for event in events:
        _APPLY[type(event)](state, event)
        state["version"] += 1
    if not state["version"]:
        raise IllegalEvent("a refund without events")
    return _freeze(_DEFAULTS | state)


def apply(refund: Refund, event: Event) -> Refund:
    """Give the refund after one more event."""
    state = dict(vars(refund))
    _APPLY[type(event)](state, event)
    state["version"] += 1
    return _freeze(state)


def _freeze(state: _State) -> Refund:
    # Calling the class would set forty attributes one by one, at several times the cost of the fold itself.
    refund = object.__new__(Refund)
    object.__setattr__(refund, "__dict__", state)
    return refund


def _move(state: _State, trigger: str, fallback: str | None = None) -> None:
    status = state.get("status")
    if status is None:
        raise IllegalEvent(f"the first event is {trigger!r}, not 'requested'")
    target = TRANSITIONS.get((status, trigger))
    if target is None and fallback is not None:
        target = TRANSITIONS.get((status, fallback))
    if target is None:
        raise IllegalEvent(f"{trigger!r} cannot happen to a refund that is {status}")
    state["status"] = target


def _requested(state: _State, event: Requested) -> None:
    if "status" in state:
        raise IllegalEvent("'requested' can only be the first event")
    state.update(
        status=Status.REQUESTED,
        account=event.account,
        provider=event.provider,
        payment=event.payment,
        amount=event.amount,
        refund_request_id=event.refund_request_id,
        requested_by=event.by,
        requested_at=event.at,
        updated_at=event.at,
        reason=event.reason,
        payment_total=event.payment_total,
        retry_of=event.retry_of,
        request_details=event.details,
        next_at=event.at,
    )


def _submitted(state: _State, event: Submitted) -> None:
    _move(state, "submitted")
    if state.get("digest") not in (None, event.digest):
        raise IllegalEvent("a resend with other bytes")
    state.update(
        updated_at=event.at,
        attempts=event.attempt,
        digest=event.digest,
        sender=event.sender,
        first_sent_at=state.get("first_sent_at") or event.at,
        sent_at=event.at,
        doubt=state.get("doubt", False) or state.get("out", False),
        out=True,
        last="submitted",
        not_found=0,
        inquiries=0,
        next_step="inquire",
        next_at=event.next_at,
    )


def _inquired(state: _State, event: Inquired) -> None:
    outcome = event.outcome
    before = state.get("status")
    if outcome == "informational" and before is not None:
        # Not even the time of the last change: what is next, and when, was planned from there.
        state["notes"] = (*state.get("notes", ()), Note(event.at, event.cause or "", event.code, event.details))
        _raise(state, event)
        return
    if outcome == "resumed":
        _check_named(event)
    # With an earlier attempt in doubt, "this one did not leave" does not make it a refund that was never sent.
    _move(state, "inquired" if outcome == "not_sent" and state.get("doubt") else f"inquired {outcome}", "inquired")
    state["updated_at"] = event.at
    if before in FINAL:
        if outcome == "resumed":
            state["review"] = ()
        _raise(state, event)
        return
    state.update(last=outcome, code=event.code, next_step=event.next_step, next_at=event.next_at)
    if event.review and outcome != "resumed":
        _raise(state, event)
    if event.resend is Resend.NEVER:
        state["resend"] = Resend.NEVER
    elif state.get("resend") is not Resend.NEVER:
        state["resend"] = event.resend
    if event.provider_refund_id is not None:
        state["provider_refund_id"] = event.provider_refund_id
    if event.channel is Channel.INQUIRY:
        state["inquiries"] = state.get("inquiries", 0) + 1
        state["asked_as"] = event.sender
        state["odd"] = state.get("odd", 0) + 1 if event.review and outcome == "unknown" else 0
    if outcome != "not_found":
        state["not_found"] = 0
    _FINDINGS.get(outcome, _nothing_more)(state, event)


def _nothing_more(state: _State, event: Inquired) -> None:
    pass


def _not_sent(state: _State, event: Inquired) -> None:
    state["out"] = state.get("doubt", False)
    state["backoffs"] = state.get("backoffs", 0) + 1
    state["unsent"] = state.get("unsent", 0) + 1


def _pending(state: _State, event: Inquired) -> None:
    state["resend"] = Resend.NEVER
    state["backoffs"] = 0
    state["said_failed"] = None


def _unknown(state: _State, event: Inquired) -> None:
    if event.scope is not None:
        state["blocked"] = event.scope
    if event.resend is Resend.SAME:
        state["backoffs"] = state.get("backoffs", 0) + 1
    if event.review:
        state["said_failed"] = None


def _not_found(state: _State, event: Inquired) -> None:
    if event.sender == state.get("sender"):
        state["not_found"] = state.get("not_found", 0) + 1


def _blocked(state: _State, event: Inquired) -> None:
    state["blocked"] = event.scope
    if event.channel is Channel.REPLY:
        state["blocked_code"] = event.code
        state["out"] = state.get("doubt", False)


def _said_settled(state: _State, event: Inquired) -> None:
    state["said_failed"] = None


def _said_failed(state: _State, event: Inquired) -> None:
    if event.channel is not Channel.NOTIFICATION:
        state["resend"] = Resend.NEVER
        state["said_failed"] = Failure(event.code or "", event.cause or "", event.advice or "")


def _resumed(state: _State, event: Inquired) -> None:
    state.update(
        blocked=None,
        review=(),
        odd=0,
        backoffs=0,
        unsent=0,
        attempts_before_resume=state.get("attempts", 0),
        resumed_at=event.at,
    )
    _raise(state, event)


def _raise(state: _State, event: Inquired) -> None:
    """Add the reasons that an event raises; one that is open already keeps its time and gets the newer words."""
    if not event.review:
        return
    open_reasons = {review.code: review for review in state.get("review", ())}
    for raised in event.review:
        known = open_reasons.get(raised.code)
        since = event.at if known is None else known.since
        open_reasons[raised.code] = Review(raised.code, raised.message, since)
    state["review"] = tuple(open_reasons.values())


_FINDINGS: Final = {
    "not_sent": _not_sent,
    "pending": _pending,
    "unknown": _unknown,
    "not_found": _not_found,
    "blocked": _blocked,
    "succeeded": _said_settled,
    "failed": _said_failed,
    "resumed": _resumed,
}


def _settled(state: _State, event: Settled) -> None:
    _close(state, event)
    state.update(
        provider_refund_id=event.provider_refund_id or state.get("provider_refund_id"),
        settled_at=event.settled_at,
        settled_amount=event.amount,
        settlement_amount=event.settlement_amount,
        quote=event.quote,
        details=event.details,
        failure=None,
        failed_by=None,
    )


def _failed(state: _State, event: Failed) -> None:
    _close(state, event)
    state.update(
        failure=Failure(event.code, event.cause, event.advice),
        failed_by=event.by,
        code=event.code,
        settled_at=None,
        settled_amount=None,
        settlement_amount=None,
        quote=None,
        details=None,
    )


def _close(state: _State, event: Settled | Failed) -> None:
    person = event.channel is Channel.OPERATOR
    if person:
        _check_named(event)
    _move(state, f"{event.topic} by a person" if person else event.topic, event.topic if person else None)
    state.update(
        updated_at=event.at,
        review=_unreconciled(state) if event.topic == "failed" and not person else (),
        blocked=None,
        out=False,
        last=event.topic,
        next_step="done",
        next_at=None,
    )


def _unreconciled(state: _State) -> tuple[Review, ...]:
    """Return the open differences from the provider's report.

    A report that lists a refund agrees with it once it is settled; it does not once it has failed.
    """
    return tuple(review for review in state.get("review", ()) if review.code in RECONCILIATION_REASONS)


def _check_named(event: Inquired | Settled | Failed) -> None:
    if not (event.by and event.why):
        raise IllegalEvent("a decision without the name of a person and the reason")


_APPLY: Final[Mapping[type, Any]] = {
    Requested: _requested,
    Submitted: _submitted,
    Inquired: _inquired,
    Settled: _settled,
    Failed: _failed,
}


_DEFAULTS: Final = {field.name: field.default for field in attrs.fields(Refund) if field.default is not attrs.NOTHING}
