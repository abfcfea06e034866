"""Every gateway code, sub-code and business code that Alipay documents, with its meaning for a refund.

The rule of this module: data only, one row for each code. How a row is chosen:

- A gateway code other than 10000 and 40004 refuses the call before the refund is looked at, so it decides nothing; a
  sub-code only gives the reason. A sub-code that is not listed is read as its gateway code.
- The business codes (`ACQ.`, with gateway code 40004) are about the refund. One that is not listed never decides
  anything.

Alipay asks that a refund that failed be tried again under the same number ("same out_request_no and amount"), and pays
a number once. So a code whose cause can be fixed without another request (the seller's balance, an account, the state
of the trade) is BAD_REQUEST, not FAILED: the refund waits until an operator resumes it with the same number. FAILED is
for causes that cannot be fixed with this number: the trade accepts no refund any more, or part of the request would
have to change, and a request never changes. Sources: the code tables of `alipay.trade.refund`,
`alipay.trade.fastpay.refund.query` and of the gateway ("common error codes").
"""

from collections.abc import Mapping
from typing import Final

from refundry.provider import Breaker, Code, CodeClass, NewId, SameId
from refundry.provider.codes import table_of

SUCCESS: Final = "10000"
UNAVAILABLE: Final = "20000"
BUSINESS_FAILED: Final = "40004"

_PREFIX: Final = "ACQ."
_SUPPORT: Final = "Ask Alipay's support for the reason"
_NEW: Final = "request a new refund"
_GO_ON: Final = "then resume the account; refunds on hold then continue with the same number"
_RESUME: Final = "then resume the refund; it continues with the same number"


def _conf(status: str, code: str, cause: str, advice: str) -> Code:
    return Code(
        code=code,
        status=status,
        meaning=CodeClass.MISCONFIGURED,
        cause=cause,
        advice=f"{advice}; {_GO_ON}.",
        same_id=SameId.AFTER_FIX,
        new_id=NewId.MANUAL,
        breaker=Breaker.ACCOUNT,
    )


def _bug(code: str, cause: str, advice: str, status: str = BUSINESS_FAILED) -> Code:
    return Code(
        code=code,
        status=status,
        meaning=CodeClass.BAD_REQUEST,
        cause=cause,
        advice=f"{advice}; {_RESUME}.",
        same_id=SameId.AFTER_FIX,
        new_id=NewId.MANUAL,
        breaker=Breaker.REQUEST,
    )


def _fail(code: str, cause: str, advice: str, new_id: NewId = NewId.NEVER) -> Code:
    return Code(code=code, status=BUSINESS_FAILED, meaning=CodeClass.FAILED, cause=cause, advice=advice, new_id=new_id)


def _fail_new(code: str, cause: str, advice: str) -> Code:
    return Code(
        code=code,
        status=BUSINESS_FAILED,
        meaning=CodeClass.FAILED_NEW_ID,
        cause=cause,
        advice=advice,
        new_id=NewId.REQUIRED,
    )


def _unknown(status: str, code: str, cause: str) -> Code:
    advice = (
        "Wait: Refundry inquires, and sends it again with the same number if Alipay has no record of it."
        f" {_SUPPORT} if it keeps happening."
    )
    return Code(
        code=code, status=status, meaning=CodeClass.RETRY, cause=cause, advice=advice, same_id=SameId.AFTER_INQUIRY
    )


def _later(status: str, code: str, cause: str) -> Code:
    advice = f"Wait: Refundry sends it again later with the same number. {_SUPPORT} if it keeps happening."
    return Code(
        code=code, status=status, meaning=CodeClass.RETRY, cause=cause, advice=advice, same_id=SameId.AFTER_BACKOFF
    )


def _unchanged(status: str, code: str, cause: str) -> Code:
    advice = f"Wait: Refundry repeats the query. {_SUPPORT} if it keeps happening."
    return Code(code=code, status=status, meaning=CodeClass.UNCHANGED, cause=cause, advice=advice)


# --- the gateway ------------------------------------------------------------------------------------------------------

_NO_ANSWER: Final = "Alipay's gateway could not carry out the call."
_BUSY: Final = "Alipay gets more calls than it allows at the moment."
_AUTHORIZE: Final = "Get a new app_auth_token from the merchant"
_KEYS: Final = "Check private_key against the key or certificate of this app at Alipay"
_CHANGED: Final = "Look for a proxy that changes the request"
_CONTRACT: Final = "Check at Alipay what this app may call, and the merchant's contract"

