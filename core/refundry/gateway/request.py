"""What a platform or a person says, checked before anything is made of it.

The rule of this module: pure; every refusal is an `Invalid` that names the field and the rule.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from refundry.config import Account
from refundry.errors import Invalid
from refundry.money import Money

MAX_DETAILS: Final = 16 * 1024
"""Bytes of JSON that the further fields of a request may take."""
_NAME: Final = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,200}")
_TEXT: Final = re.compile(r"[^\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]{1,2000}")


def check_name(field: str, text: str) -> str:
    """Check an id or a name: one line of 1 to 200 characters."""
    if not isinstance(text, str) or _NAME.fullmatch(text) is None:
        raise Invalid(field, "must be 1 to 200 characters without control characters")
    return text


def check_text(field: str, text: str) -> str:
    """Check a text for people: 1 to 2000 characters."""
    if not isinstance(text, str) or _TEXT.fullmatch(text) is None:
        raise Invalid(field, "must be 1 to 2000 characters without control characters")
    return text


def read_money(account: Account, amount: str | Money, currency: str | None, field: str) -> Money:
    """Read an amount in the provider's minor units."""
    if isinstance(amount, Money):
        if currency not in (None, amount.currency):
            raise Invalid("currency", f"{field} is in {amount.currency}, not {currency}")
        return Money.parse(str(amount), amount.currency, account.provider.exponent(amount.currency), field=field)
    if not isinstance(currency, str):
        raise Invalid("currency", "is missing")
    return Money.parse(amount, currency, account.provider.exponent(currency), field=field)


def check_total(amount: Money, total: Money | None) -> Money | None:
    """Check what was paid in all against what is to be refunded."""
    if total is not None and (not total.same_unit(amount) or total.minor < amount.minor):
        raise Invalid("payment_total", f"must be at least the amount, in {amount.currency}")
    return total


def check_details(details: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Check further fields for the provider: a small JSON object without numbers that could lose digits."""
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
    # Read back: what is stored and compared later is what JSON can hold, not what was handed over.
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
