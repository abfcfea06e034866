"""The page of Antom's result codes: `python -m tests.plugins.antom.codes_doc` prints it."""

from refundry_antom.codes import INQUIRY_CODES, REFUND_CODES, REFUND_STATUS
from tests.plugins import codes_page as page

INTRODUCTION = """
This page is generated from `refundry_antom.codes`, and a test compares the two. `status` is the `resultStatus` that
Antom documents with the code; a code that arrives with another status contradicts itself and is `Unknown`. A code that
is not listed never decides anything: it is `Unknown`, and Refundry inquires.
"""


def codes_page() -> str:
    """Return the page."""
    return page.write(
        "Antom's result codes",
        INTRODUCTION,
        ("Answers to `refund`", REFUND_CODES.values()),
        ("Answers to `inquiryRefund`", INQUIRY_CODES.values()),
        ("`refundStatus` in an inquiry or a notification", REFUND_STATUS.values()),
    )


if __name__ == "__main__":
    print(codes_page(), end="")