_CONFIGURATION: Final = (
    _conf("20001", "20001", "Alipay does not accept the authorization of the call.", _AUTHORIZE),
    _conf("20001", "aop.invalid-auth-token", "The authorization token is not valid.", _AUTHORIZE),
    _conf("20001", "aop.auth-token-time-out", "The authorization token has run out.", _AUTHORIZE),
    _conf("20001", "aop.invalid-app-auth-token", "The app_auth_token is not valid.", _AUTHORIZE),
    _conf(
        "20001",
        "aop.invalid-app-auth-token-no-api",
        "The merchant's authorization does not cover this call.",
        _AUTHORIZE,
    ),
    _conf("20001", "aop.app-auth-token-time-out", "The app_auth_token has run out.", _AUTHORIZE),
    _conf("20001", "aop.no-product-reg-by-partner", "The merchant has no contract for this product.", _CONTRACT),
    _conf("40001", "40001", "A parameter of the call is missing at Alipay.", _CHANGED),
    _conf("40001", "isv.missing-method", "The parameter method is missing at Alipay.", _CHANGED),
    _conf("40001", "isv.missing-signature", "The signature is missing at Alipay.", _CHANGED),
    _conf("40001", "isv.missing-signature-type", "The parameter sign_type is missing at Alipay.", _CHANGED),
    _conf("40001", "isv.missing-signature-key", "Alipay has no key of this app.", _KEYS),
    _conf("40001", "isv.missing-app-id", "The parameter app_id is missing at Alipay.", _CHANGED),
    _conf("40001", "isv.missing-timestamp", "The parameter timestamp is missing at Alipay.", _CHANGED),
    _conf("40001", "isv.missing-version", "The parameter version is missing at Alipay.", _CHANGED),
    _conf(
        "40001",
        "isv.decryption-error-missing-encrypt-type",
        "Alipay expects this app to encrypt its calls.",
        "Turn off the encryption of content for this app at Alipay",
    ),
    _conf("40002", "40002", "Alipay does not accept a parameter of the call.", "Compare the account with Alipay's app"),
    _conf("40002", "isv.invalid-method", "Alipay does not offer this call.", "Check base_url"),
    _conf("40002", "isv.invalid-format", "Alipay does not accept the parameter format.", _CHANGED),
    _conf("40002", "isv.invalid-signature-type", "Alipay does not accept RSA2 for this app.", _KEYS),
    _conf("40002", "isv.invalid-signature", "Our signature does not fit the key that Alipay has.", _KEYS),
    _conf("40002", "isv.invalid-encrypt-type", "Alipay does not accept the encryption of the call.", _CHANGED),
    _conf("40002", "isv.invalid-encrypt", "Alipay cannot decrypt the call.", _CHANGED),
    _conf("40002", "isv.invalid-app-id", "Alipay does not know this app.", "Check app_id and base_url"),
    _conf("40002", "isv.invalid-timestamp", "Alipay does not accept the time of the call.", "Set this machine's clock"),
    _conf("40002", "isv.invalid-charset", "Alipay does not accept the charset of the call.", "Check charset"),
    _conf("40002", "isv.invalid-digest", "Alipay does not accept the digest of the call.", _CHANGED),
    _conf("40002", "isv.missing-signature-config", "Alipay has no key of this app.", _KEYS),
    _conf("40002", "isv.not-support-app-auth", "This call takes no app_auth_token.", "Check app_auth_token"),
    _conf("40003", "40003", "A condition of the call is not met.", _CONTRACT),
    _conf("40006", "40006", "This app may not make the call.", _CONTRACT),
    _conf("40006", "isv.insufficient-isv-permissions", "This app may not make the call.", _CONTRACT),
    _conf("40006", "isv.insufficient-user-permissions", "The merchant does not allow the call.", _CONTRACT),
    _conf("40006", "isv.route-no-permissions", "This app may not make the call there.", _CONTRACT),
    _conf("40006", "isv.access-forbidden", "Alipay forbids the call.", _CONTRACT),
)
_REQUEST: Final = (
    _bug(
        "isv.invalid-parameter",
        "Alipay does not accept a parameter of the call.",
        "Compare the request with Alipay's documents",
        status="40002",
    ),
    _bug(
        "isv.suspected-attack",
        "Alipay takes the request for an attack.",
        "Look for unusual characters in the request, and ask Alipay's support",
        status="40002",
    ),
)
_UNAVAILABLE: Final = (UNAVAILABLE, "isp.unknow-error", "aop.unknow-error")

# --- alipay.trade.refund ----------------------------------------------------------------------------------------------

_SYSTEM_ERROR: Final = "A system error occurred at Alipay; the refund may be done or not."
_INVALID_PARAMETER: Final = "Alipay does not accept a field of the request."
_COMPARE: Final = "Compare the request with Alipay's documents and the answer's sub_msg"
_NO_TRADE: Final = "Alipay does not know the trade under this app."
_CHECK_TRADE: Final = "Check the trade number and the account"
_ENTERPRISE: Final = "The enterprise that pays for the buyer could not be reached."
_BUYER: Final = "Ask Alipay's support about the buyer's account"
_AMOUNT: Final = f"Compare the earlier refunds of this trade first, then {_NEW} over at most what is left."
_OTHERWISE: Final = "Refund the customer in another way; Alipay will not refund this trade."

