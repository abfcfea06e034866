"""The meaning of Antom's answers and notifications for one refund.

The rule of this module: pure functions of an instruction and a verified message. Only a message about exactly this
refund, with documented codes and without contradictions, decides anything; every other one is `Unknown`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from refundry.money import Money, exponent_of
from refundry.provider import (
    CodeClass,
    DefinitiveFailure,
    Invalid,
    Outcome,
    Quote,
    RefundInstruction,
    Resend,
    Succeeded,
    Unknown,
    codes,
    matching,
    messages,
    validation,
)
from refundry_antom.codes import INQUIRY_CODES, NO_RECORD, REFUND_CODES, REFUND_STATUS, STATUS_FAIL
from refundry_antom.messages import (
    InquiryResponse,
    RefundNotification,
    RefundResponse,
)

_About = RefundResponse | InquiryResponse | RefundNotification

_MINOR_UNITS: Final = {
    0: "CLP JPY KRW VND",
    2: "AUD BDT BRL CAD CNY EUR GBP HKD IDR MXN MYR NZD PEN PHP PKR PLN SGD THB TWD USD",
}
_EXPONENTS: Final[Mapping[str, int]] = MappingProxyType(
    {currency: places for places, currencies in _MINOR_UNITS.items() for currency in currencies.split()}
)
"""Antom's own minor units (docs.antom.com/ac/ref/cc); other currencies are taken from ISO 4217."""


def exponent(currency: str) -> int:
    """Return Antom's number of decimals of a currency, or that of ISO 4217 if Antom does not list it."""
    places = _EXPONENTS.get(currency)
    return exponent_of(currency) if places is None else places


def read_refund(instruction: RefundInstruction, answer: RefundResponse) -> Outcome:
    """Return the outcome of an answer to `refund`."""
    return _explained(_read_refund(instruction, answer), answer)


def _read_refund(instruction: RefundInstruction, answer: RefundResponse) -> Outcome:
    result = answer.result
    wrong = _wrong_echo(instruction, answer) or codes.wrong_status(
        "Antom", REFUND_CODES, result.result_code, result.result_status
    )
    if wrong is not None:
        return wrong
    code = REFUND_CODES.get(result.result_code)
    if code is None:
        return _UNLISTED[result.result_status](result.result_code)
    if code.meaning is CodeClass.SUCCESS:
        return _settled(instruction, answer)
    return codes.outcome_of(code, answer.refund_id if answer.refund_request_id is not None else None)


def read_inquiry(instruction: RefundInstruction, answer: InquiryResponse) -> Outcome:
    """Return the outcome of an answer to `inquiryRefund`."""
    return _explained(_read_inquiry(instruction, answer), answer)


def _read_inquiry(instruction: RefundInstruction, answer: InquiryResponse) -> Outcome:
    result = answer.result
    wrong = _wrong_echo(instruction, answer) or codes.wrong_status(
        "Antom", INQUIRY_CODES, result.result_code, result.result_status
    )
    if wrong is not None:
        return wrong
    code = INQUIRY_CODES.get(result.result_code)
    if code is None:
        reported = f"{result.result_status}/{validation.shown(result.result_code)}"
        text = f"the inquiry was answered with {reported}, a code that Antom does not document"
        return codes.undocumented(text, validation.as_code(result.result_code), Resend.AFTER_NOT_FOUND)
    if code.meaning is CodeClass.SUCCESS and all(getattr(answer, name) is None for name in _OF_A_REFUND):
        return codes.outcome_of(NO_RECORD)
    if code.meaning is CodeClass.SUCCESS:
        return codes.by_state(
            "Antom",
            REFUND_STATUS,
            answer.refund_status,
            refund_request_id=answer.refund_request_id,
            provider_refund_id=answer.refund_id,
            settled=partial(_settled, instruction, answer),
        )
    if code.meaning is CodeClass.NOT_FOUND and (answer.refund_status is not None or answer.refund_id is not None):
        return codes.contradiction("the answer says that the refund does not exist, and describes it", code.code)
    return codes.outcome_of(code)


_OF_A_REFUND: Final = ("refund_request_id", "refund_id", "refund_amount", "refund_time", "refund_status")
"""The fields that are null "when the refund record cannot be found"."""


def read_notification(message: RefundNotification, instruction: RefundInstruction) -> Outcome:
    """Return the outcome of a notification."""
    return _explained(_read_notification(message, instruction), message)


