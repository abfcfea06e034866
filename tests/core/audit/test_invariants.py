"""What must hold between refunds and their evidence, in every combination of states that a signed log can have."""

import itertools
import sqlite3
from contextlib import closing
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import attrs
import pytest

from refundry.audit.verification.findings import FindingKind
from refundry.journal.log_source import BATCH
from refundry.money import Money
from refundry.provider import OutcomeKind, ReviewReason
from refundry.refund import Inquired, NextStep, RaisedReview, Requested
from tests.core.audit.made import Life, life, make_store
from tests.core.audit.test_verify import audited, made_of

TOTAL = Money(2000, "EUR", 2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "refunds.db"


STATES = ("requested", "submitted", "pending", "settled", "failed")


def _life(number: int, state: str) -> Life:
    """Return a refund of 12.33 of a payment of 20.00 in a state."""
    whole = _requested(life(number, failed=state == "failed"), payment_total=TOTAL)
    return attrs.evolve(whole, events=whole.events[: {"requested": 1, "submitted": 2, "pending": 4}.get(state, 5)])


def _invariants(path: Path, *some: Life) -> list[str]:
    note = made_of(path, *some)
    return [each.text for each in audited(path, note).findings if each.kind is FindingKind.INVARIANT]


@pytest.mark.parametrize(("one", "other"), [*itertools.combinations_with_replacement(STATES, 2)])
def test_what_may_still_pay_counts_against_the_total(path: Path, one: str, other: str) -> None:
    """Two refunds that together exceed their payment are a finding unless one of them has failed."""
    texts = _invariants(path, _life(2, one), _life(3, other))

    assert ("failed" not in (one, other)) == any(text.startswith("I1: refunds of 2466 minor") for text in texts)


def _contradicted(failed: Life) -> Life:
    """Return a failed refund about which the provider reported a success later."""
    pending = failed.events[2]
    assert isinstance(pending, Inquired)
    review = RaisedReview(ReviewReason.SETTLED_AFTER_FAILURE, "settled")
    late = attrs.evolve(
        pending, at=failed.events[-1].at + timedelta(1), outcome=OutcomeKind.SUCCEEDED, next_step=NextStep.DONE,
        next_at=None, review=(review,),
    )  # fmt: skip
    return attrs.evolve(failed, events=[*failed.events, late])


def _requested(whole: Life, **changes: Any) -> Life:
    """Return a refund that was requested differently."""
    first = whole.events[0]
    assert isinstance(first, Requested)
    return attrs.evolve(whole, events=[attrs.evolve(first, **changes), *whole.events[1:]])


_FAILED = _life(2, "failed")
FIRST = {state: _life(2, state) for state in STATES} | {
    "contradicted": _contradicted(_FAILED),
    "of another payment": _requested(_FAILED, payment="P9"),
    "of another account": _requested(_FAILED, account="shop-ca"),
}


@pytest.mark.parametrize("kind", FIRST)
def test_only_a_confirmed_failure_is_replaced(path: Path, kind: str) -> None:
    """A replacement is a finding unless the first refund, of the same account and payment, failed without review."""
    first, second = FIRST[kind], _life(3, "requested")
    texts = _invariants(path, first, _requested(second, retry_of=first.id))

    assert (kind != "failed") == any(text.startswith("I5: it replaces") for text in texts), texts


def test_evidence_that_no_event_names_is_hashed(path: Path) -> None:
    """Bytes that do not have the digest under which they are stored are found, even if nothing refers to them."""
    note = make_store(path, 2)
    # More than are read together with the events: what follows is read for its own sake.
    rows = [(sha256(b"%d" % number).digest(), b"%d" % number) for number in range(BATCH + 10)]
    with closing(sqlite3.connect(path)) as store, store:
        store.executemany("INSERT INTO evidence VALUES (?, ?)", [*rows, (b"\1" * 32, b"anything")])
    found = audited(path, note).findings

    assert (FindingKind.EVIDENCE, "01" * 32) in [(each.kind, each.where) for each in found]
