"""How long the refunds of one account take while a second account hangs and a third is limited.

Refunds of the account are recorded one after the other, and a worker sends them. Each is timed from its record to its
end. Alone, only that account has refunds. In company, 1,500 older refunds of an account whose provider accepts
connections and never answers, and 1,500 of an account with `requests_per_second = 5`, are due in the same store. Both
are measured in turns within one run, and the tails of all turns are compared.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from refundry.gateway import Gateway
from refundry.gateway.request import RefundRequest
from refundry.gateway.worker import Worker
from refundry.refund import FINAL, Refund
from tests.bench.samples import machine
from tests.bench.stand import Stand, stand

WAITING = 1_500
EACH = 0.02
"""Seconds between two refunds: about fifty in a second leave the machine time."""


@asynccontextmanager
async def _never_answering() -> AsyncIterator[str]:
    """Listen on loopback, and never answer."""
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def _configure(there: Stand, silent: str, store: str) -> Path:
    """Write a configuration with the accounts `shop`, `hanging` and `limited`."""
    section = "[accounts" + there.config.read_text("utf-8").partition("[accounts")[2]
    hanging = section.replace("accounts.shop", "accounts.hanging").replace(there.url, silent)
    limited = section.replace("accounts.shop", "accounts.limited")
    terms = "\n[accounts.limited.terms]\nrequests_per_second = 5\n"
    config = there.config.with_name(f"{store}.toml")
    config.write_text(f'store = "sqlite:///{store}.db"\n\n{section}\n{hanging}\n{limited}\n{terms}', "utf-8")
    return config


async def _record(gateway: Gateway, account: str, id: str) -> str:
    request = RefundRequest(account=account, payment=f"P-{id}", amount="1.00", currency="EUR", refund_request_id=id)
    return (await gateway.request(request, submit=False)).id


async def _durations(config: Path, mark: str, count: int, *, company: bool) -> list[float]:
    """Return how long each refund of `shop` takes."""
    began: dict[str, float] = {}
    took: list[float] = []

    def advanced(refund: Refund) -> None:
        if refund.status in FINAL and refund.id in began:
            took.append(time.perf_counter() - began.pop(refund.id))

    async with Gateway.open(config, create=True) as gateway:
        for account in ("hanging", "limited") if company else ():
            for start in range(0, WAITING, 100):
                await asyncio.gather(*(_record(gateway, account, f"{account}-{mark}-{start + n}") for n in range(100)))
        worker = Worker(gateway, on_advance=advanced)
        working = asyncio.create_task(worker.run())
        await asyncio.sleep(1)
        for number in range(count):
            at = time.perf_counter()
            began[await _record(gateway, "shop", f"{mark}-{number}")] = at
            await asyncio.sleep(EACH)
        while began:  # noqa: ASYNC110  # the worker has no event for it
            await asyncio.sleep(EACH)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    return took


def _tail(durations: list[float]) -> float:
    return statistics.quantiles(durations, n=100)[98]


async def _measure(there: Stand, count: int, turns: int) -> dict[str, object]:
    alone: list[float] = []
    company: list[float] = []
    async with _never_answering() as silent:
        for turn in range(turns):
            for durations, name in ((alone, "alone"), (company, "company")):
                mark = f"{name}{turn}"
                config = _configure(there, silent, mark)
                durations += await _durations(config, mark, count, company=name == "company")
    return {
        "refunds of the account in each case": len(alone),
        "alone: median, p99 (ms)": [1000 * statistics.median(alone), 1000 * _tail(alone)],
        "in company: median, p99 (ms)": [1000 * statistics.median(company), 1000 * _tail(company)],
        "p99 in company / p99 alone": _tail(company) / _tail(alone),
    }


def main(quick: bool) -> dict[str, object]:
    """Measure; the figures by what they say."""
    figures: dict[str, object] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as directory, stand(Path(directory)) as there:
        figures |= asyncio.run(_measure(there, 100 if quick else 500, 2 if quick else 6))
    return figures


if __name__ == "__main__":
    for name, figure in main("--quick" in sys.argv).items():
        print(f"{name:64} {figure}")
