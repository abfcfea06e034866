"""Check a built site: it loads nothing from elsewhere, every link resolves, every page is reachable and searchable.

    python docs/check_site.py build/docs

Prints one line per finding and exits with 1 if there is any.
"""

import json
import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data", "embed": "src"}
"""Elements that make a browser fetch something, and the attribute that names it; `link` is another."""
CSS_LOADS = re.compile(r"url\(\s*['\"]?((?:https?:)?//[^)'\"]+)|@import\s+['\"]((?:https?:)?//[^'\"]+)")
NOT_PAGES = {"genindex", "py-modindex", "search"}


class Page(HTMLParser):
    """What one HTML page loads, links to, and can be linked at."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note what the element loads, links to or names."""
        values = {name: value or "" for name, value in attributes}
        if values.get("id"):
            self.anchors.add(values["id"])
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag == "link" and {"stylesheet", "icon", "preload"} & set(values.get("rel", "").split()):
            self.loads.append(values["href"])
        elif values.get(LOADS.get(tag, "")):
            self.loads.append(values[LOADS[tag]])


def _is_external(target: str) -> bool:
    parts = urlsplit(target)
    return bool(parts.scheme or parts.netloc)


def _external_loads(site: Path, pages: dict[Path, Page]) -> Iterator[str]:
    for page in pages.values():
        for target in page.loads:
            if _is_external(target) and not target.startswith("data:"):
                yield f"{page.path.relative_to(site)}: loads {target}"
    for sheet in sorted(site.rglob("*.css")):
        for first, second in CSS_LOADS.findall(sheet.read_text(encoding="utf-8")):
            yield f"{sheet.relative_to(site)}: loads {first or second}"


def _broken_links(site: Path, pages: dict[Path, Page]) -> Iterator[str]:
    for page in pages.values():
        for target in page.links + page.loads:
            if _is_external(target):
                continue
            parts = urlsplit(target)
            path = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
            known = pages[path].anchors | {""} if path in pages else {"", parts.fragment}
            if not path.exists() or unquote(parts.fragment) not in known:
                yield f"{page.path.relative_to(site)}: broken link {target}"


def _unreachable(site: Path, pages: dict[Path, Page]) -> Iterator[str]:
    queue = [site / "index.html"]
    reached = set(queue)
    for path in queue:
        for target in pages[path].links:
            if not _is_external(target) and urlsplit(target).path:
                linked = (path.parent / unquote(urlsplit(target).path)).resolve()
                if linked in pages and linked not in reached:
                    reached.add(linked)
                    queue.append(linked)
    for path in sorted(set(pages) - reached):
        if path.stem not in NOT_PAGES:
            yield f"{path.relative_to(site)}: not reachable from the index"


def _not_searchable(site: Path, pages: dict[Path, Page]) -> Iterator[str]:
    text = (site / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(text[text.index("(") + 1 : text.rindex(")")])
    indexed = set(index["docnames"])
    for path in sorted(pages):
        name = path.relative_to(site).with_suffix("").as_posix()
        if name not in indexed and name not in NOT_PAGES:
            yield f"{name}: not in the search index"
    if not {"idempot", "refund"} <= set(index["terms"]):
        yield "searchindex.js: common words are missing"


def check(site: Path) -> list[str]:
    """Return one line for each thing that is wrong with the site."""
    site = site.resolve()
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    return [
        finding
        for rule in (_external_loads, _broken_links, _unreachable, _not_searchable)
        for finding in rule(site, pages)
    ]


if __name__ == "__main__":
    findings = check(Path(sys.argv[1]))
    print("\n".join(findings) or "OK: no findings")
    sys.exit(1 if findings else 0)
