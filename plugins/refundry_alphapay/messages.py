"""AlphaPay's messages: refund, inquiryRefund and the notification, field by field.

The rule of this module: it only describes; how a message is read and written is the rule of
`refundry.provider.messages`. What decides (ids, amount, status) must have the documented type; the description and the
address only come back to us. Sources: AlphaPay's pages of the three messages, version 2.0, and the models of its
official SDK.
"""

import attrs

from refundry.provider.messages import Message, informs

# --- parts ------------------------------------------------------------------------------------------------------------


@attrs.frozen(slots=True, kw_only=True)
class Amount(Message):
    """An amount: whole minor units as a string of digits ("Take CAD as an example, 100 means 1.00CAD")."""

    value: str
    currency: str | None = None
    """Not among the documented fields of a request; the official SDK sends it, and examples of answers show it."""


@attrs.frozen(slots=True, kw_only=True)
class Refund(Message):
    """What shall be refunded, or was."""

    refund_amount: Amount | None = None
    description: str | None = informs()
    notify_url: str | None = informs()


@attrs.frozen(slots=True, kw_only=True)
class Result(Message):
    """How a call ended: S (success), F (failure) or U (unknown), and a code from a list that is not published."""

    result_code: str | None = None
    result_status: str
    result_message: str | None = informs()


# --- refund -----------------------------------------------------------------------------------------------------------


@attrs.frozen(slots=True, kw_only=True)
class RefundRequest(Message):
    """What `refund` takes. The order of the fields is the order in which they are written."""

    payment_id: str
    refund_request_id: str
    """Optional in the documents; without it no inquiry could name a refund whose answer was lost."""
    refund: Refund


@attrs.frozen(slots=True, kw_only=True)
class RefundResponse(Message):
    """What `refund` answers: that it was accepted. There is no refundStatus in it."""

    result: Result
    refund_id: str | None = None
    payment_id: str | None = None
    refund_request_id: str | None = None
    refund: Refund | None = None
    refund_time: str | None = informs()
    """When it was submitted: in the other messages, too, as the official SDK comments it."""


# --- inquiryRefund ----------------------------------------------------------------------------------------------------


@attrs.frozen(slots=True, kw_only=True)
class InquiryRequest(Message):
    """What `inquiryRefund` takes: `refund_id` is required in the documents, and unknown to who lost the answer."""

    refund_id: str | None = None
    refund_request_id: str | None = None


@attrs.frozen(slots=True, kw_only=True)
class InquiryResponse(Message):
    """What `inquiryRefund` answers. `result` speaks of the inquiry, `refund_status` of the refund."""

    result: Result
    payment_id: str | None = None
    refund_request_id: str | None = None
    refund_id: str | None = None
    refund_time: str | None = informs()
    refund_status: str | None = None
    refund: Refund | None = None


# --- the notification -------------------------------------------------------------------------------------------------


@attrs.frozen(slots=True, kw_only=True)
class RefundNotification(Message):
    """What AlphaPay posts once, when a refund succeeded: the answer to an inquiry without its result."""

    refund_request_id: str
    refund_status: str
    payment_id: str | None = None
    refund_id: str | None = None
    refund_time: str | None = informs()
    refund: Refund | None = None
