"""What Alipay's words mean for one refund: (order, verified message) -> outcome.

The rule of this module: pure, and nothing settles that is not about exactly this trade, number and amount, as far as
the message can say so. Sources: Alipay Open Platform, `alipay.trade.refund`, `alipay.trade.fastpay.refund.query` and
the asynchronous notification of a trade.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any, Final

from refundry.errors import Invalid
from refundry.money import Money
from refundry.provider import (
    CodeClass,
    Informational,
    NotFound,
    Outcome,
    Pending,
    RefundInstruction,
    Resend,
    Succeeded,
    Unknown,
    codes,
    matching,
    validation,
)
from refundry.provider.messages import to_wire
from refundry_alipay.codes import INQUIRY_CODES, NOT_DONE, REFUND_CODES, SUCCESS, find
from refundry_alipay.messages import (
    DepositBack,
    DepositBackMessage,
    QueryResponse,
    RefundResponse,
    TradeNotification,
)
from refundry_alipay.request_fields import CURRENCY

BEIJING: Final = timezone(timedelta(hours=8))
DBACK_FAILED: Final = "The bank did not take the money; Alipay put it into the buyer's balance. The refund stays done."

_About = RefundResponse | QueryResponse | TradeNotification | DepositBackMessage
_TIME: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}) ([0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{3})?)", re.ASCII)
_NUMBER: Final = re.compile(r"[\x21-\x7e]{1,64}", re.ASCII)
"""What Alipay documents of both numbers of a trade: at most 64 characters."""
_REFUNDED_IN: Final = frozenset({"TRADE_SUCCESS", "TRADE_CLOSED", "TRADE_FINISHED"})
"""The states of a trade that a refund can leave: in part, as a whole, and later at its end."""
_DBACK: Final[Mapping[str, str]] = MappingProxyType(
    {
        "S": "The bank has taken the money.",
        "F": DBACK_FAILED,
        "P": "The bank has not answered yet.",
    }
)


def named(payment: str) -> tuple[str, str]:
    """Return the field that names a payment, and its number."""
    if payment.startswith(validation.MERCHANT):
        return "out_trade_no", payment.removeprefix(validation.MERCHANT)
    return "trade_no", payment


# --- the answer to a refund -------------------------------------------------------------------------------------------


def refunded(instruction: RefundInstruction, answer: RefundResponse) -> Outcome:
    """Return what an answer to `alipay.trade.refund` means."""
    return _explained(_refunded(instruction, answer), instruction, answer)


def _refunded(instruction: RefundInstruction, answer: RefundResponse) -> Outcome:
    wrong = _wrong_trade(instruction, answer) or _wrong_currency(answer)
    if wrong is not None:
        return wrong
    row = find(REFUND_CODES, answer.code, answer.sub_code)
    if row is None:
        name = answer.sub_code or answer.code
        kind = "success" if answer.code == SUCCESS else "failure"
        text = f"Alipay reports a {kind} that it does not document: {validation.shown(name)}"
        return codes.undocumented(text, validation.as_code(name))
    conflict = codes.status_conflict(row, answer.code)
    if conflict is not None:
        return conflict
    return _by_fund_change(instruction, answer) if row.meaning is CodeClass.SUCCESS else codes.outcome_of(row)


def _by_fund_change(instruction: RefundInstruction, answer: RefundResponse) -> Outcome:
    change = (answer.fund_change or "").upper()
    if change == "Y":
        return _moved(instruction, answer)
    if change in ("", "N"):
        # Also what the repetition of a refund that is done is answered with: only the query can tell.
        text = "Alipay answered that no money moved by this call"
        return Unknown(text, payment_alias=_alias(instruction, answer))
    text = f"a fund_change that Alipay does not document: {validation.shown(answer.fund_change)}"
    return codes.contradiction(text)


def _moved(instruction: RefundInstruction, answer: RefundResponse) -> Outcome:
    # `refund_fee` is the sum of all refunds of the trade, so a larger sum does not contradict this refund: there were
    # others. That the answer is about this refund and no other of the trade is known from the call alone
    # (Alipay does not echo out_request_no here); a smaller sum proves that it is not.
    if not answer.refund_fee or not _names_trade(instruction, answer):
        return codes.incomplete("Alipay says that money moved, and does not say of which trade and how much")
    total = _yuan(answer.refund_fee)
    if total is None or total.minor < instruction.amount.minor:
        return _too_little(instruction, answer.refund_fee)
    return _settled(instruction, answer, answer.gmt_refund_pay)


# --- the answer to a query --------------------------------------------------------------------------------------------


def queried(instruction: RefundInstruction, answer: QueryResponse) -> Outcome:
    """Return what an answer to `alipay.trade.fastpay.refund.query` means."""
    return _explained(_queried(instruction, answer), instruction, answer)


def _queried(instruction: RefundInstruction, answer: QueryResponse) -> Outcome:
    if (answer.out_request_no or instruction.refund_request_id) != instruction.refund_request_id:
        return matching.other_refund(answer.out_request_no)
    wrong = _wrong_trade(instruction, answer) or _wrong_amount(instruction, answer)
    if wrong is not None:
        return wrong
    row = find(INQUIRY_CODES, answer.code, answer.sub_code)
    if row is None:
        name = answer.sub_code or answer.code
        text = f"the query was answered with {validation.shown(name)}, a code that Alipay does not document"
        return codes.undocumented(text, validation.as_code(name), Resend.AFTER_NOT_FOUND)
    conflict = codes.status_conflict(row, answer.code)
    if conflict is not None:
        return conflict
    return _by_refund_status(instruction, answer) if row.meaning is CodeClass.SUCCESS else codes.outcome_of(row)


def _by_refund_status(instruction: RefundInstruction, answer: QueryResponse) -> Outcome:
    status = answer.refund_status
    if not status:
        return _not_done(answer)
    # Alipay's page writes it in lower case, its SDKs in upper case.
    if status.upper() != "REFUND_SUCCESS":
        return Unknown(
            f"the refund is in a state that Alipay does not document: {validation.shown(status)}",
            validation.as_code(status),
        )
    if not (answer.out_request_no and answer.refund_amount and _names_trade(instruction, answer)):
        text = "Alipay reports a success and does not say of which refund, trade and amount"
        return codes.incomplete(text, validation.as_code(status))
    return _settled(instruction, answer, answer.gmt_refund_pay)


def _not_done(answer: QueryResponse) -> Outcome:
    if answer.gmt_refund_pay:
        return codes.contradiction("the answer has no refund_status, and says when the refund was paid")
    if answer.error_code:
        return NotFound(
            validation.as_code(answer.error_code), f"Alipay says that it failed: {validation.shown(answer.error_code)}"
        )
    return NotFound(NOT_DONE.code, NOT_DONE.cause)


# --- what Alipay posts ------------------------------------------------------------------------------------------------


def notified(message: TradeNotification, instruction: RefundInstruction) -> Outcome:
    """Return what the notification of a trade that a refund changed means for that refund."""
    if message.out_biz_no != instruction.refund_request_id:
        return matching.other_refund(message.out_biz_no)
    wrong = _wrong_trade(instruction, message)
    if wrong is not None:
        return wrong
    if (message.trade_status or "").upper() not in _REFUNDED_IN:
        return codes.contradiction(f"a refund of a trade in the state {validation.shown(message.trade_status)}")
    total = _yuan(message.refund_fee)
    if total is None or total.minor < instruction.amount.minor or not _names_trade(instruction, message):
        return _too_little(instruction, message.refund_fee)
    if total.minor > instruction.amount.minor:
        # The sum of several refunds: it does not say how much of it this one is.
        cause = "Alipay reports this refund among others of the trade; it is asked about."
        details = _further(instruction, message) or None
        return Pending(cause=cause, details=details, payment_alias=_alias(instruction, message))
    return _settled(instruction, message, message.gmt_refund)


def banked(message: DepositBackMessage, instruction: RefundInstruction) -> Outcome:
    """Return what the message about the buyer's bank means: it is noted, and moves nothing."""
    if message.out_request_no != instruction.refund_request_id:
        return matching.other_refund(message.out_request_no)
    wrong = _wrong_trade(instruction, message)
    if wrong is not None:
        return wrong
    status = message.dback_status.upper()
    cause = _DBACK.get(status, "The bank's answer is one that Alipay does not document.")
    return Informational(cause, validation.as_code(f"DBACK_{status}") or "DBACK", to_wire(message))


