"""Reports are complete, harmless whatever a provider wrote, and never overwrite anything."""

import csv
import re
from datetime import timedelta
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refundry.audit.publication import report as reports
from refundry.audit.publication.export import Part
from refundry.audit.publication.report import report, safe_cell
from refundry.errors import Invalid, StoreError
from refundry.journal.stores import read_store
from refundry.provider import OutcomeKind, ReviewReason
from refundry.refund import Channel, Failed, Inquired, NextStep, RaisedReview, Requested
from tests.core.audit.made import AT, Life, Made, life, lives

FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
HOSTILE = '=HYPERLINK("http://evil")</td><script>alert(1)</script>\x1b[2J\u202e'


def hostile(number: int) -> Life:
    """Return a refund with hostile text in every field."""
    each = life(number)
    first, sent, pending, *rest = each.events
    assert isinstance(first, Requested)
    assert isinstance(pending, Inquired)
    nasty = attrs.evolve(
        pending, cause=HOSTILE, code="@SUM(1)", review=(RaisedReview(ReviewReason.WORKER_GAVE_UP, HOSTILE),)
    )
    first = attrs.evolve(first, reason=HOSTILE, by="-2+3", payment="+1", refund_request_id="<b>R</b>")
    return attrs.evolve(each, events=[first, sent, nasty, *rest[:1]])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "refunds.db"
    made = Made(path)
    made.write([*lives(4), hostile(8)])
    made.close()
    return path


def written(path: Path, name: str, part: Part = Part()) -> str:
    """Write a report and read it."""
    place = path.parent / name
    with read_store(path) as source:
        report(source, place, part)
    return place.read_text("utf-8")


class Page(HTMLParser):
    """Collects every tag and every attribute of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_a_decision_against_the_provider_is_listed(tmp_path: Path) -> None:
    """Both reports say who decided against what the provider reported, also after it was reviewed."""
    path = tmp_path / "refunds.db"
    each = life(1)
    by: dict[str, Any] = {"at": AT, "channel": Channel.OPERATOR, "by": "ann", "why": "the bank says so"}
    decided = Failed(code="OPERATOR", cause="c", advice="a", offline=True, against_evidence=True, **by)
    reviewed = Inquired(outcome=OutcomeKind.RESUMED, next_step=NextStep.DONE, **by)
    made = Made(path)
    made.write([attrs.evolve(each, events=[*each.events, decided, reviewed])])
    made.close()
    rows = list(csv.DictReader(written(path, "all.csv").splitlines()))

    assert [("", ""), ("True", "True"), ("", "")] == [(row["offline"], row["against_evidence"]) for row in rows[-3:]]
    assert "ann decided against what the provider reported" in written(path, "all.html")


# --- the table --------------------------------------------------------------------------------------------------------


def test_a_line_for_each_event(path: Path) -> None:
    """The table has every event, with the refund's own data on each line, and personal texts."""
    rows = list(csv.DictReader(written(path, "all.csv").splitlines()))

    assert 4 * 5 + 4 == len(rows)
    assert {"12.33"} == {row["amount"] for row in rows}
    assert {"too small"} == {row["reason"] for row in rows if row["by"] == "ada@example.com"}


def test_no_cell_is_a_formula(path: Path) -> None:
    """No cell begins like a formula or contains terminal control characters."""
    text = written(path, "all.csv")
    cells = [cell for row in csv.reader(text.splitlines()) for cell in row]

    assert [] == [cell for cell in cells if cell.startswith(FORMULA)]
    assert {"'+1", "'@SUM(1)", "'-2+3"} <= set(cells)
    assert not re.search("[\x00-\x09\x0b\x0c\x0e-\x1f\u202e]", text)


@given(st.text())
def test_a_cell_keeps_its_text(text: str) -> None:
    """A text gets nothing but apostrophes, and no part of it begins like a formula."""
    safe = safe_cell(text)

    assert text.replace("'", "") == safe.replace("'", "")
    assert not any(cell.strip(" \u3000").startswith(FORMULA) for cell in safe.split(";"))


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("=1+1", "'=1+1"),
        ("＝1+1", "'＝1+1"),
        (" =1", "' =1"),
        ("a;=1;-2", "a;'=1;'-2"),
        ("a=1; b-2", "a=1; b-2"),
        ("ann@shop.example", "ann@shop.example"),
    ],
)
def test_a_formula_is_recognized_wherever_a_spreadsheet_does(text: str, safe: str) -> None:
    """Full-width signs count, as do leading spaces and a semicolon, which separates columns in many countries."""
    assert safe == safe_cell(text)


# --- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_is_harmless(path: Path) -> None:
    """No text becomes markup; the page loads nothing, runs nothing, and forbids both."""
    text = written(path, "all.html")
    page = Page(text)
    names = {name for name, _ in page.attributes}

    assert {"script", "b", "img", "link", "iframe", "object", "a"}.isdisjoint(page.tags)
    assert {"src", "href", "style", "action"}.isdisjoint(names)
    assert [] == [name for name in names if name.startswith("on")]
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes
    assert "url(" not in text
    assert "@import" not in text
    assert "<b>R</b>: 12.33 EUR" in page.words
    assert not re.search("[\x1b\u202e]", text)


def test_the_page_has_a_timeline_of_each_refund(path: Path) -> None:
    """Each refund has a timeline, with a circle for each event."""
    page = Page(written(path, "all.html"))

    assert 5 == page.tags.count("svg")
    assert 4 * 5 + 4 == page.tags.count("circle")


@given(st.lists(st.floats(0, 1e9), min_size=1, max_size=30))
def test_events_are_drawn_apart(times: list[float]) -> None:
    """Two circles never overlap, however close in time, and they are in the order of the log."""
    places = reports._places(times)

    assert all(later - earlier > reports._GAP - 1e-6 for earlier, later in pairwise(places))


# --- both -------------------------------------------------------------------------------------------------------------


def test_parts(path: Path) -> None:
    """A report can be limited to an account, a payment, a refund or a time."""
    counts = []
    with read_store(path) as source:
        for number, part in enumerate(
            (
                Part(),
                Part(account="other"),
                Part(payment="+1"),
                Part(refund=life(1).id),
                Part(until=AT + timedelta(1e-9)),
            )
        ):
            counts.append(report(source, path.with_name(f"{number}.csv"), part))

    assert [5, 0, 1, 1, 1] == counts


def test_nothing_is_overwritten(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An existing file, an unknown suffix and too many refunds for a page are refused, and nothing is left behind."""
    path.with_name("there.csv").write_text("mine")
    before = sorted(path.parent.iterdir())
    monkeypatch.setattr(reports, "PAGE_REFUNDS", 2)
    for name, words in (
        ("there.csv", "already exists"),
        ("report.pdf", "must end with .csv or .html"),
        ("many.html", "at most 2 refunds"),
        ("no/where.csv", "cannot be created"),
    ):
        with pytest.raises(Invalid, match=words):
            written(path, name)
    monkeypatch.setattr("os.link", lambda name, place: (_ for _ in ()).throw(FileExistsError(17, "File exists")))
    with pytest.raises(StoreError, match="File exists; nothing was left behind"):
        written(path, "late.csv")

    assert before == sorted(path.parent.iterdir())
    assert "mine" == path.with_name("there.csv").read_text()
