"""The tables of result codes are whole, and every code leads where the rules say."""

from collections.abc import Mapping

import pytest

from refundry.provider import (
    Blocked,
    Code,
    CodeClass,
    DefinitiveFailure,
    NotFound,
    Outcome,
    Pending,
    Resend,
    SameId,
    Scope,
    Succeeded,
    Unknown,
)
from refundry_antom.codes import INQUIRY_CODES, REFUND_CODES
from tests.plugins.antom.given import read_inquiry, read_refund, result, sample

# Copied by hand from the documents: code, status, class, same id, new id, what waits with it.
REFUND = """
SUCCESS                        S SUCCESS            never         never    none
REFUND_IN_PROCESS              U PENDING            never         never    none
REQUEST_TRAFFIC_EXCEED_LIMIT   U RETRY              after_backoff never    none
UNKNOWN_EXCEPTION              U RETRY              after_inquiry never    none
MERCHANT_BALANCE_NOT_ENOUGH    F FAILED_NEW_ID      never         required none
REFUND_AMOUNT_EXCEED           F FAILED_NEW_ID      never         required none
REPEAT_REQ_INCONSISTENT        F INDETERMINATE      never         manual   request
ORDER_IS_CLOSED                F FAILED             never         manual   none
ORDER_STATUS_INVALID           F FAILED             never         manual   none
MULTIPLE_REFUNDS_NOT_SUPPORTED F FAILED             never         never    none
REFUND_WINDOW_EXCEED           F FAILED             never         never    none
RISK_REJECT                    F FAILED             never         manual   none
PROCESS_FAIL                   F FAILED_UNCONFIRMED never         manual   none
SYSTEM_ERROR                   F FAILED_UNCONFIRMED never         manual   none
ORDER_NOT_EXIST                F BAD_REQUEST        after_fix     manual   request
PARAM_ILLEGAL                  F BAD_REQUEST        after_fix     manual   request
CURRENCY_NOT_SUPPORT           F FAILED             never         manual   none
INVALID_CONTRACT               F BAD_REQUEST        after_fix     manual   request
INVALID_MERCHANT_STATUS        F MISCONFIGURED      after_fix     manual   account
MERCHANT_NOT_REGISTERED        F MISCONFIGURED      after_fix     manual   account
ACCESS_DENIED                  F MISCONFIGURED      after_fix     manual   account
CLIENT_INVALID                 F MISCONFIGURED      after_fix     manual   account
INVALID_SIGNATURE              F MISCONFIGURED      after_fix     manual   account
KEY_NOT_FOUND                  F MISCONFIGURED      after_fix     manual   account
API_INVALID                    F MISCONFIGURED      after_fix     manual   account
NO_INTERFACE_DEF               F MISCONFIGURED      after_fix     manual   account
METHOD_NOT_SUPPORTED           F MISCONFIGURED      after_fix     manual   account
MEDIA_TYPE_NOT_ACCEPTABLE      F MISCONFIGURED      after_fix     manual   account
"""
REFUND_FURTHER = """
FREFUND_WINDOW_EXCEED        F FAILED        never     never  none
INVALID_API                  F MISCONFIGURED after_fix manual account
REFUND_NOT_SUPPORTED         F FAILED        never     never  none
PARTIAL_REFUND_NOT_SUPPORTED F FAILED        never     manual none
PAYMENT_METHOD_NOT_SUPPORTED F FAILED        never     manual none
ORDER_IS_CANCELED            F FAILED        never     manual none
"""
INQUIRY = """
SUCCESS                   S SUCCESS       never         never  none
ORDER_NOT_EXIST           F NOT_FOUND     after_inquiry never  none
CLIENT_INVALID            F MISCONFIGURED after_fix     manual account
METHOD_NOT_SUPPORTED      F MISCONFIGURED after_fix     manual account
MEDIA_TYPE_NOT_ACCEPTABLE F MISCONFIGURED after_fix     manual account
"""
INQUIRY_FURTHER = """
ACCESS_DENIED                F MISCONFIGURED after_fix manual account
INVALID_API                  F MISCONFIGURED after_fix manual account
KEY_NOT_FOUND                F MISCONFIGURED after_fix manual account
NO_INTERFACE_DEF             F MISCONFIGURED after_fix manual account
PARAM_ILLEGAL                F BAD_REQUEST   after_fix manual request
PROCESS_FAIL                 F UNCHANGED     never     never  none
SYSTEM_ERROR                 F UNCHANGED     never     never  none
REQUEST_TRAFFIC_EXCEED_LIMIT U UNCHANGED     never     never  none
UNKNOWN_EXCEPTION            U UNCHANGED     never     never  none
"""


