"""Exact money: integer minor units, a currency, and the exponent between its minor unit and its unit.

The rule of this module: an amount is an `int` from input to output. No float is accepted, and nothing is rounded.
"""

import re
from typing import Final

import attrs

from refundry.currencies import EXPONENTS
from refundry.errors import Invalid

__all__ = ["MAX_DIGITS", "Money", "OverRefund", "exponent_of"]

MAX_DIGITS: Final = 16
"""No supported provider accepts longer amounts (Antom: `value` has at most 16 digits)."""

_MAX_SHOWN: Final = 40

_DECIMAL: Final = re.compile(r"(0|[1-9][0-9]*)(?:\.([0-9]+))?", re.ASCII)
_DIGITS: Final = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)


@attrs.frozen(slots=True)
class Money:
    """An amount of money.

    `minor` counts minor units (cents for EUR, yen for JPY); `exponent` is the number of decimals between the
    minor unit and the currency's unit. It is stored with the amount, because providers deviate from ISO 4217.
    """

    minor: int
    currency: str
    exponent: int

    def __attrs_post_init__(self) -> None:
        # `type`, because True is an int to isinstance, and 2.0 equals 2.
        if type(self.minor) is not int or self.minor < 0:
            raise Invalid("amount", "is not an integer number of minor units")
        if type(self.exponent) is not int or self.exponent < 0:
            raise Invalid("exponent", "is not an integer number of decimals")

    @classmethod
    def parse(cls, text: str, currency: str, exponent: int | None = None, *, field: str = "amount") -> "Money":
        """Read `12.33` of `EUR`; pass the provider's `exponent` if it deviates from ISO 4217.

        Raises `Invalid`, naming `field`, for anything but a positive ASCII decimal that the currency can hold.
        """
        places = exponent_of(currency) if exponent is None else exponent
        match = _DECIMAL.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise Invalid(field, f"{_shown(text)} is not an amount; write digits with a point, such as 12.33")
        whole, fraction = match[1], match[2] or ""
        if len(fraction) > places:
            raise Invalid(field, f"{_shown(text)} has {len(fraction)} decimals; {currency} has {places}")
        if len(whole) + places > MAX_DIGITS:
            raise Invalid(field, f"has more than {MAX_DIGITS} digits in minor units")
        minor = int(whole + fraction.ljust(places, "0"))
        if minor == 0:
            raise Invalid(field, "must be more than zero")
        return cls(minor, currency, places)

    @classmethod
    def of_minor(cls, digits: str, currency: str, exponent: int | None = None, *, field: str = "amount") -> "Money":
        """Read minor units as providers write them: `1233` of `EUR` is 12.33.

        Raises `Invalid`, naming `field`, for anything but 1 to 16 ASCII digits without a leading zero.
        """
        places = exponent_of(currency) if exponent is None else exponent
        if not isinstance(digits, str) or _DIGITS.fullmatch(digits) is None:
            raise Invalid(field, "is not a positive whole number of minor units in 1 to 16 digits")
        return cls(int(digits), currency, places)

    def __str__(self) -> str:
        """Write the amount as a decimal with all its places: `12.30`."""
        if self.exponent == 0:
            return str(self.minor)
        digits = str(self.minor).rjust(self.exponent + 1, "0")
        return f"{digits[: -self.exponent]}.{digits[-self.exponent :]}"

    def same_unit(self, other: "Money") -> bool:
        """Return True if the amounts have the same currency and exponent, so that they can be compared and added."""
        return self.currency == other.currency and self.exponent == other.exponent


def exponent_of(currency: str) -> int:
    """Return the ISO 4217 exponent of a currency, also a withdrawn one; raise `Invalid` if there is no such code."""
    try:
        return EXPONENTS[currency]
    except (KeyError, TypeError):
        known = isinstance(currency, str) and currency.upper() in EXPONENTS
        hint = f"; write {currency.upper()}" if known else ""
        raise Invalid("currency", f"{_shown(currency)} is not an ISO 4217 code with a minor unit{hint}") from None


def _shown(value: object) -> str:
    # ASCII, so that a full-width digit is visible; short, so that the error stays on one line.
    text = ascii(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


class OverRefund(Invalid):
    """The refunds of a payment would exceed its total. Nothing was stored and nothing was sent."""

    next = "refund at most what remains, or correct the payment's total"

    def __init__(self, field: str, rule: str, remaining: Money) -> None:
        super().__init__(field, f"{rule}; {remaining} {remaining.currency} can still be refunded")
        self.remaining = remaining
        """What can still be refunded; zero if nothing can."""
