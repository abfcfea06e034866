"""Antom's messages: refund, inquiryRefund and notifyRefund, field by field.

The rule of this module: it only describes; how a message is read and written is the rule of
`refundry.provider.messages`. What decides (ids, amounts, status) must have the documented type; settlement, quote and
trace numbers only inform. Sources: Antom's pages of the three messages and the models of its official SDK.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import attrs

from refundry.provider.messages import Message, informs

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
    guaranteed: str | None = informs()


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
    gross_settlement_amount: Amount | None = informs()
    settlement_quote: Quote | None = informs()
    actual_refund_amount: Amount | None = informs()
    acquirer_reference_no: str | None = informs()
    acquirer_info: Any = None
    refund_non_guarantee_coupon_amount: Amount | None = informs()


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
    gross_settlement_amount: Amount | None = informs()
    settlement_quote: Quote | None = informs()
    actual_refund_amount: Amount | None = informs()
    arn: str | None = informs()
    rrn: str | None = informs()
    authorization_code: str | None = informs()
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
    gross_settlement_amount: Amount | None = informs()
    settlement_quote: Quote | None = informs()
    actual_refund_amount: Amount | None = informs()
    arn: str | None = informs()
    authorization_code: str | None = informs()
    metadata: Any = None
    customized_info: Any = None
