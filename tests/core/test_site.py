"""The check of the documentation site finds what it is there to find."""

from pathlib import Path

import pytest

from docs.check_site import check

INDEX = '<a href="guide.html#start">Guide</a><script src="_static/search.js"></script>'
GUIDE = '<h1 id="start">Start</h1>'
SEARCH_INDEX = 'Search.setIndex({"docnames": ["index", "guide"], "terms": {"idempot": 0, "refund": 0}})'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A small site without a fault."""
    files = {
        "index.html": INDEX,
        "guide.html": GUIDE,
        "_static/search.js": "",
        "_static/site.css": "a { background: url(data:image/png;base64,AA) }",
        "searchindex.js": SEARCH_INDEX,
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_sound_site_has_no_findings(site: Path) -> None:
    """A site whose links resolve and that loads only its own files passes."""
    assert [] == check(site)


@pytest.mark.parametrize(
    ("file", "text", "finding"),
    [
        ("guide.html", GUIDE + '<script src="https://c.example/x.js"></script>', "guide.html: loads https://c.example/x.js"),
        ("guide.html", GUIDE + '<link rel="stylesheet" href="//c.test/x.css">', "guide.html: loads //c.test/x.css"),
        ("guide.html", GUIDE + '<img src="https://c.example/x.svg">', "guide.html: loads https://c.example/x.svg"),
        ("_static/site.css", "@import 'https://fonts.example/x.css';", "_static/site.css: loads https://fonts.example/x.css"),
        ("_static/site.css", "src: url(https://fonts.example/x.woff)", "_static/site.css: loads https://fonts.example/x.woff"),
        ("guide.html", "<h1>Start</h1>", "index.html: broken link guide.html#start"),
        ("guide.html", GUIDE + '<a href="gone.html">', "guide.html: broken link gone.html"),
        ("index.html", "<p>nothing</p>", "guide.html: not reachable from the index"),
        ("searchindex.js", SEARCH_INDEX.replace(', "guide"', ""), "guide: not in the search index"),
        ("searchindex.js", SEARCH_INDEX.replace("idempot", "other"), "searchindex.js: common words are missing"),
    ],
)  # fmt: skip
def test_a_fault_is_found(site: Path, file: str, text: str, finding: str) -> None:
    """Each fault of a site is reported, and nothing else is."""
    (site / file).write_text(text)

    assert [finding] == check(site)
