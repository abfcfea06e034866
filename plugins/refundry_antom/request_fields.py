"""The further fields of a refund request, which the platform gives under Antom's own names.

The rule of this module: a field is taken in the shape that Antom describes and in no other, every scalar a string
("Set the data type of each field (except array) as String"), and equal fields make equal bytes. No value is ever shown.
Sources: Antom's page of `refund`, and the model of the request in its official SDK.
"""

import json
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from refundry.errors import Invalid
from refundry.money import MAX_DIGITS, exponent_of
from refundry.provider import validation
from refundry_antom.messages import MULTIPLES

MAX_BYTES: Final = 16 * 1024
"""How long all of them may be together, as JSON; Antom gives no limit, and a refund has no need of more."""
MAX_NOTIFY_URL: Final = 1024
_MAX_DEPTH: Final = 8
_MAX_ID: Final = 64
_DIGITS: Final = re.compile(rf"0|[1-9][0-9]{{0,{MAX_DIGITS - 1}}}", re.ASCII)


def check(details: Mapping[str, Any]) -> None:
    """Raise `Invalid`, naming the field as `details.NAME`, for what Antom does not describe."""
    if not isinstance(details, Mapping):
        raise Invalid("details", "must be a JSON object of Antom's own fields")
    for name, value in details.items():
        validation.check_field(name, _FIELDS, _DERIVED, "Antom")
        _FIELDS[name](f"details.{name}", value)
    length = len(json.dumps(validation.sorted_fields(details), ensure_ascii=False, separators=(",", ":")).encode())
    if length > MAX_BYTES:
        raise Invalid("details", f"has {length} bytes as JSON; at most {MAX_BYTES} are taken")


# --- shapes -----------------------------------------------------------------------------------------------------------


def _check_text(field: str, value: Any) -> None:
    if type(value) is not str:
        raise Invalid(field, "must be a string; Antom takes numbers and booleans as strings too")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Invalid(field, "holds half a character") from None


def _check_id(field: str, value: Any) -> None:
    _check_text(field, value)
    if not 1 <= len(value) <= _MAX_ID or not value.isprintable():
        raise Invalid(field, f"must be 1 to {_MAX_ID} printable characters")


def _check_notify_url(field: str, value: Any) -> None:
    _check_text(field, value)
    validation.check_address(field, value, MAX_NOTIFY_URL, "Antom")


def _check_flag(field: str, value: Any) -> None:
    if type(value) is not str or value not in ("true", "false"):
        raise Invalid(field, 'must be the string "true" or "false"')


def _check_amount(field: str, value: Any) -> None:
    if not isinstance(value, Mapping) or value.keys() != {"currency", "value"}:
        raise Invalid(field, "must be an object of currency and value")
    currency, digits = value["currency"], value["value"]
    _check_text(f"{field}.currency", currency)
    try:
        exponent_of(currency)
    except Invalid as error:
        raise Invalid(f"{field}.currency", error.rule) from None
    if type(digits) is not str or _DIGITS.fullmatch(digits) is None:
        raise Invalid(f"{field}.value", f"must be minor units as a string of 1 to {MAX_DIGITS} digits")
    if int(digits) % MULTIPLES.get(currency, 1):
        raise Invalid(f"{field}.value", f"must be a multiple of {MULTIPLES[currency]} for {currency}")


def _check_object(field: str, value: Any, depth: int = 1) -> None:
    if not isinstance(value, Mapping):
        raise Invalid(field, "must be an object")
    for name, part in value.items():
        if not validation.is_field_name(name):
            raise Invalid(field, "has a field whose name is not 1 to 64 letters, digits and _")
        # In Antom's models every field of this name is an Amount: splitAmount, refundAmount, goodsUnitAmount.
        if name.endswith("Amount"):
            _check_amount(f"{field}.{name}", part)
        else:
            _check_part(f"{field}.{name}", part, depth + 1)


def _check_objects(field: str, value: Any) -> None:
    if not isinstance(value, list | tuple):
        raise Invalid(field, "must be an array of objects")
    for index, part in enumerate(value):
        _check_object(f"{field}[{index}]", part, depth=2)


def _check_part(field: str, value: Any, depth: int) -> None:
    if depth > _MAX_DEPTH and not isinstance(value, str):
        raise Invalid(field, f"nested deeper than {_MAX_DEPTH}")
    if isinstance(value, Mapping):
        _check_object(field, value, depth)
    elif isinstance(value, list | tuple):
        for index, part in enumerate(value):
            _check_part(f"{field}[{index}]", part, depth + 1)
    else:
        _check_text(field, value)


_DERIVED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "refundRequestId": "refund_request_id",
        "paymentId": "payment",
        "refundAmount": "amount",
        "refundReason": "reason",
    }
)
_FIELDS: Final[Mapping[str, Callable[[str, Any], None]]] = MappingProxyType(
    {
        "referenceRefundId": _check_id,
        "captureId": _check_id,
        "actualRefundAmount": _check_amount,
        "isAsyncRefund": _check_flag,
        "extendInfo": _check_text,
        "metadata": _check_text,
        "refundDetails": _check_objects,
        "goods": _check_objects,
        "refundToBankInfo": _check_object,
        "splitDetails": _check_objects,
        "customizedInfo": _check_object,
        "refundSourceAccountNo": _check_text,
        "refundNotifyUrl": _check_notify_url,
    }
)
TEXTS: Final = frozenset(
    name for name, check in _FIELDS.items() if check in (_check_text, _check_id, _check_flag, _check_notify_url)
)
"""The fields that are strings."""
