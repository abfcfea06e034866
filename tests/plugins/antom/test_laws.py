"""Laws of reading: what an answer of Antom may decide, whatever it names or leaves out, with every documented code."""

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

from refundry.provider import DefinitiveFailure, NotFound, Outcome, Succeeded, messages
from refundry.provider.strict_json import Unreadable
from refundry_antom import interpretation
from refundry_antom.codes import INQUIRY_CODES, REFUND_CODES
from refundry_antom.messages import InquiryResponse, RefundNotification, RefundResponse
from tests.plugins.antom.given import HERE, INSTRUCTION, REFUND_ID
from tests.plugins.reading import ABSENT, Path_, recorded, variants

KNOWN = attrs.evolve(INSTRUCTION, provider_refund_id=REFUND_ID)
OURS: dict[str, Any] = {
    "refundRequestId": INSTRUCTION.refund_request_id,
    "paymentId": INSTRUCTION.payment,
    "refundAmount": {"value": "1000", "currency": "USD"},
}
CHOICES: dict[Path_, tuple[Any, ...]] = {
    ("refundRequestId",): (OURS["refundRequestId"], ABSENT, "ANOTHER"),
    ("refundId",): (REFUND_ID, ABSENT, "9"),
    ("refundAmount",): (OURS["refundAmount"], ABSENT, {"value": "999", "currency": "USD"}),
    ("paymentId",): (OURS["paymentId"], ABSENT, "8"),
}
ABOUT_ANOTHER = {"refundRequestId": "ANOTHER", "paymentId": "8", "refundAmount": {"value": "999", "currency": "USD"}}
KINDS: dict[str, tuple[Any, Any, Any]] = {
    "refund": (RefundResponse, interpretation.read_refund, REFUND_CODES),
    "inquiry": (InquiryResponse, interpretation.read_inquiry, INQUIRY_CODES),
}


def _bodies(operation: str) -> Iterator[dict[str, Any]]:
    """Yield recorded answers, and one with each documented code and each state of a refund."""
    yield from recorded(HERE / "samples", operation)
    for code in KINDS[operation][2].values():
        for status in (ABSENT, "SUCCESS", "PROCESSING", "FAIL"):
            result = {"resultCode": code.code, "resultStatus": code.status}
            yield {"result": result} | ({} if status is ABSENT else {"refundStatus": status})


def _read(operation: str) -> Iterator[tuple[dict[str, Any], Outcome]]:
    kind, read, _ = KINDS[operation]
    for body in _bodies(operation):
        for answer in variants(body, CHOICES):
            try:
                yield answer, read(INSTRUCTION, messages.read(kind, answer))
            except Unreadable:
                continue


def _is_about_another(operation: str, answer: dict[str, Any]) -> bool:
    # No page says that the answer to an inquiry names the payment.
    names = ABOUT_ANOTHER.keys() - ({"paymentId"} if operation == "inquiry" else set())
    return any(answer.get(name) == ABOUT_ANOTHER[name] for name in names)


@pytest.mark.parametrize("operation", KINDS)
def test_only_an_answer_about_this_refund_decides(operation: str) -> None:
    """A success names our id and amount, no answer that names another decides, and an unnamed id is not taken over."""
    outcomes = list(_read(operation))
    for answer, outcome in outcomes:
        named = answer.get("refundRequestId") == OURS["refundRequestId"]
        if isinstance(outcome, Succeeded):
            assert named, answer
            assert OURS["refundAmount"] == answer["refundAmount"]
            assert INSTRUCTION.amount == outcome.amount
        if isinstance(outcome, Succeeded | DefinitiveFailure | NotFound):
            assert not _is_about_another(operation, answer), answer
        if getattr(outcome, "provider_refund_id", None) is not None:
            assert named, answer

    assert {Succeeded, DefinitiveFailure} <= {type(outcome) for _, outcome in outcomes}


def test_not_found_describes_no_refund() -> None:
    """An answer that gives a state or an id of the refund never means that Antom has no record of it."""
    not_found = [answer for answer, outcome in _read("inquiry") if isinstance(outcome, NotFound)]

    assert not_found
    assert [] == [answer for answer in not_found if answer.get("refundStatus") or answer.get("refundId")]


def test_an_answer_with_another_id_of_antoms_decides_nothing() -> None:
    """Once Antom's id is known, an answer that gives another one is neither success, failure nor "not found"."""
    read: Callable[..., Outcome] = interpretation.read_inquiry
    for body in _bodies("inquiry"):
        for answer in variants(body, CHOICES | {("refundId",): ("9",)}):
            outcome = read(KNOWN, messages.read(InquiryResponse, answer))

            assert not isinstance(outcome, Succeeded | DefinitiveFailure | NotFound), answer


def test_a_notification_about_another_refund_decides_nothing() -> None:
    """A notification settles or fails a refund only if it names its id and its amount."""
    decided = set()
    for body in recorded(HERE / "samples", "notification"):
        for message in variants(body, CHOICES):
            try:
                outcome = interpretation.read_notification(messages.read(RefundNotification, message), INSTRUCTION)
            except Unreadable:
                continue
            if isinstance(outcome, Succeeded | DefinitiveFailure):
                decided.add(type(outcome))
                assert OURS["refundRequestId"] == message["refundRequestId"]
                assert OURS["refundAmount"] == message["refundAmount"]

    assert {Succeeded, DefinitiveFailure} == decided
