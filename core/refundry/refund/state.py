"""The state of a refund: what its events add up to.

The rule of this module: values only. `refundry.refund.fold` fills them.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs

from refundry.money import Money
from refundry.provider import Quote, Resend, Scope
from refundry.refund.events import NextStep
from refundry.refund.reviews import Review
from refundry.refund.settlement import SettlementFacts
from refundry.refund.transitions import FINAL, Status


class Last(StrEnum):
    """The newest change of a refund: the topic of its event, or what an `Inquired` recorded."""

    REQUESTED = "requested"
    SUBMITTED = "submitted"
    SETTLED = "settled"
    SUCCEEDED = "succeeded"
    PENDING = "pending"
    FAILED = "failed"
    NOT_FOUND = "not_found"
    UNKNOWN = "unknown"
    BLOCKED = "blocked"
    NOT_SENT = "not_sent"
    RESUMED = "resumed"


@attrs.frozen(slots=True)
class Failure:
    """Why a refund failed, and what to do about it."""

    code: str
    cause: str
    advice: str
    provider_message: str | None = None
    """The provider's own explanation of its code."""
    details: Mapping[str, Any] | None = None
    """All further fields that the provider sent with the failure."""


@attrs.frozen(slots=True)
class Note:
    """A fact that was recorded and did not change the status."""

    at: datetime
    """When it was recorded."""
    cause: str
    code: str | None = None
    details: Mapping[str, Any] | None = None


@attrs.frozen(slots=False, kw_only=True)
class Refund:
    """One refund, as its events describe it."""

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
    corrects_total: bool = False
    """Its `payment_total` replaces those that earlier refunds of the payment state."""
    payment_alias: str | None = None
    """Another name of the payment, as the provider's messages state it."""
    review: tuple[Review, ...] = ()
    """Why an operator should look, oldest reason first and each code once; empty when no review is needed."""

    # What was sent.
    attempts: int = 0
    attempts_before_resume: int = 0
    """How many attempts there were when an operator last resumed the refund."""
    unsent: int = 0
    """How many of the attempts since then certainly were not sent."""
    digest: str | None = None
    """SHA-256 of the body of every attempt, in hex."""
    sender: str | None = None
    """The identity that sent the newest attempt; before the first one, the identity that may have sent it before it
    was recorded."""
    first_sent_at: datetime | None = None
    sent_at: datetime | None = None
    """When the newest attempt was recorded, or the refund itself if it may have been sent before."""
    in_flight: bool = False
    """An attempt may have reached the provider, and what it did there is unknown. Without an attempt: it may have been
    sent before it was recorded."""
    unresolved_attempt: bool = False
    """An attempt before the newest one may have reached the provider, and was never answered conclusively."""

    # What was learned.
    last: Last = Last.REQUESTED
    code: str | None = None
    """The provider's code in the newest event."""
    provider_message: str | None = None
    """The provider's own explanation of that code."""
    resend: Resend = Resend.AFTER_NOT_FOUND
    """Whether the same bytes may be sent again; `NEVER` is never taken back."""
    not_found: int = 0
    """How often in a row the identity that sent got the answer "not found"."""
    inquired_as: str | None = None
    """The identity that inquired last."""
    inconsistent_answers: int = 0
    """How many inquiries in a row were answered with something that needs an operator."""
    repeated_errors: int = 0
    """How many inquiries in a row were answered with the same error as the answer before, those that were only counted
    included."""
    inquiries: int = 0
    """How many inquiries were answered since the last attempt."""
    backoffs: int = 0
    """How many attempts in a row ended with "not sent" or "call again"."""
    blocked: Scope | None = None
    """What the cause of a block puts on hold; None when nothing is blocked."""
    blocked_code: str | None = None
    """The code of the reply that last blocked an attempt."""
    resumed_at: datetime | None = None
    """When an operator last resumed the refund."""
    unconfirmed_failure: Failure | None = None
    """A failure that was reported while an attempt was unresolved, and has not been contradicted since: an inquiry must
    confirm it."""
    reported: SettlementFacts | None = None
    """What the provider stated about the settlement while the refund was not settled."""

    # What comes next, as it was recorded.
    next_step: NextStep = NextStep.SUBMIT
    next_at: datetime | None = None

    # How it ended. What the provider states about a settlement later replaces what it stated before.
    provider_refund_id: str | None = None
    settled_at: str | None = None
    settled_amount: Money | None = None
    settlement_amount: Money | None = None
    quote: Quote | None = None
    details: Mapping[str, Any] | None = None
    superseded: tuple[SettlementFacts, ...] = ()
    """What the provider stated about the settlement before it stated something else."""
    failure: Failure | None = None
    failed_by: str | None = None
    """The operator who decided that it failed, if one did."""
    notes: tuple[Note, ...] = ()

    @property
    def final(self) -> bool:
        """Return whether it is settled or failed."""
        return self.status in FINAL

    @property
    def settlement(self) -> SettlementFacts:
        """Return what the provider states about the settlement."""
        return SettlementFacts(
            settled_at=self.settled_at,
            settlement_amount=self.settlement_amount,
            quote=self.quote,
            details=self.details,
        )
