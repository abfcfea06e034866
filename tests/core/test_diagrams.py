"""The pictures of the documentation are those that their generators draw."""

import re
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import pytest

from docs.diagrams.__main__ import IMAGES, PICTURES

DOCS: Final = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_what_its_generator_draws(name: str) -> None:
    """A committed picture equals the one drawn now; `python -m docs.diagrams` draws it again."""
    assert PICTURES[name]().svg() == (IMAGES / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_stands_alone(name: str) -> None:
    """A picture is well-formed, has a title and a description, and refers to nothing outside itself."""
    text = PICTURES[name]().svg()
    root = ElementTree.fromstring(text)
    namespace = "{http://www.w3.org/2000/svg}"

    assert root.find(f"{namespace}title") is not None
    assert root.find(f"{namespace}desc") is not None
    assert {"http://www.w3.org/2000/svg"} == set(re.findall(r"https?://[^\"']+", text))


def test_every_picture_is_shown() -> None:
    """Every picture is on some page, and every page shows pictures that exist."""
    shown = {
        Path(target).name
        for page in [DOCS.parent / "README.md", *DOCS.rglob("*.md")]
        for target in re.findall(r"!\[[^]]+\]\(([^)]+\.svg)\)", page.read_text(encoding="utf-8"))
    }

    assert set(PICTURES) == shown == {path.name for path in IMAGES.glob("*.svg")}