def documented(text: str) -> dict[str, list[str]]:
    rows = [line.split() for line in text.split("\n")]
    return {row[0]: row[1:] for row in rows if row}


def written(table: Mapping[str, Code]) -> dict[str, list[str]]:
    return {row.code: [row.status, row.meaning, row.same_id, row.new_id, row.breaker] for row in table.values()}


def test_refund_table_is_whole() -> None:
    """Each of the 28 documented codes of `refund` and the further ones has its row, and there is no other."""
    assert 28 == len(documented(REFUND))
    assert documented(REFUND + REFUND_FURTHER) == written(REFUND_CODES)


def test_inquiry_table_is_whole() -> None:
    """Each of the 5 documented codes of `inquiryRefund` and the further ones has its row, and there is no other."""
    assert 5 == len(documented(INQUIRY))
    assert documented(INQUIRY + INQUIRY_FURTHER) == written(INQUIRY_CODES)


@pytest.mark.parametrize("table", [REFUND_CODES, INQUIRY_CODES], ids=["refund", "inquire"])
def test_every_code_speaks_to_people(table: Mapping[str, Code]) -> None:
    """Each row has a cause and an advice in whole sentences, and is listed under its own name."""
    for name, row in table.items():
        assert name == row.code
        assert row.cause.endswith(".")
        assert row.advice.endswith(".")


def expected_kind(code: Code) -> type[object]:
    kinds = {
        CodeClass.SUCCESS: Succeeded,
        CodeClass.PENDING: Pending,
        CodeClass.FAILED: DefinitiveFailure,
        CodeClass.FAILED_NEW_ID: DefinitiveFailure,
        CodeClass.MISCONFIGURED: Blocked,
        CodeClass.BAD_REQUEST: Blocked,
        CodeClass.NOT_FOUND: NotFound,
    }
    return kinds.get(code.meaning, Unknown)


def check_outcome(code: Code, outcome: Outcome) -> None:
    assert type(outcome) is expected_kind(code)
    if isinstance(outcome, Blocked):
        assert (Scope.ACCOUNT if code.meaning is CodeClass.MISCONFIGURED else Scope.REQUEST) is outcome.scope
    if not isinstance(outcome, Succeeded):
        assert code.code == outcome.code


@pytest.mark.parametrize("code", REFUND_CODES.values(), ids=list(REFUND_CODES))
def test_refund_code(code: Code) -> None:
    """A signed answer to `refund` with a documented code becomes the outcome of the code's class."""
    body = sample("refund_success") if code.meaning is CodeClass.SUCCESS else result(code.code, code.status)

    outcome = read_refund(body)

    check_outcome(code, outcome)
    if isinstance(outcome, Unknown):
        expected = {SameId.AFTER_BACKOFF: Resend.SAME, SameId.AFTER_INQUIRY: Resend.AFTER_NOT_FOUND}.get(
            code.same_id, Resend.NEVER
        )
        assert expected is outcome.resend
        assert (expected is Resend.NEVER) == (outcome.review is not None)


@pytest.mark.parametrize("code", INQUIRY_CODES.values(), ids=list(INQUIRY_CODES))
def test_inquiry_code(code: Code) -> None:
    """A signed answer to `inquiryRefund` with a documented code never becomes a failure of the refund."""
    body = sample("inquiry_success") if code.meaning is CodeClass.SUCCESS else result(code.code, code.status)

    check_outcome(code, read_inquiry(body))


@pytest.mark.parametrize("status", ["S", "F", "U"])
@pytest.mark.parametrize("code", REFUND_CODES.values(), ids=list(REFUND_CODES))
def test_status_that_contradicts_the_refund_code(code: Code, status: str) -> None:
    """A code with another status than documented decides nothing: it is flagged for review and nothing is sent."""
    if status == code.status:
        return
    outcome = read_refund(
        sample("refund_success")
        .replace(b'"SUCCESS"', f'"{code.code}"'.encode())
        .replace(b'"S"', f'"{status}"'.encode())
    )

    assert isinstance(outcome, Unknown)
    assert Resend.NEVER is outcome.resend
    assert outcome.review is not None


@pytest.mark.parametrize("status", ["S", "F", "U"])
@pytest.mark.parametrize("code", INQUIRY_CODES.values(), ids=list(INQUIRY_CODES))
def test_status_that_contradicts_the_inquiry_code(code: Code, status: str) -> None:
    """The same holds for an inquiry: never settled, failed or not found on a contradiction."""
    if status == code.status:
        return
    outcome = read_inquiry(result(code.code, status))

    assert isinstance(outcome, Unknown)
    assert outcome.review is not None
