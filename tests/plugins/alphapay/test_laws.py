"""Laws of reading: what an answer of AlphaPay may decide, whatever it names or leaves out."""

from collections.abc import Iterator
from typing import Any

import pytest

from refundry.provider import DefinitiveFailure, NotFound, Outcome, Succeeded, messages
from refundry.provider.strict_json import Unreadable
from refundry_alphapay import interpretation
from refundry_alphapay.messages import InquiryResponse, RefundNotification, RefundResponse
from tests.plugins.alphapay.given import HERE, INSTRUCTION, REFUND_ID
from tests.plugins.reading import ABSENT, Path_, at, recorded, variants

ID, PAYMENT, THEIR_ID = ("refundRequestId",), ("paymentId",), ("refundId",)
VALUE, CURRENCY = ("refund", "refundAmount", "value"), ("refund", "refundAmount", "currency")
CHOICES: dict[Path_, tuple[Any, ...]] = {
    ID: (INSTRUCTION.refund_request_id, ABSENT, "ANOTHER"),
    PAYMENT: (INSTRUCTION.payment, ABSENT, "8"),
    THEIR_ID: (REFUND_ID, ABSENT),
    VALUE: ("100", ABSENT, "99"),
    CURRENCY: ("CAD", ABSENT, "USD"),
}
ANOTHER = {path: choices[-1] for path, choices in CHOICES.items() if path != THEIR_ID}


def _read(operation: str) -> Iterator[tuple[dict[str, Any], Outcome]]:
    kind: Any = {"refund": RefundResponse, "inquiry": InquiryResponse, "notification": RefundNotification}[operation]
    for body in recorded(HERE / "samples", operation):
        for answer in variants(body, CHOICES):
            try:
                message = messages.read(kind, answer)
            except Unreadable:
                continue
            if operation == "refund":
                yield answer, interpretation.read_refund(INSTRUCTION, message)
            elif operation == "inquiry":
                yield answer, interpretation.read_inquiry(INSTRUCTION, message)
            else:
                yield answer, interpretation.read_notification(message, INSTRUCTION)


@pytest.mark.parametrize("operation", ["refund", "inquiry", "notification"])
def test_only_an_answer_about_this_refund_decides(operation: str) -> None:
    """A success names our id, payment and amount, none that names another decides, and no unnamed id is taken over."""
    decided = 0
    for answer, outcome in _read(operation):
        named = at(answer, ID) == INSTRUCTION.refund_request_id
        if isinstance(outcome, Succeeded | DefinitiveFailure | NotFound):
            decided += 1
            assert named, answer
            assert not [path for path, other in ANOTHER.items() if at(answer, path) == other], answer
        if isinstance(outcome, Succeeded):
            assert (INSTRUCTION.payment, "100") == (at(answer, PAYMENT), at(answer, VALUE))
            assert INSTRUCTION.amount == outcome.amount
        if getattr(outcome, "provider_refund_id", None) is not None:
            assert named, answer

    assert (operation != "refund") == bool(decided)
