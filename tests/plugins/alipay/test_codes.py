"""The tables of codes are whole, and every code leads where the rules say."""

from collections.abc import Mapping

import pytest

from refundry.provider import (
    Blocked,
    Code,
    CodeClass,
    DefinitiveFailure,
    NotFound,
    Outcome,
    Resend,
    SameId,
    Scope,
    Succeeded,
    Unknown,
)
from refundry_alipay.codes import INQUIRY_CODES, REFUND_CODES, find
from tests.plugins.alipay.given import failure, read_inquiry, read_refund, sample

# Copied by hand from the documents: the sub-codes of each gateway code.
GATEWAY = """
20000 isp.unknow-error aop.unknow-error
20001 aop.invalid-auth-token aop.auth-token-time-out aop.invalid-app-auth-token aop.invalid-app-auth-token-no-api
20001 aop.app-auth-token-time-out aop.no-product-reg-by-partner
40001 isv.missing-method isv.missing-signature isv.missing-signature-type isv.missing-signature-key isv.missing-app-id
40001 isv.missing-timestamp isv.missing-version isv.decryption-error-missing-encrypt-type
40002 isv.invalid-parameter isv.invalid-method isv.invalid-format isv.invalid-signature-type isv.invalid-signature
40002 isv.invalid-encrypt-type isv.invalid-encrypt isv.invalid-app-id isv.invalid-timestamp isv.invalid-charset
40002 isv.invalid-digest isv.missing-signature-config isv.not-support-app-auth isv.suspected-attack
40003
40004
40005
40006 isv.insufficient-isv-permissions isv.insufficient-user-permissions isv.route-no-permissions isv.access-forbidden
"""
# And the business codes, with their class.
REFUND = {
    "RETRY": "SYSTEM_ERROR ENTERPRISE_PAY_BIZ_ERROR REFUND_CHARGE_ERROR",
    "INDETERMINATE": "DISCORDANT_REPEAT_REQUEST",
    "FAILED": "TRADE_HAS_FINISHED TRADE_HAS_CLOSE ONLINE_TRADE_VOUCHER_NOT_ALLOW_REFUND",
    "FAILED_NEW_ID": (
        "NOT_ALLOW_PARTIAL_REFUND REFUND_AMT_NOT_EQUAL_TOTAL REASON_TRADE_REFUND_FEE_ERR REFUND_FEE_ERROR"
        " ALLOC_AMOUNT_VALIDATE_ERROR CURRENCY_NOT_SUPPORT"
    ),
    "BAD_REQUEST": (
        "BUYER_ENABLE_STATUS_FORBID BUYER_ERROR BUYER_NOT_EXIST CUSTOMER_VALIDATE_ERROR INVALID_PARAMETER"
        " OVERDRAFT_AGREEMENT_NOT_MATCH OVERDRAFT_ASSIGN_ACCOUNT_INVALID REASON_TRADE_BEEN_FREEZEN"
        " REASON_TRADE_STATUS_INVALID REFUNDALLOC_UNAUTH_LIMIT REFUND_ACCOUNT_NOT_EXIST"
        " REFUND_ROYALTY_PAYEE_ACCOUNT_NOT_EXIST SELLER_BALANCE_NOT_ENOUGH TRADE_NOT_ALLOW_REFUND TRADE_NOT_EXIST"
        " TRADE_SETTLE_ERROR TRADE_STATUS_ERROR USER_NOT_MATCH_ERR"
    ),
}
INQUIRY = {"UNCHANGED": "SYSTEM_ERROR ENTERPRISE_PAY_BIZ_ERROR", "BAD_REQUEST": "INVALID_PARAMETER TRADE_NOT_EXIST"}
TABLES = {"refund": REFUND_CODES, "inquire": INQUIRY_CODES}


def gateway() -> dict[str, str]:
    rows = [line.split() for line in GATEWAY.strip().split("\n")]
    found = {row[0]: row[0] for row in rows} | {sub_code: row[0] for row in rows for sub_code in row[1:]}
    return {"10000": "10000"} | found


def business(documented: Mapping[str, str]) -> dict[str, str]:
    return {f"ACQ.{code}": meaning for meaning, codes in documented.items() for code in codes.split()}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_gateway_codes_are_whole(table: Mapping[str, Code]) -> None:
    """Each gateway code and each of its sub-codes has its row, with the gateway code it comes with."""
    own = [row for row in table.values() if row.code.isdigit() or row.code[:3] in ("isv", "isp", "aop")]

    assert gateway() == {row.code: row.status for row in own}


def test_refund_codes_are_whole() -> None:
    """Each of the 31 business codes of the refund, and the one that is misspelt, has its row and its class."""
    found = {row.code: str(row.meaning) for row in REFUND_CODES.values() if row.code[:4] in ("ACQ.", "AQC.")}

    assert 31 == len(business(REFUND))
    assert business(REFUND) | {"AQC.SYSTEM_ERROR": "RETRY"} == found


