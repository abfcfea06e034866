"""What a provider's answer can mean: the outcomes that every reader of a plugin returns.

The rule of this module: values only. No outcome shares its name with an event: an outcome is what a message of the
provider means, an event is what was recorded.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar, Final, get_args

import attrs

from refundry.money import Money


class Resend(StrEnum):
    """Whether the same id with the same bytes may be sent again after an outcome that is not final."""

    SAME = "same"
    """The provider asks for the same call again: after a back-off."""
    AFTER_NOT_FOUND = "after_not_found"
    """Only after the provider has answered "not found" as often as its terms require."""
    NEVER = "never"
    """Never again; no later answer allows it."""


class Scope(StrEnum):
    """What is on hold until an operator has fixed the cause of a `Blocked` outcome."""

    REQUEST = "request"
    ACCOUNT = "account"


class ReviewReason(StrEnum):
    """Why an operator should look at a refund. The text next to a reason is for people; decisions read the reason."""

    # Raised by what a provider answered.
    BLOCKED_REQUEST = "BLOCKED_REQUEST"
    """The provider rejected the request before it decided; this refund is on hold."""
    BLOCKED_ACCOUNT = "BLOCKED_ACCOUNT"
    """The provider rejected the account's keys, contract or configuration; all refunds of the account are on hold."""
    UNVERIFIED_ANSWER = "UNVERIFIED_ANSWER"
    """An answer does not carry a valid signature of the provider."""
    UNREADABLE_ANSWER = "UNREADABLE_ANSWER"
    """An answer is signed by the provider, but its content is not understood."""
    UNDOCUMENTED_ANSWER = "UNDOCUMENTED_ANSWER"
    """An answer carries a result that the provider does not document."""
    INCOMPLETE_ANSWER = "INCOMPLETE_ANSWER"
    """The provider reports a success without the refund, the payment or the amount that it concerns."""
    REPEATED_ERROR = "REPEATED_ERROR"
    """Several inquiries in a row were answered with the same error."""
    CONTRADICTORY_ANSWER = "CONTRADICTORY_ANSWER"
    """An answer contradicts the request or itself: another amount, payment, id or status."""
    UNCONFIRMED_REFUSAL = "UNCONFIRMED_REFUSAL"
    """The provider refused, for a reason that does not prove that the refund will never be paid."""
    FAILURE_BY_OTHER_IDENTITY = "FAILURE_BY_OTHER_IDENTITY"
    """A failure was reported to another identity than the one that sent the refund."""

    # Raised by the store.
    UNREADABLE_EVENT = "UNREADABLE_EVENT"
    """An event of the refund, or the reason of its review, cannot be read by this version."""

    # Raised by the plan of what comes next.
    MAX_ATTEMPTS = "MAX_ATTEMPTS"
    """It was sent as often as the terms allow, without a conclusive answer."""
    ID_HORIZON = "ID_HORIZON"
    """The provider may have forgotten the refund request id, so that another attempt could pay twice."""
    COULD_NOT_BE_SENT = "COULD_NOT_BE_SENT"
    """No attempt could be sent for longer than `escalate_after`."""
    NO_FINAL_ANSWER = "NO_FINAL_ANSWER"
    """There has been no final answer for longer than `escalate_after`."""
    INCONSISTENT_ANSWERS = "INCONSISTENT_ANSWERS"
    """Several inquiries in a row were answered with something that needs an operator; further ones follow slowly."""
    NOT_FOUND_RESEND_FORBIDDEN = "NOT_FOUND_RESEND_FORBIDDEN"
    """The provider does not know the refund, and an earlier answer or the terms forbid to send it again."""
    NOT_FOUND_BY_OTHER_IDENTITY = "NOT_FOUND_BY_OTHER_IDENTITY"
    """The "not found" was answered to another identity than the one that sent the refund, which proves nothing."""
    NOT_INQUIRABLE = "NOT_INQUIRABLE"
    """The provider can only be asked by its own refund id, which is not known."""

    # Raised before an attempt.
    DIFFERENT_BYTES = "DIFFERENT_BYTES"
    """The bytes of the first attempt are gone, and the plugin would now write others."""
    DIFFERENT_SENDER = "DIFFERENT_SENDER"
    """An attempt of another identity may still be in the provider's hands."""
    DIFFERENT_PROVIDER = "DIFFERENT_PROVIDER"
    """The account is now configured for another provider than the one that the refund was requested from."""

    # Raised after the end.
    SETTLED_AFTER_FAILURE = "SETTLED_AFTER_FAILURE"
    """The refund failed, and the provider now reports that it settled."""
    PENDING_AFTER_FAILURE = "PENDING_AFTER_FAILURE"
    """The refund failed, and the provider now reports that it is processing it."""
    REPORTED_AFTER_FAILURE = "REPORTED_AFTER_FAILURE"
    """The refund failed, and the provider reports a fact about it all the same."""
    FAILED_AFTER_SETTLEMENT = "FAILED_AFTER_SETTLEMENT"
    """The refund settled, and the provider now reports that it failed."""
    AMOUNT_CHANGED_AFTER_SETTLEMENT = "AMOUNT_CHANGED_AFTER_SETTLEMENT"
    """The refund settled, and the provider now reports another amount."""
    CONTRADICTS_FINAL_STATE = "CONTRADICTS_FINAL_STATE"
    """The refund is final, and an answer casts doubt on it without reporting another end."""

    # Raised by an operator's decision.
    DECIDED_AGAINST_EVIDENCE = "DECIDED_AGAINST_EVIDENCE"
    """An operator decided against what the provider reported."""

    # Raised from outside.
    RECONCILIATION_STATUS = "RECONCILIATION_STATUS"
    """A report of the provider and the ledger disagree about whether the refund was paid."""
    RECONCILIATION_AMOUNT = "RECONCILIATION_AMOUNT"
    """A report of the provider and the ledger disagree about the amount."""
    RECONCILIATION_REFUND_ID = "RECONCILIATION_REFUND_ID"
    """A report of the provider and the ledger disagree about the provider's refund id."""
    RECONCILIATION_DUPLICATE = "RECONCILIATION_DUPLICATE"
    """A report of the provider lists the refund more than once."""
    RECONCILIATION_MISSING = "RECONCILIATION_MISSING"
    """The refund settled, and a report of the provider does not list it."""
    RECONCILIATION_REVERSED = "RECONCILIATION_REVERSED"
    """A report of the provider states that the money of the refund came back."""
    WORKER_GAVE_UP = "WORKER_GAVE_UP"
    """A worker met unexpected errors again and again and no longer processes the refund."""


