"""Two checkouts compared, their benchmarks run in turns: shows whether a change made anything slower.

Run `python -m tests.bench.compare [--rounds N] OTHER [PART ...]`. OTHER is another checkout, for example a worktree of
an earlier commit, with its environment in `.venv`. Prints the medians and their ratios.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any, Final

from tests.bench.__main__ import PARTS
from tests.bench.samples import machine

HERE: Final = Path(__file__).parents[2]
_NAMES: Final = [part.__name__.rpartition(".")[2] for part in PARTS]
_RUN: Final = (
    "import json, sys; from tests.bench import {0} as part; json.dump(part.main(True), sys.stderr, default=str)"
)


def _measured(checkout: Path, part: str) -> list[tuple[str, float]]:
    """Run a part once, quickly, in a checkout; return its figures."""
    python = checkout / ".venv" / "bin" / "python"
    command = [str(python), "-W", "ignore", "-c", _RUN.format(part)]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{part} failed in {checkout}:\n{done.stderr}")
    return _flat(json.loads(done.stderr.splitlines()[-1]))


def _flat(figures: dict[str, Any]) -> list[tuple[str, float]]:
    """Return figures with one value each."""
    found: list[tuple[str, float]] = []
    for name, figure in figures.items():
        values = list(figure.values()) if isinstance(figure, dict) else figure
        values = values if isinstance(values, list) else [values]
        found += [(name, float(value)) for value in values if isinstance(value, int | float)]
    return found


def _compared(other: Path, part: str, rounds: int) -> None:
    """Print the figures of a part, which both checkouts measure in the same order, whatever they call them."""
    before: list[list[float]] = []
    after: list[list[float]] = []
    names: list[str] = []
    for number in range(2 * rounds):
        mine = number % 4 in (1, 2)  # other, mine, mine, other: a machine that gets slower favors neither
        measured = _measured(HERE if mine else other, part)
        (after if mine else before).append([figure for _, figure in measured])
        names = [name for name, _ in measured] if mine else names
    if len({len(run) for run in before + after}) != 1:
        sys.exit(f"{part} does not measure the same figures in both checkouts")
    for name, old, new in zip(names, zip(*before, strict=True), zip(*after, strict=True), strict=True):
        was, now = median(old), median(new)
        print(f"{name:90} {was:12.4g} {now:12.4g} {now / was if was else 1:6.2f}", flush=True)


def main() -> None:
    """Compare the given parts, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.compare", description=__doc__)
    parser.add_argument("other", type=Path, help="the other checkout")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(_NAMES)}; all by default")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is run (default: 3)")
    arguments = parser.parse_args()
    print(f"python -m tests.bench.compare: {machine()}")
    print(
        f"{'medians of ' + str(arguments.rounds) + ' quick runs each, in turns':90} {'before':>12} {'after':>12} ratio"
    )
    for part in arguments.parts or _NAMES:
        print(f"\n== {part}")
        _compared(arguments.other.resolve(), part, arguments.rounds)


if __name__ == "__main__":
    main()