# --- settled ----------------------------------------------------------------------------------------------------------

_CONSUMED: Final = frozenset(
    {"code", "msg", "sub_code", "sub_msg", "fund_change", "out_request_no", "refund_amount", "refund_status"}
)
_TRANSPORT: Final = frozenset(
    {
        "notify_time",
        "notify_type",
        "notify_id",
        "app_id",
        "auth_app_id",
        "charset",
        "version",
        "sign_type",
        "sign",
        "alipay_cert_sn",
        "out_biz_no",
    }
)
# The buyer's identity and the shop's own words do not belong to the refund. They are in the evidence, which can be
# erased; an event cannot.
_PERSONAL: Final = frozenset(
    {
        "buyer_id",
        "buyer_logon_id",
        "buyer_user_id",
        "buyer_open_id",
        "open_id",
        "seller_email",
        "subject",
        "body",
        "passback_params",
    }
)
_LEFT_OUT: Final = _CONSUMED | _TRANSPORT | _PERSONAL


def _explained(outcome: Outcome, instruction: RefundInstruction, answer: RefundResponse | QueryResponse) -> Outcome:
    """Return an outcome with what Alipay wrote besides: its sub-code and sub-message, and the fields of a failure."""
    if answer.code == SUCCESS:
        return codes.explained(outcome, None, _further(instruction, answer))
    text = answer.sub_msg or answer.msg
    if text is not None and any(name in text for name in _ECHOED):
        text = None
    message = validation.provider_message(answer.sub_code, text)
    return codes.explained(outcome, message, _further(instruction, answer))


