"""What a platform asks for: `RefundRequest`, and the checks that turn it into a `Requested` event.

The rule of this module: pure; every refusal is an `Invalid` that names the field and the rule.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import attrs

from refundry.config import Account
from refundry.errors import Invalid
from refundry.money import Money

__all__ = ["MAX_DETAILS", "RefundRequest", "check_details", "check_total", "read_money"]

MAX_DETAILS: Final = 16 * 1024
"""The number of bytes that `details` may have as JSON."""


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
    retry_of: str | None = None
    """The failed refund that this one replaces: Refundry's id or the `refund_request_id`."""
    details: Mapping[str, Any] | None = None
    """Further fields of the request, under the provider's own names."""
    by: str = "platform"
    """Who asks: a user, a service or a file."""


def read_money(account: Account, amount: str | Money, currency: str | None, field: str) -> Money:
    """Return an amount in the provider's minor units."""
    if isinstance(amount, Money):
        if currency not in (None, amount.currency):
            raise Invalid("currency", f"{field} is in {amount.currency}, not {currency}")
        return Money.parse(str(amount), amount.currency, account.provider.exponent(amount.currency), field=field)
    if not isinstance(currency, str):
        raise Invalid("currency", "is missing")
    return Money.parse(amount, currency, account.provider.exponent(currency), field=field)


def check_total(amount: Money, total: Money | None) -> Money | None:
    """Return the payment's total; raise `Invalid` if it is less than the amount or in another currency."""
    if total is not None and (not total.same_unit(amount) or total.minor < amount.minor):
        raise Invalid("payment_total", f"must be at least the amount, in {amount.currency}")
    return total


def check_details(details: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return the further fields as stored: a small JSON object without numbers that could lose digits."""
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
