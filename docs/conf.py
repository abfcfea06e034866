"""The documentation site: Sphinx, MyST and Furo, built offline with warnings as errors (`nox -s docs`).

The pages are plain Markdown that reads well without a build. Navigation has one source: the links on each `index.md`
become the tables of contents of the site, section by section.
"""

import re
from importlib import metadata
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

DOCS = Path(__file__).parent

project = "Refundry"
author = "The Refundry authors"
version = release = metadata.version("refundry")

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"
nitpicky = True

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

html_theme = "furo"
html_title = f"Refundry {release}"
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False

LINK = re.compile(r"\]\(([\w./-]+)\.md\)")


def _add_contents(_: Sphinx, page: str, source: list[str]) -> None:
    """Append to an index page, for each of its sections, a hidden table of the pages that the section links to."""
    if page.split("/")[-1] != "index":
        return
    seen: set[str] = set()
    for section in re.split(r"^## ", source[0], flags=re.MULTILINE)[1:]:
        title, _newline, text = section.partition("\n")
        pages = [target for target in dict.fromkeys(LINK.findall(text)) if target not in seen]
        seen |= set(pages)
        if pages:
            source[0] += "\n".join(["\n", ":::{toctree}", ":hidden:", f":caption: {title}", "", *pages, ":::", ""])


def setup(app: Sphinx) -> None:
    """Connect what is above to Sphinx."""
    app.connect("source-read", _add_contents)
    for language in ("csv", "mermaid"):  # shown as text: no lexer, and no renderer to be fetched from elsewhere
        app.add_lexer(language, TextLexer)
