"""Money is exact: every currency, every amount, and nothing that only looks like one."""

import re
from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refundry.currencies import EXPONENTS, WITHDRAWN
from refundry.errors import Invalid
from refundry.money import MAX_DIGITS, Money, exponent_of
from tests.core.currencies_drift import published

currencies = st.sampled_from(sorted(EXPONENTS))
exponents = st.integers(0, 6)
minors = st.integers(1, 10**MAX_DIGITS - 1)

NOT_AMOUNTS: Final = [
    "", " ", "0", "0.00", "00", "01", "01.00", "-0", "-1", "-1.00", "+5", " 12", "12 ", "12\n", "\t12", "1_000",
    "1,000", "12,33", ".5", "5.", ".", "1.2.3", "1e3", "1E3", "0x10", "1/2", "NaN", "nan", "Infinity", "-Infinity",
    "inf", "１２", "٣", "¹", "1.２", "12.345", "12.330", "€12", "12 EUR", "twelve", "1\x00", "12\u200b", "−12",
]  # fmt: skip
"""Texts that are not amounts of EUR, including everything that int(), float() or Decimal() would accept."""

NOT_TEXTS: Final = [1.5, 12, True, None, b"12", Decimal("12.33"), ["12"], float("nan")]


@given(currency=currencies, minor=minors)
def test_an_amount_survives_its_text(currency: str, minor: int) -> None:
    """What is written is read back as the same amount, in every currency there is."""
    money = Money(minor, currency, exponent_of(currency))

    assert money == Money.parse(str(money), currency)


@given(exponent=exponents, minor=minors)
def test_an_amount_survives_its_text_with_the_providers_exponent(exponent: int, minor: int) -> None:
    """The provider's exponent goes before that of ISO 4217, both ways."""
    money = Money(minor, "EUR", exponent)

    assert money == Money.parse(str(money), "EUR", exponent)
    assert money == Money.of_minor(str(minor), "EUR", exponent)


@given(currency=currencies, minor=minors)
def test_the_text_is_the_exact_decimal(currency: str, minor: int) -> None:
    """The text is the amount in the currency's unit, with all its places, as exact arithmetic has it."""
    exponent = exponent_of(currency)
    text = str(Money(minor, currency, exponent))

    assert Decimal(minor).scaleb(-exponent) == Decimal(text)
    assert exponent == len(text.partition(".")[2])


@given(text=st.text(max_size=24) | st.from_regex(r"[-+]?[0-9_.,eE １٣]{0,20}", fullmatch=True), currency=currencies)
def test_a_text_is_an_amount_or_is_refused(text: str, currency: str) -> None:
    """Whatever the text, it is a positive plain decimal that fits the currency, or `Invalid` names the field."""
    try:
        money = Money.parse(text, currency, field="refund")
    except Invalid as error:
        assert error.field == "refund"
        return

    assert re.fullmatch(r"(0|[1-9][0-9]*)(\.[0-9]+)?", text, re.ASCII)
    assert Decimal(text) == Decimal(str(money))
    assert 0 < money.minor < 10**MAX_DIGITS


@pytest.mark.parametrize("text", NOT_AMOUNTS)
def test_what_is_no_amount_is_refused(text: str) -> None:
    """A text that only looks like an amount is refused, and the error names the field."""
    with pytest.raises(Invalid) as caught:
        Money.parse(text, "EUR", field="payment_total")

    assert caught.value.field == "payment_total"
    assert str(caught.value).startswith("payment_total: ")


@pytest.mark.parametrize("value", NOT_TEXTS)
def test_nothing_but_text_is_read(value: Any) -> None:
    """No float, no number and no other thing enters, by neither door."""
    with pytest.raises(Invalid, match="^amount: "):
        Money.parse(value, "EUR")
    with pytest.raises(Invalid, match="^amount: "):
        Money.of_minor(value, "EUR")


@pytest.mark.parametrize("value", [1.5, 1.0, True, "12", Decimal(12), None, -1])
def test_nothing_but_an_int_is_money(value: Any) -> None:
    """Even built by hand, an amount is an `int` that is not negative, and nothing that equals one."""
    with pytest.raises(Invalid, match="^amount: "):
        Money(value, "EUR", 2)


@pytest.mark.parametrize("value", [2.0, True, "2", None, -1])
def test_nothing_but_an_int_is_an_exponent(value: Any) -> None:
    """An exponent is a whole number that is not negative."""
    with pytest.raises(Invalid, match="^exponent: "):
        Money(1, "EUR", value)


