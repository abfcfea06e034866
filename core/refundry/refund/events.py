"""The five events of a refund: the stored format, permanently.

The rule of this module: a field that was once written can always be read.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Final

import attrs

from refundry.money import Money
from refundry.provider import Quote, Resend, ReviewReason

MANUAL_REVIEW: Final = "manual_review"
"""The `next_step` of a refund that waits for a person."""


class Channel(StrEnum):
    """How we learnt something."""

    REPLY = "reply"
    INQUIRY = "inquiry"
    NOTIFICATION = "notification"
    OPERATOR = "operator"


@attrs.frozen(slots=True)
class RaisedReview:
    """A reason why an operator should look at a refund, as an event raises it."""

    code: ReviewReason
    message: str
    """The reason in words, for people only."""


@attrs.frozen(slots=True, kw_only=True)
class Requested:
    """The platform wants this money back."""

    at: datetime
    account: str
    provider: str
    payment: str
    amount: Money
    refund_request_id: str
    by: str
    """Who asked: a user, a service, a file."""
    reason: str | None = None
    payment_total: Money | None = None
    retry_of: str | None = None
    """The id of the failed refund that this one replaces."""
    details: Mapping[str, Any] | None = None
    """Further fields for the provider, under its own names: JSON values."""
    plugin: str | None = None
    """Name and version of the plugin that checked it."""

    topic: ClassVar[str] = "requested"


@attrs.frozen(slots=True, kw_only=True)
class Submitted:
    """An attempt is about to leave. Written before the first byte does."""

    at: datetime
    attempt: int
    digest: str
    """SHA-256 of the body, in hex; the same for every attempt."""
    sender: str
    """The provider's `identity` that sends: "not found" counts only from it."""
    plugin: str
    """Name and version of the plugin that wrote the bytes."""
    next_at: datetime
    """When to ask, should no answer be recorded."""
    key_version: str | None = None

    topic: ClassVar[str] = "submitted"


@attrs.frozen(slots=True, kw_only=True)
class Inquired:
    """We learnt where it stands, and it is not final; or it contradicts a final state (recorded, never applied)."""

    at: datetime
    channel: Channel
    outcome: str
    """`pending`, `not_found`, `unknown`, `blocked`, `not_sent`, `settled` or `failed` (heard, not believed yet),
    `resumed` (a person says: go on), `informational` (a fact that changes nothing)."""
    next_step: str
    """`submit`, `inquire`, `manual_review` or `done`."""
    next_at: datetime | None = None
    code: str | None = None
    cause: str | None = None
    advice: str | None = None
    resend: Resend = Resend.AFTER_NOT_FOUND
    scope: str | None = None
    review: tuple[RaisedReview, ...] = ()
    """The reasons that this event raises why an operator should look."""
    provider_refund_id: str | None = None
    evidence: str | None = None
    """SHA-256 of the provider's words that taught us this."""
    sender: str | None = None
    """The identity that asked, where it was an inquiry."""
    plugin: str | None = None
    by: str | None = None
    why: str | None = None
    details: Mapping[str, Any] | None = None
    """Everything else the provider said, where it is not kept by what ended the refund: JSON values."""

    topic: ClassVar[str] = "inquired"


@attrs.frozen(slots=True, kw_only=True)
class Settled:
    """The provider says, checked against our id, amount and currency, that it is done."""

    at: datetime
    channel: Channel
    amount: Money
    provider_refund_id: str | None = None
    settled_at: str | None = None
    settlement_amount: Money | None = None
    quote: Quote | None = None
    details: Mapping[str, Any] | None = None
    evidence: str | None = None
    plugin: str | None = None
    by: str | None = None
    why: str | None = None

    topic: ClassVar[str] = "settled"


@attrs.frozen(slots=True, kw_only=True)
class Failed:
    """This refund will never pay."""

    at: datetime
    channel: Channel
    code: str
    cause: str
    advice: str
    evidence: str | None = None
    plugin: str | None = None
    by: str | None = None
    why: str | None = None

    topic: ClassVar[str] = "failed"


Event = Requested | Submitted | Inquired | Settled | Failed


EVENTS: Final[tuple[type[Event], ...]] = (Requested, Submitted, Inquired, Settled, Failed)

WORDING: Final = frozenset({"cause", "advice"})
"""The fields of events that are text for people: a later version may word them differently, and nothing depends on
them."""
