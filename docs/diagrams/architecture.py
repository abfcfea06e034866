"""The packages of the core by layer, as import-linter enforces them, and what lies outside."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from docs.diagrams.svg import Drawing, text_width

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final[Mapping[str, str]] = {
    "cli": "the command line and the demo",
    "batch": "CSV import, reconciliation",
    "testing": "simulators, the plugin contract",
    "web": "notifications over HTTP",
    "gateway": "request, advance, inquire, notify; queries; workers; observers",
    "audit": "sign, verify, replay, publish, erase",
    "outbound": "signs and sends one call, reads the answer",
    "config": "refundry.toml, accounts, keys",
    "plugin_host": "hooks, loading, the template of a plugin",
    "views": "refunds and events as JSON and text",
    "journal": "events, evidence, index, Merkle tree; SQLite",
    "refund": "events, state, transitions, policy: every decision about money",
    "provider": "the plugin interface: instructions, calls, outcomes, terms",
    "formatting": "amounts, times and safe text",
    "money": "exact amounts",
    "batching": "many calls, one thread",
    "inputs": "names and texts from callers, checked; who decided and why",
    "currencies": "ISO 4217",
    "logs": "log messages with fields",
    "errors": "named by whose fault it was",
    "ports": "clock, randomness, IDs",
}
"""What each package or module of the core is responsible for, in a few words."""

_LEFT: Final = 28
_WIDTH: Final = 640
_TOP: Final = 64
_HEIGHT: Final = 46
_GAP: Final = 10
_SIDE: Final = 748
_SIDE_WIDTH: Final = 244


def layers() -> list[list[str]]:
    """Return the layers of the core, from the top, as pyproject.toml has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (rows,) = [contract["layers"] for contract in contracts if contract.get("containers") == ["refundry"]]
    return [[name.strip(" ()") for name in row.replace(":", "|").split("|")] for row in rows]


def pure() -> set[str]:
    """Return the packages and modules that do no I/O and have no clock, as pyproject.toml has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    names: set[str] = set()
    for contract in project["tool"]["importlinter"]["contracts"]:
        if "asyncio" in contract.get("forbidden_modules", ()):
            names |= {name.removeprefix("refundry.") for name in contract["source_modules"]}
    return {name for name in names if "." not in name}


def draw() -> Drawing:
    """Return the picture."""
    rows = layers()
    height = _TOP + len(rows) * (_HEIGHT + _GAP) + 40
    drawing = Drawing(
        _SIDE + _SIDE_WIDTH + _LEFT,
        height,
        "The packages of refundry by layer",
        "Each row is a layer; a package imports only from the rows below it. "
        + "; ".join(", ".join(f"{name} ({PACKAGES[name]})" for name in row) for row in rows)
        + ".",
    )
    drawing.text(_LEFT, 36, "refundry", "title")
    drawing.text(_LEFT + 84, 36, "a package imports only from the rows below it", "soft")
    middles: dict[str, float] = {}
    clean = pure()
    for number, row in enumerate(rows):
        y = _TOP + number * (_HEIGHT + _GAP)
        width = (_WIDTH - _GAP * (len(row) - 1)) / len(row)
        for place, name in enumerate(row):
            x = _LEFT + place * (width + _GAP)
            _package(drawing, x, y, width, name, "good" if name in clean else "box")
            middles[name] = y + _HEIGHT / 2
    _outside(drawing, middles)
    _legend(drawing, height - 22)
    return drawing


def _package(drawing: Drawing, x: float, y: float, width: float, name: str, kind: str) -> None:
    drawing.box(x, y, width, _HEIGHT, kind)
    if text_width(name, 13, bold=True) + text_width(PACKAGES[name], 12) + 44 < width:
        drawing.text(x + 14, y + 28, name, "name")
        drawing.text(x + 26 + text_width(name, 13, bold=True), y + 28, PACKAGES[name], "small")
    else:
        drawing.text(x + 12, y + 20, name, "name")
        drawing.text(x + 12, y + 37, PACKAGES[name], "small")


def _outside(drawing: Drawing, middles: Mapping[str, float]) -> None:
    """Add what the packages talk to, next to the one that does."""
    right = _LEFT + _WIDTH
    outside = (
        ("cli", "operators, scripts", "accent", "from"),
        ("web", "providers' notifications", "accent", "from"),
        ("gateway", "your platform", "accent", "from"),
        ("audit", "signing key, anchors, witnesses", "line", "to"),
        ("outbound", "providers over HTTPS", "line", "to"),
        ("plugin_host", "installed plugins", "line", "to"),
        ("journal", "one SQLite file", "line", "to"),
        ("provider", "provider plugins", "accent", "from"),
    )
    for name, text, kind, direction in outside:
        y = middles[name]
        drawing.box(_SIDE, y - 15, _SIDE_WIDTH, 30, "mark")
        drawing.text(_SIDE + 8, y + 5, text, "soft" if direction == "to" else "")
        ends = [(right + 4, y), (_SIDE, y)]
        drawing.line(ends if direction == "to" else ends[::-1], kind, arrow=True)


def _legend(drawing: Drawing, y: float) -> None:
    drawing.box(_LEFT, y - 12, 16, 14, "good", radius=3)
    drawing.text(_LEFT + 24, y, "pure: no I/O, no clock, no randomness", "small")
