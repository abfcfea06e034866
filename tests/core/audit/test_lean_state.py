"""The lean fold of the audit says of every history what the fold that decides about money says."""

import copy
from datetime import datetime, timedelta
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from refundry.audit.verification import lean_state, stored_fields
from refundry.audit.verification.lean_state import LeanState
from refundry.journal.codec import encode
from refundry.journal.index import review_text, row_of
from refundry.journal.sqlite.rows import to_micros
from refundry.money import Money
from refundry.provider import OutcomeKind, Resend, ReviewReason, Scope
from refundry.refund import (
    Channel,
    Event,
    Failed,
    IllegalEvent,
    Inquired,
    NextStep,
    RaisedReview,
    Refund,
    Settled,
    Submitted,
    apply,
    fold,
)
from tests.core.audit.made import AT, life

operator = st.sampled_from([{}, {"by": "ada", "why": "the bank says so"}, {"by": "ada"}])
channels = st.sampled_from(list(Channel))
scopes = st.sampled_from([None, *Scope])
reasons = st.builds(
    RaisedReview,
    st.sampled_from([ReviewReason.ID_HORIZON, ReviewReason.RECONCILIATION_AMOUNT]),
    st.sampled_from(["look", "look again", "\ud800 half"]),
)
aliases = st.sampled_from([None, "merchant:ORDER-77", "half \ud800"])
reviews = st.lists(reasons, max_size=2).map(tuple)


@st.composite
def inquired(draw: Any) -> dict[str, Any]:
    """Return the fields of an event that ends nothing."""
    step = draw(st.sampled_from(NextStep))
    later = draw(st.integers(0, 100))
    return {
        "kind": Inquired, "channel": draw(channels), "outcome": draw(st.sampled_from(OutcomeKind)), "next_step": step,
        "next_at": None if step in ("manual_review", "done") else later, "scope": draw(scopes),
        "review": draw(reviews), "resend": draw(st.sampled_from(list(Resend))), "payment_alias": draw(aliases),
        **draw(operator),
    }  # fmt: skip


kinds = st.one_of(
    inquired(),
    st.fixed_dictionaries({"kind": st.just(Submitted), "digest": st.sampled_from(["d1", "d1", "d1", "d2"])}),
    st.builds(
        lambda **fields: {**fields.pop("operator"), "kind": Settled, **fields},
        channel=channels,
        operator=operator,
        against_evidence=st.booleans(),
        payment_alias=aliases,
    ),
    st.builds(
        lambda **fields: {**fields.pop("operator"), "kind": Failed, **fields},
        channel=channels,
        operator=operator,
        against_evidence=st.booleans(),
    ),
)


def event_of(refund: Refund, fields: dict[str, Any], at: datetime) -> Event:
    """Make an event that could follow."""
    fields = dict(fields)
    kind = fields.pop("kind")
    if kind is Submitted:
        return Submitted(at=at, attempt=refund.attempts + 1, sender="me", plugin="p", next_at=at, **fields)
    if kind is Settled:
        return Settled(at=at, amount=refund.amount, **fields)
    if kind is Failed:
        return Failed(at=at, code="c", cause="c", advice="a", **fields)
    due = fields.pop("next_at")
    return Inquired(at=at, next_at=None if due is None else at + timedelta(seconds=due), **fields)


def read(event: Event) -> Any:
    """Read the stored bytes as the audit does."""
    return stored_fields.read_any(event.topic, encode(event))


def indexed(refund: Refund) -> dict[str, Any]:
    """Return the columns of the real fold."""
    row = row_of(refund)
    due = None if row.due_at is None else to_micros(row.due_at)
    review = review_text((reason.code, reason.message, reason.since) for reason in row.review)
    return {
        "id": row.id, "version": row.version, "status": str(row.status), "review": review, "due_at": due,
        "blocks_account": row.blocks_account, "updated_at": to_micros(row.updated_at),
        "payment_alias": row.payment_alias, "corrects_total": row.corrects_total,
    }  # fmt: skip


def kept(state: LeanState, names: Any) -> dict[str, Any]:
    """Return the same columns of the lean fold."""
    closed = copy.copy(state)
    lean_state.close(closed)
    return {name: getattr(closed, name) for name in names}


begun = st.fixed_dictionaries(
    {"possible_sender": st.sampled_from([None, "me"]), "inquire_at": st.sampled_from([None, AT + timedelta(seconds=9)]),
     "corrects_total": st.booleans()}
)  # fmt: skip


@given(begun, st.lists(kinds, max_size=12))
def test_the_lean_fold_is_the_fold(request: dict[str, Any], steps: list[dict[str, Any]]) -> None:
    """After every legal event the index row is the same; an illegal one is a violation."""
    first = attrs.evolve(life(1).events[0], **request)
    refund = fold("r", [first])
    state = lean_state.begin("r", read(first))
    assert indexed(refund) == kept(state, indexed(refund))
    for number, fields in enumerate(steps, 1):
        event = event_of(refund, fields, AT + timedelta(seconds=number))
        before = copy.copy(state)
        violation = lean_state.step[event.topic](state, read(event))
        try:
            refund = apply(refund, event)
        except IllegalEvent:
            assert violation is not None
            state = before
            continue
        state.version = refund.version

        assert violation is None or violation[0] in ("I4", "I5")
        assert indexed(refund) == kept(state, indexed(refund))


def test_an_answer_needs_an_attempt() -> None:
    """A reply without an attempt is a violation, and so is a skipped attempt."""
    events = life(1).events
    state = lean_state.begin("r", read(events[0]))
    reply = lean_state.step["inquired"](state, read(events[2]))
    skipped = Submitted(at=AT, attempt=3, digest="d", sender="me", plugin="p", next_at=AT)
    later = lean_state.step["submitted"](lean_state.begin("r", read(events[0])), read(skipped))

    assert reply == ("I4", "an answer is recorded, but no attempt")
    assert later == ("I4", "attempt 3 follows attempt 0")


def test_what_settles_is_what_was_requested() -> None:
    """Settling another amount or currency than was requested is a violation."""
    first = life(1).events[0]
    for wrong in (Money(1234, "EUR", 2), Money(1233, "USD", 2), Money(1233, "EUR", 3)):
        state = lean_state.begin("r", read(first))
        violation = lean_state.step["settled"](state, read(Settled(at=AT, channel=Channel.INQUIRY, amount=wrong)))

        assert violation is not None
        assert violation[0] == "I7"


def test_what_is_no_event_is_not_read() -> None:
    """Other topics, other fields' types and no JSON are nothing."""
    found = [
        stored_fields.read_any(*each)
        for each in (("paid", b"{}"), ("failed", b"{}"), ("failed", b"\xff"), ("failed", b"["))
    ]

    assert [None] * 4 == found
