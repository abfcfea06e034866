"""The ledger of a simulated provider: money moves at most once, and the remainder is always right."""

from datetime import UTC, datetime

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refundry.errors import Invalid
from refundry.money import Money
from refundry.testing.simulator.ledger import (
    Ledger,
    ParsedRequest,
    Payment,
    Settlement,
    State,
    Verdict,
)
from refundry.testing.simulator.ledger_views import as_json, as_text

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def ask(id: str, minor: int, payment: str = "P1", currency: str = "EUR") -> ParsedRequest:
    return ParsedRequest(
        operation="refund",
        path="/",
        refund_request_id=id,
        payment=payment,
        amount=Money.of_minor(str(minor), currency),
        digest=f"{minor}",
    )


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "refuse", State.SUCCESS, State.FAIL, State.PROCESSING]),
        st.sampled_from(["R1", "R2", "R3"]),
        st.integers(1, 80),
    ),
    max_size=30,
)


@given(steps=STEPS)
def test_money_moves_once_or_never(steps: list[tuple[str, str, int]]) -> None:
    """Over any sequence: one movement per successful refund, none for another, and never more than was paid."""
    ledger = Ledger(accept_undeclared=False)
    ledger.declare(Payment(id="P1", amount=Money.of_minor("100", "EUR"), balance=90))
    for step, id, minor in steps:
        if step == "ask":
            ledger.request(ask(id, minor), NOW)
        elif step == "refuse":
            ledger.refuse(ask(id, minor), "RISK_REJECT", NOW)
        elif id in ledger.refunds:
            ledger.finish(ledger.refunds[id], State(step), NOW)

    moved, payment = ledger.moved(), ledger.payments["P1"]
    for refund in ledger.refunds.values():
        assert moved[refund.refund_request_id] == (refund.state is State.SUCCESS)
    held = sum(refund.amount.minor for refund in ledger.refunds.values() if refund.state is not State.FAIL)
    assert (100 - held, 90 - held) == (payment.refundable, payment.balance)
    assert held <= 90


@given(first=st.sampled_from([State.SUCCESS, State.FAIL]), later=st.lists(st.sampled_from(list(State)), max_size=5))
def test_the_end_is_the_end(first: State, later: list[State]) -> None:
    """A final refund never changes, and neither does the answer to a repeated request."""
    ledger = Ledger()
    _, refund = ledger.request(ask("R1", 5), NOW)
    assert refund is not None
    assert ledger.finish(refund, first, NOW)
    answer = ledger.request(ask("R1", 5), NOW)

    assert not any(ledger.finish(refund, state, NOW) for state in later)
    assert answer == ledger.request(ask("R1", 5), NOW)
    assert first is refund.state


def test_other_payment_is_inconsistent() -> None:
    """The same id for another payment is not a repeat."""
    ledger = Ledger()
    ledger.request(ask("R1", 5), NOW)

    assert (Verdict.INCONSISTENT, None) == ledger.request(ask("R1", 5, payment="P2"), NOW)


def test_undeclared_payment_keeps_its_currency() -> None:
    """An undeclared payment has the currency of its first refund."""
    ledger = Ledger()
    ledger.request(ask("R1", 5), NOW)

    assert Verdict.CURRENCY == ledger.request(ask("R2", 5, currency="USD"), NOW)[0]


def test_payment_is_declared_once() -> None:
    """A payment id cannot be declared twice."""
    ledger = Ledger()
    ledger.declare(Payment(id="P1", amount=Money.of_minor("1", "EUR")))
    with pytest.raises(Invalid, match="P1"):
        ledger.declare(Payment(id="P1", amount=Money.of_minor("2", "EUR")))


@pytest.mark.parametrize(
    ("price", "currency", "minor"),
    [("1.5", "USD", 2), ("0.5", "USD", 1), ("0.4", "USD", 0), ("160.55", "JPY", 2), ("0.4", "KWD", 4)],
)
def test_settlement_rounds_half_up(price: str, currency: str, minor: int) -> None:
    """A cent of EUR becomes the nearest minor unit of the settlement currency, whatever its exponent."""
    assert minor == Settlement(currency, price).of(Money.of_minor("1", "EUR")).minor


def test_the_ledger_can_be_read() -> None:
    """The table and the JSON name every refund and count its movements."""
    ledger = Ledger()
    for id in ("R1", "R2"):
        ledger.request(ask(id, 1233), NOW)
    ledger.finish(ledger.refunds["R1"], State.SUCCESS, NOW)

    assert [("R1", 1), ("R2", 0)] == [
        (refund["refund_request_id"], refund["moved"]) for refund in as_json(ledger)["refunds"]
    ]
    assert "12.33 EUR" in as_text(ledger)
    assert "faults that happened: none" in as_text(Ledger())


def test_an_id_within_its_payment() -> None:
    """Where ids are of one payment, two payments may use the same one; elsewhere the second is another amount's."""
    within, overall = Ledger(ids_per_payment=True), Ledger()
    for ledger in (within, overall):
        ledger.request(ask("R1", 10, "P1"), NOW)
    second = ask("R1", 20, "P2")

    assert [Verdict.IN_PROCESS, Verdict.INCONSISTENT] == [
        ledger.request(second, NOW)[0] for ledger in (within, overall)
    ]
    assert ["R1", "P2/R1"] == [refund.key for refund in within.refunds.values()]
    found = within.find(second)
    assert found is not None
    assert 20 == found.amount.minor


def test_a_refusal_that_is_forgiven() -> None:
    """Where refusals are forgiven, the same id pays once its payment can; a refund that is done is done."""
    ledger = Ledger(accept_undeclared=False, retries_failed=True)
    ledger.declare(Payment(id="P1", amount=Money.of_minor("100", "EUR"), balance=0))
    refused, refund = ledger.request(ask("R1", 10), NOW)
    ledger.payments["P1"].balance = 100
    accepted, again = ledger.request(ask("R1", 10), NOW)
    assert refund is not None
    ledger.finish(refund, State.SUCCESS, NOW)

    assert (Verdict.BALANCE, Verdict.IN_PROCESS, refund) == (refused, accepted, again)
    assert Verdict.INCONSISTENT == ledger.request(ask("R1", 11), NOW)[0]
    assert ({"R1": 1}, 90) == (ledger.moved(), ledger.payments["P1"].refundable)


def test_a_refund_of_the_whole_payment() -> None:
    """A request without an id is for all of the payment, and is found by the payment's number."""
    ledger = Ledger(accept_undeclared=False)
    ledger.declare(Payment(id="P1", merchant_id="T1", amount=Money.of_minor("100", "EUR")))
    part, whole = (attrs.evolve(ask("", minor), refund_request_id=None) for minor in (99, 100))

    assert Verdict.NOT_TOTAL == Ledger(accept_undeclared=True, undeclared_amount=100).request(part, NOW)[0]
    assert Verdict.IN_PROCESS == ledger.request(whole, NOW)[0]
    assert ledger.refunds["T1"] is ledger.find(whole)


def test_what_an_inquiry_finds() -> None:
    """A refund, a payment without it, or no payment at all."""
    ledger = Ledger(accept_undeclared=False)
    ledger.declare(Payment(id="P1", amount=Money.of_minor("100", "EUR")))
    ledger.request(ask("R1", 10), NOW)
    verdicts = [ledger.inquire(ask(id, 10, payment))[0] for id, payment in (("R1", "P1"), ("R2", "P1"), ("R2", "P2"))]

    assert [Verdict.DONE, Verdict.NOT_FOUND, Verdict.UNKNOWN_PAYMENT] == verdicts
