"""Memory with 100,000 refunds in progress, and the cost of a refund with 1,000,000 stored.

Memory is the peak resident set of the processes of `refundry import` and `refundry work`, as the kernel reports it. The
cost of a refund is that of its whole life through the gateway and the simulator.
"""

import asyncio
import csv
import hashlib
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from refundry.gateway import Gateway
from refundry.gateway.request import RefundRequest
from refundry.journal import Write
from refundry.journal.sqlite.journal import SqliteJournal
from refundry.refund import Status, fold
from tests.bench.bench_lifecycle import at_once
from tests.bench.samples import INQUIRED, PORTS, SETTLED, SUBMITTED, machine, requested
from tests.bench.stand import stand

TERMS = "[accounts.shop.terms]\ntimeout = 20\n"


def _peak_megabytes(command: list[str]) -> float:
    """Run a command and give the largest resident set it had, in MB."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        peak = 0.0
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            try:
                lines = status.read_text().splitlines()
            except OSError:
                break
            peak = max([peak, *(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))])
            time.sleep(0.2)
        if process.wait():
            raise SystemExit(f"{command} ended with status {process.returncode}")
    return peak


def memory(count: int) -> dict[str, object]:
    """Import so many refunds, process them, and measure the memory of both processes."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        with stand(place, TERMS) as there, (place / "refunds.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["account", "payment", "amount", "currency", "id", "reason", "payment_total"])
            for number in range(count):
                rows.writerow(["shop", f"P-{number}", "12.33", "EUR", f"M-{number}", "two sizes too small", "100.00"])
            file.flush()
            command = [sys.executable, "-m", "refundry", "--config", str(there.config)]
            importing = _peak_megabytes([*command, "import", file.name])
            working = _peak_megabytes([*command, "work", "--until-idle"])
    return {
        "refunds imported and processed": count,
        "`refundry import`: peak memory (MB)": round(importing),
        "`refundry work`: peak memory (MB)": round(working),
    }


async def _fill(journal: SqliteJournal, first: int, last: int) -> None:
    """Store finished refunds of four events with two pieces of evidence, as a real life leaves them."""

    async def one(number: int) -> None:
        whole = (requested(first + number), SUBMITTED, INQUIRED, SETTLED)
        kept = {hashlib.sha256(body).hexdigest(): body for body in (b"%d" % number * 30, b"answer %d" % number * 40)}
        await journal.save(Write(fold(PORTS.new_id(), whole), whole, kept))

    await at_once(last - first, one)


async def _cost(config: Path, count: int, name: str) -> float:
    """Return the seconds of one lifecycle."""
    async with Gateway.open(config, create=True) as gateway:

        async def one(number: int) -> None:
            refund = await gateway.request(
                RefundRequest(
                    account="shop",
                    payment=f"{name}-{number}",
                    amount="12.33",
                    currency="EUR",
                    refund_request_id=f"{name}-{number}",
                )
            )
            assert refund.status is Status.SETTLED

        await at_once(200, lambda number: one(-number))
        return 1 / await at_once(count, one)


async def _costs(few: int, many: int, count: int, rounds: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        with stand(place) as there:
            small, large = place / "small.toml", place / "large.toml"
            for config, stored in ((small, few), (large, many)):
                text = there.config.read_text().replace("refunds.db", f"{config.stem}.db")
                config.write_text(text)
                journal = await SqliteJournal.open(place / f"{config.stem}.db")
                # In steps, so that the tasks themselves take no memory worth speaking of.
                for first, last in pairwise(range(0, stored + 1, few)):
                    await _fill(journal, first, last)
                await journal.close()
            costs: dict[Path, list[float]] = {small: [], large: []}
            for turn in range(rounds):
                for config, seconds in costs.items():
                    seconds.append(await _cost(config, count, f"{config.stem}-{turn}"))
    ratio = statistics.median(costs[large]) / statistics.median(costs[small])
    return {"refunds stored": (few, many), "cost with many / cost with few": round(ratio, 3)}


def main(quick: bool) -> dict[str, object]:
    """Measure; the figures by what they say."""
    figures: dict[str, object] = {"machine": machine()}
    figures |= memory(2_000 if quick else 100_000)
    figures |= asyncio.run(_costs(*((1_000, 20_000, 300, 2) if quick else (10_000, 1_000_000, 3_000, 5))))
    return figures


if __name__ == "__main__":
    for name, figure in main("--quick" in sys.argv).items():
        print(f"{name:64} {figure}")