def _read_notification(message: RefundNotification, instruction: RefundInstruction) -> Outcome:
    result, status = message.result, message.refund_status
    wrong = _wrong_echo(instruction, message)
    if wrong is not None:
        return wrong
    if status == "SUCCESS" and (result.result_status, result.result_code) == ("S", "SUCCESS"):
        return _settled(instruction, message)
    if status == "FAIL" and result.result_status == "F" and result.result_code != "SUCCESS":
        known = REFUND_CODES.get(result.result_code, STATUS_FAIL)
        return DefinitiveFailure(validation.as_code(result.result_code) or STATUS_FAIL.code, known.cause, known.advice)
    combined = f"{validation.shown(result.result_status)}/{validation.shown(result.result_code)}"
    reported = f"{validation.shown(status)} with {combined}"
    return codes.contradiction(
        f"the notification contradicts itself: {reported}", validation.as_code(result.result_code)
    )


def _settled(instruction: RefundInstruction, answer: _About) -> Outcome:
    if answer.refund_request_id is None or answer.refund_amount is None:
        return codes.incomplete("Antom reports a success and does not say of which refund and amount", "SUCCESS")
    settled_at = validation.iso_8601(answer.refund_time)
    left = messages.to_wire(answer, without=_CONSUMED | ({"refundTime"} if settled_at is not None else set()))
    return Succeeded(
        amount=instruction.amount,
        provider_refund_id=answer.refund_id,
        settled_at=settled_at,
        settlement_amount=_settlement_amount(answer, left),
        quote=_quote(answer, left),
        details=_details(answer, left),
    )


_CONSUMED: Final = frozenset(
    {"result", "refundAmount", "refundRequestId", "refundId", "paymentId", "refundStatus", "notifyType"}
)


def _explained(outcome: Outcome, answer: _About) -> Outcome:
    """Return an outcome with everything that Antom wrote besides; an id counts if the answer names our refund."""
    if isinstance(outcome, Succeeded):
        return outcome
    result = answer.result
    message = None if result.result_status == "S" else validation.provider_message(result.result_message)
    refund_id = answer.refund_id if answer.refund_request_id is not None else None
    return codes.explained(outcome, message, _details(answer, messages.to_wire(answer, without=_CONSUMED)), refund_id)


def _details(answer: _About, left: dict[str, Any]) -> Mapping[str, Any] | None:
    for name, part in (("result", answer.result), ("refundAmount", answer.refund_amount)):
        if part is not None and part.extra:
            left[name] = dict(part.extra)
    return left or None


def _settlement_amount(answer: _About, left: dict[str, Any]) -> Money | None:
    """Read the settlement amount; an unreadable one stays among the details: it must not hide the settlement."""
    gross = answer.gross_settlement_amount
    if gross is None:
        return None
    try:
        money = Money.of_minor(gross.value, gross.currency, exponent(gross.currency))
    except Invalid:
        return None
    if not gross.extra:
        del left["grossSettlementAmount"]
    return money


def _quote(answer: _About, left: dict[str, Any]) -> Quote | None:
    quote = answer.settlement_quote
    if quote is None:
        return None
    if not quote.extra:
        del left["settlementQuote"]
    return Quote(
        pair=quote.quote_currency_pair,
        price=quote.quote_price,
        id=quote.quote_id,
        start=quote.quote_start_time,
        expiry=quote.quote_expiry_time,
        guaranteed=quote.guaranteed,
    )


def _unlisted_success(name: str) -> Outcome:
    return Unknown(
        "Antom reports a success with a code that it does not document", validation.as_code(name), resend=Resend.NEVER
    )


def _unlisted_failure(name: str) -> Outcome:
    text = f"Antom reports a failure that it does not document: {validation.shown(name)}"
    return codes.undocumented(text, validation.as_code(name))


def _unlisted_unknown(name: str) -> Outcome:
    return Unknown("Antom does not know, and gives a reason that it does not document", validation.as_code(name))


_UNLISTED: Final[Mapping[str, Callable[[str], Outcome]]] = MappingProxyType(
    {"S": _unlisted_success, "F": _unlisted_failure, "U": _unlisted_unknown}
)


def _wrong_echo(instruction: RefundInstruction, answer: _About) -> Outcome | None:
    return matching.mismatch(
        instruction,
        refund_request_id=answer.refund_request_id,
        payment=getattr(answer, "payment_id", None),
        provider_refund_id=answer.refund_id,
        amount=answer.refund_amount,
    )
