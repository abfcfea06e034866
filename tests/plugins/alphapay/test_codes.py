"""The tables of answers are whole, and every answer leads where the rules say: by its status, never by its code."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refundry.provider import Code, CodeClass, DefinitiveFailure, Pending, Resend, ReviewReason, Succeeded, Unknown
from refundry_alphapay.codes import INQUIRY_CODES, REFUND_CODES, REFUND_STATUS
from tests.plugins.alphapay.given import read_inquiry, read_refund, result, sample

# Copied by hand from the rules: code, status, class, same id, new id.
REFUND = """
S                  S PENDING            never never
F                  F FAILED_UNCONFIRMED never manual
U                  U INDETERMINATE      never never
SUCCESS            S PENDING            never never
PAYMENT_IN_PROCESS U INDETERMINATE      never never
ORDER_PAID         F FAILED_UNCONFIRMED never manual
"""
INQUIRY = """
S                  S SUCCESS   never never
F                  F UNCHANGED never never
U                  U UNCHANGED never never
SUCCESS            S SUCCESS   never never
PAYMENT_IN_PROCESS U UNCHANGED never never
ORDER_PAID         F UNCHANGED never never
"""
STATUS = """
REFUND_IN_PROCESS S PENDING never never
SUCCESS           S SUCCESS never never
FAILED            S FAILED  never manual
"""
TABLES = {"refund": (REFUND, REFUND_CODES), "inquire": (INQUIRY, INQUIRY_CODES), "status": (STATUS, REFUND_STATUS)}


@pytest.mark.parametrize("name", TABLES)
def test_the_tables_are_whole(name: str) -> None:
    """Each status and each code that was ever observed has its row, and there is no other."""
    documented, table = TABLES[name]
    rows = {row.code: (row.status, row.meaning, row.same_id, row.new_id, row.breaker) for row in table.values()}

    assert {line.split()[0]: (*line.split()[1:], "none") for line in documented.strip().splitlines()} == rows


@pytest.mark.parametrize("table", [REFUND_CODES, INQUIRY_CODES, REFUND_STATUS], ids=list(TABLES))
def test_every_row_speaks_to_people(table: Mapping[str, Code]) -> None:
    """Each row has a cause and an advice in whole sentences, and is listed under its own name."""
    for name, row in table.items():
        assert name == row.code
        assert row.cause.endswith(".")
        assert row.advice.endswith(".")


@pytest.mark.parametrize("table", [REFUND_CODES, INQUIRY_CODES], ids=["refund", "inquire"])
def test_a_code_means_what_its_status_means(table: Mapping[str, Code]) -> None:
    """The row of a code has the class of the row of its status: the code adds nothing."""
    for row in table.values():
        assert table[row.status].meaning is row.meaning


KINDS = {CodeClass.INDETERMINATE: Unknown, CodeClass.FAILED_UNCONFIRMED: Unknown, CodeClass.UNCHANGED: Unknown}


@pytest.mark.parametrize("code", REFUND_CODES.values(), ids=list(REFUND_CODES))
def test_refund_answer(code: Code) -> None:
    """A signed answer to `refund` never settles and never fails it, and never lets it be sent again."""
    body = sample("refund_accepted") if code.status == "S" else result(code.code, code.status)

    outcome = read_refund(body)

    assert isinstance(outcome, Pending if code.meaning is CodeClass.PENDING else KINDS[code.meaning])
    if isinstance(outcome, Unknown):
        assert Resend.NEVER is outcome.resend
        assert (code.meaning is CodeClass.FAILED_UNCONFIRMED) == (outcome.review is not None)


@pytest.mark.parametrize("code", INQUIRY_CODES.values(), ids=list(INQUIRY_CODES))
def test_inquiry_answer(code: Code) -> None:
    """A signed answer to `inquiryRefund` is the refund's status or nothing, and F needs an operator."""
    body = sample("inquiry_success") if code.status == "S" else result(code.code, code.status)

    outcome = read_inquiry(body)
    assert isinstance(outcome, Succeeded if code.meaning is CodeClass.SUCCESS else Unknown)
    if isinstance(outcome, Unknown):
        expected = ReviewReason.UNDOCUMENTED_ANSWER if code.status == "F" else None
        assert (code.code, expected) == (outcome.code, outcome.review)


@pytest.mark.parametrize(
    ("status", "kind"), [("REFUND_IN_PROCESS", Pending), ("SUCCESS", Succeeded), ("FAILED", DefinitiveFailure)]
)
def test_refund_status(status: str, kind: type[object]) -> None:
    """Each documented refundStatus has its outcome."""
    names = {"REFUND_IN_PROCESS": "inquiry_in_process", "SUCCESS": "inquiry_success", "FAILED": "inquiry_failed"}

    assert isinstance(read_inquiry(sample(names[status])), kind)


@given(st.text(max_size=80) | st.sampled_from(["SUCCESS", "REFUND_SUCCESS", "SIM_REFUND_NOT_FOUND"]), st.data())
def test_no_code_decides(code: str, data: st.DataObject) -> None:
    """Whatever code comes with a status, the outcome is of the kind of that status, or a contradiction."""
    status = data.draw(st.sampled_from("SFU"))
    refund, inquiry = read_refund(result(code, status)), read_inquiry(result(code, status))

    contradicts = code in REFUND_CODES and REFUND_CODES[code].status != status
    assert isinstance(refund, Pending if status == "S" and not contradicts else Unknown)
    assert isinstance(refund, Pending) or Resend.NEVER is refund.resend
    assert isinstance(inquiry, Unknown)
    assert status != "F" or contradicts or ReviewReason.UNDOCUMENTED_ANSWER is inquiry.review
