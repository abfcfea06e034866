"""The one check of ids and lengths, which no plugin repeats."""

import pytest

from refundry.errors import Invalid
from refundry.money import Money
from refundry.provider import RefundInstruction, Terms
from refundry.refund.policy import check_limits

TERMS = Terms(id_length=8, payment_length=8, reason_length=8)
AMOUNT = Money(100, "EUR", 2)


@pytest.mark.parametrize(
    ("refund_request_id", "payment", "reason", "field"),
    [
        ("", "P1", None, "refund_request_id"),
        ("a" * 9, "P1", None, "refund_request_id"),
        ("a b", "P1", None, "refund_request_id"),
        ("a\n", "P1", None, "refund_request_id"),
        ("é", "P1", None, "refund_request_id"),
        ("١", "P1", None, "refund_request_id"),
        ("R1", "", None, "payment"),
        ("R1", "merchant:", None, "payment"),
        ("R1", "p" * 9, None, "payment"),
        ("R1", "merchant:" + "p" * 9, None, "payment"),
        ("R1", "P1", "r" * 9, "reason"),
    ],
)
def test_what_the_terms_do_not_allow(refund_request_id: str, payment: str, reason: str | None, field: str) -> None:
    """What is empty, longer than the terms allow or in other characters is refused with the name of its field."""
    with pytest.raises(Invalid) as refused:
        check_limits(RefundInstruction(refund_request_id, payment, AMOUNT, reason), TERMS)

    assert field == refused.value.field


@pytest.mark.parametrize("payment", ["p" * 8, "P.1/2 #3", "merchant:" + "退" * 8])
def test_what_the_terms_allow(payment: str) -> None:
    """What is exactly as long as the terms allow is accepted, and a payment in any characters."""
    check_limits(RefundInstruction("a" * 8, payment, AMOUNT, "r" * 8), TERMS)
