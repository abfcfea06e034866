"""Writes for the tests of the journal."""

import hashlib
import itertools
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import attrs

from refundry.journal import Recorded, Write
from refundry.money import Money
from refundry.ports import Ports
from refundry.provider import OutcomeKind, ReviewReason
from refundry.refund import (
    Channel,
    Event,
    Failed,
    Inquired,
    NextStep,
    RaisedReview,
    Refund,
    Requested,
    Settled,
    Submitted,
    apply,
    fold,
)

AT = datetime(2026, 11, 22, 11, 0, tzinfo=UTC)
_moments = itertools.count()
PORTS = Ports(now=lambda: AT + timedelta(milliseconds=next(_moments)))
"""Every id is later than the one before it."""


def later(seconds: float) -> datetime:
    """Return a moment after `AT`."""
    return AT + timedelta(seconds=seconds)


def evidence(*contents: bytes) -> dict[str, bytes]:
    """Return contents by their digests."""
    return {hashlib.sha256(content).hexdigest(): content for content in contents}


def requested(key: str = "r-1", **changes: Any) -> Requested:
    """Return a first event; the payment follows from the request id unless it is given."""
    event = Requested(
        at=AT,
        account="shop",
        provider="antom",
        payment=f"payment of {key}",
        amount=Money(1233, "EUR", 2),
        refund_request_id=key,
        by="test",
    )
    return attrs.evolve(event, **changes)


def new(key: str = "r-1", kept: Mapping[str, bytes] | None = None, **changes: Any) -> Write:
    """Return the write of a new refund."""
    event = requested(key, **changes)
    return Write(fold(PORTS.new_id(), [event]), [event], kept or {})


def then(refund: Refund, *events: Event, kept: Mapping[str, bytes] | None = None) -> Write:
    """Return the write that adds events to a refund."""
    for event in events:
        refund = apply(refund, event)
    return Write(refund, events, kept or {})


def submitted(seconds: float = 1, **changes: Any) -> Submitted:
    """Return an attempt."""
    event = Submitted(
        at=later(seconds), attempt=1, digest="ab" * 32, sender="me", plugin="antom 1", next_at=later(seconds + 10)
    )
    return attrs.evolve(event, **changes)


LOOK: Final = (RaisedReview(ReviewReason.WORKER_GAVE_UP, "look"),)


def inquired(seconds: float = 2, **changes: Any) -> Inquired:
    """Return an answer that is not final."""
    event = Inquired(
        at=later(seconds),
        channel=Channel.INQUIRY,
        outcome=OutcomeKind.PENDING,
        next_step=NextStep.INQUIRE,
        next_at=later(seconds + 30),
    )
    return attrs.evolve(event, **changes)


def settled(seconds: float = 3, **changes: Any) -> Settled:
    """Return the end that everybody wants."""
    return Settled(at=later(seconds), channel=Channel.REPLY, amount=Money(1233, "EUR", 2), **changes)


def failed(seconds: float = 3) -> Failed:
    """Return the other end."""
    return Failed(at=later(seconds), channel=Channel.REPLY, code="NO", cause="It said no.", advice="Ask again.")


def events_of(recorded: list[Recorded] | Any) -> list[Event]:
    """Return the events of what was recorded."""
    return [each.event for each in recorded]
