"""The codec of the log."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
from eventsourcing.utils import resolve_topic
from hypothesis import given
from hypothesis import strategies as st

from refundry.errors import StoreError
from refundry.journal.codec import (
    ERASED,
    ERASED_DETAILS,
    PRIVATE,
    UNNAMED,
    decode,
    encode,
    encode_apart,
    private_digest,
)
from refundry.money import Money
from refundry.provider import OutcomeKind, Quote, Resend, ReviewReason
from refundry.refund import (
    EVENTS,
    Channel,
    Event,
    Failed,
    Inquired,
    NextStep,
    RaisedReview,
    Requested,
    Settled,
    Submitted,
)
from tests.core.field_values import any_instance


@pytest.mark.parametrize("kind", EVENTS)
@given(data=st.data())
def test_every_event_comes_back_as_it_was(kind: type[Event], data: st.DataObject) -> None:
    """Decoding what was encoded gives an equal event, whatever its fields hold."""
    event: Event = data.draw(any_instance(kind))

    assert event == decode(kind.topic, encode(event), 1)


MINIMAL = Failed(at=datetime(2026, 1, 2, tzinfo=UTC), channel=Channel.REPLY, code="C", cause="Because.", advice="Do.")
OLD: list[tuple[Event, bytes]] = [
    (
        Requested(
            at=datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
            account="shop",
            provider="antom",
            payment="P1",
            amount=Money(1233, "EUR", 2),
            refund_request_id="R1",
            by="api",
            payment_total=Money(10000, "EUR", 2),
        ),
        b'{"at":"2026-01-02T03:04:05.678901Z","account":"shop","provider":"antom","payment":"P1",'
        b'"amount":{"minor":1233,"currency":"EUR","exponent":2},"refund_request_id":"R1","by":"api",'
        b'"payment_total":{"minor":10000,"currency":"EUR","exponent":2}}',
    ),
    (
        Submitted(
            at=datetime(2026, 1, 2, tzinfo=UTC),
            attempt=2,
            digest="ab",
            sender="me",
            plugin="antom 1",
            next_at=datetime(2026, 1, 3, tzinfo=UTC),
        ),
        b'{"at":"2026-01-02T00:00:00Z","attempt":2,"digest":"ab","sender":"me","plugin":"antom 1",'
        b'"next_at":"2026-01-03T00:00:00Z"}',
    ),
    (
        Inquired(
            at=datetime(2026, 1, 2, tzinfo=UTC),
            channel=Channel.INQUIRY,
            outcome=OutcomeKind.UNKNOWN,
            next_step=NextStep.INQUIRE,
            resend=Resend.SAME,
            review=(RaisedReview(ReviewReason.ID_HORIZON, "look"),),
        ),
        b'{"at":"2026-01-02T00:00:00Z","channel":"inquiry","outcome":"unknown","next_step":"inquire","resend":"same",'
        b'"review":[{"code":"ID_HORIZON","message":"look"}]}',
    ),
    (
        Settled(
            at=datetime(2026, 1, 2, tzinfo=UTC),
            channel=Channel.NOTIFICATION,
            amount=Money(5, "JPY", 0),
            quote=Quote("EUR/JPY", "160.1"),
            details={"é": [1, None, 10**20]},
        ),
        b'{"at":"2026-01-02T00:00:00Z","channel":"notification","amount":{"minor":5,"currency":"JPY","exponent":0},'
        b'"quote":{"pair":"EUR/JPY","price":"160.1"},"details":{"\xc3\xa9":[1,null,100000000000000000000]}}',
    ),
    (
        MINIMAL,
        b'{"at":"2026-01-02T00:00:00Z","channel":"reply","code":"C","cause":"Because.","advice":"Do."}',
    ),
]


@pytest.mark.parametrize(("event", "state"), OLD)
def test_old_bytes_are_read_and_written_for_ever(event: Event, state: bytes) -> None:
    """The bytes of the first release mean what they meant, and the same event still gives the same bytes."""
    assert event == decode(event.topic, state, 1)
    assert state == encode(event)


def test_topics_are_short_registered_and_no_two_alike() -> None:
    """Each event's topic is its own short name and leads the library to its class."""
    assert ["requested", "submitted", "inquired", "settled", "failed"] == [kind.topic for kind in EVENTS]
    assert list(EVENTS) == [resolve_topic(kind.topic) for kind in EVENTS]


def test_times_are_written_in_utc() -> None:
    """A time in another zone is the same moment in the log, in UTC."""
    east = datetime(2026, 1, 2, 8, tzinfo=timezone(timedelta(hours=8)))

    assert attrs.evolve(MINIMAL, at=datetime(2026, 1, 2, tzinfo=UTC)) == decode(
        "failed", encode(attrs.evolve(MINIMAL, at=east)), 1
    )


def test_a_time_without_a_zone_is_refused() -> None:
    """A time without an offset is ambiguous."""
    with pytest.raises(ValueError, match="zone"):
        encode(attrs.evolve(MINIMAL, at=datetime(2026, 1, 2)))  # noqa: DTZ001 (what is refused)


