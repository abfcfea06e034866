"""Every result code that Antom documents, with its meaning for a refund.

The rule of this module: data only, one row for each code. A code that is not listed never decides anything. Sources:
the code tables of Antom's `refund` and `inquiryRefund` pages, and the further codes that its API description lists.
"""

from typing import Final

from refundry.provider import Breaker, Code, CodeClass, NewId, SameId
from refundry.provider.codes import table_of

_SUPPORT: Final = "Ask Antom's technical support for the reason"
_NEW: Final = "request a new refund"
_GO_ON: Final = "then resume the account; refunds on hold then continue with the same id"


def _conf(code: str, cause: str, advice: str) -> Code:
    return Code(
        code=code,
        status="F",
        meaning=CodeClass.MISCONFIGURED,
        cause=cause,
        advice=advice,
        same_id=SameId.AFTER_FIX,
        new_id=NewId.MANUAL,
        breaker=Breaker.ACCOUNT,
    )


def _bug(code: str, cause: str, advice: str) -> Code:
    return Code(
        code=code,
        status="F",
        meaning=CodeClass.BAD_REQUEST,
        cause=cause,
        advice=advice,
        same_id=SameId.AFTER_FIX,
        new_id=NewId.MANUAL,
        breaker=Breaker.REQUEST,
    )


def _fail(code: str, cause: str, advice: str, new_id: NewId = NewId.MANUAL) -> Code:
    return Code(code=code, status="F", meaning=CodeClass.FAILED, cause=cause, advice=advice, new_id=new_id)


def _fail_new(code: str, cause: str, advice: str) -> Code:
    return Code(
        code=code, status="F", meaning=CodeClass.FAILED_NEW_ID, cause=cause, advice=advice, new_id=NewId.REQUIRED
    )


def _fail_check(code: str, cause: str, advice: str) -> Code:
    return Code(
        code=code, status="F", meaning=CodeClass.FAILED_UNCONFIRMED, cause=cause, advice=advice, new_id=NewId.MANUAL
    )


def _unchanged(code: str, status: str, cause: str) -> Code:
    advice = f"Wait: Refundry repeats the inquiry. {_SUPPORT} if it keeps happening."
    return Code(code=code, status=status, meaning=CodeClass.UNCHANGED, cause=cause, advice=advice)


_NOT_EXPLAINED: Final = "A system error occurred at Antom."
_ACCESS_DENIED: Final = _conf("ACCESS_DENIED", "Antom denies this client access to the API.", f"{_SUPPORT}; {_GO_ON}.")
_CLIENT_INVALID: Final = _conf(
    "CLIENT_INVALID", "Antom does not accept the client id.", f"Check client_id of the account; {_GO_ON}."
)
_KEY_NOT_FOUND: Final = _conf(
    "KEY_NOT_FOUND",
    "Antom has no key for this client and key version.",
    f"Upload the public key at Antom and check key_version; {_GO_ON}.",
)
_INVALID_API: Final = _conf(
    "INVALID_API", "Antom does not offer this API to the account.", f"Check base_url and the contract; {_GO_ON}."
)
_NO_INTERFACE: Final = _conf("NO_INTERFACE_DEF", "There is no such API at this URL.", f"Check base_url; {_GO_ON}.")
_METHOD: Final = _conf(
    "METHOD_NOT_SUPPORTED",
    "The call did not arrive as a POST.",
    f"Check for a proxy that changes the method; {_GO_ON}.",
)
_MEDIA_TYPE: Final = _conf(
    "MEDIA_TYPE_NOT_ACCEPTABLE",
    "Antom does not accept the content type that it received.",
    f"Check for a proxy that changes headers; {_GO_ON}.",
)
_WINDOW_CAUSE: Final = "The refund period of the payment has ended."
_WINDOW_ADVICE: Final = "Refund the customer in another way; Antom will not refund this payment."

