"""What AlphaPay's answers mean for a refund: by resultStatus and refundStatus, never by a result code.

The rule of this module: data only. AlphaPay's list of result codes is not published ("please refer to resultCode" leads
nowhere), so `S`, `F` and `U` have a row each, which stands for any code with that status. The few codes that were ever
seen, and those that the simulator invents (`SIM_...`), are listed with the meaning of their status, so that people
find them; they decide nothing, but with another status than theirs an answer contradicts itself. Sources: AlphaPay's
pages of `refund`, `inquiryRefund` and the two statuses, version 2.0.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import attrs

from refundry.provider import Code, CodeClass, NewId

_SEEN: Final = (
    ("SUCCESS", "S", "It is the code of every success that was seen."),
    ("PAYMENT_IN_PROCESS", "U", "It was seen in answers to payments."),
    ("ORDER_PAID", "F", "It was seen when a paid order was cancelled; its status was not written down and is assumed."),
)
"""Every code that was ever seen, in whatever answer."""


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
        cause="AlphaPay accepted the refund; whether money moved its answer does not say.",
        advice="It is asked about until AlphaPay says how it ended; it must not be sent again.",
    ),
    Code(
        code="F",
        status="F",
        meaning=CodeClass.FAILED_UNCONFIRMED,
        cause="AlphaPay says that the call failed, through the merchant or through itself.",
        advice="Read its message and look for the refund in AlphaPay's dashboard; it is asked about, not sent again.",
        new_id=NewId.MANUAL,
    ),
    Code(
        code="U",
        status="U",
        meaning=CodeClass.INDETERMINATE,
        cause="AlphaPay does not know yet, or is still at work.",
        advice="It is asked about, as AlphaPay's page says; it must not be sent again.",
    ),
)
"""What `refund` can answer."""

INQUIRY_CODES: Final = _table(
    Code(
        code="S",
        status="S",
        meaning=CodeClass.SUCCESS,
        cause="The inquiry was answered; refundStatus says where the refund stands.",
        advice="Nothing is left to do.",
    ),
    Code(
        code="F",
        status="F",
        meaning=CodeClass.NOT_FOUND,
        cause="AlphaPay does not know the refund, or does not answer this inquiry: which of the two it does not say.",
        advice="It is asked again as often as the terms say; then a person looks in AlphaPay's dashboard. A new refund"
        " only once it is certain there that this one does not exist.",
    ),
    Code(
        code="U",
        status="U",
        meaning=CodeClass.UNCHANGED,
        cause="AlphaPay could not answer the inquiry.",
        advice="Nothing is known about the refund from this; the inquiry is repeated.",
    ),
)
"""What `inquiryRefund` can answer about the inquiry.

F is the only answer with which AlphaPay can say that it does not know a refund, so it counts as that. It can mean other
things as well: the terms therefore let nothing be sent after it, and all that it leads to is a person.
"""

REFUND_STATUS: Final[Mapping[str, Code]] = MappingProxyType(
    {
        row.code: row
        for row in (
            Code(
                code="REFUND_IN_PROCESS",
                status="S",
                meaning=CodeClass.PENDING,
                cause="AlphaPay works on the refund.",
                advice="It is asked about until it is done or failed; it must not be sent again.",
            ),
            Code(
                code="SUCCESS",
                status="S",
                meaning=CodeClass.SUCCESS,
                cause="The refund is done on AlphaPay's side.",
                advice="Nothing is left to do.",
            ),
            Code(
                code="FAILED",
                status="S",
                meaning=CodeClass.FAILED,
                cause="AlphaPay says that the refund failed, when it was submitted or when it was processed.",
                advice="See the reason in AlphaPay's dashboard; if the money is still owed, request a new refund with a"
                " new id.",
                new_id=NewId.MANUAL,
            ),
        )
    }
)
"""Not result codes: what `refundStatus` means. This alone settles a refund, or ends it as failed."""