@pytest.mark.parametrize("digits", ["", "0", "01", "-1", "+1", "1.0", " 1", "1\n", "1_0", "１", "٣", "1e3", "1" * 17])
def test_what_are_no_minor_units_is_refused(digits: str) -> None:
    """Minor units are 1 to 16 ASCII digits that do not begin with zero."""
    with pytest.raises(Invalid, match="^amount: "):
        Money.of_minor(digits, "EUR")


def test_a_currency_in_lower_case_is_refused_with_the_code() -> None:
    """A code in lower case is not read, and the error suggests the right one; an unknown one has no suggestion."""
    with pytest.raises(Invalid, match=r"minor unit; write EUR$"):
        Money.parse("1", "eur")
    with pytest.raises(Invalid, match=r"with a minor unit$"):
        Money.parse("1", "xxy")


def test_the_longest_amount_is_read_and_a_longer_one_is_not() -> None:
    """Sixteen digits of minor units are the most, whichever way they are written."""
    assert Money(9_999_999_999_999_999, "EUR", 2) == Money.parse("99999999999999.99", "EUR")
    assert Money(9_999_999_999_999_999, "JPY", 0) == Money.of_minor("9" * 16, "JPY")

    with pytest.raises(Invalid, match="more than 16 digits"):
        Money.parse("100000000000000.00", "EUR")
    with pytest.raises(Invalid, match="more than 16 digits"):
        Money.parse("9" * 5_000, "JPY")


@pytest.mark.parametrize(
    ("text", "currency", "minor", "written"),
    [
        ("12.33", "EUR", 1233, "12.33"),
        ("12.3", "EUR", 1230, "12.30"),
        ("12", "EUR", 1200, "12.00"),
        ("0.01", "EUR", 1, "0.01"),
        ("0.1", "EUR", 10, "0.10"),
        ("500", "JPY", 500, "500"),
        ("1.234", "BHD", 1234, "1.234"),
        ("0.0001", "CLF", 1, "0.0001"),
        ("7.5", "BGN", 750, "7.50"),
        ("1000", "ITL", 1000, "1000"),
    ],
)
def test_amounts_people_know(text: str, currency: str, minor: int, written: str) -> None:
    """Amounts of currencies with 0, 2, 3 and 4 decimals, withdrawn ones among them, are what people think they are."""
    money = Money.parse(text, currency)

    assert (minor, written) == (money.minor, str(money))


@pytest.mark.parametrize("text", ["500.0", "500.5"])
def test_a_currency_without_decimals_takes_none(text: str) -> None:
    """Half a yen is not rounded, and decimals are not dropped even if they are zero."""
    with pytest.raises(Invalid, match="JPY has 0"):
        Money.parse(text, "JPY")


@pytest.mark.parametrize(
    "currency", ["XAU", "XXX", "XTS", "ABC", "eur", "EU", "EURO", "", "ＥＵＲ", "EUR\n", None, 978, []]
)
def test_a_currency_that_does_not_exist_is_refused(currency: Any) -> None:
    """A code without a minor unit, unknown or misspelt is refused under its own field."""
    with pytest.raises(Invalid, match="^currency: "):
        Money.parse("12", currency)


def test_same_unit_wants_currency_and_exponent() -> None:
    """Amounts are comparable only in one currency with one exponent."""
    money = Money(1, "EUR", 2)

    assert money.same_unit(Money(2, "EUR", 2))
    assert not money.same_unit(Money(1, "USD", 2))
    assert not money.same_unit(Money(1, "EUR", 3))


def test_the_table_is_what_iso_publishes() -> None:
    """The checked-in active codes and exponents are those of ISO 4217 list one."""
    active = {code: exponent for code, exponent in EXPONENTS.items() if code not in WITHDRAWN}

    assert published() == active


def test_withdrawn_codes_are_kept() -> None:
    """An old log can still be read: withdrawn codes are in the table and none of them is active."""
    assert {"ANG", "ATS", "BGN", "DEM", "EEK", "ESP", "FRF", "HRK", "ITL", "LTL", "SLL", "ZWL"} <= WITHDRAWN
    assert set(EXPONENTS) >= WITHDRAWN
    assert WITHDRAWN.isdisjoint(published())


def test_the_table_cannot_be_changed() -> None:
    """The table of exponents cannot be changed at run time."""
    with pytest.raises(TypeError):
        EXPONENTS["EUR"] = 3  # type: ignore[index]
