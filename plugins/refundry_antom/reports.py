"""Antom's reports, for `refundry reconcile`.

Source: Antom, "Settlement details report" and "Report field summary" (docs.antom.com/ac/reconcile, settlement_details
and field_summary): a line with the names of the fields, a line for each settled transaction, and `<END>`. Amounts are
in the main unit, not in cents (Antom, "Reports", questions and answers). `transactionRequestId` of a REFUND is its
refundRequestId, and so is that of a REFUND_REVERSAL, the only message by which Antom states that the money of a refund
came back. `transactionId` is the refundId in earlier editions and the paymentId in later ones, so it is not
compared. The "Transaction details report" is not here: it also lists what did not succeed, and the values of its column
`status` could not be found.
"""

from typing import Final

from refundry.provider import ReportFormat

SETTLEMENT_DETAILS: Final = ReportFormat(
    name="settlement_details",
    refund_request_id="transactionRequestId",
    amount="transactionAmountValue",
    currency="transactionCurrency",
    refunds={"transactionType": "REFUND"},
    reversals={"transactionType": "REFUND_REVERSAL"},
    end="<END>",
    source="docs.antom.com/ac/reconcile/settlement_details",
)