def test_inquiry_codes_are_whole() -> None:
    """Each of the 5 business codes of the query, and the one that is misspelt, has its row and its class."""
    own = {code: row for code, row in INQUIRY_CODES.items() if code not in gateway()}
    expected = business(INQUIRY) | {"TRADE_NOT_EXIST": "BAD_REQUEST", "AQC.SYSTEM_ERROR": "UNCHANGED"}

    assert expected == {code: str(row.meaning) for code, row in own.items()}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_code_speaks_to_people(table: Mapping[str, Code]) -> None:
    """Each row has a cause and an advice in whole sentences, and is listed under its own name."""
    for name, row in table.items():
        assert name == row.code
        assert row.cause.endswith(".")
        assert row.advice.endswith(".")


def written(code: Code, sub_code: str | None = None) -> bytes:
    name = sub_code or code.code
    return failure(code.status, None if name == code.status else name)


def check_outcome(code: Code, outcome: Outcome) -> None:
    kinds: dict[CodeClass, type[object]] = {
        CodeClass.SUCCESS: Succeeded,
        CodeClass.FAILED: DefinitiveFailure,
        CodeClass.FAILED_NEW_ID: DefinitiveFailure,
        CodeClass.MISCONFIGURED: Blocked,
        CodeClass.BAD_REQUEST: Blocked,
        CodeClass.NOT_FOUND: NotFound,
    }
    assert type(outcome) is kinds.get(code.meaning, Unknown)
    if isinstance(outcome, Blocked):
        assert (Scope.ACCOUNT if code.meaning is CodeClass.MISCONFIGURED else Scope.REQUEST) is outcome.scope
        assert code.breaker == str(outcome.scope)
    if not isinstance(outcome, Succeeded):
        assert code.code == outcome.code


@pytest.mark.parametrize("code", REFUND_CODES.values(), ids=list(REFUND_CODES))
def test_refund_code(code: Code) -> None:
    """A signed answer to the refund with a documented code becomes the outcome of the code's class."""
    outcome = read_refund(sample("refund_success") if code.meaning is CodeClass.SUCCESS else written(code))

    check_outcome(code, outcome)
    if isinstance(outcome, Unknown):
        expected = {SameId.AFTER_BACKOFF: Resend.SAME, SameId.AFTER_INQUIRY: Resend.AFTER_NOT_FOUND}.get(
            code.same_id, Resend.NEVER
        )
        assert expected is outcome.resend
        assert (expected is Resend.NEVER) == (outcome.review is not None)


@pytest.mark.parametrize("code", INQUIRY_CODES.values(), ids=list(INQUIRY_CODES))
def test_inquiry_code(code: Code) -> None:
    """A signed answer to the query with a documented code never becomes a failure of the refund, nor "not found"."""
    check_outcome(code, read_inquiry(sample("inquiry_success") if code.meaning is CodeClass.SUCCESS else written(code)))


@pytest.mark.parametrize("code", [row for row in REFUND_CODES.values() if row.code.startswith("ACQ.")], ids=str)
def test_without_the_prefix(code: Code) -> None:
    """A business code means the same without `ACQ.`."""
    bare = code.code.removeprefix("ACQ.")

    assert code is find(REFUND_CODES, code.status, bare)
    check_outcome(code, read_refund(written(code, bare)))


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_sub_codes_that_are_not_listed(table: Mapping[str, Code]) -> None:
    """An unlisted sub-code is read as its gateway code, except for a success or a business failure."""
    for gateway_code in ("20000", "20001", "40001", "40002", "40003", "40005", "40006"):
        for sub_code in (None, "", "isv.something-new", "ACQ.SOMETHING_NEW", "40004"):
            assert table[gateway_code] is find(table, gateway_code, sub_code)
    for gateway_code in ("10000", "40004", "50000", ""):
        for sub_code in ("isv.something-new", "SOMETHING_NEW", "10000", "acq.acq.system_error", "ACQ.ACQ.SYSTEM_ERROR"):
            assert find(table, gateway_code, sub_code) is None
    assert table["20000"] is find(table, "20000", "ACQ.SYSTEM_ERROR")


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_business_codes_in_lower_case(table: Mapping[str, Code]) -> None:
    """Alipay's page prints `acq.system_error` and `trade_not_exist`: the case does not change the meaning."""
    for code in table.values():
        if code.code.startswith("ACQ.") or code.code == "TRADE_NOT_EXIST":
            assert code is find(table, code.status, code.code.lower())


@pytest.mark.parametrize("code", REFUND_CODES.values(), ids=list(REFUND_CODES))
def test_a_sub_code_with_another_gateway_code(code: Code) -> None:
    """A sub-code that comes with another gateway code than documented decides nothing and is flagged for review."""
    if code.code == code.status:
        return
    for gateway_code in {"10000", "20001", "40001", "40002", "40004", "40006"} - {code.status}:
        for read in (read_refund, read_inquiry) if code.code in INQUIRY_CODES else (read_refund,):
            outcome = read(failure(gateway_code, code.code))

            assert isinstance(outcome, Unknown)
            assert Resend.NEVER is outcome.resend
            assert outcome.review is not None