REFUND_CODES: Final = table_of(
    Code(
        code="SUCCESS",
        status="S",
        meaning=CodeClass.SUCCESS,
        cause="The refund is done on Antom's side.",
        advice="No action is needed.",
    ),
    Code(
        code="REFUND_IN_PROCESS",
        status="U",
        meaning=CodeClass.PENDING,
        cause="Antom accepted the refund and is processing it.",
        advice="Wait: Refundry inquires until Antom reports the result, and does not send the refund again.",
    ),
    Code(
        code="REQUEST_TRAFFIC_EXCEED_LIMIT",
        status="U",
        meaning=CodeClass.RETRY,
        cause="Antom is receiving more calls from this client than it allows.",
        advice="Wait: Refundry sends it again later with the same id. If that recurs, ask Antom for a higher limit.",
        same_id=SameId.AFTER_BACKOFF,
    ),
    Code(
        code="UNKNOWN_EXCEPTION",
        status="U",
        meaning=CodeClass.RETRY,
        cause="The call failed at Antom for an unknown reason.",
        advice="Wait: Refundry inquires, and sends it again with the same id if Antom has no record of it.",
        same_id=SameId.AFTER_INQUIRY,
    ),
    _fail_new(
        "MERCHANT_BALANCE_NOT_ENOUGH",
        "The merchant's balance at Antom is too low for this refund.",
        f"Top up the balance, then {_NEW} with a new id.",
    ),
    _fail_new(
        "REFUND_AMOUNT_EXCEED",
        "The refund would exceed what is left of the payment, or is below the minimum amount.",
        f"Check the earlier refunds of this payment, then {_NEW} for at most the remaining amount.",
    ),
    Code(
        code="REPEAT_REQ_INCONSISTENT",
        status="F",
        meaning=CodeClass.INDETERMINATE,
        cause="Antom already has a refund with this id and another amount or currency, which may have been paid.",
        advice="Find out what else uses the id, and compare it with the refund in Antom's dashboard.",
        new_id=NewId.MANUAL,
        breaker=Breaker.REQUEST,
    ),
    _fail(
        "ORDER_IS_CLOSED",
        "The payment is closed.",
        f"Check in Antom's dashboard whether the money can be returned. {_SUPPORT}.",
    ),
    _fail(
        "ORDER_STATUS_INVALID",
        "The payment cannot be refunded in its current state: it is in process, failed, not captured or disputed.",
        f"Wait until the payment succeeds, then {_NEW}. A failed payment needs no refund.",
    ),
    _fail(
        "MULTIPLE_REFUNDS_NOT_SUPPORTED",
        "The contract allows only one refund per payment, and this payment already has one.",
        "Do not request another refund of this payment; check the earlier one.",
        new_id=NewId.NEVER,
    ),
    _fail("REFUND_WINDOW_EXCEED", _WINDOW_CAUSE, _WINDOW_ADVICE, new_id=NewId.NEVER),
    _fail("FREFUND_WINDOW_EXCEED", _WINDOW_CAUSE, _WINDOW_ADVICE, new_id=NewId.NEVER),
    _fail("RISK_REJECT", "Antom's risk control rejected the refund.", f"Inform the requester. {_SUPPORT}."),
    _fail_check(
        "PROCESS_FAIL",
        "Antom reports a general failure without a reason.",
        f"Do not request it again. {_SUPPORT}, and decide by the result of the inquiry.",
    ),
    _fail_check(
        "SYSTEM_ERROR", _NOT_EXPLAINED, f"Do not request it again. {_SUPPORT}, and decide by the result of the inquiry."
    ),
    _bug(
        "ORDER_NOT_EXIST",
        "Antom has no record of the payment for this account.",
        "Check the account; if it was the wrong one, correct it and resume the refund. If the payment id is wrong,"
        f" resolve the refund as failed, then {_NEW} with a new id and the right payment.",
    ),
    _bug(
        "PARAM_ILLEGAL",
        "Antom does not accept a field of the request.",
        "Compare the request with Antom's documentation; while on hold, it can be resumed with the same id and amount.",
    ),
    _fail(
        "CURRENCY_NOT_SUPPORT",
        "The payment cannot be refunded in this currency.",
        f"Refund in the currency of the payment: {_NEW}. {_SUPPORT} if it is that currency.",
    ),
    _bug(
        "INVALID_CONTRACT",
        "The contract with Antom does not cover this transaction.",
        f"Compare the contract with the payment; once it covers it, resume the refund. {_SUPPORT} if they match.",
    ),
    _conf("INVALID_MERCHANT_STATUS", "Antom has restricted the merchant.", f"{_SUPPORT}; {_GO_ON}."),
    _conf("MERCHANT_NOT_REGISTERED", "The merchant is not registered at Antom.", f"Register it; {_GO_ON}."),
    _ACCESS_DENIED,
    _CLIENT_INVALID,
    _conf(
        "INVALID_SIGNATURE",
        "The signature does not match the public key that Antom has.",
        f"Check private_key and key_version against the key uploaded at Antom; {_GO_ON}.",
    ),
    _KEY_NOT_FOUND,
    _conf("API_INVALID", "The name or the format of the API call is unknown to Antom.", f"Check base_url; {_GO_ON}."),
    _NO_INTERFACE,
    _METHOD,
    _MEDIA_TYPE,
    _INVALID_API,
    _fail(
        "REFUND_NOT_SUPPORTED",
        "Payments of this type cannot be refunded.",
        "Refund the customer in another way.",
        new_id=NewId.NEVER,
    ),
    _fail(
        "PARTIAL_REFUND_NOT_SUPPORTED",
        "Payments of this type can only be refunded in full.",
        f"To return everything, {_NEW} for the full payment.",
    ),
    _fail(
        "PAYMENT_METHOD_NOT_SUPPORTED",
        "The payment method does not support refunds.",
        f"Refund the customer in another way. {_SUPPORT} if the contract allows refunds.",
    ),
    _fail(
        "ORDER_IS_CANCELED",
        "The payment was canceled, which released the money.",
        "Check in Antom's dashboard that the cancellation returned the money; if so, no refund is needed.",
    ),
)
"""The answers of `refund`: the 28 codes of its page, the five that only the API description lists, and the spelling
FREFUND_WINDOW_EXCEED that the page uses in its text."""

