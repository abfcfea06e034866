"""Laws of reading: what an answer of Alipay may decide, whatever it names or leaves out."""

from collections.abc import Iterator
from typing import Any

import pytest

from refundry.provider import DefinitiveFailure, NotFound, Outcome, RefundInstruction, Succeeded, messages
from refundry.provider.strict_json import Unreadable
from refundry_alipay import interpretation
from refundry_alipay.messages import QueryResponse, RefundResponse, TradeNotification
from tests.plugins.alipay.given import BY_MERCHANT, HERE, INSTRUCTION, OUT_TRADE, TRADE
from tests.plugins.reading import ABSENT, Path_, recorded, variants

ID = INSTRUCTION.refund_request_id
TRADES: dict[Path_, tuple[Any, ...]] = {
    ("trade_no",): (TRADE, ABSENT, "8", OUT_TRADE),
    ("out_trade_no",): (OUT_TRADE, ABSENT, "8", TRADE),
}
FEES = ("12.33", "12.34", "12.32", ABSENT, "")
CHOICES: dict[str, dict[Path_, tuple[Any, ...]]] = {
    "refund": TRADES | {("refund_fee",): FEES, ("fund_change",): ("Y", "N", ABSENT)},
    "inquiry": TRADES
    | {
        ("out_request_no",): (ID, ABSENT, "ANOTHER"),
        ("refund_amount",): ("12.33", "12.3", ABSENT),
        ("gmt_refund_pay",): (ABSENT, "2026-11-22 12:00:01"),
    },
    "notification": TRADES | {("out_biz_no",): (ID, ABSENT, "ANOTHER"), ("refund_fee",): FEES},
}


def _read(operation: str, instruction: RefundInstruction) -> Iterator[tuple[dict[str, Any], Outcome]]:
    kind: Any = {"refund": RefundResponse, "inquiry": QueryResponse, "notification": TradeNotification}[operation]
    for body in recorded(HERE / "samples", operation):
        for answer in variants(body, CHOICES[operation]):
            try:
                message = messages.read(kind, answer)
            except Unreadable:
                continue
            if operation == "refund":
                yield answer, interpretation.refunded(instruction, message)
            elif operation == "inquiry":
                yield answer, interpretation.queried(instruction, message)
            else:
                yield answer, interpretation.notified(message, instruction)


@pytest.mark.parametrize(
    ("instruction", "number"),
    [(INSTRUCTION, "trade_no"), (BY_MERCHANT, "out_trade_no")],
    ids=["by trade_no", "by out_trade_no"],
)
@pytest.mark.parametrize("operation", CHOICES)
def test_only_an_answer_about_this_refund_decides(operation: str, instruction: RefundInstruction, number: str) -> None:
    """A success names the number that the refund was requested by, its id where Alipay echoes it, and its amount."""
    ours = instruction.payment.removeprefix("merchant:")
    decided = set()
    for answer, outcome in _read(operation, instruction):
        if not isinstance(outcome, Succeeded | DefinitiveFailure | NotFound):
            continue
        decided.add(type(outcome))
        assert answer.get(number) in (ours, None), answer
        assert answer.get("out_request_no", answer.get("out_biz_no")) in (ID, None), answer
        if isinstance(outcome, Succeeded):
            assert ours == answer[number]
            assert instruction.amount == outcome.amount
        if isinstance(outcome, Succeeded) and operation == "refund":
            # The sum of all refunds of the trade, of which this one is at least a part.
            assert ("Y", True) == (answer["fund_change"], answer["refund_fee"] in ("12.33", "12.34"))
        elif isinstance(outcome, Succeeded) and operation == "inquiry":
            assert (ID, "12.33") == (answer["out_request_no"], answer["refund_amount"])
        elif isinstance(outcome, Succeeded):
            assert (ID, "12.33") == (answer["out_biz_no"], answer["refund_fee"])
        if isinstance(outcome, NotFound):
            assert not answer.get("gmt_refund_pay"), answer
            assert not answer.get("refund_status"), answer

    assert Succeeded in decided
    assert (operation == "inquiry") == (NotFound in decided)
