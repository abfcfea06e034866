"""The five events of a refund: the stored format, permanently.

The rule of this module: a field that was once written can always be read.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar, Final, get_args

import attrs

from refundry.money import Money
from refundry.provider import OutcomeKind, Quote, Resend, ReviewReason, Scope
from refundry.refund.settlement import SettlementFacts


class NextStep(StrEnum):
    """What comes next for a refund, as its newest event plans it."""

    SUBMIT = "submit"
    INQUIRE = "inquire"
    MANUAL_REVIEW = "manual_review"
    """An operator must act; until then nothing happens."""
    DONE = "done"


class Channel(StrEnum):
    """How an event's information reached Refundry."""

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
    """The platform asked for a refund."""

    at: datetime
    account: str
    provider: str
    payment: str
    amount: Money
    refund_request_id: str
    by: str
    """Who requested it: a user, a service, a file."""
    reason: str | None = None
    payment_total: Money | None = None
    retry_of: str | None = None
    """The id of the failed refund that this one replaces."""
    details: Mapping[str, Any] | None = None
    """Further fields for the provider, under its own names: JSON values."""
    plugin: str | None = None
    """Name and version of the plugin that checked it."""
    possible_sender: str | None = None
    """The identity that may have sent it already, before it was recorded: an inquiry comes first then."""
    inquire_at: datetime | None = None
    """When to inquire, if it may have been sent already."""
    corrects_total: bool = False
    """Whether `payment_total` replaces the totals that earlier refunds of the payment state."""
    why: str | None = None
    """Why an operator corrects the total."""

    topic: ClassVar[str] = "requested"


@attrs.frozen(slots=True, kw_only=True)
class Submitted:
    """An attempt is about to be sent. It is recorded before the first byte is."""

    at: datetime
    attempt: int
    digest: str
    """SHA-256 of the body, in hex; the same for every attempt."""
    sender: str
    """The provider's `identity` that sends: "not found" is conclusive only if this identity asked."""
    plugin: str
    """Name and version of the plugin that wrote the bytes."""
    next_at: datetime
    """When to inquire if no reply is recorded."""
    key_version: str | None = None

    topic: ClassVar[str] = "submitted"


@attrs.frozen(slots=True, kw_only=True)
class Inquired:
    """New information that is not final, or that contradicts a final state (recorded, never applied)."""

    at: datetime
    channel: Channel
    outcome: OutcomeKind
    """What was learned. `succeeded` and `failed` are reports that must be confirmed first; `resumed` is an operator's
    decision to continue; `informational` changes no status."""
    next_step: NextStep
    next_at: datetime | None = None
    code: str | None = None
    cause: str | None = None
    advice: str | None = None
    resend: Resend = Resend.AFTER_NOT_FOUND
    scope: Scope | None = None
    """What is on hold until an operator resumes it."""
    review: tuple[RaisedReview, ...] = ()
    """The reasons that this event raises why an operator should look."""
    provider_refund_id: str | None = None
    evidence: str | None = None
    """SHA-256 of the provider's message."""
    sender: str | None = None
    """The identity that inquired, if it was an inquiry."""
    plugin: str | None = None
    by: str | None = None
    why: str | None = None
    details: Mapping[str, Any] | None = None
    """All further fields of a message about a failure or of an informational one: JSON values."""
    payment_alias: str | None = None
    """Another name of the payment that the message states, in the form of `payment`."""
    provider_message: str | None = None
    """The provider's own explanation of its code."""
    settlement: SettlementFacts | None = None
    """What the message states about the settlement, before it is confirmed or after the refund settled."""
    repeats: int = 0
    """How many inquiries since the event before gave the same answer as that one and were only counted."""

    topic: ClassVar[str] = "inquired"


@attrs.frozen(slots=True, kw_only=True)
class Settled:
    """The provider reports, checked against the id, amount and currency, that the refund is done."""

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
    payment_alias: str | None = None
    """Another name of the payment that the message states, in the form of `payment`."""
    offline: bool = False
    """An operator decided without asking the provider first."""
    against_evidence: bool = False
    """An operator decided against what the provider reported."""

    topic: ClassVar[str] = "settled"


@attrs.frozen(slots=True, kw_only=True)
class Failed:
    """This refund will never be paid."""

    at: datetime
    channel: Channel
    code: str
    cause: str
    advice: str
    evidence: str | None = None
    plugin: str | None = None
    by: str | None = None
    why: str | None = None
    offline: bool = False
    """An operator decided without asking the provider first."""
    against_evidence: bool = False
    """An operator decided against what the provider reported."""
    provider_refund_id: str | None = None
    provider_message: str | None = None
    """The provider's own explanation of its code."""
    details: Mapping[str, Any] | None = None
    """All further fields that the provider sent with the failure: JSON values."""

    topic: ClassVar[str] = "failed"


Event = Requested | Submitted | Inquired | Settled | Failed


EVENTS: Final[tuple[type[Event], ...]] = get_args(Event)


WORDING: Final = frozenset({"cause", "advice"})
"""The fields of events that are text for people: a later version may word them differently, and nothing depends on
them. The messages in `review` are wording, too."""
