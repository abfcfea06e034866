"""Antom's messages: refund, inquiryRefund and notifyRefund, field by field.

The rule of this module: nothing is guessed and nothing is dropped. An attribute has the name of its field in
snake_case (`refundRequestId` is `refund_request_id`); a field that is not described here is kept in `extra`. A field
that decides must have the documented type, else the message is `Unreadable`; a field that only informs (settlement,
quote, trace numbers) and has another shape is kept in `extra` as it came, so that it cannot hide that money moved.
A null is an absent field. Sources: Antom's pages of the three messages and the models of its official SDK.
"""

import json
from collections.abc import Callable, Collection, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final, TypeVar, get_args

import attrs

from refundry.untrusted import Unreadable, read_object

_NOTHING_MORE: Final[Mapping[str, Any]] = MappingProxyType({})


def _informs() -> Any:
    return attrs.field(default=None, metadata={"informs": True})


@attrs.frozen(slots=True, kw_only=True)
class Message:
    """What every message and every part of one has."""

    extra: Mapping[str, Any] = _NOTHING_MORE
    """The fields that are not described here, and those that only inform and have another shape than described."""


_Message = TypeVar("_Message", bound=Message)


# --- parts ------------------------------------------------------------------------------------------------------------


@attrs.frozen(slots=True, kw_only=True)
class Amount(Message):
    """An amount: whole minor units as a string of digits."""

    currency: str
    value: str


MULTIPLES: Final[Mapping[str, int]] = MappingProxyType({"IDR": 100})
"""Currencies whose amounts must be whole multiples of so many minor units (docs.antom.com/ac/ref/cc)."""


@attrs.frozen(slots=True, kw_only=True)
class Quote(Message):
    """An exchange rate."""

    quote_currency_pair: str
    quote_price: str
    quote_id: str | None = None
    quote_start_time: str | None = None
    quote_expiry_time: str | None = None
    guaranteed: str | None = _informs()


@attrs.frozen(slots=True, kw_only=True)
class Result(Message):
    """How a call ended: a code, and S (success), F (failure) or U (unknown)."""

    result_code: str
    result_status: str
    result_message: str | None = None


# --- refund -----------------------------------------------------------------------------------------------------------


@attrs.frozen(slots=True, kw_only=True)
class RefundRequest(Message):
    """What `refund` takes. The order of the fields is the order in which they are written."""

    refund_request_id: str
    payment_id: str
    refund_amount: Amount
    refund_reason: str | None = None
    refund_notify_url: str | None = None
    reference_refund_id: str | None = None
    capture_id: str | None = None
    actual_refund_amount: Amount | None = None
    is_async_refund: Any = None
    extend_info: Any = None
    metadata: Any = None
    refund_details: Any = None
    goods: Any = None
    refund_to_bank_info: Any = None
    split_details: Any = None
    customized_info: Any = None
    refund_source_account_no: str | None = None


@attrs.frozen(slots=True, kw_only=True)
class RefundResponse(Message):
    """What `refund` answers. The ids, the amount and the time come when `result_status` is S."""

    result: Result
    refund_request_id: str | None = None
    refund_id: str | None = None
    payment_id: str | None = None
    refund_amount: Amount | None = None
    refund_time: str | None = None
    gross_settlement_amount: Amount | None = _informs()
    settlement_quote: Quote | None = _informs()
    actual_refund_amount: Amount | None = _informs()
    acquirer_reference_no: str | None = _informs()
    acquirer_info: Any = None
    refund_non_guarantee_coupon_amount: Amount | None = _informs()


# --- inquiryRefund ----------------------------------------------------------------------------------------------------


@attrs.frozen(slots=True, kw_only=True)
class InquiryRequest(Message):
    """What `inquiryRefund` takes: one of the two ids. If both are sent, Antom looks at `refund_id` only."""

    refund_request_id: str | None = None
    refund_id: str | None = None
    merchant_account_id: str | None = None


@attrs.frozen(slots=True, kw_only=True)
class InquiryResponse(Message):
    """What `inquiryRefund` answers. `result` speaks of the inquiry, `refund_status` of the refund."""

    result: Result
    refund_request_id: str | None = None
    refund_id: str | None = None
    refund_amount: Amount | None = None
    refund_time: str | None = None
    refund_status: str | None = None
    gross_settlement_amount: Amount | None = _informs()
    settlement_quote: Quote | None = _informs()
    actual_refund_amount: Amount | None = _informs()
    arn: str | None = _informs()
    rrn: str | None = _informs()
    authorization_code: str | None = _informs()
    metadata: Any = None
    customized_info: Any = None
    acquirer_info: Any = None
    split_details: Any = None


