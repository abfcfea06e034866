"""The further fields of a refund request, which the platform gives under Alipay's own names.

The rule of this module: a field is taken in the shape that Alipay describes and in no other, every scalar but a count a
string, every amount exact yuan, and equal fields make equal bytes. No value is ever shown. Sources: Alipay Open
Platform, `alipay.trade.refund`, and the model of the request in its official SDK.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from refundry.errors import Invalid
from refundry.provider import validation

CURRENCY: Final = "CNY"
"""The only currency that is refunded: Alipay's documents give every amount in yuan."""
QUERY_OPTIONS: Final = (
    "refund_detail_item_list",
    "gmt_refund_pay",
    "deposit_back_info",
    "refund_voucher_detail_list",
    "deposit_back_info_list",
)
"""What the query can be asked to answer besides."""
REFUND_OPTIONS: Final = ("refund_detail_item_list", "deposit_back_info", "refund_voucher_detail_list")
"""What the refund can be asked to answer besides."""

MAX_NOTIFY_URL: Final = 256
_MAX_PARTS: Final = 100
_MAX_DEPTH: Final = 4
_YUAN: Final = re.compile(r"(?:0|[1-9][0-9]{0,12})(?:\.[0-9]{1,2})?", re.ASCII)


def check(details: Mapping[str, Any]) -> None:
    """Raise `Invalid`, naming the field as `details.NAME`, for what Alipay does not describe."""
    if not isinstance(details, Mapping):
        raise Invalid("details", "must be a JSON object of Alipay's own fields")
    for name, value in details.items():
        validation.check_field(name, _FIELDS, _DERIVED, "Alipay")
        _FIELDS[name](f"details.{name}", value)


def check_options(field: str, options: Any, known: tuple[str, ...]) -> None:
    """Raise `Invalid`, naming `field`, for options that Alipay does not describe, or that stand twice."""
    if not isinstance(options, list | tuple) or not all(type(option) is str for option in options):
        raise Invalid(field, "must be a list of texts")
    if len(set(options)) != len(options) or not set(options) <= set(known):
        raise Invalid(field, f"may have, each once: {', '.join(known)}")


# --- shapes -----------------------------------------------------------------------------------------------------------


def _check_text(longest: int, field: str, value: Any) -> None:
    if type(value) is not str or not 1 <= len(value) <= longest or not validation.is_text(value):
        raise Invalid(field, f"must be a string of 1 to {longest} characters without control characters")


def _check_notify_url(field: str, value: Any) -> None:
    if type(value) is not str:
        raise Invalid(field, "must be a string")
    validation.check_address(field, value, MAX_NOTIFY_URL, "Alipay")


def _check_yuan(field: str, value: Any) -> None:
    if type(value) is not str or _YUAN.fullmatch(value) is None:
        raise Invalid(field, "must be yuan as a string with at most two decimals, such as 12.33")


def _check_currency(field: str, value: Any) -> None:
    if value != CURRENCY:
        raise Invalid(field, f'must be "{CURRENCY}"; Alipay\'s documents give every amount in yuan')


def _check_objects(field: str, value: Any) -> None:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= _MAX_PARTS:
        raise Invalid(field, f"must be a list of 1 to {_MAX_PARTS} objects")
    for index, part in enumerate(value):
        _check_object(f"{field}[{index}]", part, 1)


def _check_object(field: str, value: Any, depth: int) -> None:
    if not isinstance(value, Mapping):
        raise Invalid(field, "must be an object")
    for name, part in value.items():
        if not validation.is_field_name(name):
            raise Invalid(field, "has a field whose name is not 1 to 64 letters, digits and _")
        _check_part(f"{field}.{name}", name, part, depth + 1)


def _check_part(field: str, name: str, value: Any, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise Invalid(field, f"nested deeper than {_MAX_DEPTH}")
    if isinstance(value, Mapping):
        _check_object(field, value, depth)
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            _check_part(f"{field}[{index}]", name, part, depth + 1)
    # In Alipay's models every field of such a name is a price: refund_amount, amount, price.
    elif name.endswith(("amount", "price")):
        _check_yuan(field, value)
    elif type(value) is not int:
        _check_text(1000, field, value)


_DERIVED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "out_request_no": "refund_request_id",
        "trade_no": "payment",
        "out_trade_no": "payment",
        "refund_amount": "amount",
        "refund_reason": "reason",
    }
)
_FIELDS: Final[Mapping[str, Callable[[str, Any], None]]] = MappingProxyType(
    {
        "refund_currency": _check_currency,
        "query_options": partial(check_options, known=QUERY_OPTIONS),
        "refund_goods_detail": _check_objects,
        "refund_royalty_parameters": _check_objects,
        "related_settle_confirm_no": partial(_check_text, 64),
        "operator_id": partial(_check_text, 30),
        "store_id": partial(_check_text, 32),
        "terminal_id": partial(_check_text, 32),
        "org_pid": partial(_check_text, 16),
        "notify_url": _check_notify_url,
    }
)
TEXTS: Final = frozenset(
    {
        "refund_currency",
        "related_settle_confirm_no",
        "operator_id",
        "store_id",
        "terminal_id",
        "org_pid",
        "notify_url",
    }
)
"""The fields that are strings."""
