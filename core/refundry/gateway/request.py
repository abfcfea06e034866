"""What a platform asks for: `RefundRequest`, and the checks that turn it into a `Requested` event.

The rule of this module: pure; every refusal is an `Invalid` that names the field and the rule.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final

import attrs

from refundry.config import Account
from refundry.errors import Conflict, Invalid
from refundry.inputs import check_name, check_text
from refundry.journal.codec import ERASED, ERASED_DETAILS, UNNAMED
from refundry.money import Money
from refundry.plugin_host.containment import contained
from refundry.provider import RefundInstruction, Unreadable, read_object
from refundry.refund import Refund, Requested, fold, policy

__all__ = ["MAX_DETAILS", "Draft", "RefundRequest", "check_same", "draft", "possibly_sent"]

MAX_DETAILS: Final = 16 * 1024
"""The number of bytes that `details` may have as JSON."""
_SAME: Final = ("payment", "amount", "reason", "payment_total", "retry_of", "request_details")


@attrs.frozen(kw_only=True)
class RefundRequest:
    """A refund as a platform asks for it. The gateway checks it against the account's provider and its terms."""

    account: str
    """The account's name in the configuration."""
    payment: str
    """The provider's id of the payment, or `merchant:NUMBER` for the merchant's order number if the provider has it."""
    amount: str | Money
    """A decimal text such as "12.33", or a `Money`; never a float."""
    currency: str | None = None
    """An ISO 4217 code; required unless `amount` is a `Money`."""
    refund_request_id: str
    """The caller's id of this refund and its idempotency key: the same id is the same refund, permanently."""
    reason: str | None = None
    """Why the customer is refunded, in words that the customer may see."""
    payment_total: str | Money | None = None
    """What was paid in total. All refunds of the payment together may not exceed it."""
    correct_total: bool = False
    """`payment_total` replaces what earlier refunds of the payment state, as an operator (`by`) decided for a reason
    (`why`): the earlier total was wrong, or more was paid since."""
    why: str | None = None
    """Why the total is corrected."""
    retry_of: str | None = None
    """The failed refund that this one replaces: Refundry's id or the `refund_request_id`."""
    details: Mapping[str, Any] | None = None
    """Further fields of the request, under the provider's own names."""
    details_text: Mapping[str, str] | None = None
    """Further fields of the request as text, from a command line or a file: a value that begins with { or [ is JSON,
    unless the provider's field is a text."""
    may_have_been_sent: bool = False
    """It may have reached the provider before, from a store that was lost: the first step is an inquiry."""
    by: str = "platform"
    """Who asks: a user, a service or a file."""


@attrs.frozen
class Draft:
    """A checked request: the event that records it, the refund that it becomes, and what the provider is asked."""

    refund: Refund
    requested: Requested
    instruction: RefundInstruction
    replaced_version: int | None = None
    """The version of the failed refund that it replaces, if it replaces one."""

    def replacing(self, failed: Refund) -> "Draft":
        """Return the draft as the replacement of a failed refund, as it is now."""
        requested = attrs.evolve(self.requested, retry_of=failed.id)
        refund = fold(self.refund.id, [requested])
        return attrs.evolve(self, requested=requested, refund=refund, replaced_version=failed.version)


def draft(request: RefundRequest, account: Account, refund_id: str, at: datetime) -> Draft:
    """Check a request against its account; raise `Invalid` if it breaks a rule. `retry_of` is not checked here."""
    amount = _read_money(account, request.amount, request.currency, "amount")
    requested = Requested(
        at=at,
        account=account.name,
        provider=account.plugin.name,
        payment=check_name("payment", request.payment),
        amount=amount,
        refund_request_id=check_name("refund_request_id", request.refund_request_id),
        by=check_name("by", request.by),
        reason=None if request.reason is None else check_text("reason", request.reason),
        payment_total=_read_total(account, request.payment_total, amount),
        details=_read_details(_with_texts(account, request)),
        plugin=account.plugin_id,
    )
    if request.correct_total or request.why is not None:
        requested = _correcting(requested, request)
    if request.may_have_been_sent:
        requested = possibly_sent(requested, account)
    refund = fold(refund_id, [requested])
    instruction = policy.instruction_for(refund)
    policy.check_limits(instruction, account.terms)
    contained(partial(account.provider.check, instruction))
    return Draft(refund, requested, instruction)


