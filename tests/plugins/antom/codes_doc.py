"""The page of Antom's result codes: `python -m tests.plugins.antom.codes_doc` prints it."""

from refundry_antom.codes import INQUIRY_CODES, NO_RECORD, REFUND_CODES, REFUND_STATUS
from tests.plugins import codes_page as page

INTRODUCTION = """
This page is generated from `refundry_antom.codes`, and a test compares the two. `status` is the `resultStatus` that
Antom documents with the code; a code that arrives with another status contradicts itself and is `Unknown`. A code that
is not listed never decides anything: it is `Unknown`, and Refundry inquires.
"""
NOTES = """
Where the advice differs from Antom's page:

- `ORDER_IS_CLOSED`: Antom advises to use a new `paymentRequestId`. Its refund has no such field: the text is that of
  the API for payments. A payment that is closed holds no money, so what to refund has to be found out first.
- `REPEAT_REQ_INCONSISTENT`: Antom advises to send the same fields, or a new `paymentRequestId`. Refundry always sends
  the same fields under an id, so another refund has it, and may have been paid. A new id could pay twice; an operator
  decides.
- `PROCESS_FAIL`, `SYSTEM_ERROR`: "Do not retry." Refundry does not; it inquires, which moves no money.
"""


def codes_page() -> str:
    """Return the page."""
    return page.write(
        "Antom's result codes",
        INTRODUCTION,
        ("Answers to `refund`", REFUND_CODES.values()),
        ("Answers to `inquiryRefund`", INQUIRY_CODES.values()),
        ("No field of the refund in the answer to `inquiryRefund`", [NO_RECORD]),
        ("`refundStatus` in an inquiry or a notification", REFUND_STATUS.values()),
        notes=NOTES,
    )


if __name__ == "__main__":
    print(codes_page(), end="")
