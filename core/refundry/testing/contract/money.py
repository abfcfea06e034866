"""Money: a plugin passes amounts exactly.

The rule of this module: amounts are compared in minor units and with the decimals of the simulator's ledger.
"""

from typing import Final

from refundry.currencies import EXPONENTS
from refundry.errors import Invalid
from refundry.money import Money
from refundry.provider import Succeeded
from refundry.testing.contract.base import check, require
from refundry.testing.contract.environment import Environment, Subject, money
from refundry.testing.contract.reading import read, shown

_LIKELY: Final = ("EUR", "USD", "CNY", "GBP", "CAD", "JPY", "KRW", "KWD", "BHD", "IDR")
_MINORS: Final = (1, 7, 29, 58, 100, 115, 435, 1_001, 99_999, 1_234_567, 999_999_901, 8_999_999_999_999_999)
"""They include 0.29, 0.58, 1.15 and 4.35, which a float cannot represent."""


@check("money-exact", "The provider's ledger has exactly the requested minor units, in every type of currency.")
async def money_exact(subject: Subject) -> None:
    """Refund amounts that floats and wrong decimals would change, in currencies with zero, two and three decimals."""
    async with subject.environment() as env:
        amounts = [amount for currency in _one_of_each(env) for amount in _taken(env, currency)]
        require(len(amounts) >= 3, "hardly any amount is accepted")
        booked = 0
        for number, amount in enumerate(amounts):
            booked += await _booked_exactly(env, number, amount)
        require(booked >= 3, "hardly any amount reached the simulator's ledger")


def _one_of_each(env: Environment) -> list[str]:
    """Return one currency for each pair of decimals, of ISO 4217 and of the provider."""
    found: dict[tuple[int, int], str] = {}
    for currency in _LIKELY:
        taken = money(env.provider, 1_000_000, currency)
        if taken is not None:
            found.setdefault((EXPONENTS[currency], taken.exponent), currency)
    return list(found.values())


def _taken(env: Environment, currency: str) -> list[Money]:
    return [amount for minor in _MINORS if (amount := money(env.provider, minor, currency)) is not None]


async def _booked_exactly(env: Environment, number: int, amount: Money) -> bool:
    asked = env.instruction(number, amount=amount)
    reply = await env.send("refund", asked)
    entry = await env.control.refund(asked.refund_request_id)
    if entry is None or not entry["moved"]:
        return False  # too much for this payment, or a currency that is not accepted
    expected = {"value": str(amount), "currency": amount.currency}
    require(
        entry["amount"] == expected, f"{amount} {amount.currency} was recorded as {' '.join(entry['amount'].values())}"
    )
    for sample in (reply, await env.send("inquiry", asked)):
        outcome = read(sample)
        if isinstance(outcome, Succeeded):
            require(outcome.amount == amount, f"{amount} {amount.currency} was read back as {outcome.amount}")
    outcome = read(sample)
    require(
        isinstance(outcome, Succeeded),
        f"{amount} {amount.currency} was recorded, but the inquiry reads {shown(outcome)}",
    )
    return True


@check("exponents-known", "Every currency has a number of decimals or an error that names the currency.")
async def exponents(subject: Subject) -> None:
    """Check every currency of ISO 4217, and codes that are not currencies."""
    provider = subject.account().provider
    for currency in (*EXPONENTS, "EU", "eur", "EURO", "", "XX1", "\uff25\uff35\uff32"):
        try:
            places = provider.exponent(currency)
        except Invalid as error:
            require(error.field == "currency", f"the error for {currency!r} names {error.field!r}, not the currency")
        except Exception as error:
            require(False, f"exponent({currency!r}) raised {type(error).__name__}")
        else:
            require(type(places) is int and 0 <= places <= 4, f"exponent({currency!r}) is {places!r}")
            require(currency in EXPONENTS, f"{currency!r} is not a currency but has {places} decimals")
