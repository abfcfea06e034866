"""The language check: it finds what it is meant to find, and nothing in the project breaks its rules."""

from pathlib import Path
from typing import Final

import pytest

from tests.core.language import Exemption, check_files, check_python, project_files, read_rules

ROOT: Final = Path(__file__).parents[2]
RULES: Final = read_rules()


def _found(source: str, path: str = "core/refundry/example.py") -> list[str]:
    return [finding.text for finding in check_python(path, source, RULES)]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("# a person decides\n", "person"),
        ('raise ValueError("somebody else has it")\n', "somebody"),
        ('"""The provider was\ntold."""\n', "told"),
        ('x = f"waits for {1} persons"\n', "persons"),
        ("def hear(): pass\n", "hear"),
        ("lastHeard = 1\n", "lastHeard"),
        ("x = 1  # the key stands in the file\n", "stands"),
        ("# it is no secret\n", "is no secret"),
    ],
)
def test_a_planted_phrase_is_found(source: str, text: str) -> None:
    """A replaced term is found in comments, messages, docstrings, f-strings and names."""
    assert text in _found(source)


@pytest.mark.parametrize(
    "text", ["there is no refund", "it is no longer due", "personal data", "besides", "an understanding"]
)
def test_plain_english_passes(text: str) -> None:
    """What only resembles a replaced term passes."""
    assert [] == _found(f"# {text}\n")


def test_a_docstring_begins_with_a_verb() -> None:
    """A function whose docstring begins with another word is found; a property and a test are not."""
    function = 'def amount() -> int:\n    """The amount."""\n'
    method = 'class A:\n    @property\n    def amount(self) -> int:\n        """The amount."""\n'

    assert ["amount: The"] == _found(function)
    assert [] == _found(method)
    assert [] == _found(function, "tests/core/test_example.py")
    assert ["amount: Give"] == _found(function.replace("The", "Give the"), "tests/core/test_example.py")
    assert [] == _found('def amount() -> int:\n    """Return the amount."""\n')


def test_an_exemption_covers_its_place_only(tmp_path: Path) -> None:
    """An exempted finding passes in its file alone, and an exemption that covers nothing is reported."""
    (tmp_path / "docs").mkdir()
    for name in ("a.md", "b.md"):
        (tmp_path / "docs" / name).write_text("The books.\n", encoding="utf-8")
    used, unused = Exemption("docs/a.md", "books", "quoted"), Exemption("docs/a.md", "anew", "quoted")
    rules = RULES.__class__(RULES.phrases, RULES.names, RULES.verbs, [used, unused])

    lines = check_files(tmp_path, ["docs/a.md", "docs/b.md"], rules)

    assert 2 == len(lines)
    assert lines[0].startswith("docs/b.md:1: 'books'")
    assert "'anew' covers nothing" in lines[1]


def test_every_exemption_has_a_reason() -> None:
    """No exemption is without a reason of some words."""
    assert [] == [each for each in RULES.exemptions if len(each.reason.split()) < 3]


@pytest.mark.slow(seconds=5)
def test_the_project_keeps_its_language() -> None:
    """No file of the project breaks the rules, and no exemption is left over."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone")

    assert [] == check_files(ROOT, project_files(ROOT), RULES)