_ECHOED: Final = ("app_auth_token", "biz_content")
"""What a sub-message contains if it repeats the signed request, with a token and the reason of the refund."""


def _further(
    instruction: RefundInstruction, answer: RefundResponse | QueryResponse | TradeNotification
) -> dict[str, Any]:
    """Return all other fields of a message. A reason that only repeats ours can be erased, and an event cannot."""
    left_out = _LEFT_OUT | {named(instruction.payment)[0]}
    left = {name: value for name, value in to_wire(answer).items() if name not in left_out}
    if left.get("refund_reason") == instruction.reason:
        left.pop("refund_reason", None)
    for share in left.get("refund_royaltys", ()):
        if isinstance(share, dict) and not share.get("royalty_type"):
            # "Empty is the ordinary type, transfer."
            share["royalty_type"] = "transfer"
    if not isinstance(answer, TradeNotification) and _bank_refused(answer):
        left["bank_return"] = DBACK_FAILED
    return left


def _settled(
    instruction: RefundInstruction, answer: RefundResponse | QueryResponse | TradeNotification, paid_at: str | None
) -> Succeeded:
    left = _further(instruction, answer)
    settled_at = with_offset(paid_at)
    if settled_at is not None:
        del left["gmt_refund" if isinstance(answer, TradeNotification) else "gmt_refund_pay"]
    return Succeeded(
        amount=instruction.amount,
        settled_at=settled_at,
        details=left or None,
        payment_alias=_alias(instruction, answer),
    )


def _bank_refused(answer: RefundResponse | QueryResponse) -> bool:
    one = answer.deposit_back_info
    fields: tuple[DepositBack, ...] = (answer.deposit_back_info_list or ()) + (() if one is None else (one,))
    return any((part.dback_status or "").upper() == "F" for part in fields)


# --- echoes -----------------------------------------------------------------------------------------------------------


def _alias(instruction: RefundInstruction, message: _About) -> str | None:
    """Return the trade's other name, in the form of `payment`, if the message names the trade by both."""
    number = message.trade_no if instruction.payment.startswith(validation.MERCHANT) else message.out_trade_no
    if not _names_trade(instruction, message) or not number or _NUMBER.fullmatch(number) is None:
        return None
    return number if instruction.payment.startswith(validation.MERCHANT) else validation.MERCHANT + number


def _names_trade(instruction: RefundInstruction, message: _About) -> bool:
    field, number = named(instruction.payment)
    return bool(getattr(message, field) == number)


def _wrong_trade(instruction: RefundInstruction, message: _About) -> Outcome | None:
    """Return what is wrong when a message is about another trade; an absent number is not judged here.

    Under our own number another trade, currency or amount means that money may have moved that was not requested:
    the id is never sent again.
    """
    field, number = named(instruction.payment)
    reported = getattr(message, field)
    return (
        matching.inconsistent(f"the {field} {validation.shown(reported)}, not about {number}")
        if reported and reported != number
        else None
    )


def _wrong_currency(answer: RefundResponse) -> Outcome | None:
    reported = answer.refund_currency
    return (
        matching.inconsistent(f"a refund in {validation.shown(reported)}, not in {CURRENCY}")
        if reported and reported != CURRENCY
        else None
    )


def _wrong_amount(instruction: RefundInstruction, answer: QueryResponse) -> Outcome | None:
    if not answer.refund_amount or _yuan(answer.refund_amount) == instruction.amount:
        return None
    return matching.inconsistent(f"{validation.shown(answer.refund_amount)} yuan, not about {instruction.amount}")


def _too_little(instruction: RefundInstruction, total: str | None) -> Outcome:
    return matching.inconsistent(
        f"{validation.shown(total)} yuan in total, less than the {instruction.amount} requested"
    )


# --- small things -----------------------------------------------------------------------------------------------------


def _yuan(text: str | None) -> Money | None:
    """Read yuan as Alipay writes them (`88`, `12.3`, `12.33`); None for anything else, and for nothing at all."""
    try:
        return Money.parse(text or "", CURRENCY, 2)
    except Invalid:
        return None


def moment(text: str | None) -> datetime | None:
    """Read a time of Alipay's, which is Beijing time; None for one that names no moment."""
    written = with_offset(text)
    return None if written is None else datetime.fromisoformat(written)


def with_offset(text: str | None) -> str | None:
    """Write a time of Alipay's with its offset: `2014-11-27T15:45:57+08:00`; None for one that names no moment."""
    match = _TIME.fullmatch(text or "")
    if match is None:
        return None
    written = f"{match[1]}T{match[2]}+08:00"
    try:
        datetime.fromisoformat(written)
    except ValueError:
        return None
    return written