INQUIRY_CODES: Final = table_of(
    Code(
        code="SUCCESS",
        status="S",
        meaning=CodeClass.SUCCESS,
        cause="The inquiry was answered; refundStatus states what became of the refund.",
        advice="No action is needed.",
    ),
    Code(
        code="ORDER_NOT_EXIST",
        status="F",
        meaning=CodeClass.NOT_FOUND,
        cause="Antom has no record of the refund for this client.",
        advice="Wait: Refundry inquires again, as the terms require, before the refund counts as not received.",
        same_id=SameId.AFTER_INQUIRY,
    ),
    _CLIENT_INVALID,
    _METHOD,
    _MEDIA_TYPE,
    _ACCESS_DENIED,
    _INVALID_API,
    _KEY_NOT_FOUND,
    _NO_INTERFACE,
    _bug(
        "PARAM_ILLEGAL",
        "Antom does not accept a field of the inquiry.",
        "Compare the inquiry with Antom's documentation, and check the refund in its dashboard.",
    ),
    _unchanged("PROCESS_FAIL", "F", "The inquiry failed at Antom without a reason."),
    _unchanged("SYSTEM_ERROR", "F", _NOT_EXPLAINED),
    _unchanged("REQUEST_TRAFFIC_EXCEED_LIMIT", "U", "Antom is receiving more calls from this client than it allows."),
    _unchanged("UNKNOWN_EXCEPTION", "U", "The inquiry failed at Antom for an unknown reason."),
)
"""The answers of `inquiryRefund` about the inquiry: the five codes of its page and those of the API description."""

NO_RECORD: Final = Code(
    code="NO_RECORD",
    status="S",
    meaning=CodeClass.NOT_FOUND,
    cause="Antom has no record of the refund: its answer describes none.",
    advice="Wait: Refundry inquires again, as the terms require, before the refund counts as not received.",
    same_id=SameId.AFTER_INQUIRY,
)
"""Not a code: the meaning of a successful inquiry in which every field of the refund is null."""

STATUS_FAIL: Final = Code(
    code="FAIL",
    status="S",
    meaning=CodeClass.FAILED,
    cause="Antom reports that the refund failed.",
    advice=f"Check the reason in Antom's dashboard; if the money is still owed, {_NEW} with a new id.",
    new_id=NewId.MANUAL,
)
REFUND_STATUS: Final = table_of(
    Code(
        code="SUCCESS",
        status="S",
        meaning=CodeClass.SUCCESS,
        cause="The refund is done.",
        advice="No action is needed.",
    ),
    Code(
        code="PROCESSING",
        status="S",
        meaning=CodeClass.PENDING,
        cause="Antom works on the refund.",
        advice="Wait: Refundry inquires until it is done or failed, and does not send it again.",
    ),
    STATUS_FAIL,
)
"""Not result codes: the meaning of `refundStatus` in an inquiry and in a notification."""
