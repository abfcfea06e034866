"""The page of AlphaPay's result codes: `python -m tests.plugins.alphapay.codes_doc` prints it."""

from refundry_alphapay.codes import INQUIRY_CODES, REFUND_CODES, REFUND_STATUS
from tests.plugins import codes_page as page

INTRODUCTION = """
This page is generated from `refundry_alphapay.codes`, and a test compares the two. AlphaPay does not publish its result
codes, so no code decides anything: the rows `S`, `F` and `U` apply to every code with that `resultStatus`. The codes
that were observed follow them, with the meaning of their status. `SUCCESS` with a status other than `S` contradicts
itself: it is `Unknown` and needs review. The codes that the simulator invents are listed in
[its reference](../simulator.md#alphapay).
"""
NOTES = """
Once a byte of a refund has left, Refundry never sends its id again automatically: AlphaPay does not promise that a
repeated `refundRequestId` pays once. An `INDETERMINATE` answer that contains the refund's `refundId` is `Pending`.
No answer means "not found": no code is documented to say that AlphaPay has no record of a refund, so an `F` to an
inquiry proves nothing about the refund and flags it for review. An operator decides by AlphaPay's dashboard; `retry_of`
is never confirmed by such an answer.
"""


def codes_page() -> str:
    """Return the page."""
    return page.write(
        "AlphaPay's result codes",
        INTRODUCTION,
        ("Answers to `refund`", REFUND_CODES.values()),
        ("Answers to `inquiryRefund`", INQUIRY_CODES.values()),
        ("`refundStatus` in an inquiry or a notification", REFUND_STATUS.values()),
        notes=NOTES,
    )


if __name__ == "__main__":
    print(codes_page(), end="")
