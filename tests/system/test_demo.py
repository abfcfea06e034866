"""The demo is a promise: everyone who runs it sees ledgers that match, and the same result for the same seed."""

import asyncio
import io
import json
import sys
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from rich.console import Console

from refundry.cli.demo.faults import FAULTS, RETRIED, plan_faults
from refundry.cli.demo.ledgers import Tally
from refundry.cli.demo.naive import ControlRun
from refundry.cli.demo.report import print_report
from refundry.plugin_host import load_plugins

DETERMINED: Final = ("refunds", "faults_planned", "accounts", "wrong", "naive", "audit", "agree")
"""What the seed determines."""


async def demo(*arguments: str) -> tuple[int | None, bytes, bytes]:
    """Run the demo in a process of its own; return its exit status and what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "refundry", "demo", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    return process.returncode, out, err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["", "refundry.toml/demo"])
async def test_a_directory_that_cannot_be_used_is_one_line(tmp_path: Path, name: str) -> None:
    """A directory that is not empty or cannot be created is refused before anything is started."""
    (tmp_path / "refundry.toml").write_text("mine", "utf-8")
    status, out, err = await demo(str(tmp_path / name))

    assert (2, b"", 1) == (status, out, err.count(b"\n"))
    assert err.startswith(b"refundry: DIRECTORY: ")
    assert "mine" == (tmp_path / "refundry.toml").read_text("utf-8")


@pytest.mark.slow(seconds=60)
async def test_the_demo_passes_and_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    """Two runs of one seed end with 0 and agree: no payment is refunded twice but by the naive loop, to the cent."""
    verdicts: list[dict[str, Any]] = []
    for name in ("first", "second"):
        status, out, err = await demo(str(tmp_path / name), "--refunds", "300", "--seed", "7", "--json")
        assert 0 == status, err.decode()
        verdicts.append(json.loads(out))
    first, second = verdicts

    assert {name: first[name] for name in DETERMINED} == {name: second[name] for name in DETERMINED}
    assert True is first["agree"]
    assert {"paid_twice": [], "lost": [], "still_open": [], "mismatched": []} == first["wrong"]
    assert 300 == first["refunds"] == sum(each["settled"] + each["refused"] for each in first["accounts"].values())
    assert all(each["settled_amount"] == each["moved_amount"] for each in first["accounts"].values())
    assert all(verdict["kills"] >= 3 for verdict in verdicts)
    assert set(first["faults_planned"]) >= set(FAULTS)
    assert len(first["naive"]["paid_twice"]) == sum(first["naive"]["paid_twice_after"].values()) > 0
    assert all(float(amount["value"]) > 0 for amount in first["naive"]["overpaid"])
    assert "no fault" not in first["naive"]["paid_twice_after"]


def test_the_seed_determines_who_meets_which_fault() -> None:
    """Every fault meets one refund of every account, the same one for the same seed, and another for another seed."""
    plugins = {name: plugin for name, plugin in load_plugins().providers.items() if name == "antom"}
    ids = {"antom": [f"R{number}" for number in range(60)]}
    planned, again, other = (plan_faults(plugins, ids, Random(seed)) for seed in (1, 1, 2))

    assert (planned.rules, planned.met) == (again.rules, again.met)
    assert planned.met != other.met
    assert {1} == set(planned.counts.values())
    assert set(FAULTS) < set(planned.counts)
    assert "R59" in planned.met


def test_a_refusal_is_the_answer_to_every_attempt() -> None:
    """A refund that the provider refuses is refused again under the id of the operator's new request."""
    plugins = {name: plugin for name, plugin in load_plugins().providers.items() if name == "antom"}
    planned = plan_faults(plugins, {"antom": [f"R{number}" for number in range(60)]}, Random(1))
    refusals = {rule["refund_request_id"] for rule in planned.rules["antom"] if "times" in rule}

    assert 4 == len(refusals)
    assert {id.removesuffix(RETRIED) for id in refusals} < refusals


@pytest.mark.parametrize(("agree", "word"), [(True, "PASS"), (False, "FAIL")])
def test_the_headline_is_printed_once_at_the_end(agree: bool, word: str) -> None:
    """The verdict, and what the naive loop paid twice, are printed once, nearly at the end."""
    control = ControlRun(3, 5, ["P1"], {"HTTP 500": 1}, {"EUR": 1234}, ["P1"], [])
    verdict = {
        "directory": "/demo", "wrong": {name: [] for name in ("paid_twice", "lost", "still_open", "mismatched")},
        "audit": dict.fromkeys(("intact", "replay_matches", "tampering_found"), agree),
        "faults_injected": {"corrupt": 1}, "kills": 5, "operator_decisions": 0, "requested_again": 0, "agree": agree,
    }  # fmt: skip
    out = io.StringIO()
    print_report(Console(width=200, file=out), verdict, {"shop": Tally("EUR", settled=2, refused=1)}, control)
    lines = [line for line in out.getvalue().splitlines() if line]
    naive = "Naive retry loop: 1 of 3 payments refunded more than once, 12.34 EUR too much"
    naive += "; 1 recorded as failed although paid"

    assert naive == lines[-4]
    assert lines[-3].startswith(f"{word}  Refundry")
    assert 2 == sum(line.startswith(("Naive", word)) for line in lines)