class OutcomeKind(StrEnum):
    """What an `Inquired` event records: the kind of an outcome, or that an operator resumed the refund."""

    SUCCEEDED = "succeeded"
    PENDING = "pending"
    FAILED = "failed"
    NOT_FOUND = "not_found"
    UNKNOWN = "unknown"
    BLOCKED = "blocked"
    INFORMATIONAL = "informational"
    NOT_SENT = "not_sent"
    RESUMED = "resumed"
    """No outcome of a provider: an operator resumed the refund. Only the engine records it."""

    @property
    def decisive(self) -> bool:
        """Return whether an answer must not mean this unless it is certain which call it answers."""
        return self in _DECISIVE


_DECISIVE: Final = frozenset(
    {OutcomeKind.SUCCEEDED, OutcomeKind.PENDING, OutcomeKind.FAILED, OutcomeKind.NOT_FOUND, OutcomeKind.BLOCKED}
)


@attrs.frozen(slots=True)
class Quote:
    """The exchange rate of a refund, as the provider writes it."""

    pair: str
    price: str
    id: str | None = None
    start: str | None = None
    expiry: str | None = None
    guaranteed: str | None = None


@attrs.frozen(slots=True)
class Succeeded:
    """The provider reports that exactly this refund is done."""

    amount: Money
    """The amount that the provider reports; the core compares it with the requested one."""
    provider_refund_id: str | None = None
    settled_at: str | None = None
    """The time in ISO 8601 with its offset, as the provider writes it; any other text is recorded as a detail."""
    settlement_amount: Money | None = None
    quote: Quote | None = None
    details: Mapping[str, Any] | None = None
    """All further fields about the money (trace numbers, funds, unknown fields): JSON values."""
    payment_alias: str | None = None
    """Another name of the payment that the message states, in the form of an instruction's `payment`."""

    kind: ClassVar[OutcomeKind] = OutcomeKind.SUCCEEDED