def _correcting(requested: Requested, request: RefundRequest) -> Requested:
    """Return the request as one that corrects the payment's total; an operator and a reason are required."""
    if not request.correct_total:
        raise Invalid("why", "explains why the payment's total is corrected, and nothing is")
    if requested.payment_total is None:
        raise Invalid("payment_total", "is required to correct the total of the payment")
    if requested.by in UNNAMED:
        raise Invalid("by", "must name the operator who corrects the payment's total")
    return attrs.evolve(requested, corrects_total=True, why=check_text("why", request.why or ""))


def possibly_sent(requested: Requested, account: Account) -> Requested:
    """Return the request as one that may have reached the provider before it is recorded."""
    return attrs.evolve(
        requested,
        possible_sender=account.provider.identity,
        inquire_at=policy.unanswered_until(requested.at, account.terms),
    )


def check_same(existing: Refund, new: Refund) -> None:
    """Raise `Conflict` if an existing refund was requested with other data than `new`. Erased data is not compared."""
    for field in _SAME:
        known, wanted = getattr(existing, field), getattr(new, field)
        if known != wanted and known not in (ERASED, ERASED_DETAILS):
            raise Conflict(f"{field}: {existing.refund_request_id!r} was requested with {known}, not {wanted}")


def _read_money(account: Account, amount: str | Money, currency: str | None, field: str) -> Money:
    if isinstance(amount, Money):
        if currency not in (None, amount.currency):
            raise Invalid("currency", f"{field} is in {amount.currency}, not {currency}")
        return Money.parse(str(amount), amount.currency, _exponent(account, amount.currency), field=field)
    if not isinstance(currency, str):
        raise Invalid("currency", "is missing")
    return Money.parse(amount, currency, _exponent(account, currency), field=field)


def _exponent(account: Account, currency: str) -> int:
    return contained(partial(account.provider.exponent, currency))


def _read_total(account: Account, total: str | Money | None, amount: Money) -> Money | None:
    if total is None:
        return None
    money = _read_money(account, total, amount.currency, "payment_total")
    if not money.same_unit(amount) or money.minor < amount.minor:
        raise Invalid("payment_total", f"must be at least the amount, in {amount.currency}")
    return money


def _with_texts(account: Account, request: RefundRequest) -> Mapping[str, Any] | None:
    """Return the further fields of a request, with the values that were given as text."""
    if not request.details_text:
        return request.details
    given = dict(request.details or {})
    for name, text in request.details_text.items():
        if name in given:
            raise Invalid(f"details.{name}", "is given twice")
        is_json = text.startswith(("{", "[")) and name not in account.plugin.text_details
        given[name] = _read_json(name, text) if is_json else text
    return given


def _read_json(name: str, text: str) -> Any:
    try:
        # Wrapped as the only value of an object: text that closes the object early adds a key and is refused.
        ((_, value),) = read_object(b'{"value":%b}' % text.encode()).items()
    except (Unreadable, ValueError) as error:
        raise Invalid(f"details.{name}", f"is not valid JSON: {error}") from None
    return value


def _read_details(details: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if not details:
        return None
    if not isinstance(details, Mapping) or not all(isinstance(name, str) for name in details):
        raise Invalid("details", "must be named values")
    _refuse_floats(details, "details", 0)
    try:
        written = json.dumps(dict(details), ensure_ascii=False).encode()
    except (TypeError, ValueError):
        raise Invalid("details", "must be JSON values in UTF-8") from None
    if len(written) > MAX_DETAILS:
        raise Invalid("details", f"has {len(written)} bytes as JSON; {MAX_DETAILS} are allowed")
    # Read back: what is stored, and compared later, is what JSON can hold, not what was passed in.
    return dict(json.loads(written))


def _refuse_floats(value: object, field: str, depth: int) -> None:
    if isinstance(value, float):
        raise Invalid(field, "holds a number with a fraction; write it as text")
    if depth > 8:
        raise Invalid(field, "is nested deeper than 8")
    if isinstance(value, Mapping):
        for name, item in value.items():
            _refuse_floats(item, f"{field}.{name}", depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_floats(item, field, depth + 1)
