"""Result codes: the table by which a provider's documented codes become outcomes.

The rule of this module: the documents decide. A row states what one code means, and what it means follows from its
class alone, so that two plugins can never treat the same class differently.
"""

from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, assert_never

import attrs

from refundry.provider.outcomes import (
    Blocked,
    DefinitiveFailure,
    Informational,
    NotFound,
    Outcome,
    Pending,
    Resend,
    ReviewReason,
    Scope,
    Succeeded,
    Unknown,
)
from refundry.provider.validation import as_code, shown


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


# --- from a code to an outcome ----------------------------------------------------------------------------------------


def table_of(*rows: Code) -> Mapping[str, Code]:
    """Return rows as a table by their codes."""
    return MappingProxyType({row.code: row for row in rows})


def outcome_of(row: Code, provider_refund_id: str | None = None) -> Outcome:
    """Return the outcome of a code, which follows from its class.

    `SUCCESS` has none: the rest of the message decides then, so a plugin handles that class before it calls this.
    """
    match row.meaning:
        case CodeClass.SUCCESS:
            raise AssertionError(f"{row.code} is a success: the rest of the message decides")
        case CodeClass.PENDING:
            return Pending(row.code, row.cause, provider_refund_id)
        case CodeClass.RETRY:
            resend = Resend.SAME if row.same_id is SameId.AFTER_BACKOFF else Resend.AFTER_NOT_FOUND
            return Unknown(row.cause, row.code, resend=resend, advice=row.advice)
        case CodeClass.FAILED | CodeClass.FAILED_NEW_ID:
            return failure(row)
        case CodeClass.INDETERMINATE | CodeClass.FAILED_UNCONFIRMED:
            reason = ReviewReason.UNCONFIRMED_REFUSAL
            return Unknown(row.cause, row.code, resend=Resend.NEVER, review=reason, advice=row.advice)
        case CodeClass.MISCONFIGURED:
            return Blocked(row.code, row.cause, row.advice, Scope.ACCOUNT)
        case CodeClass.BAD_REQUEST:
            return Blocked(row.code, row.cause, row.advice, Scope.REQUEST)
        case CodeClass.NOT_FOUND:
            return NotFound(row.code, row.cause)
        case CodeClass.UNCHANGED:
            return Unknown(row.cause, row.code, advice=row.advice)
        case _:
            assert_never(row.meaning)


def status_conflict(row: Code, status: str) -> Unknown | None:
    """Return what is wrong with a code that arrived with another status than the documented one, or `None`."""
    if row.status == status:
        return None
    return contradiction(f"{row.code} came with status {shown(status)}; it is documented with {row.status}", row.code)


def wrong_status(provider: str, table: Mapping[str, Code], code: str | None, status: str) -> Unknown | None:
    """Return what is wrong with a status that the provider does not document, at all or with this code, or `None`."""
    if all(row.status != status for row in table.values()):
        return Unknown(f"a result status that {provider} does not document: {shown(status)}")
    row = table.get(code or "")
    return None if row is None else status_conflict(row, status)


def by_state(
    provider: str,
    states: Mapping[str, Code],
    state: str | None,
    *,
    refund_request_id: str | None,
    provider_refund_id: str | None,
    settled: Callable[[], Outcome],
) -> Outcome:
    """Return the outcome of an answer that shows the state of the refund that it names; `settled` reads a success."""
    if state is None:
        return incomplete(f"{provider} answered without the state of the refund", resend=Resend.AFTER_NOT_FOUND)
    if refund_request_id is None:
        text = f"{provider}'s answer does not name the refund"
        return incomplete(text, as_code(state), resend=Resend.AFTER_NOT_FOUND)
    row = states.get(state)
    if row is None:
        return Unknown(f"the refund is in a state that {provider} does not document: {shown(state)}")
    return settled() if row.meaning is CodeClass.SUCCESS else outcome_of(row, provider_refund_id)


def contradiction(text: str, code: str | None = None) -> Unknown:
    """Return the outcome of a message that contradicts itself, the documents or the request.

    Money may have moved that was not requested: the id is never sent again, and the refund is flagged for review.
    """
    return Unknown(text, code, resend=Resend.NEVER, review=ReviewReason.CONTRADICTORY_ANSWER)


def incomplete(text: str, code: str | None = None, resend: Resend = Resend.NEVER) -> Unknown:
    """Return the outcome of an answer that may report a success and does not show of what: it needs review."""
    advice = "Compare the refund with the provider's dashboard, then resolve it."
    return Unknown(text, code, resend=resend, review=ReviewReason.INCOMPLETE_ANSWER, advice=advice)


def explained(
    outcome: Outcome,
    provider_message: str | None,
    details: Mapping[str, Any] | None = None,
    provider_refund_id: str | None = None,
) -> Outcome:
    """Return an outcome with what the provider wrote besides: its message, and the further fields of a failure."""
    match outcome:
        case DefinitiveFailure():
            return attrs.evolve(
                outcome,
                provider_message=provider_message,
                details=details or None,
                provider_refund_id=provider_refund_id or outcome.provider_refund_id,
            )
        case Pending() if provider_message or details:
            return attrs.evolve(outcome, provider_message=provider_message, details=details or None)
        case NotFound() | Unknown() | Blocked():
            return attrs.evolve(outcome, provider_message=provider_message)
        case Pending() | Succeeded() | Informational():
            return outcome
        case _:
            assert_never(outcome)


def failure(row: Code) -> DefinitiveFailure:
    """Return the definitive failure that a row describes."""
    return DefinitiveFailure(row.code, row.cause, row.advice)


def undocumented(text: str, code: str | None = None, resend: Resend = Resend.NEVER) -> Unknown:
    """Return the outcome of an answer with a result that the provider does not document: it needs review."""
    return Unknown(text, code, resend=resend, review=ReviewReason.UNDOCUMENTED_ANSWER)
