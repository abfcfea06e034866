"""The index row of a refund, and the guard of a payment's total."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refundry.errors import Invalid
from refundry.journal import IndexDifference
from refundry.journal.index import Sibling, check_total, counts, differences, row_of
from refundry.money import Money, OverRefund
from refundry.provider import OutcomeKind, Scope
from refundry.refund import Channel, NextStep, Refund, Status, fold
from tests.core.journal.samples import LOOK, failed, inquired, later, new, requested, settled, submitted, then


def eur(minor: int) -> Money:
    """Return an amount in EUR."""
    return Money(minor, "EUR", 2)


def test_an_open_refund_is_due_when_its_last_event_states() -> None:
    """Each open state's row is due at the moment that the newest event gives."""
    refund = new().refund
    sent = then(refund, submitted(1)).refund

    assert refund.requested_at == row_of(refund).due_at
    assert later(11) == row_of(sent).due_at
    assert later(32) == row_of(then(sent, inquired(2)).refund).due_at


@pytest.mark.parametrize(
    "last",
    [
        settled(),
        failed(),
        inquired(next_step=NextStep.MANUAL_REVIEW, next_at=None, review=LOOK),
        inquired(next_step=NextStep.MANUAL_REVIEW, next_at=later(9), review=LOOK),
        inquired(outcome=OutcomeKind.BLOCKED, scope=Scope.REQUEST, next_step=NextStep.INQUIRE, next_at=later(9)),
    ],
)
def test_a_refund_that_is_final_or_needs_an_operator_is_not_due(last: object) -> None:
    """No worker takes it."""
    assert row_of(then(new().refund, submitted(), last).refund).due_at is None  # type: ignore[arg-type]


def test_only_a_wrong_account_blocks_the_account() -> None:
    """`blocks_account` follows the scope of the reason, and ends when an operator resumes the refund."""
    sent = then(new().refund, submitted()).refund
    request = then(
        sent, inquired(outcome=OutcomeKind.BLOCKED, scope=Scope.REQUEST, next_step=NextStep.MANUAL_REVIEW)
    ).refund
    account = then(
        sent, inquired(outcome=OutcomeKind.BLOCKED, scope=Scope.ACCOUNT, next_step=NextStep.MANUAL_REVIEW)
    ).refund
    resumed = then(
        account, inquired(outcome=OutcomeKind.RESUMED, channel=Channel.OPERATOR, by="ann", why="fixed")
    ).refund

    assert [False, True, False] == [row_of(each).blocks_account for each in (request, account, resumed)]


amounts = st.integers(1, 100).map(eur)
siblings = st.lists(
    st.builds(Sibling, amounts, st.none() | st.integers(50, 200), st.booleans(), st.booleans()), max_size=6
)


def asked(amount: Money, total: Money | None = None, *, corrects: bool = False) -> Refund:
    """Return a new refund of this amount."""
    request = attrs.evolve(requested("new"), amount=amount, payment_total=total, corrects_total=corrects)
    return fold("new", [request])


@given(amounts, st.none() | amounts, st.booleans(), siblings)
def test_the_guard_lets_through_exactly_what_the_payment_has_left(
    amount: Money, total: Money | None, corrects: bool, earlier: list[Sibling]
) -> None:
    """A new refund passes if and only if it and those that count stay within the smallest total that applies."""
    corrected = [n for n, each in enumerate(earlier) if each.corrects_total and each.payment_total is not None]
    since = earlier[corrected[-1] :] if corrected else earlier
    totals = [
        each.payment_total
        for n, each in enumerate(since)
        if each.payment_total is not None and (each.counts or (corrected and n == 0))
    ]
    limits = [] if total is None else [total.minor]
    limits += [] if corrects else totals
    used = sum(each.amount.minor for each in earlier if each.counts)
    new = asked(amount, total, corrects=corrects)

    if not limits or used + amount.minor <= min(limits):
        check_total(new, earlier)
    else:
        with pytest.raises(OverRefund) as caught:
            check_total(new, earlier)
        assert 0 <= caught.value.remaining.minor < amount.minor
        assert caught.value.remaining.minor in {max(limit - used, 0) for limit in limits}


@pytest.mark.parametrize(
    ("field", "amount", "total", "earlier"),
    [
        ("amount", eur(51), eur(100), [Sibling(eur(50), None, True)]),
        ("amount", eur(51), None, [Sibling(eur(50), 100, True)]),
        ("payment_total", eur(51), eur(200), [Sibling(eur(50), 100, True)]),
        ("payment_total", eur(1), Money(100, "USD", 2), []),
        ("currency", eur(1), None, [Sibling(Money(1, "USD", 2), None, True)]),
        ("currency", eur(1), None, [Sibling(Money(1, "EUR", 3), None, True)]),
    ],
)
def test_the_guard_names_the_field_that_is_wrong(
    field: str, amount: Money, total: Money | None, earlier: list[Sibling]
) -> None:
    """The error says which input to correct, and only too high an amount is an over-refund."""
    with pytest.raises(Invalid) as caught:
        check_total(asked(amount, total), earlier)

    assert field == caught.value.field
    assert isinstance(caught.value, OverRefund) == (amount == eur(51))


@pytest.mark.parametrize("wrong", [Sibling(Money(5, "USD", 2), 7, False), Sibling(eur(5), 7, False)])
def test_a_failed_refund_binds_nothing(wrong: Sibling) -> None:
    """A request that the provider rejected, in a wrong currency or with a wrong total, does not bind the payment."""
    check_total(asked(eur(80), eur(100)), [wrong])


def test_an_over_refund_says_what_remains() -> None:
    """The error has the exact amount that can still be refunded."""
    with pytest.raises(OverRefund, match=r"; 0\.50 EUR can still be refunded") as caught:
        check_total(asked(eur(51), eur(100)), [Sibling(eur(50), None, True)])

    assert eur(50) == caught.value.remaining


def test_only_a_confirmed_failure_frees_its_amount() -> None:
    """A failed refund that needs review may have paid."""
    assert [True, True, False] == [
        counts("unknown", needs_review=False),
        counts("failed", needs_review=True),
        counts("failed", needs_review=False),
    ]


def test_rows_that_differ_are_named_field_by_field() -> None:
    """A finding says what the log and what the index hold; a missing row is one finding."""
    row = row_of(new().refund)
    wrong = attrs.evolve(row, version=7, status=Status.FAILED)

    assert [] == list(differences(row, row))
    assert [
        IndexDifference(row.id, "version", "1", "7"),
        IndexDifference(row.id, "status", "requested", "failed"),
    ] == list(differences(row, wrong))
    assert [IndexDifference(row.id, "row", "version 1", "missing")] == list(differences(row, None))
    assert [IndexDifference(row.id, "row", "missing", "version 1")] == list(differences(None, row))
