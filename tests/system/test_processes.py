"""Several processes on one store: all of them make progress, nothing is lost, and each stops on request."""

import asyncio
import random
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from refundry.gateway import Gateway
from refundry.testing.simulator.settings import Keys
from tests.system.command import Ended, asking, refundry, started, write_csv
from tests.system.shop import FINAL, Shop, all_rows, instructions, judge, open_shop

STOPS_WITHIN = 15.0
"""Seconds: far more than a call to the provider may take, far less than "never"."""


@pytest.fixture
async def shop(tmp_path: Path, keys: Keys) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path, keys) as open_:
        yield open_


async def _stop(process: Process) -> Ended:
    process.send_signal(signal.SIGTERM)
    out, err = await asyncio.wait_for(process.communicate(), STOPS_WITHIN)
    return Ended(process.returncode, out.decode(), err.decode())


async def _all_final(gateway: Gateway, count: int) -> None:
    async with asyncio.timeout(60):
        while True:
            rows = await all_rows(gateway)
            if len(rows) >= count and all(row.status in FINAL for row in rows):
                return
            await asyncio.sleep(0.2)


@pytest.mark.slow(seconds=30)
async def test_serve_work_and_people_on_one_store(shop: Shop, tmp_path: Path) -> None:
    """serve, two workers, an import and many people with request, show and list: no error, no lost write, all end."""
    shop.fault("drop_response", operation="refund", probability=10, times=None)
    shop.fault("drop_request", operation="any", probability=5, times=None)
    dice = random.Random(3)
    imported, asked = instructions("FILE", 200, dice), instructions("HAND", 12, dice)
    file = write_csv(tmp_path / "refunds.csv", imported)
    async with AsyncExitStack() as stack:
        # The store does not exist yet: all of them create it at once.
        long = [
            await stack.enter_async_context(started(shop.config, *command))
            for command in (["serve", "--port", str(shop.port)], ["work", "--json"], ["work", "--json"])
        ]
        people = [
            *(refundry(shop.config, *asking(instruction)) for instruction in asked),
            *(refundry(shop.config, *asking(instruction)) for instruction in asked[:3]),
            refundry(shop.config, "import", str(file), "--json"),
            refundry(shop.config, "import", str(file), "--json"),
        ]
        ended = await asyncio.gather(*people)
        # Reading commands do not create a store: they come after the first write.
        shown = await asyncio.gather(
            *(refundry(shop.config, "show", instruction.id, "--json") for instruction in asked[:3]),
            *(refundry(shop.config, "list", "--json") for _ in range(3)),
        )
        async with Gateway.open(shop.config) as gateway:
            await _all_final(gateway, len(imported) + len(asked))
            stopped = [await _stop(process) for process in long]
            wrong = await judge(shop, gateway, imported + asked)

    ends = [*ended, *shown, *stopped]
    printed = "".join(end.err for end in ends)

    assert [0] * len(ends) == [end.status for end in ends]
    # Creating the audit signing key does not cause a warning; a machine under load may seem unreachable.
    assert [] == _unexpected(printed)
    assert [] == wrong
    assert [len(imported)] * 2 == [end.json[0]["rows"] for end in ended[-2:]]
    assert sum(notes.notifications_acknowledged for notes in shop.providers["later"].ledger.refunds.values()) > 0


def _unexpected(printed: str) -> list[str]:
    """Return the lines on stderr other than warnings that calls were not answered, as when they hang."""
    return [line for line in printed.splitlines() if "[warning] account unreachable " not in line]


async def _first_request(shop: Shop) -> None:
    async with asyncio.timeout(30):
        while not any(provider.ledger.refunds for provider in shop.providers.values()):  # noqa: ASYNC110  # a ledger has no notification
            await asyncio.sleep(0.02)


@pytest.mark.slow
async def test_a_worker_stops_amid_its_work(shop: Shop) -> None:
    """SIGTERM while calls hang at the provider: the worker ends with 0 once they are over; the next does the rest."""
    shop.fault("drop_response", operation="refund", how="hang", times=40)
    asked = instructions("HUNG", 80, random.Random(4))
    async with Gateway.open(shop.config) as gateway:
        await asyncio.gather(*(gateway.request(instruction.request, submit=False) for instruction in asked))
        async with started(shop.config, "work", "--concurrency", "16", "--json") as worker:
            await _first_request(shop)
            end = await _stop(worker)
        rest = await refundry(shop.config, "work", "--until-idle", "--json")

        assert (0, []) == (end.status, _unexpected(end.err))
        assert end.json[0]["in_progress"] > 0
        assert (0, []) == (rest.status, _unexpected(rest.err))
        assert 0 == rest.json[0]["in_progress"]
        assert [] == await judge(shop, gateway, asked)


@pytest.mark.slow
async def test_serve_stops_on_request(shop: Shop) -> None:
    """SIGTERM and SIGINT end `serve` with 0, also while a client keeps its connection open."""
    for number in (signal.SIGTERM, signal.SIGINT):
        async with started(shop.config, "serve", "--port", str(shop.port), "--json") as process:
            assert process.stdout is not None
            await process.stdout.readline()
            _, writer = await asyncio.open_connection("127.0.0.1", shop.port)
            process.send_signal(number)
            _, err = await asyncio.wait_for(process.communicate(), STOPS_WITHIN)
            writer.close()

        assert (0, b"") == (process.returncode, err)
