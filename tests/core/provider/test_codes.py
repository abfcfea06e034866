"""What plugins share when they turn codes and states into outcomes."""

import pytest

from refundry.money import Money
from refundry.provider import Code, CodeClass, Outcome, Pending, Resend, Succeeded, Unknown, codes

DONE = Succeeded(Money(1233, "CAD", 2))


def row(code: str, status: str, meaning: CodeClass) -> Code:
    return Code(code=code, status=status, meaning=meaning, cause="c", advice="a")


TABLE = codes.table_of(row("OK", "S", CodeClass.SUCCESS), row("NO", "F", CodeClass.FAILED))
STATES = codes.table_of(row("DONE", "S", CodeClass.SUCCESS), row("WORKING", "S", CodeClass.PENDING))


@pytest.mark.parametrize(
    ("code", "status", "resend"),
    [("OK", "F", Resend.NEVER), ("NO", "S", Resend.NEVER), ("OK", "X", Resend.AFTER_NOT_FOUND), (None, "", None)],
)
def test_a_status_that_no_document_has(code: str | None, status: str, resend: Resend | None) -> None:
    """A status that is in no row is wrong with any code, and one of another row contradicts a documented code."""
    wrong = codes.wrong_status("Acme", TABLE, code, status)

    assert isinstance(wrong, Unknown)
    assert wrong.resend is (resend or Resend.AFTER_NOT_FOUND)


@pytest.mark.parametrize(("code", "status"), [("OK", "S"), ("NO", "F"), ("NEW", "F"), (None, "S")])
def test_a_documented_status_is_not_judged(code: str | None, status: str) -> None:
    """The documented status of a code, and any documented status of a code that is not listed, is not wrong."""
    assert codes.wrong_status("Acme", TABLE, code, status) is None


@pytest.mark.parametrize(
    ("state", "refund_request_id", "outcome"),
    [
        ("DONE", "R1", DONE),
        ("WORKING", "R1", Pending("WORKING", "c", "F1")),
        ("DONE", None, codes.incomplete("Acme's answer does not name the refund", "DONE", Resend.AFTER_NOT_FOUND)),
        ("a b", None, codes.incomplete("Acme's answer does not name the refund", None, Resend.AFTER_NOT_FOUND)),
        (None, "R1", codes.incomplete("Acme answered without the state of the refund", None, Resend.AFTER_NOT_FOUND)),
        ("done", "R1", Unknown("the refund is in a state that Acme does not document: 'done'")),
    ],
)
def test_the_state_of_a_refund(state: str | None, refund_request_id: str | None, outcome: Outcome) -> None:
    """A state decides only if it is documented and the answer names the refund; a success is read by the plugin."""
    found = codes.by_state(
        "Acme",
        STATES,
        state,
        refund_request_id=refund_request_id,
        provider_refund_id="F1",
        settled=lambda: DONE,
    )

    assert outcome == found
