"""The codes of the audit: each is documented, and each has a meaning for the result."""

import re
from enum import StrEnum
from pathlib import Path

import pytest

from refundry.audit.replay.findings import ReplayKind, Significance, significance
from refundry.audit.verification.findings import Finding, FindingKind, Limit, LimitCode

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "audit.md"
_ROW = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)


def documented(head: str, end: str) -> list[str]:
    """Return the codes in the tables of a part of the page."""
    text = PAGE.read_text("utf-8")
    return _ROW.findall(text[text.index(head) : text.index(end, text.index(head) + 1)])


@pytest.mark.parametrize(
    ("codes", "head", "end"),
    [
        (FindingKind, "| kind | what is wrong |", "| limit |"),
        (LimitCode, "| limit | what could not be excluded |", "\n## "),
        (ReplayKind, "| kind | what differs |", "\n## "),
    ],
)
def test_every_code_is_documented_in_its_table(codes: type[StrEnum], head: str, end: str) -> None:
    """A new code needs a row in the guide, in the order of the code, and a row without a code is refused."""
    assert list(codes) == documented(head, end)


def test_every_kind_of_replay_has_a_significance() -> None:
    """Wordings and what could not be read are never differences."""
    meanings = {kind: significance(kind) for kind in ReplayKind}

    assert [ReplayKind.WORDING] == [kind for kind, meaning in meanings.items() if meaning is Significance.WORDING]
    assert {"erased", "account", "sender"} == {k for k, meaning in meanings.items() if meaning is Significance.UNREAD}


def test_codes_are_plain_text_in_json() -> None:
    """A program reads the value of a code, never its name in Python."""
    assert "event" == Finding(FindingKind.EVENT, "log", "text").as_json()["kind"]
    assert "partial" == Limit(LimitCode.PARTIAL, "text").as_json()["code"]
