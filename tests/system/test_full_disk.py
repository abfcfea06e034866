"""A store that cannot grow: one clear line, exit 2, nothing half stored; when there is room again the work goes on."""

import asyncio
import json
import random
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from refundry.errors import StoreError
from refundry.gateway import Gateway
from refundry.journal.sqlite import recorder as sqlite_recorder
from refundry.testing.simulator.settings import Keys
from tests.system.command import Ended, asking, refundry, started, write_csv
from tests.system.shop import FINAL, RefundInstruction, Shop, all_rows, instructions, judge, open_shop


@pytest.fixture
async def shop(tmp_path: Path, keys: Keys) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path, keys, accounts=["now"]) as open_:
        open_.providers["now"].change({"notify_sync": False})
        yield open_


def _written(shop: Shop) -> int:
    """Return the size of the largest file of the store."""
    return max(path.stat().st_size for path in shop.directory.glob("refunds.db*"))


async def _record(shop: Shop, count: int) -> list[RefundInstruction]:
    """Fill the store a little, with everything in the database file and nothing in its log."""
    made = instructions("BEFORE", count, random.Random(5), ["now"])
    async with Gateway.open(shop.config) as gateway:
        await asyncio.gather(*(gateway.request(instruction.request, submit=False) for instruction in made))
    return made


def _check_refusal(end: Ended) -> None:
    assert 2 == end.status
    assert "" == end.out
    assert end.err.startswith("refundry: store: ")
    assert 1 == end.err.count("\n")


@pytest.mark.slow
async def test_a_worker_without_room(shop: Shop) -> None:
    """The worker ends with 2 and one line; what it could not write it did not send twice; the next goes on."""
    made = await _record(shop, 200)

    end = await refundry(shop.config, "work", "--until-idle", file_size=_written(shop) + 16_384)

    _check_refusal(end)
    async with Gateway.open(shop.config) as gateway:
        assert any(row.status not in FINAL for row in await all_rows(gateway))
    assert 0 == (await refundry(shop.config, "work", "--until-idle")).status
    async with Gateway.open(shop.config) as gateway:
        assert [] == await judge(shop, gateway, made)


@pytest.mark.slow
async def test_an_import_without_room(shop: Shop, tmp_path: Path) -> None:
    """The import ends with 2 and one line, and stored whole refunds only; imported again it is complete."""
    made = await _record(shop, 20)
    more = instructions("FILE", 1_000, random.Random(6), ["now"])
    file = write_csv(tmp_path / "refunds.csv", more)

    end = await refundry(shop.config, "import", str(file), "--json", file_size=_written(shop) + 65_536)

    _check_refusal(end)
    async with Gateway.open(shop.config) as gateway:
        assert len(await all_rows(gateway)) < len(made + more)
        assert [] == [finding async for finding in gateway.journal.compare_index()]
    again = await refundry(shop.config, "import", str(file), "--json")
    assert (0, 1_000) == (again.status, again.json[0]["rows"])
    assert 0 == (await refundry(shop.config, "work", "--until-idle")).status
    async with Gateway.open(shop.config) as gateway:
        assert [] == await judge(shop, gateway, made + more)


@pytest.mark.slow
async def test_a_request_without_room(shop: Shop) -> None:
    """A request that finds no room is not acknowledged, not stored and not sent; asked again it is paid once."""
    made = await _record(shop, 5)
    instruction = RefundInstruction("now", "NO-ROOM", 1_200, submit=True)

    end = await refundry(shop.config, *asking(instruction), file_size=4_096)

    _check_refusal(end)
    assert instruction.id not in shop.providers["now"].ledger.refunds
    async with Gateway.open(shop.config) as gateway:
        assert len(made) == len(await all_rows(gateway))
    assert 0 == (await refundry(shop.config, *asking(instruction))).status
    assert 0 == (await refundry(shop.config, "work", "--until-idle")).status
    async with Gateway.open(shop.config) as gateway:
        assert [] == await judge(shop, gateway, [*made, instruction])


async def _ask_all(gateway: Gateway, wanted: list[RefundInstruction], acknowledged: list[RefundInstruction]) -> None:
    for instruction in wanted:
        await gateway.request(instruction.request, submit=False)
        acknowledged.append(instruction)


@pytest.mark.slow(seconds=4)
async def test_health_without_room(shop: Shop) -> None:
    """A service whose store has no room left answers 503 with the reason, and one with room answers 200."""
    await _record(shop, 20)

    async def health(file_size: int | None) -> list[tuple[int, str]]:
        async with started(shop.config, "serve", "--port", "0", "--json", file_size=file_size) as process:
            assert process.stdout is not None
            url = json.loads(await process.stdout.readline())["url"]
            answers = []
            async with aiohttp.ClientSession() as session:
                for _ in range(12):
                    async with session.get(f"{url}/health") as answer:
                        answers.append((answer.status, (await answer.json())["status"][:7]))
            return answers

    # SQLite's index of the write-ahead log needs 32 KiB; the log itself has no room for twelve pages.
    full = await health(40_000)
    room = await health(None)

    assert [(200, "ok"), (503, "store: ")] == [full[0], full[-1]]
    assert {(200, "ok")} == set(room)


@pytest.mark.slow
async def test_a_database_that_is_full(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's own "full": the error says so, earlier writes remain, and writing works again once there is room."""
    made = await _record(shop, 50)
    connect = sqlite_recorder.connect

    def small(*arguments: Any) -> sqlite3.Connection:
        connection = connect(*arguments)
        connection.execute(f"PRAGMA max_page_count={sqlite_recorder.pragma(connection, 'page_count') + 2}")
        return connection

    more = instructions("MORE", 200, random.Random(7), ["now"])
    acknowledged: list[RefundInstruction] = []
    with monkeypatch.context() as patch:
        patch.setattr(sqlite_recorder, "connect", small)
        async with Gateway.open(shop.config) as gateway:
            with pytest.raises(StoreError, match="the disk is full; nothing was stored"):
                await _ask_all(gateway, more, acknowledged)
    async with Gateway.open(shop.config) as gateway:
        stored = await all_rows(gateway)
        await asyncio.gather(*(gateway.request(instruction.request, submit=False) for instruction in more))

    assert {instruction.id for instruction in made + acknowledged} == {row.refund_request_id for row in stored}
    assert 0 == (await refundry(shop.config, "work", "--until-idle")).status
    async with Gateway.open(shop.config) as gateway:
        assert [] == await judge(shop, gateway, made + more)
