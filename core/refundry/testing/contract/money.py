"""Money goes through a plugin exactly: what was asked for is what the books say.

The rule of this module: amounts are compared as whole minor units and as the decimals that the books show.
"""

from typing import Final

from refundry.currencies import EXPONENTS
from refundry.errors import Invalid
from refundry.money import Money
from refundry.provider import Succeeded
from refundry.testing.contract.base import check, demand
from refundry.testing.contract.environment import Stage, Subject, money
from refundry.testing.contract.reading import read, shown

_LIKELY: Final = ("EUR", "USD", "CNY", "GBP", "CAD", "JPY", "KRW", "KWD", "BHD", "IDR")
_MINORS: Final = (1, 7, 29, 58, 100, 115, 435, 1_001, 99_999, 1_234_567, 999_999_901, 8_999_999_999_999_999)
"""Among them 0.29, 0.58, 1.15, 4.35 and so on, which a float cannot hold."""


@check("money-exact", "What the provider books is to the minor unit what was asked for, in every kind of currency.")
async def money_exact(subject: Subject) -> None:
    """Refund amounts that floats and wrong decimals spoil, in currencies with none, two and three decimals."""
    async with subject.stage() as stage:
        amounts = [amount for currency in _one_of_each(stage) for amount in _taken(stage, currency)]
        demand(len(amounts) >= 3, "hardly any amount is taken")
        booked = 0
        for number, amount in enumerate(amounts):
            booked += await _booked_exactly(stage, number, amount)
        demand(booked >= 3, "hardly any amount was booked by the simulator")


def _one_of_each(stage: Stage) -> list[str]:
    """Give one currency for each number of decimals, of ISO 4217 and of the provider."""
    found: dict[tuple[int, int], str] = {}
    for currency in _LIKELY:
        taken = money(stage.provider, 1_000_000, currency)
        if taken is not None:
            found.setdefault((EXPONENTS[currency], taken.exponent), currency)
    return list(found.values())


def _taken(stage: Stage, currency: str) -> list[Money]:
    return [amount for minor in _MINORS if (amount := money(stage.provider, minor, currency)) is not None]


async def _booked_exactly(stage: Stage, number: int, amount: Money) -> bool:
    asked = stage.instruction(number, amount=amount)
    reply = await stage.ask("refund", asked)
    book = await stage.control.entry(asked.refund_request_id)
    if book is None or not book["moved"]:
        return False  # too much for this payment, or not this currency
    said = {"value": str(amount), "currency": amount.currency}
    demand(book["amount"] == said, f"{amount} {amount.currency} was booked as {' '.join(book['amount'].values())}")
    for sample in (reply, await stage.ask("inquiry", asked)):
        outcome = read(sample)
        if isinstance(outcome, Succeeded):
            demand(outcome.amount == amount, f"{amount} {amount.currency} was read back as {outcome.amount}")
    outcome = read(sample)
    demand(
        isinstance(outcome, Succeeded), f"{amount} {amount.currency} was booked, and the inquiry reads {shown(outcome)}"
    )
    return True


@check("exponents-known", "For every currency there is a number of decimals or an error that names the currency.")
async def exponents(subject: Subject) -> None:
    """Ask for every currency of ISO 4217, and for what is none."""
    provider = subject.account().provider
    for currency in (*EXPONENTS, "EU", "eur", "EURO", "", "XX1", "\uff25\uff35\uff32"):
        try:
            places = provider.exponent(currency)
        except Invalid as error:
            demand(error.field == "currency", f"the error for {currency!r} names {error.field!r}, not the currency")
        except Exception as error:
            demand(False, f"exponent({currency!r}) raised {type(error).__name__}")
        else:
            demand(type(places) is int and 0 <= places <= 4, f"exponent({currency!r}) is {places!r}")
            demand(currency in EXPONENTS, f"{currency!r} is no currency, and has {places} decimals")