# --- notifyRefund -----------------------------------------------------------------------------------------------------


@attrs.frozen(slots=True, kw_only=True)
class RefundNotification(Message):
    """What Antom posts to the notification address when a refund is final."""

    notify_type: str
    result: Result
    refund_status: str
    refund_request_id: str
    refund_id: str
    refund_amount: Amount
    refund_time: str | None = None
    gross_settlement_amount: Amount | None = _informs()
    settlement_quote: Quote | None = _informs()
    actual_refund_amount: Amount | None = _informs()
    arn: str | None = _informs()
    authorization_code: str | None = _informs()
    metadata: Any = None
    customized_info: Any = None


@attrs.frozen(slots=True, kw_only=True)
class NotifyAnswer(Message):
    """What Antom wants to hear back, unsigned."""

    result: Result


# --- reading and writing ----------------------------------------------------------------------------------------------


@attrs.frozen(slots=True)
class _Field:
    attribute: str
    wire: str
    read: Callable[[Any], Any]
    required: bool
    informs: bool


def decode(kind: type[_Message], body: bytes) -> _Message:
    """Read a message of `kind` from the raw bytes; `Unreadable` if they are not one."""
    return read(kind, read_object(body))


def read(kind: type[_Message], value: Any) -> _Message:
    """Read a message, or a part of one, of `kind` from a JSON value."""
    if type(value) is not dict:
        raise Unreadable(f"not an object where {kind.__name__} should stand")
    fields = _FIELDS[kind]
    known: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for name, item in value.items():
        field = fields.get(name)
        if field is None:
            extra[name] = item
        elif item is not None:
            try:
                known[field.attribute] = field.read(item)
            except Unreadable as error:
                if not field.informs:
                    raise Unreadable(f"{field.wire}: {error}") from None
                extra[field.wire] = item
    missing = [field.wire for field in fields.values() if field.required and field.attribute not in known]
    if missing:
        raise Unreadable(f"{', '.join(missing)} missing in {kind.__name__}")
    return kind(**known, extra=extra)


_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def encode(message: Message) -> bytes:
    """Write a message as compact JSON in UTF-8. Equal messages give equal bytes."""
    return _JSON.encode(to_wire(message)).encode("utf-8")


def to_wire(message: Message, without: Collection[str] = ()) -> dict[str, Any]:
    """Give a message as a JSON object, absent fields left out, fields we do not know at its end."""
    written: dict[str, Any] = {}
    for field in _FIELDS[type(message)].values():
        item = getattr(message, field.attribute)
        if item is not None and field.wire not in without:
            written[field.wire] = to_wire(item) if isinstance(item, Message) else item
    written.update(message.extra)
    return written


def _describe(field: "attrs.Attribute[Any]") -> _Field:
    head, *rest = field.name.split("_")
    return _Field(
        attribute=field.name,
        wire=head + "".join(word.capitalize() for word in rest),
        read=_reader(field.type),
        required=field.default is attrs.NOTHING,
        informs=bool(field.metadata.get("informs")),
    )


def _reader(kind: Any) -> Callable[[Any], Any]:
    plain = next((part for part in get_args(kind) if part is not type(None)), kind)
    if plain is str:
        return _text
    return partial(read, plain) if isinstance(plain, type) and issubclass(plain, Message) else _as_it_came


def _text(value: Any) -> str:
    if type(value) is not str:
        raise Unreadable("not a string")
    return value


def _as_it_came(value: Any) -> Any:
    return value


def _by_wire(kind: type[Message]) -> Mapping[str, _Field]:
    described = (field for field in attrs.fields(kind) if field.name != "extra")
    return {field.wire: field for field in map(_describe, described)}


_KINDS: Final[tuple[type[Message], ...]] = (
    Amount,
    Quote,
    Result,
    RefundRequest,
    RefundResponse,
    InquiryRequest,
    InquiryResponse,
    RefundNotification,
    NotifyAnswer,
)
_FIELDS: Final[Mapping[type[Message], Mapping[str, _Field]]] = {kind: _by_wire(kind) for kind in _KINDS}
