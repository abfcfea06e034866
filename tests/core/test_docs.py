"""What README and docs show in Python is run: an example that does not work is a bug like any other."""

from pathlib import Path
from typing import Final

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

ROOT: Final = Path(__file__).parents[2]
ELSEWHERE: Final = {ROOT / "docs" / "howto" / "notifications.md"}
"""Run by `test_frameworks`: Django can be set up only once in a process."""
PAGES: Final = sorted(
    page
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    if page not in ELSEWHERE and page.exists() and "```python" in page.read_text(encoding="utf-8")
)
SYBIL: Final = Sybil(parsers=[PythonCodeBlockParser(), SkipParser()], encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_of_a_page_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All Python of one page runs from top to bottom, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for example in SYBIL.parse(page).examples():
        example.evaluate()
