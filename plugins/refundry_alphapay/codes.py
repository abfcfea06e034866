"""The meaning of AlphaPay's answers for a refund: by resultStatus and refundStatus, never by a result code.

The rule of this module: data only. AlphaPay's list of result codes is not published ("please refer to resultCode" leads
nowhere), so `S`, `F` and `U` have a row each, for any code with that status. The few codes that were ever observed
are listed with the meaning of their status, so that operators find them. They decide nothing, but an answer that
combines one of them with another status contradicts itself. Sources: AlphaPay's
pages of `refund`, `inquiryRefund` and the two statuses, version 2.0.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import attrs

from refundry.provider import Code, CodeClass, NewId
from refundry.provider.codes import table_of

_SEEN: Final = (
    ("SUCCESS", "S", "Every observed success had this code."),
    ("PAYMENT_IN_PROCESS", "U", "It was observed in answers to payments."),
    ("ORDER_PAID", "F", "It was observed when a paid order was canceled; its status was not recorded and is assumed."),
)
"""Every code that was ever observed, in any answer."""


def _table(*statuses: Code) -> Mapping[str, Code]:
    """Return the rows of the statuses, and one for each observed code, with the meaning of its status."""
    by_status = {row.status: row for row in statuses}
    codes = {
        code: attrs.evolve(by_status[status], code=code, cause=f"{by_status[status].cause} {where}")
        for code, status, where in _SEEN
    }
    return MappingProxyType({**by_status, **codes})


REFUND_CODES: Final = _table(
    Code(
        code="S",
        status="S",
        meaning=CodeClass.PENDING,
        cause="AlphaPay accepted the refund; its response does not say whether the money moved.",
        advice="Wait: Refundry inquires until AlphaPay reports the result, and does not send the refund again.",
    ),
    Code(
        code="F",
        status="F",
        meaning=CodeClass.FAILED_UNCONFIRMED,
        cause="AlphaPay reports that the call failed, because of the merchant or of AlphaPay itself.",
        advice="Read the message and check the refund in AlphaPay's dashboard; Refundry inquires, but does not send it"
        " again.",
        new_id=NewId.MANUAL,
    ),
    Code(
        code="U",
        status="U",
        meaning=CodeClass.INDETERMINATE,
        cause="AlphaPay does not know the result yet, or is still processing the refund.",
        advice="Wait: Refundry inquires, as AlphaPay's documentation requires, and does not send the refund again.",
    ),
)
"""The answers of `refund`."""

INQUIRY_CODES: Final = _table(
    Code(
        code="S",
        status="S",
        meaning=CodeClass.SUCCESS,
        cause="The inquiry was answered; refundStatus states what became of the refund.",
        advice="No action is needed.",
    ),
    Code(
        code="F",
        status="F",
        meaning=CodeClass.UNCHANGED,
        cause="AlphaPay has no record of the refund, or did not answer this inquiry; the response does not say which.",
        advice="Check AlphaPay's dashboard. Request a new refund only once it is certain that this one does not exist"
        " there.",
    ),
    Code(
        code="U",
        status="U",
        meaning=CodeClass.UNCHANGED,
        cause="AlphaPay could not answer the inquiry.",
        advice="This adds no information about the refund; Refundry repeats the inquiry.",
    ),
)
"""The answers of `inquiryRefund` about the inquiry.

F is the only answer by which AlphaPay can state that it has no record of a refund, and its codes are not published: the
same status says that the merchant is unknown. It therefore proves nothing about the refund, and flags it for review.
"""

REFUND_STATUS: Final = table_of(
    Code(
        code="REFUND_IN_PROCESS",
        status="S",
        meaning=CodeClass.PENDING,
        cause="AlphaPay is processing the refund.",
        advice="Wait: Refundry inquires until it is done or failed, and does not send it again.",
    ),
    Code(
        code="SUCCESS",
        status="S",
        meaning=CodeClass.SUCCESS,
        cause="The refund is done on AlphaPay's side.",
        advice="No action is needed.",
    ),
    Code(
        code="FAILED",
        status="S",
        meaning=CodeClass.FAILED,
        cause="AlphaPay reports that the refund failed, when it was submitted or when it was processed.",
        advice="Check the reason in AlphaPay's dashboard; if the money is still owed, request a new refund with a new"
        " id.",
        new_id=NewId.MANUAL,
    ),
)
"""Not result codes: the meaning of `refundStatus`. This alone settles a refund, or ends it as failed."""
