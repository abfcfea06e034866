"""What a log says of each refund, as far as the audit must know it: a fold that is lean, for it runs over everything.

The rule of this module: pure, it accuses nobody. It is not the fold that decides about money (`refundry.refund.fold`):
it keeps what the index row, the transitions and the invariants need, checks them on the way, and gives what does not
hold as a sentence. A test compares the two on histories of every kind. Names of invariants are those of the
documentation (docs/explanation/audit.md).
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, Final, cast

import msgspec

from refundry.journal.index import review_text
from refundry.journal.log_source import INDEX_FIELDS
from refundry.refund import FINAL, RECONCILIATION_REASONS, TRANSITIONS, NextStep, Status

__all__ = ["Account", "Read", "Told", "begin", "close", "columns", "named_by", "read", "read_any", "step"]

_FINAL: Final = frozenset(map(str, FINAL))
_UNRECONCILED: Final = frozenset(map(str, RECONCILIATION_REASONS))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO: Final = timedelta(microseconds=1)

Told = tuple[str, str]
"""Something that does not hold: which invariant, and the sentence."""


# --- what is read of an event -----------------------------------------------------------------------------------------


class _Amount(msgspec.Struct, gc=False):
    minor: int
    currency: str
    exponent: int


class _Requested(msgspec.Struct, gc=False):
    at: datetime
    account: str
    payment: str
    amount: _Amount
    refund_request_id: str
    payment_total: _Amount | None = None
    retry_of: str | None = None
    private: str | None = None


class _Submitted(msgspec.Struct, gc=False):
    at: datetime
    attempt: int
    digest: str
    next_at: datetime
    private: str | None = None


class _Raised(msgspec.Struct, gc=False):
    code: str
    message: str


class _Inquired(msgspec.Struct, gc=False):
    at: datetime
    channel: str
    outcome: str
    next_step: str
    next_at: datetime | None = None
    scope: str | None = None
    review: tuple[_Raised, ...] = ()
    evidence: str | None = None
    private: str | None = None
    apart: tuple[str, ...] = ()
    by: str | None = None
    why: str | None = None


class _Settled(msgspec.Struct, gc=False):
    at: datetime
    channel: str
    amount: _Amount
    evidence: str | None = None
    private: str | None = None
    apart: tuple[str, ...] = ()
    by: str | None = None
    why: str | None = None


class _Failed(msgspec.Struct, gc=False):
    at: datetime
    channel: str
    evidence: str | None = None
    private: str | None = None
    apart: tuple[str, ...] = ()
    by: str | None = None
    why: str | None = None


Read = _Requested | _Submitted | _Inquired | _Settled | _Failed
_KINDS: Final[Mapping[str, type[Any]]] = {
    "requested": _Requested, "submitted": _Submitted, "inquired": _Inquired, "settled": _Settled, "failed": _Failed,
}  # fmt: skip
read: Final[Mapping[str, Callable[[bytes], Any]]] = {
    topic: msgspec.json.Decoder(kind).decode for topic, kind in _KINDS.items()
}
"""By topic: reads the bytes of an event; `msgspec.DecodeError` for what cannot be one."""


def read_any(topic: str, state: bytes) -> Read | None:
    """Read an event also where half of a surrogate pair keeps it from being UTF-8; None for what is no event."""
    try:
        return cast("Read", read[topic](state))
    except (KeyError, TypeError, msgspec.ValidationError):
        return None
    except msgspec.DecodeError:
        try:
            return cast("Read", msgspec.convert(json.loads(state), _KINDS[topic]))
        except (ValueError, RecursionError):
            return None


def named_by(event: Any) -> list[str]:
    """Give the digests that an event names."""
    names = (getattr(event, name, None) for name in ("digest", "evidence", "private"))
    return [name for name in names if name is not None]


# --- the account that is kept of a refund -----------------------------------------------------------------------------

_OTHERS: Final = ("attempts", "digest", "unresolved_attempt", "in_flight", "next_step", "blocked", "next_at")


class Account:
    """What is known of one refund, up to some event. Times are microseconds since 1970, amounts minor units.

    `review` holds the open reasons by code until `close` writes them as the index row does; None when there are none.
    """

    __slots__ = (*INDEX_FIELDS, *_OTHERS)

    id: str
    version: int
    account: str
    refund_request_id: str
    payment: str
    amount: int
    currency: str
    exponent: int
    payment_total: int | None
    retry_of: str | None
    status: str
    review: Any
    due_at: int | None
    blocks_account: bool
    requested_at: int
    updated_at: Any
    attempts: int
    digest: str | None
    unresolved_attempt: bool
    in_flight: bool
    next_step: str
    blocked: str | None
    next_at: Any

    @property
    def ended(self) -> bool:
        """It is settled or failed, and seldom something comes after that."""
        return self.status in _FINAL


columns: Final = attrgetter(*INDEX_FIELDS)
"""Gives what the index row of an account must be."""


def micros(at: datetime) -> int:
    """Give a time as microseconds since 1970."""
    return (at - _EPOCH) // _MICRO


def close(account: Account) -> None:
    """Work out what follows from the state, once nothing more is to come."""
    waits = account.status in _FINAL or account.next_step == NextStep.MANUAL_REVIEW or account.blocked is not None
    account.due_at = None if waits else _as_micros(account.next_at)
    account.updated_at = _as_micros(account.updated_at)
    account.blocks_account = account.blocked == "account"
    if account.review is not None:
        account.review = review_text((code, *reason) for code, reason in account.review.items())


def _as_micros(at: Any) -> Any:
    return micros(at) if isinstance(at, datetime) else at


# --- the steps --------------------------------------------------------------------------------------------------------

_MOVES: Final[Mapping[str, Mapping[str, str]]] = {
    str(status): {trigger: str(target) for (source, trigger), target in TRANSITIONS.items() if source == status}
    for status in Status
}


def begin(id: str, event: _Requested) -> Account:
    """Open the account of a refund with its first event."""
    account = Account()
    account.id = id
    account.version = 1
    account.account = event.account
    account.refund_request_id = event.refund_request_id
    account.payment = event.payment
    amount, total = event.amount, event.payment_total
    account.amount = amount.minor
    account.currency = amount.currency
    account.exponent = amount.exponent
    account.payment_total = None if total is None else total.minor
    account.retry_of = event.retry_of
    account.status = "requested"
    account.review = account.blocked = account.digest = account.due_at = None
    account.requested_at = micros(event.at)
    account.updated_at = account.requested_at
    account.attempts = 0
    account.unresolved_attempt = account.in_flight = account.blocks_account = False
    account.next_step = "submit"
    account.next_at = account.requested_at
    return account


def _again(account: Account, event: _Requested) -> Told:
    return "I6", "a refund that was requested already cannot be requested again"


def _submitted(account: Account, event: _Submitted) -> Told | None:
    target = _MOVES[account.status].get("submitted")
    told: Told | None = None
    if target is None:
        return "I6", f"a refund that is {account.status} cannot be submitted"
    if event.attempt != account.attempts + 1:
        told = "I4", f"attempt {event.attempt} follows attempt {account.attempts}"
    if account.digest is None:
        account.digest = event.digest
    elif account.digest != event.digest:
        told = "I5", "an attempt has other bytes than the one before it, under the same id"
    account.status = target
    account.updated_at = event.at
    account.attempts = event.attempt
    account.unresolved_attempt = account.unresolved_attempt or account.in_flight
    account.in_flight = True
    account.next_step = "inquire"
    account.next_at = event.next_at
    return told


def _inquired(account: Account, event: _Inquired) -> Told | None:
    outcome = event.outcome
    if outcome == "informational":
        _raise(account, event)
        return None
    before = account.status
    moves = _MOVES[before]
    target = None if outcome == "not_sent" and account.unresolved_attempt else moves.get(f"inquired {outcome}")
    if target is None:
        target = moves.get("inquired")
        if target is None:
            return "I6", f"a refund that is {before} cannot be inquired"
    account.status = target
    account.updated_at = event.at
    told = _named(event) if outcome == "resumed" else None
    if event.channel == "reply" and not account.attempts:
        told = _unsent()
    if before in _FINAL:
        if outcome == "resumed":
            account.review = None
        _raise(account, event)
        return told
    account.next_step = event.next_step
    account.next_at = event.next_at
    if outcome == "resumed":
        account.review = None
    _raise(account, event)
    _find(account, event, outcome)
    return told


def _raise(account: Account, event: _Inquired) -> None:
    for raised in event.review:
        if account.review is None:
            account.review = {}
        known = account.review.get(raised.code)
        account.review[raised.code] = raised.message, event.at if known is None else known[1]


def _find(account: Account, event: _Inquired, outcome: str) -> None:
    if outcome == "not_sent":
        account.in_flight = account.unresolved_attempt
    elif outcome == "unknown":
        if event.scope is not None:
            account.blocked = event.scope
    elif outcome == "blocked":
        account.blocked = event.scope
        if event.channel == "reply":
            account.in_flight = account.unresolved_attempt
    elif outcome == "resumed":
        account.blocked = None


def _settled(account: Account, event: _Settled) -> Told | None:
    told = _ended(account, event, "settled")
    amount = event.amount
    if amount.minor != account.amount or amount.currency != account.currency or amount.exponent != account.exponent:
        asked = f"{account.amount} minor units of {account.currency} were requested"
        return "I7", f"{asked}, and {amount.minor} of {amount.currency} settled"
    return told


def _failed(account: Account, event: _Failed) -> Told | None:
    reasons = account.review
    told = _ended(account, event, "failed")
    if reasons and event.channel != "operator":
        # A report that lists a refund does not agree with it because it failed.
        account.review = {code: reason for code, reason in reasons.items() if code in _UNRECONCILED} or None
    return told


def _ended(account: Account, event: _Settled | _Failed, topic: str) -> Told | None:
    told: Told | None = None
    moves = _MOVES[account.status]
    if event.channel == "operator":
        told = _named(event)
        target = moves.get(f"{topic} by an operator") or moves.get(topic)
    else:
        target = moves.get(topic)
        if event.channel == "reply" and not account.attempts:
            told = _unsent()
    if target is None:
        return "I6", f"a refund that is {account.status} cannot be {topic} without a person who says so"
    account.status = target
    account.updated_at = event.at
    account.review = account.blocked = account.next_at = None
    account.in_flight = False
    account.next_step = "done"
    return told


def _unsent() -> Told:
    return "I4", "an answer is recorded to an attempt that is not"


def _named(event: _Inquired | _Settled | _Failed) -> Told | None:
    named = (event.by or "by" in event.apart) and (event.why or "why" in event.apart)
    return None if named else ("I6", "a decision is recorded without the name of a person and the reason")


step: Final[Mapping[str, Callable[[Account, Any], Told | None]]] = {
    "requested": _again, "submitted": _submitted, "inquired": _inquired, "settled": _settled, "failed": _failed,
}  # fmt: skip
"""By topic: takes an event into an account, and says what does not hold."""