@pytest.mark.parametrize(
    ("topic", "state"),
    [
        ("refunded", b"{}"),
        ("failed", b""),
        ("failed", b"[]"),
        ("failed", b"\xff"),
        ("failed", b'{"at":"2026-01-02T00:00:00Z","channel":"reply","code":"C","cause":"Because."}'),
        ("failed", OLD[4][1][:-1] + b',"extra":1}'),
        ("failed", OLD[4][1][:-1] + b',"why":"\\ud800","extra":1}'),
        ("failed", OLD[4][1].replace(b'"C"', b"1")),
        ("failed", OLD[4][1].replace(b"reply", b"rumour")),
        ("failed", OLD[4][1].replace(b"00Z", b"00")),
        ("failed", OLD[4][1].replace(b"00Z", b"00+08:00")),
        ("settled", OLD[3][1].replace(b'"minor":5', b'"minor":5.0')),
        ("settled", OLD[3][1].replace(b'"minor":5', b'"minor":true')),
        ("settled", OLD[3][1].replace(b'"minor":5', b'"minor":5,"major":0')),
        ("settled", OLD[3][1].replace(b',"exponent":0', b"")),
    ],
)
def test_what_was_not_written_by_us_is_an_error_that_names_its_place(topic: str, state: bytes) -> None:
    """Unknown topics, unknown, missing and mistyped fields are never skipped: the error gives topic and position."""
    with pytest.raises(StoreError, match=f"^store: .*position 77.*{topic}"):
        decode(topic, state, 77)


# --- personal text ----------------------------------------------------------------------------------------------------

DOCS = Path(__file__).parents[3] / "docs"
ASKED: Event = attrs.evolve(cast(Any, OLD[0][0]), by="Ada", reason="too small", details={"note": "left at the door"})
SALT = bytes(range(16))


def salt(count: int) -> bytes:
    """Return the same bytes every time."""
    assert count == len(SALT)
    return SALT


@pytest.mark.parametrize("kind", EVENTS)
@given(data=st.data())
def test_personal_text_is_stored_apart_and_restored(kind: type[Event], data: st.DataObject) -> None:
    """The two parts make the whole event again, the digest leads from one to the other, and what is left is not it."""
    event: Event = data.draw(any_instance(kind))
    state, private = encode_apart(event, salt)
    digest = private_digest(state)

    assert (None if private is None else hashlib.sha256(private).digest()) == digest
    assert event == decode(kind.topic, state, 1, private)
    stored = set(json.loads(state))
    for name in PRIVATE.get(kind.topic, ()):
        value = getattr(event, name)
        assert (value is not None and not (name == "by" and value in UNNAMED)) == (name not in stored) or value is None


@pytest.mark.parametrize("kind", EVENTS)
@given(data=st.data())
def test_an_erased_text_reads_as_erased_and_nothing_else_changes(kind: type[Event], data: st.DataObject) -> None:
    """Without its private part an event has a mark for each personal text, and is otherwise the same."""
    event: Event = data.draw(any_instance(kind))
    state, _ = encode_apart(event, salt)
    marks: dict[str, Any] = {
        name: ERASED_DETAILS if name == "details" else ERASED
        for name in PRIVATE.get(kind.topic, ())
        if getattr(event, name) is not None and not (name == "by" and getattr(event, name) in UNNAMED)
    }

    assert attrs.evolve(cast(Any, event), **marks) == decode(kind.topic, state, 1)


def test_two_equal_texts_have_different_digests() -> None:
    """The salt keeps readers of the log from guessing a short text, or that two texts are equal."""
    salts = iter([b"a" * 16, b"b" * 16])
    states = [encode_apart(ASKED, lambda count: next(salts))[0] for _ in range(2)]

    assert private_digest(states[0]) != private_digest(states[1])


def test_an_event_without_personal_text_has_no_private_part() -> None:
    """Text from the engine and the providers stays in the event."""
    for event, state in OLD[1:]:
        assert (state, None) == encode_apart(event, salt)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"private":"', b'"private":"z'),
        (b'"apart":["by","reason","details"]', b'"apart":["by"]'),
        (b'"apart":["by","reason","details"]', b'"apart":["by","reason","amount"]'),
        (b'"apart":["by","reason","details"]', b'"apart":[]'),
        (b'"apart":["by","reason","details"],', b""),
    ],
)
def test_a_private_part_that_does_not_fit_is_an_error(old: bytes, new: bytes) -> None:
    """A state that was changed, with or without its private part, is never read as something else."""
    state, private = encode_apart(ASKED, salt)

    assert old in state
    with pytest.raises(StoreError, match=r"^store: .*position 77.*requested"):
        decode("requested", state.replace(old, new), 77, private)


def test_another_private_part_is_an_error() -> None:
    """The private part read with an event is the one that its digest names."""
    state, private = encode_apart(ASKED, salt)
    assert private is not None

    with pytest.raises(StoreError, match="changed"):
        decode("requested", state, 77, private.replace(b"Ada", b"Eve"))


def test_the_documents_list_every_private_field() -> None:
    """docs/explanation/privacy.md has the table `PRIVATE`."""
    privacy = (DOCS / "explanation" / "privacy.md").read_text("utf-8")

    for kind in EVENTS:
        fields = ", ".join(f"`{name}`" for name in PRIVATE.get(kind.topic, ())) or "none"
        assert f"| `{kind.__name__}` | {fields} |" in privacy
