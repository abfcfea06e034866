"""Every length that a provider documents, at its edge: exactly as long is accepted, one more is refused by name."""

from collections.abc import Callable
from typing import Any, Final

import attrs
import pytest

from refundry.errors import Invalid
from refundry.money import Money
from tests.plugins import limits
from tests.plugins.alipay import given as alipay
from tests.plugins.alphapay import given as alphapay
from tests.plugins.antom import given as antom

Attempt = Callable[[Any], object]


def of_instruction(plugin: Any, field: str) -> Attempt:
    """Return the check of one field of an instruction by the terms and the provider."""
    provider = plugin.provider()
    return lambda value: limits.check(provider, attrs.evolve(plugin.INSTRUCTION, **{field: value}))


def of_details(plugin: Any, field: str) -> Attempt:
    """Return the check of one further field of a request."""
    check = of_instruction(plugin, "details")
    return lambda value: check({field: value})


def of_settings(plugin: Any, field: str) -> Attempt:
    """Return the check of one key of an account."""
    return lambda value: plugin.provider(**{field: value})


def url(length: int) -> str:
    """Return a URL of exactly this length."""
    return "https://shop.example/".ljust(length, "n")


def text(length: int) -> str:
    """Return a text of exactly this length."""
    return "x" * length


def merchant(length: int) -> str:
    """Return a payment by the merchant's number, which has exactly this length."""
    return f"merchant:{text(length)}"


def digits(currency: str) -> Callable[[int], Money]:
    """Return a maker of amounts with exactly so many digits in minor units."""
    return lambda length: Money(10 ** (length - 1), currency, 2)


def price(length: int) -> Money:
    """Return an amount of yuan that is written with exactly this many characters."""
    return Money(10 ** (length - 2), "CNY", 2)


LIMITS: Final[list[tuple[str, Any, Callable[[Any, str], Attempt], str, int, Callable[[int], Any]]]] = [
    ("Antom refundRequestId", antom, of_instruction, "refund_request_id", 64, text),
    ("Antom paymentId", antom, of_instruction, "payment", 64, text),
    ("Antom refundReason", antom, of_instruction, "reason", 256, text),
    ("Antom refundAmount", antom, of_instruction, "amount", 16, digits("USD")),
    ("Antom refundNotifyUrl", antom, of_settings, "notify_url", 1024, url),
    ("Antom refundNotifyUrl of a refund", antom, of_details, "refundNotifyUrl", 1024, url),
    ("Antom referenceRefundId", antom, of_details, "referenceRefundId", 64, text),
    ("Antom captureId", antom, of_details, "captureId", 64, text),
    ("Antom agent-token", antom, of_settings, "agent_token", 128, text),
    ("AlphaPay refundRequestId", alphapay, of_instruction, "refund_request_id", 64, text),
    ("AlphaPay description", alphapay, of_instruction, "reason", 128, text),
    ("AlphaPay amount", alphapay, of_instruction, "amount", 7, digits("CAD")),
    ("AlphaPay notifyUrl", alphapay, of_settings, "notify_url", 1024, url),
    ("AlphaPay notifyUrl of a refund", alphapay, of_details, "notifyUrl", 1024, url),
    ("Alipay out_request_no", alipay, of_instruction, "refund_request_id", 64, text),
    ("Alipay trade_no", alipay, of_instruction, "payment", 64, text),
    ("Alipay out_trade_no", alipay, of_instruction, "payment", 64, merchant),
    ("Alipay refund_reason", alipay, of_instruction, "reason", 256, text),
    ("Alipay refund_amount", alipay, of_instruction, "amount", 16, price),
    ("Alipay notify_url", alipay, of_settings, "notify_url", 256, url),
    ("Alipay notify_url of a refund", alipay, of_details, "notify_url", 256, url),
    ("Alipay app_auth_token", alipay, of_settings, "app_auth_token", 40, text),
    ("Alipay app_id", alipay, of_settings, "app_id", 32, text),
    ("Alipay related_settle_confirm_no", alipay, of_details, "related_settle_confirm_no", 64, text),
    ("Alipay operator_id", alipay, of_details, "operator_id", 30, text),
    ("Alipay store_id", alipay, of_details, "store_id", 32, text),
    ("Alipay terminal_id", alipay, of_details, "terminal_id", 32, text),
    ("Alipay org_pid", alipay, of_details, "org_pid", 16, text),
]


@pytest.mark.parametrize(
    ("plugin", "checked", "field", "limit", "made"), [row[1:] for row in LIMITS], ids=[row[0] for row in LIMITS]
)
def test_a_documented_length_is_the_limit(
    plugin: Any, checked: Callable[[Any, str], Attempt], field: str, limit: int, made: Callable[[int], Any]
) -> None:
    """A value of exactly the documented length is accepted, and one more is refused with the name of the field."""
    attempt = checked(plugin, field)

    attempt(made(limit))
    with pytest.raises(Invalid) as refused:
        attempt(made(limit + 1))
    assert refused.value.field in (field, f"details.{field}")