@attrs.frozen(slots=True)
class Pending:
    """The provider has accepted the refund and is processing it. It is never sent again; inquiries follow."""

    code: str | None = None
    cause: str | None = None
    provider_refund_id: str | None = None
    payment_alias: str | None = None
    """Another name of the payment that the message states, in the form of an instruction's `payment`."""
    provider_message: str | None = None
    """The provider's own explanation of its code, as it wrote it; see `validation.provider_message`."""
    details: Mapping[str, Any] | None = None
    """All further fields of the message: JSON values."""

    kind: ClassVar[OutcomeKind] = OutcomeKind.PENDING


@attrs.frozen(slots=True)
class DefinitiveFailure:
    """Definitive: nothing was paid under this id, and nothing ever will be."""

    code: str
    cause: str
    advice: str
    provider_refund_id: str | None = None
    provider_message: str | None = None
    """The provider's own explanation of its code, as it wrote it; see `validation.provider_message`."""
    details: Mapping[str, Any] | None = None
    """All further fields of the message: JSON values."""

    kind: ClassVar[OutcomeKind] = OutcomeKind.FAILED


@attrs.frozen(slots=True)
class NotFound:
    """The provider answered an inquiry that it does not know this id. A single such answer proves nothing."""

    code: str | None = None
    cause: str | None = None
    provider_message: str | None = None
    """The provider's own explanation of its code, as it wrote it; see `validation.provider_message`."""

    kind: ClassVar[OutcomeKind] = OutcomeKind.NOT_FOUND


@attrs.frozen(slots=True)
class Unknown:
    """The outcome is unknown: also of every answer that is not understood, not signed or about something else."""

    cause: str
    code: str | None = None
    resend: Resend = Resend.AFTER_NOT_FOUND
    review: ReviewReason | None = None
    """Set when an operator should look at it; inquiries continue meanwhile. `cause` and `advice` explain it."""
    advice: str | None = None
    """What the operator should do."""
    scope: Scope | None = None
    """Set when so much must wait for the operator, although the answer is not trusted: a provider that cannot verify
    Refundry's signature may not sign its answer."""
    payment_alias: str | None = None
    """Another name of the payment that the message states, in the form of an instruction's `payment`."""
    provider_message: str | None = None
    """The provider's own explanation of its code, as it wrote it; see `validation.provider_message`."""
    answered: bool = attrs.field(default=True, eq=False)
    """False if nothing came back that the provider signed. It says nothing about the refund; an account whose calls
    are not answered counts as unreachable after a while."""

    kind: ClassVar[OutcomeKind] = OutcomeKind.UNKNOWN


@attrs.frozen(slots=True)
class Blocked:
    """The configuration, the contract or the request is wrong: the provider decided nothing about the refund."""

    code: str
    cause: str
    advice: str
    scope: Scope = Scope.REQUEST
    provider_message: str | None = None
    """The provider's own explanation of its code, as it wrote it; see `validation.provider_message`."""

    kind: ClassVar[OutcomeKind] = OutcomeKind.BLOCKED


@attrs.frozen(slots=True)
class Informational:
    """A fact that does not change the refund's status, such as how a bank received the money.

    It is recorded once, before or after the end, and shown.
    """

    cause: str
    """What happened, in a sentence for people."""
    code: str
    """What happened, as a code: with `details`, it tells a new fact from one that is repeated."""
    details: Mapping[str, Any] | None = None
    """All further fields of the message: JSON values."""

    kind: ClassVar[OutcomeKind] = OutcomeKind.INFORMATIONAL


@attrs.frozen(slots=True)
class NotSent:
    """Certain: the attempt failed before the first byte was sent. Only the transport may report this."""

    cause: str
    withheld: bool = False
    """Refundry kept the attempt back: this shows nothing about the provider."""

    kind: ClassVar[OutcomeKind] = OutcomeKind.NOT_SENT


Outcome = Succeeded | Pending | DefinitiveFailure | NotFound | Unknown | Blocked | Informational
"""What a reader may return."""


OUTCOMES: Final[tuple[type[Outcome], ...]] = get_args(Outcome)
"""The classes of `Outcome`, for checks at run time."""
