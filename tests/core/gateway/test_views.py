"""What is shown: everything that is there, and nothing that moves a terminal."""

import json
import unicodedata
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refundry import formatting, views
from refundry.journal import Recorded
from refundry.money import Money
from refundry.provider import OutcomeKind, Quote
from refundry.refund import Channel, Inquired, NextStep, Settled

AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def is_harmless(text: str) -> bool:
    """Return whether no character steers a terminal, breaks a line or turns the reading direction."""
    turning = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    marks = "\u061c\u200e\u200f"
    return not any(
        unicodedata.category(mark) in ("Cc", "Zl", "Zp") or unicodedata.bidirectional(mark) in turning or mark in marks
        for mark in text
    )


@given(st.text())
def test_plain_text_is_harmless(text: str) -> None:
    """Nothing that could move the cursor or turn the reading direction is left; the rest stays as it is."""
    shown = formatting.plain(text)

    assert is_harmless(shown)
    assert len(text) == len(shown)
    assert all(after in (before, "\ufffd") for before, after in zip(text, shown, strict=True))


@given(_JSON)
def test_a_line_of_json_is_harmless_and_whole(value: object) -> None:
    """One line, nothing in it that steers a terminal, and a program reads back exactly what was given."""
    line = formatting.json_line(value)

    assert is_harmless(line)
    assert value == json.loads(line)


@given(st.text(st.characters(codec="utf-8")))
def test_an_event_in_words_is_one_harmless_line(text: str) -> None:
    """Whatever a provider wrote, an event is one line."""
    event = Inquired(at=AT, channel=Channel.REPLY, outcome=OutcomeKind.UNKNOWN, next_step=NextStep.INQUIRE, cause=text)

    assert is_harmless(views.event_in_words(views.event_as_json(Recorded(1, "id", 1, event))))


def test_an_event_is_shown_without_what_it_does_not_have() -> None:
    """An event shows its position, its name and every field that it has."""
    event = Settled(at=AT, channel=Channel.REPLY, amount=Money(1233, "EUR", 2), evidence="ab")
    shown = views.event_as_json(Recorded(7, "id", 3, event))

    assert {
        "position": 7,
        "version": 3,
        "event": "Settled",
        "at": "2026-11-22T09:30:00Z",
        "channel": "reply",
        "amount": {"value": "12.33", "currency": "EUR"},
        "evidence": "ab",
    } == shown
    assert json.loads(formatting.json_line(shown)) == shown


@pytest.mark.parametrize(
    ("details", "shown"),
    [
        ({"nested": {"a": [1, None, True]}}, '{"nested": {"a": [1, null, true]}}'),
        ({"currency": "EUR"}, '{"currency": "EUR"}'),
        ({"value": "1.00", "currency": "EUR"}, "1.00 EUR"),
        ({"said": "\x1b[2J"}, '{"said": "\\u001b[2J"}'),
    ],
)
def test_details_are_json_in_words_too(details: dict[str, object], shown: str) -> None:
    """What is nested is shown as JSON, and an amount as an amount."""
    event = Settled(at=AT, channel=Channel.REPLY, amount=Money(1233, "EUR", 2), details=details)
    words = views.event_in_words(views.event_as_json(Recorded(1, "id", 1, event)))

    assert f"channel=reply amount=12.33 EUR details={shown}" == words


def test_a_quote_is_json_in_words() -> None:
    """The fields of a quote are shown by their names."""
    event = Settled(at=AT, channel=Channel.REPLY, amount=Money(1233, "EUR", 2), quote=Quote("EUR/USD", "1.1"))
    words = views.event_in_words(views.event_as_json(Recorded(1, "id", 1, event)))

    assert json.loads(words.split("quote=")[1])["pair"] == "EUR/USD"


@given(st.binary())
def test_kept_bytes_are_harmless_on_a_terminal(content: bytes) -> None:
    """Whatever came over the network, only its line breaks reach the terminal as they are."""
    assert is_harmless(formatting.kept(content).replace("\n", ""))


def test_kept_text_is_shown_as_it_is() -> None:
    """What is readable stays readable; the rest is escaped and not lost."""
    assert 'HTTP/1.1 200 OK\\u000d\n\n{"x": "é\\xff"}' == formatting.kept(b'HTTP/1.1 200 OK\r\n\n{"x": "\xc3\xa9\xff"}')


@pytest.mark.parametrize(
    ("at", "shown"),
    [
        (AT, "2026-11-22T09:30:00Z"),
        (AT.replace(microsecond=5), "2026-11-22T09:30:00.000005Z"),
        (AT.astimezone(timezone(timedelta(hours=8))), "2026-11-22T09:30:00Z"),
    ],
)
def test_a_moment_is_shown_in_utc(at: datetime, shown: str) -> None:
    """Every moment is in UTC and can be compared as text."""
    assert shown == formatting.moment(at)
