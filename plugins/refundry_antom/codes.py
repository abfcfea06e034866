"""Every result code that Antom documents, and what it means for a refund.

The rule of this module: data only, one row for each code. A code that is not here is never taken for a result. Sources:
the code tables of Antom's `refund` and `inquiryRefund` pages, and the further codes that its API description lists.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from refundry.provider import Breaker, Code, CodeClass, NewId, SameId

_SUPPORT: Final = "Ask Antom's technical support for the reason"
_NEW: Final = "request a new refund"
_GO_ON: Final = "then resume the account: each refund that still waits goes on under its own id"


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


def _bug(code: str, cause: str, advice: str, same_id: SameId = SameId.NEVER) -> Code:
    return Code(
        code=code,
        status="F",
        meaning=CodeClass.BAD_REQUEST,
        cause=cause,
        advice=advice,
        same_id=same_id,
        new_id=NewId.MANUAL,
        breaker=Breaker.REQUEST,
    )


def _fail(code: str, cause: str, advice: str, new_id: NewId = NewId.MANUAL, same_id: SameId = SameId.NEVER) -> Code:
    return Code(
        code=code, status="F", meaning=CodeClass.FAILED, cause=cause, advice=advice, same_id=same_id, new_id=new_id
    )


def _fail_new(code: str, cause: str, advice: str) -> Code:
    return Code(
        code=code, status="F", meaning=CodeClass.FAILED_NEW_ID, cause=cause, advice=advice, new_id=NewId.REQUIRED
    )


def _fail_check(code: str, cause: str, advice: str) -> Code:
    return Code(
        code=code, status="F", meaning=CodeClass.FAILED_UNCONFIRMED, cause=cause, advice=advice, new_id=NewId.MANUAL
    )


def _unchanged(code: str, status: str, cause: str) -> Code:
    advice = "Nothing is known about the refund from this; the inquiry is repeated."
    return Code(code=code, status=status, meaning=CodeClass.UNCHANGED, cause=cause, advice=advice)


def _table(*rows: Code) -> Mapping[str, Code]:
    return MappingProxyType({row.code: row for row in rows})


_NOT_EXPLAINED: Final = "A system error occurred at Antom."
_ACCESS_DENIED: Final = _conf("ACCESS_DENIED", "Antom denies this client the call.", f"{_SUPPORT}; {_GO_ON}.")
_CLIENT_INVALID: Final = _conf(
    "CLIENT_INVALID", "Antom does not accept the client id.", f"Check client_id of the account; {_GO_ON}."
)
_KEY_NOT_FOUND: Final = _conf(
    "KEY_NOT_FOUND",
    "Antom has no key for this client and key version.",
    f"Upload the public key at Antom and check key_version; {_GO_ON}.",
)
_INVALID_API: Final = _conf(
    "INVALID_API", "Antom does not offer this call to the account.", f"Check base_url and the contract; {_GO_ON}."
)
_NO_INTERFACE: Final = _conf("NO_INTERFACE_DEF", "There is no call at this address.", f"Check base_url; {_GO_ON}.")
_METHOD: Final = _conf(
    "METHOD_NOT_SUPPORTED",
    "The call did not arrive as a POST.",
    f"Look for a proxy that changes the method; {_GO_ON}.",
)
_MEDIA_TYPE: Final = _conf(
    "MEDIA_TYPE_NOT_ACCEPTABLE",
    "Antom does not take the content type that arrived.",
    f"Look for a proxy that changes headers; {_GO_ON}.",
)
_WINDOW_CAUSE: Final = "The period in which the payment can be refunded is over."
_WINDOW_ADVICE: Final = "Pay the customer back in another way; Antom will not refund this payment."

REFUND_CODES: Final = _table(
    Code(
        code="SUCCESS",
        status="S",
        meaning=CodeClass.SUCCESS,
        cause="The refund is done on Antom's side.",
        advice="Nothing is left to do.",
    ),
    Code(
        code="REFUND_IN_PROCESS",
        status="U",
        meaning=CodeClass.PENDING,
        cause="Antom has the refund and works on it.",
        advice="Wait for the notification, or ask again later; it must not be sent again.",
    ),
    Code(
        code="REQUEST_TRAFFIC_EXCEED_LIMIT",
        status="U",
        meaning=CodeClass.RETRY,
        cause="Antom gets more calls than it allows at the moment.",
        advice="It is sent again later under the same id; if that goes on, ask Antom for a higher limit.",
        same_id=SameId.AFTER_BACKOFF,
    ),
    Code(
        code="UNKNOWN_EXCEPTION",
        status="U",
        meaning=CodeClass.RETRY,
        cause="The call failed at Antom for reasons that it does not know.",
        advice="It is asked about, and sent again under the same id if Antom does not know it.",
        same_id=SameId.AFTER_INQUIRY,
    ),
    _fail_new(
        "MERCHANT_BALANCE_NOT_ENOUGH",
        "The merchant's balance at Antom is too low for this refund.",
        f"Fill the balance, then {_NEW} with a new id.",
    ),
    _fail_new(
        "REFUND_AMOUNT_EXCEED",
        "The refund would exceed what is left of the payment, or is below the smallest amount.",
        f"Compare the earlier refunds of this payment first, then {_NEW} over at most what is left.",
    ),
    Code(
        code="REPEAT_REQ_INCONSISTENT",
        status="F",
        meaning=CodeClass.INDETERMINATE,
        cause="Antom knows this id with another amount or currency; that refund may have paid.",
        advice="Find out who else uses the id; compare what Antom's dashboard says about it.",
        new_id=NewId.MANUAL,
        breaker=Breaker.REQUEST,
    ),
    _fail(
        "ORDER_IS_CLOSED",
        "The payment is closed.",
        f"See in Antom's dashboard whether money can be returned. {_SUPPORT}.",
    ),
    _fail(
        "ORDER_STATUS_INVALID",
        "The payment is not in a state that can be refunded: under way, failed, not captured or disputed.",
        f"Wait until the payment is successful, then {_NEW}; a failed payment needs none.",
        same_id=SameId.AFTER_FIX,
    ),
    _fail(
        "MULTIPLE_REFUNDS_NOT_SUPPORTED",
        "The contract allows one refund for each payment, and there was one.",
        "Do not request another refund of this payment; look at the earlier one.",
        new_id=NewId.NEVER,
    ),
    _fail("REFUND_WINDOW_EXCEED", _WINDOW_CAUSE, _WINDOW_ADVICE, new_id=NewId.NEVER),
    _fail("FREFUND_WINDOW_EXCEED", _WINDOW_CAUSE, _WINDOW_ADVICE, new_id=NewId.NEVER),
    _fail("RISK_REJECT", "Antom's risk control rejects the refund.", f"Tell whoever asked for it. {_SUPPORT}."),
    _fail_check(
        "PROCESS_FAIL",
        "Antom reports a general failure without a reason.",
        f"Do not repeat it. {_SUPPORT}, and decide by what the inquiry says.",
    ),
    _fail_check("SYSTEM_ERROR", _NOT_EXPLAINED, f"Do not repeat it. {_SUPPORT}, and decide by what the inquiry says."),
    _bug(
        "ORDER_NOT_EXIST",
        "Antom does not know the payment under this account.",
        f"Check the payment id and the account, then {_NEW} for the right one.",
    ),
    _bug(
        "PARAM_ILLEGAL",
        "Antom does not accept a field of the request.",
        "Compare the request with Antom's documents; while it waits it can be resumed, with the same id and amount.",
        same_id=SameId.AFTER_FIX,
    ),
    _fail(
        "CURRENCY_NOT_SUPPORT",
        "The payment cannot be refunded in this currency.",
        f"Refund in the currency of the payment: {_NEW}. {_SUPPORT} if it is that currency.",
    ),
    _conf(
        "INVALID_CONTRACT",
        "The request does not fit the contract with Antom.",
        f"Compare the contract with the payment; {_GO_ON}.",
    ),
    _conf("INVALID_MERCHANT_STATUS", "Antom has restricted the merchant.", f"{_SUPPORT}; {_GO_ON}."),
    _conf("MERCHANT_NOT_REGISTERED", "The merchant is not registered at Antom.", f"Register it; {_GO_ON}."),
    _ACCESS_DENIED,
    _CLIENT_INVALID,
    _conf(
        "INVALID_SIGNATURE",
        "Our signature does not fit the public key that Antom has.",
        f"Check private_key and key_version against the key uploaded at Antom; {_GO_ON}.",
    ),
    _KEY_NOT_FOUND,
    _conf("API_INVALID", "The call's name or format is not one of Antom's.", f"Check base_url; {_GO_ON}."),
    _NO_INTERFACE,
    _METHOD,
    _MEDIA_TYPE,
    _INVALID_API,
    _fail(
        "REFUND_NOT_SUPPORTED",
        "Payments of this kind cannot be refunded.",
        "Pay the customer back in another way.",
        new_id=NewId.NEVER,
    ),
    _fail(
        "PARTIAL_REFUND_NOT_SUPPORTED",
        "Payments of this kind can be refunded as a whole only.",
        f"To return everything, {_NEW} over the whole payment.",
    ),
    _fail(
        "PAYMENT_METHOD_NOT_SUPPORTED",
        "The payment method takes no refunds.",
        f"Pay the customer back in another way. {_SUPPORT} if the contract says otherwise.",
    ),
    _fail(
        "ORDER_IS_CANCELED",
        "The payment was cancelled: what it took was released by that.",
        "See in Antom's dashboard that the cancellation returned the money; it needs no refund then.",
    ),
)
"""What `refund` can answer: the 28 codes of its page, the five that only the API description lists, and the spelling
FREFUND_WINDOW_EXCEED that the page uses in its text."""

INQUIRY_CODES: Final = _table(
    Code(
        code="SUCCESS",
        status="S",
        meaning=CodeClass.SUCCESS,
        cause="The inquiry was answered; refundStatus says where the refund stands.",
        advice="Nothing is left to do.",
    ),
    Code(
        code="ORDER_NOT_EXIST",
        status="F",
        meaning=CodeClass.NOT_FOUND,
        cause="Antom does not know the refund under this client.",
        advice="It is asked again, as often and as far apart as the terms say, before it counts as not placed.",
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
        "Compare the inquiry with Antom's documents, and look for the refund in its dashboard.",
    ),
    _unchanged("PROCESS_FAIL", "F", "The inquiry failed at Antom without a reason."),
    _unchanged("SYSTEM_ERROR", "F", _NOT_EXPLAINED),
    _unchanged("REQUEST_TRAFFIC_EXCEED_LIMIT", "U", "Antom gets more calls than it allows at the moment."),
    _unchanged("UNKNOWN_EXCEPTION", "U", "The inquiry failed at Antom for reasons that it does not know."),
)
"""What `inquiryRefund` can answer about the inquiry: the five codes of its page and those of the API description."""

STATUS_FAIL: Final = Code(
    code="FAIL",
    status="S",
    meaning=CodeClass.FAILED,
    cause="Antom says that the refund failed.",
    advice=f"See the reason in Antom's dashboard; if the money is still owed, {_NEW} with a new id.",
    new_id=NewId.MANUAL,
)
"""Not a result code: what `refundStatus` FAIL means, in an inquiry and in a notification."""
