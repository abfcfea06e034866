"""The decision records have one form, and their index lists them all."""

import re
from pathlib import Path
from typing import Final

import pytest

RECORDS: Final = Path(__file__).parents[2] / "docs" / "explanation" / "decisions"
PAGES: Final = sorted(RECORDS.glob("[0-9]*.md"))
HEAD: Final = re.compile(
    r"# (?P<number>\d{4}): (?P<title>.+)\n\n- Date: (?P<date>20\d\d-\d\d-\d\d)\n- Status: (?P<status>.+)\n"
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem[:4])
def test_a_record_has_the_form(page: Path) -> None:
    """A record has its number, a title, a date and a status, then context, decision and consequences."""
    text = page.read_text(encoding="utf-8")
    head = HEAD.match(text)

    assert head is not None
    assert page.name.startswith(f"{head['number']}-")
    assert re.fullmatch(r"accepted|rejected|superseded by \[\d{4}\]\(.+\.md\)", head["status"])
    assert ["Context", "Decision", "Consequences"] == re.findall(r"^## (.+)$", text, re.MULTILINE)


def test_the_numbers_have_no_gap() -> None:
    """Records are numbered from 0001 on, each number once."""
    assert [f"{number:04d}" for number in range(1, len(PAGES) + 1)] == [page.name[:4] for page in PAGES]


def test_the_index_lists_every_record() -> None:
    """The index has a row for each record with its title, date and status."""
    heads = [(page, HEAD.match(page.read_text(encoding="utf-8"))) for page in PAGES]
    rows = [
        f"| [{head['number']}: {head['title']}]({page.name}) | {head['date']} | {head['status']} |"
        for page, head in heads
        if head is not None
    ]
    index = (RECORDS / "index.md").read_text(encoding="utf-8")

    assert rows == [line for line in index.splitlines() if line.startswith("| [")]
