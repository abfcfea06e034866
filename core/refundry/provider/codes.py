"""Result codes: the table by which a provider's documented codes become outcomes.

The rule of this module: the documents decide. A row states what one code means, and what it means follows from its
class alone, so that two plugins can never treat the same class differently.
"""

from enum import StrEnum

import attrs


class CodeClass(StrEnum):
    """The meaning of a result code for the refund."""

    SUCCESS = "SUCCESS"
    """The call succeeded; the rest of the message decides what became of the refund."""
    PENDING = "PENDING"
    """The provider accepted the refund and is processing it."""
    RETRY = "RETRY"
    """Nothing is known; the same id may be sent again, when `same_id` says so."""
    INDETERMINATE = "INDETERMINATE"
    """The id may have paid: inquire, never send it again, flag it for review."""
    FAILED = "FAILED"
    """The id has not paid and never will."""
    FAILED_NEW_ID = "FAILED_NEW_ID"
    """As `FAILED`, and only a new refund with a new id can follow."""
    FAILED_UNCONFIRMED = "FAILED_UNCONFIRMED"
    """The provider reports a failure that may not be final: inquire, never send it again, flag it for review."""
    MISCONFIGURED = "MISCONFIGURED"
    """The account's configuration or contract is wrong: nothing was decided, and the whole account waits."""
    BAD_REQUEST = "BAD_REQUEST"
    """The provider cannot process this request until someone fixes the cause: nothing was decided."""
    NOT_FOUND = "NOT_FOUND"
    """The provider has no record of the refund; only an inquiry can be answered with it."""
    UNCHANGED = "UNCHANGED"
    """The call failed and adds no information about the refund."""


class SameId(StrEnum):
    """When the same id may be sent again."""

    NEVER = "never"
    AFTER_BACKOFF = "after_backoff"
    AFTER_INQUIRY = "after_inquiry"
    """Once the provider reports that it has no record of the id."""
    AFTER_FIX = "after_fix"
    """Once an operator fixed the cause and resumed the refund."""


class NewId(StrEnum):
    """Whether a new refund, with a new id, may replace the one that received the code."""

    NEVER = "never"
    MANUAL = "manual"
    """If an operator decides so."""
    REQUIRED = "required"
    """Only a new refund can succeed."""


class Breaker(StrEnum):
    """How much must wait until an operator resumes it."""

    NONE = "none"
    REQUEST = "request"
    """The refund that received the code."""
    ACCOUNT = "account"
    """Every refund of the account."""


@attrs.frozen(slots=True, kw_only=True)
class Code:
    """One documented result code: a row of the table by which a provider's answers become outcomes."""

    code: str
    """The code as the provider writes it."""
    status: str
    """The result status that the provider documents with the code; the code with another one contradicts itself."""
    meaning: CodeClass
    cause: str
    """What happened: one or more sentences for an operator."""
    advice: str
    """What the operator should do: one or more sentences."""
    same_id: SameId = SameId.NEVER
    new_id: NewId = NewId.NEVER
    breaker: Breaker = Breaker.NONE
