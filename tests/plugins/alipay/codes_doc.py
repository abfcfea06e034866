"""The page of Alipay's result codes: `python -m tests.plugins.alipay.codes_doc` prints it."""

from refundry_alipay.codes import INQUIRY_CODES, NOT_DONE, REFUND_CODES
from tests.plugins import codes_page as page

INTRODUCTION = """
This page is generated from `refundry_alipay.codes`, and a test compares the two. `status` is the gateway code that
Alipay documents with the code; a code that arrives with another gateway code contradicts itself and is `Unknown`. A
sub-code that is not listed is read as its gateway code. A business code (`ACQ.`) that is not listed never decides
anything: it is `Unknown`, and Refundry inquires. Business codes are recognized with and without `ACQ.`.
"""
NOTES = """
After `SUCCESS` the message decides: `fund_change` in the answer to a refund, `refund_status` in the answer to a query.
The outcome is then `Succeeded`, `Unknown` or `NotFound`.
"""


def codes_page() -> str:
    """Return the page."""
    return page.write(
        "Alipay's result codes",
        INTRODUCTION,
        ("Answers to `alipay.trade.refund`", REFUND_CODES.values()),
        ("Answers to `alipay.trade.fastpay.refund.query`", INQUIRY_CODES.values()),
        ("No `refund_status` in the answer to a query", [NOT_DONE]),
        notes=NOTES,
    )


if __name__ == "__main__":
    print(codes_page(), end="")
