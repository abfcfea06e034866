"""The reference pages name what there is: every key, command, event, field and term, and nothing else."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

import attrs
import pytest

from refundry.config.accounts import _TERMS
from refundry.provider import (
    CodeClass,
    NotificationHandler,
    NotSent,
    Outcome,
    Provider,
    ProviderPlugin,
    ReviewReason,
    Terms,
)
from refundry.refund import EVENTS, Event, Status, fold, policy
from refundry.testing.simulator.faults import FAULTS
from refundry.views import refund_as_json
from refundry_antom.provider import PLUGIN, AntomSettings
from tests.core.api_doc import api_page
from tests.core.cli_doc import REFUND, cli_page
from tests.core.journal.samples import requested

DOCS: Final = Path(__file__).parents[2] / "docs"


def table(page: str, title: str) -> Mapping[str, list[str]]:
    """Return the rows of the table below a heading, by the name in their first cell."""
    text = (DOCS / page).read_text(encoding="utf-8")
    section = text.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
    rows = (line.strip("| ").split(" | ") for line in section.splitlines() if re.match(r"\| \**`", line))
    return {re.sub(r"\(.*", "", row[0].strip("*`")): row for row in rows}


def written(value: Any) -> str:
    """Write a default as the page of the interface does."""
    if isinstance(value, tuple | frozenset):
        parts = [str(item) for item in value]
        return ", ".join(sorted(parts) if isinstance(value, frozenset) else parts)
    return str(value)


def test_cli() -> None:
    """The page of the command line is the one that the commands give."""
    assert cli_page() == (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")


def test_api() -> None:
    """The page of the Python API is the one that the docstrings produce; `python -m tests.pages` writes it again."""
    assert api_page() == (DOCS / "reference" / "api.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_events(kind: type[Event]) -> None:
    """Every field of every event is there, in its order, bold if it has no default."""
    fields = [
        f"**`{field.name}`**" if field.default is attrs.NOTHING else f"`{field.name}`" for field in attrs.fields(kind)
    ]

    assert fields == [row[0] for row in table("reference/events.md", kind.__name__).values()]


def test_terms() -> None:
    """Every term is there with its default."""
    rows = table("reference/provider.md", "Terms")

    assert {field.name: written(field.default) for field in attrs.fields(Terms)} == {
        name: row[1].strip("`") for name, row in rows.items()
    }


def test_provider() -> None:
    """Every member of a provider, everything it registers and every outcome is there."""
    members = {name for kind in (Provider, NotificationHandler) for name in vars(kind) if not name.startswith("_")}

    assert members == set(table("reference/provider.md", "A provider"))
    assert {field.name for field in attrs.fields(ProviderPlugin)} == set(table("reference/provider.md", "Registering"))
    assert {kind.__name__ for kind in (*get_args(Outcome), NotSent)} == set(
        table("reference/provider.md", "What an outcome leads to")
    )


def test_glossary() -> None:
    """The glossary has every status, outcome, next step, code class and fault, and the plugin interface."""
    text = (DOCS / "reference" / "glossary.md").read_text(encoding="utf-8")
    named = {
        *(str(status) for status in Status),
        *(kind.kind for kind in (*get_args(Outcome), NotSent)),
        *(step.name for step in get_args(policy.Step)),
        *(str(kind) for kind in CodeClass),
        *FAULTS,
        "RefundInstruction", "ProviderCall", "VerifiedNotification", "NotificationHandler", "Acknowledgement", "Terms",
    }  # fmt: skip

    assert [] == sorted(name for name in named if not re.search(rf"\b{name}\b", text))


def test_review_reasons() -> None:
    """The page about reviews explains every review reason, in the order of the code."""
    text = (DOCS / "howto" / "reviews.md").read_text(encoding="utf-8")

    assert sorted(ReviewReason) == sorted(re.findall(r"^\| `([A-Z_]+)` \|", text, re.MULTILINE))


def test_json_of_a_refund() -> None:
    """The page of the command line lists exactly the keys that a refund has as JSON; `show` adds its readings."""
    refund = fold("0" * 32, [requested()])

    assert [*refund_as_json(refund, [], None), "readings", "wording"] == [key for key, _, _ in REFUND]


def test_overridable_terms() -> None:
    """The page names exactly the terms that an account may override, with the defaults of Antom."""
    defaults = {
        name: _as_toml(getattr(PLUGIN.terms, name)) for name in _TERMS
    }  # fmt: skip

    assert defaults == {name: row[2].strip("`") for name, row in table("reference/configuration.md", "Terms").items()}


def test_antom_settings() -> None:
    """The page names exactly the settings of an account at Antom, with their defaults."""
    required = {"private_key"}
    expected = {
        field.name: "required" if field.default is attrs.NOTHING or field.name in required else _as_toml(field.default)
        for field in attrs.fields(AntomSettings)
    }
    rows = table("reference/configuration.md", "Accounts at Antom")

    assert "Secret" in str(get_type_hints(AntomSettings)["private_key"])  # a secret has no default that could be used
    assert expected == {name: row[2].strip("`") for name, row in rows.items()}


def _as_toml(value: Any) -> str:
    if value is None:
        return "not set"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_as_toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def links() -> Iterator[tuple[Path, str]]:
    """Yield every link from one page to another file."""
    for page in sorted([*DOCS.rglob("*.md"), *DOCS.parent.glob("*.md")]):
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                yield page, target


def test_links() -> None:
    """Every link leads to a file that is there, and to a heading that is in it."""
    missing = []
    for page, target in links():
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and anchor not in _anchors(path)):
            missing.append(f"{page.relative_to(DOCS.parent)}: {target}")

    assert [] == missing


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_tests_that_are_named() -> None:
    """Every test that a page names exists."""
    root = DOCS.parent
    named = {
        match
        for page in DOCS.rglob("*.md")
        for match in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page.read_text(encoding="utf-8"))
    }

    assert named
    assert [] == [
        f"{path}::{name}"
        for path, name in sorted(named)
        if not (root / path).exists() or (name and f"def {name}(" not in (root / path).read_text(encoding="utf-8"))
    ]
