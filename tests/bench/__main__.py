"""All benchmarks in one run: prints the figures and writes them to docs/benchmarks.md.

Run it with `nox -s bench`, or `python -m tests.bench [--quick]`.
"""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.bench import (
    bench_audit_verify,
    bench_codec,
    bench_journal,
    bench_lifecycle,
    bench_replay,
    bench_scale,
    bench_tree,
)
from tests.bench.samples import machine

PAGE: Final = Path(__file__).parents[2] / "docs" / "benchmarks.md"
PARTS: Final = (
    bench_lifecycle,
    bench_journal,
    bench_codec,
    bench_scale,
    bench_tree,
    bench_audit_verify,
    bench_replay,
)

HEAD: Final = """# Benchmarks

Measured side by side in one run by `{command}` on {day}: {machine}. Written by that command; the scripts in
`tests/bench/` say what exactly is compared. Ratios travel between machines, rates do not: take the rates as an order of
magnitude, and measure on your own machine.
"""


def _page(parts: Mapping[str, tuple[str, Mapping[str, object]]], command: str) -> str:
    text = [HEAD.format(command=command, day=f"{datetime.now(UTC):%Y-%m-%d}", machine=machine())]
    for name, (about, figures) in parts.items():
        text.append(f"\n## {name}\n\n{about}\n\n| what | measured |\n| --- | --- |")
        text.extend(f"| {what} | {_shown(figure)} |" for what, figure in figures.items())
    return "\n".join(text) + "\n"


def _shown(figure: object) -> str:
    if isinstance(figure, float):
        return f"{figure:.3g}" if figure < 100 else f"{figure:,.0f}"
    if isinstance(figure, Mapping):
        return ", ".join(f"{name}: {_shown(value)}" for name, value in figure.items())
    if isinstance(figure, list | tuple):
        return ", ".join(_shown(value) for value in figure)
    return f"{figure:,}" if isinstance(figure, int) else str(figure)


def main() -> None:
    """Run everything; a quick run writes nothing, since its figures are too few to be shown."""
    quick = "--quick" in sys.argv
    command = "python -m tests.bench" + (" --quick" if quick else "")
    print(f"{command}: {machine()}")
    parts = {}
    for part in PARTS:
        name = part.__name__.rpartition("bench_")[2]
        print(f"\n== {name}")
        figures = {what: figure for what, figure in part.main(quick).items() if what != "machine"}
        for what, figure in figures.items():
            print(f"{what:64} {_shown(figure)}")
        parts[name] = (" ".join((part.__doc__ or "").partition("Run:")[0].split()), figures)
    page = _page(parts, command)
    if not quick:
        PAGE.write_text(page, "utf-8")
        print(f"written to {PAGE.name}")


if __name__ == "__main__":
    main()
