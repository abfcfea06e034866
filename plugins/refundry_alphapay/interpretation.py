"""The meaning of AlphaPay's answers and notifications for one refund.

The rule of this module: pure functions of an instruction and a verified message. Only a message about exactly this
refund, with documented codes and without contradictions, decides anything; every other one is `Unknown`.
"""

from functools import partial
from typing import Any

from refundry.provider import (
    Outcome,
    Pending,
    RefundInstruction,
    Resend,
    ReviewReason,
    Succeeded,
    Unknown,
    codes,
    matching,
    validation,
)
from refundry_alphapay.codes import INQUIRY_CODES, REFUND_CODES, REFUND_STATUS
from refundry_alphapay.messages import (
    InquiryResponse,
    RefundNotification,
    RefundResponse,
    Result,
)

_About = RefundResponse | InquiryResponse | RefundNotification


def read_refund(instruction: RefundInstruction, answer: RefundResponse) -> Outcome:
    """Return the outcome of an answer to `refund`."""
    return _explained(_read_refund(instruction, answer), instruction, answer)


def _read_refund(instruction: RefundInstruction, answer: RefundResponse) -> Outcome:
    result = answer.result
    wrong = _wrong_echo(instruction, answer) or codes.wrong_status(
        "AlphaPay", REFUND_CODES, result.result_code, result.result_status
    )
    if wrong is not None:
        return wrong
    row, code = REFUND_CODES[result.result_status], validation.as_code(result.result_code)
    if row.status == "F":
        text = f"AlphaPay refuses the refund ({_reported(result)})"
        return Unknown(text, code, resend=Resend.NEVER, review=ReviewReason.UNCONFIRMED_REFUSAL, advice=row.advice)
    refund_id = answer.refund_id if answer.refund_request_id is not None else None
    # Who does not know yet, and has given the refund an id, has taken it.
    if row.status == "U" and refund_id is None:
        return Unknown(row.cause, code, resend=Resend.NEVER)
    return Pending(code, row.cause, refund_id)


def read_inquiry(instruction: RefundInstruction, answer: InquiryResponse) -> Outcome:
    """Return the outcome of an answer to `inquiryRefund`."""
    return _explained(_read_inquiry(instruction, answer), instruction, answer)


def _read_inquiry(instruction: RefundInstruction, answer: InquiryResponse) -> Outcome:
    result = answer.result
    wrong = _wrong_echo(instruction, answer) or codes.wrong_status(
        "AlphaPay", INQUIRY_CODES, result.result_code, result.result_status
    )
    if wrong is not None:
        return wrong
    row, code = INQUIRY_CODES[result.result_status], validation.as_code(result.result_code)
    if row.status == "S":
        return codes.by_state(
            "AlphaPay",
            REFUND_STATUS,
            answer.refund_status,
            refund_request_id=answer.refund_request_id,
            provider_refund_id=answer.refund_id,
            settled=partial(_settled, instruction, answer),
        )
    if row.status == "U":
        return Unknown(f"{row.cause} ({_reported(result)})", code, advice=row.advice)
    if answer.refund_status is not None or answer.refund_id is not None:
        return codes.contradiction("the answer says that the inquiry failed, but describes the refund", code)
    # No code is documented to say that the refund does not exist: whatever F comes with, it proves nothing about it.
    return codes.undocumented(f"{row.cause} ({_reported(result)})", code or row.code, Resend.AFTER_NOT_FOUND)


def _settled(instruction: RefundInstruction, answer: _About) -> Outcome:
    # Whether a refundRequestId is unique among all payments, or within its own, no page says.
    if answer.refund is None or answer.refund.refund_amount is None or answer.payment_id is None:
        return codes.incomplete("AlphaPay reports a success and does not say of which amount and payment", "SUCCESS")
    return Succeeded(
        amount=instruction.amount,
        provider_refund_id=answer.refund_id,
        details=_details(instruction, answer) or None,
    )


def _explained(outcome: Outcome, instruction: RefundInstruction, answer: RefundResponse | InquiryResponse) -> Outcome:
    """Return an outcome with everything that AlphaPay wrote besides; an id counts if the answer names our refund."""
    result = answer.result
    message = None if result.result_status == "S" else validation.provider_message(result.result_message)
    refund_id = answer.refund_id if answer.refund_request_id is not None else None
    return codes.explained(outcome, message, _details(instruction, answer), refund_id)


def _details(instruction: RefundInstruction, answer: _About) -> dict[str, Any]:
    """Return everything that no other field of an outcome has, each in its place.

    refundTime is not the time of settlement: the official SDK's comments call it the time of initiation. A description
    that only repeats the reason is left out: the reason can be erased, and an event cannot.
    """
    left = dict(answer.extra)
    if answer.refund_time is not None:
        left["refundTime"] = answer.refund_time
    result = getattr(answer, "result", None)
    if result is not None and result.extra:
        left["result"] = dict(result.extra)
    refund = answer.refund
    if refund is not None:
        amount = refund.refund_amount
        inside = dict(refund.extra)
        if refund.description not in (None, instruction.reason):
            inside["description"] = refund.description
        if refund.notify_url is not None:
            inside["notifyUrl"] = refund.notify_url
        if amount is not None and amount.extra:
            inside["refundAmount"] = dict(amount.extra)
        if inside:
            left["refund"] = inside
    return left


def read_notification(message: RefundNotification, instruction: RefundInstruction) -> Outcome:
    """Return the outcome of a notification."""
    wrong = _wrong_echo(instruction, message)
    if wrong is not None:
        return wrong
    if message.refund_status != "SUCCESS":
        text = f"AlphaPay notifies of successes, and this notification says {validation.shown(message.refund_status)}"
        return codes.contradiction(text, validation.as_code(message.refund_status))
    return _settled(instruction, message)


def _wrong_echo(instruction: RefundInstruction, answer: _About) -> Outcome | None:
    """Compare the currency where it is said: the page has the value alone, in the currency of the payment."""
    return matching.mismatch(
        instruction,
        refund_request_id=answer.refund_request_id,
        payment=answer.payment_id,
        provider_refund_id=answer.refund_id,
        amount=None if answer.refund is None else answer.refund.refund_amount,
    )


def _reported(result: Result) -> str:
    return f"{validation.shown(result.result_status)}/{validation.shown(result.result_code)}"


def describe(result: Result) -> str:
    """Return a result as one line; only its message explains a failure."""
    text = _reported(result)
    return text if result.result_message is None else f"{text}: {validation.shown(result.result_message)}"