REFUND_CODES: Final = table_of(
    Code(
        code=SUCCESS,
        status=SUCCESS,
        meaning=CodeClass.SUCCESS,
        cause="The call was answered; fund_change says whether money moved.",
        advice="Nothing is left to do where fund_change is Y; otherwise it is asked about.",
    ),
    *(_unknown(UNAVAILABLE, code, _NO_ANSWER) for code in _UNAVAILABLE),
    *_CONFIGURATION,
    *_REQUEST,
    _later("40005", "40005", _BUSY),
    Code(
        code=BUSINESS_FAILED,
        status=BUSINESS_FAILED,
        meaning=CodeClass.FAILED_UNCONFIRMED,
        cause="Alipay reports a failure without a reason.",
        advice=f"{_SUPPORT}, and decide by the result of the query.",
        new_id=NewId.MANUAL,
    ),
    _unknown(BUSINESS_FAILED, "ACQ.SYSTEM_ERROR", _SYSTEM_ERROR),
    _unknown(BUSINESS_FAILED, "AQC.SYSTEM_ERROR", _SYSTEM_ERROR),
    _unknown(BUSINESS_FAILED, "ACQ.ENTERPRISE_PAY_BIZ_ERROR", _ENTERPRISE),
    _later(BUSINESS_FAILED, "ACQ.REFUND_CHARGE_ERROR", "Alipay cannot return its fee at the moment."),
    _bug("ACQ.SELLER_BALANCE_NOT_ENOUGH", "The seller's balance is too low for this refund.", "Top up the balance"),
    _bug("ACQ.INVALID_PARAMETER", _INVALID_PARAMETER, _COMPARE),
    _bug("ACQ.TRADE_NOT_EXIST", _NO_TRADE, _CHECK_TRADE),
    _bug(
        "ACQ.TRADE_STATUS_ERROR",
        "The trade is not in a state that can be refunded.",
        "Check in Alipay's console that it is paid",
    ),
    _bug(
        "ACQ.REASON_TRADE_STATUS_INVALID",
        "The trade is not in a state that can be refunded.",
        "Check in Alipay's console that it is paid",
    ),
    _bug(
        "ACQ.TRADE_NOT_ALLOW_REFUND",
        "The trade cannot be refunded in its current state, or under the contract.",
        "Check in Alipay's console that it is paid, and that the contract allows refunds",
    ),
    _bug("ACQ.REASON_TRADE_BEEN_FREEZEN", "The trade is frozen.", "Ask Alipay's support to release it"),
    _bug("ACQ.TRADE_SETTLE_ERROR", "The settlement of the trade prevents the refund.", "Ask Alipay's support about it"),
    _bug("ACQ.CUSTOMER_VALIDATE_ERROR", "One of the accounts involved failed Alipay's validation.", _BUYER),
    _bug("ACQ.BUYER_ENABLE_STATUS_FORBID", "The buyer's account cannot receive money in its current state.", _BUYER),
    _bug("ACQ.BUYER_ERROR", "The state of the buyer's account prevents the refund.", _BUYER),
    _bug("ACQ.BUYER_NOT_EXIST", "Alipay does not find the buyer's account.", _BUYER),
    _bug(
        "ACQ.USER_NOT_MATCH_ERR", "The trade belongs to another merchant.", "Check the account and its app_auth_token"
    ),
    _bug(
        "ACQ.REFUND_ACCOUNT_NOT_EXIST",
        "The account that pays for the refund does not exist or is closed.",
        "Fix the account in Alipay's console",
    ),
    _bug(
        "ACQ.REFUND_ROYALTY_PAYEE_ACCOUNT_NOT_EXIST",
        "The account of a recipient of a share of the payment does not exist.",
        "Fix the account in Alipay's console",
    ),
    _bug(
        "ACQ.REFUNDALLOC_UNAUTH_LIMIT",
        "A recipient of a share of the payment has not authorized its return.",
        "Obtain the authorization in Alipay's console",
    ),
    _bug(
        "ACQ.OVERDRAFT_AGREEMENT_NOT_MATCH",
        "The agreement does not cover a refund on credit.",
        "Check the agreement with Alipay, or top up the balance",
    ),
    _bug(
        "ACQ.OVERDRAFT_ASSIGN_ACCOUNT_INVALID",
        "The account that funds refunds on credit is not valid.",
        "Fix the account in Alipay's console, or top up the balance",
    ),
    Code(
        code="ACQ.DISCORDANT_REPEAT_REQUEST",
        status=BUSINESS_FAILED,
        meaning=CodeClass.INDETERMINATE,
        cause="Alipay already has a refund with this number and another amount, which may have been paid.",
        advice="Find out what else uses the number, and compare it with the refund in Alipay's console.",
        new_id=NewId.MANUAL,
        breaker=Breaker.REQUEST,
    ),
    _fail(
        "ACQ.TRADE_HAS_FINISHED",
        "The trade is finished: its refund period has ended.",
        _OTHERWISE,
    ),
    _fail(
        "ACQ.TRADE_HAS_CLOSE",
        "The trade is closed: it was never paid, or it was refunded in full.",
        "Check the earlier refunds of this trade: nothing is left to refund.",
    ),
    _fail(
        "ACQ.ONLINE_TRADE_VOUCHER_NOT_ALLOW_REFUND",
        "The trade was paid with a voucher that cannot be refunded.",
        _OTHERWISE,
    ),
    _fail_new(
        "ACQ.NOT_ALLOW_PARTIAL_REFUND",
        "The trade can only be refunded in full.",
        f"To return everything, {_NEW} for the full trade.",
    ),
    _fail_new("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "The refund would exceed what is left of the trade.", _AMOUNT),
    _fail_new("ACQ.REASON_TRADE_REFUND_FEE_ERR", "The trade does not allow the amount of the refund.", _AMOUNT),
    _fail_new("ACQ.REFUND_FEE_ERROR", "The trade does not allow the amount of the refund.", _AMOUNT),
    _fail_new(
        "ACQ.ALLOC_AMOUNT_VALIDATE_ERROR",
        "The amount to take back from the recipients of shares exceeds their shares.",
        f"Compare refund_royalty_parameters with the shares, then {_NEW}.",
    ),
    _fail_new(
        "ACQ.CURRENCY_NOT_SUPPORT",
        "The trade cannot be refunded in this currency.",
        f"Refund in the currency of the trade: {_NEW}.",
    ),
)
"""The answers of `alipay.trade.refund`."""

INQUIRY_CODES: Final = table_of(
    Code(
        code=SUCCESS,
        status=SUCCESS,
        meaning=CodeClass.SUCCESS,
        cause="The query was answered; refund_status states what became of the refund.",
        advice="No action is needed if refund_status is REFUND_SUCCESS.",
    ),
    *(_unchanged(UNAVAILABLE, code, _NO_ANSWER) for code in _UNAVAILABLE),
    *_CONFIGURATION,
    *_REQUEST,
    _unchanged("40005", "40005", _BUSY),
    _unchanged(BUSINESS_FAILED, BUSINESS_FAILED, "The query failed at Alipay without a reason."),
    _unchanged(BUSINESS_FAILED, "ACQ.SYSTEM_ERROR", "A system error occurred at Alipay during the query."),
    _unchanged(BUSINESS_FAILED, "AQC.SYSTEM_ERROR", "A system error occurred at Alipay during the query."),
    _unchanged(BUSINESS_FAILED, "ACQ.ENTERPRISE_PAY_BIZ_ERROR", _ENTERPRISE),
    _bug("ACQ.INVALID_PARAMETER", _INVALID_PARAMETER, _COMPARE),
    _bug("ACQ.TRADE_NOT_EXIST", _NO_TRADE, _CHECK_TRADE),
    _bug("TRADE_NOT_EXIST", _NO_TRADE, _CHECK_TRADE),
)
"""The answers of `alipay.trade.fastpay.refund.query` about the query."""

NOT_DONE: Final = Code(
    code="NO_REFUND_STATUS",
    status=SUCCESS,
    meaning=CodeClass.NOT_FOUND,
    cause="Alipay did not receive the refund, or it failed, or it is not done yet.",
    advice="Wait: Refundry queries again after ten seconds, then sends it again with the same number and amount.",
    same_id=SameId.AFTER_INQUIRY,
)
"""Not a code: the meaning of an answer to the query without `refund_status`."""


def find(table: Mapping[str, Code], code: str, sub_code: str | None) -> Code | None:
    """Return the row of an answer, or None for one that Alipay does not document.

    A business code counts with and without its prefix, in upper and in lower case. The row's `status` may be another
    gateway code than the answer has: the answer then contradicts itself, unless it only says that the gateway is not
    available.
    """
    row = table.get(code) if not sub_code else _named(table, sub_code)
    if code == UNAVAILABLE and (row is None or row.status != code):
        return table[code]
    return table.get(code) if row is None and code not in (SUCCESS, BUSINESS_FAILED) else row


def _named(table: Mapping[str, Code], sub_code: str) -> Code | None:
    # Alipay's pages print business codes in lower case as well, its SDKs in upper case; gateway codes only in lower.
    written = sub_code.upper()
    row = table.get(sub_code) or table.get(written) or table.get(_PREFIX + written)
    return row if row is not None and row.code != row.status else None
