"""What a provider's answer can mean: the outcomes that every reader of a plugin returns.

The rule of this module: values only. No outcome shares its name with an event: an outcome is what a provider said, an
event is what was recorded.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar

import attrs

from refundry.money import Money


class Resend(StrEnum):
    """Whether the same id with the same bytes may be sent again after an outcome that is not final."""

    SAME = "same"
    """The provider asks us to call again: after a back-off."""
    AFTER_NOT_FOUND = "after_not_found"
    """Only once the provider, asked as often as its terms say, does not know the id."""
    NEVER = "never"
    """Never again, whatever comes."""


class Scope(StrEnum):
    """How far the reason of a `Blocked` reaches: what must wait until a person has mended it."""

    REQUEST = "request"
    ACCOUNT = "account"


@attrs.frozen(slots=True)
class Quote:
    """The exchange rate of a refund, in the provider's own words."""

    pair: str
    price: str
    id: str | None = None
    start: str | None = None
    expiry: str | None = None
    guaranteed: str | None = None


@attrs.frozen(slots=True)
class Succeeded:
    """The provider says that exactly this refund is done on its side."""

    amount: Money
    """What the provider says it refunded; the core compares it with what was asked."""
    provider_refund_id: str | None = None
    settled_at: str | None = None
    """The provider's own words for the time, with its offset."""
    settlement_amount: Money | None = None
    quote: Quote | None = None
    details: Mapping[str, Any] | None = None
    """Everything else the provider said of the money (trace numbers, funds, fields we do not know): JSON values."""

    kind: ClassVar[str] = "succeeded"


@attrs.frozen(slots=True)
class Pending:
    """The provider has the refund and works on it. It is never sent again; it is asked about."""

    code: str | None = None
    cause: str | None = None
    provider_refund_id: str | None = None

    kind: ClassVar[str] = "pending"


@attrs.frozen(slots=True)
class DefinitiveFailure:
    """Definitive: this id has not paid and never will."""

    code: str
    cause: str
    advice: str

    kind: ClassVar[str] = "failed"


@attrs.frozen(slots=True)
class NotFound:
    """The provider, asked, does not know this id. Once is no proof of anything."""

    code: str | None = None
    cause: str | None = None

    kind: ClassVar[str] = "not_found"


@attrs.frozen(slots=True)
class Unknown:
    """We do not know. Also the outcome of every answer that is not understood, not signed or about something else."""

    cause: str
    code: str | None = None
    resend: Resend = Resend.AFTER_NOT_FOUND
    review: str | None = None
    """Set when a person should look, with the reason; asking the provider goes on meanwhile."""
    scope: Scope | None = None
    """Set when so much must wait for that person, although nothing of the answer is believed: a provider that cannot
    verify our signature may not sign what it says."""

    kind: ClassVar[str] = "unknown"


@attrs.frozen(slots=True)
class Blocked:
    """Our configuration, contract or request is wrong: the provider decided nothing about the refund."""

    code: str
    cause: str
    advice: str
    scope: Scope = Scope.REQUEST

    kind: ClassVar[str] = "blocked"


@attrs.frozen(slots=True)
class Informational:
    """A fact about the refund that changes nothing about where it stands, such as how a bank took the money.

    It is recorded once, before the end or after it, and shown.
    """

    cause: str
    """What the provider says happened, in a sentence for people."""
    code: str | None = None
    details: Mapping[str, Any] | None = None
    """Everything it said of it: JSON values."""

    kind: ClassVar[str] = "informational"


@attrs.frozen(slots=True)
class NotSent:
    """Certain: it failed before the first byte left. Only the transport may say so."""

    cause: str

    kind: ClassVar[str] = "not_sent"


Outcome = Succeeded | Pending | DefinitiveFailure | NotFound | Unknown | Blocked | Informational
"""What a reader may return."""
