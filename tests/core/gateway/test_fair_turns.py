"""No account holds up another: neither one that hangs, nor a limited one, nor one with a refund that is unreadable."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import attrs
import pytest

from refundry.cli.main import main
from refundry.errors import UnknownAccount, UnreadableEvent
from refundry.gateway import Gateway
from refundry.gateway.request import RefundRequest
from refundry.gateway.worker import Worker
from refundry.outbound.transport import Delivery, HttpTransport, NoAnswer
from refundry.ports import Ports
from refundry.provider import Answer, NotSent, Request, ReviewReason
from refundry.refund import Refund, Status
from tests.core.gateway.test_account_health import AT, unanswered
from tests.core.shop import TERMS, Clock, Shop, open_shop, write_config

SLOTS = 4


@attrs.define
class Hanging:
    """A transport whose calls to `hangs` do not return until they are released."""

    transport: HttpTransport
    hangs: str
    released: asyncio.Event = attrs.field(factory=asyncio.Event)
    begun: Counter[str] = attrs.field(factory=Counter)

    async def send(self, request: Request, timeout: float, delivery: Delivery) -> Answer | NoAnswer | NotSent:
        name = next(value for key, value in request.headers if key == "client-id")
        self.begun[name] += 1
        if request.url.startswith(self.hangs):
            await self.released.wait()
            return NoAnswer("it hangs")
        return await self.transport.send(request, timeout, delivery)


@attrs.frozen
class Street:
    """The accounts `hanging`, `limited` (one call in a quarter of an hour) and `shop` on one store."""

    gateway: Gateway
    transport: Hanging
    config: Path

    async def record(self, account: str, count: int) -> None:
        for number in range(count):
            request = RefundRequest(
                account=account,
                payment=f"P{number}",
                amount="1.00",
                currency="EUR",
                refund_request_id=f"{account}-{number}",
            )
            await self.gateway.request(request, submit=False)

    async def statuses(self, account: str) -> Counter[Status]:
        return Counter(row.status for row in await self.gateway.list(account=account))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def street(tmp_path: Path, clock: Clock) -> AsyncIterator[Street]:
    async with open_shop(tmp_path) as shop, HttpTransport() as http:
        place = tmp_path / "street"
        place.mkdir()
        nowhere = "http://127.0.0.1:9"
        urls = {"hanging": nowhere, "limited": shop.antom.url, "shop": shop.antom.url}
        config = write_config(place, urls, TERMS)
        limited = "[accounts.limited.terms]\n"
        text = config.read_text("utf-8").replace(limited, f"{limited}requests_per_second = 0.001\n")
        config.write_text(text, "utf-8")
        transport = Hanging(http, nowhere)
        ports = Ports(now=clock)
        async with Gateway.open(config, ports=ports, transport=transport) as gateway:
            yield Street(gateway, transport, config)


async def test_an_account_that_hangs_or_is_limited_holds_up_no_other(street: Street) -> None:
    """The refunds of a third account are settled while hundreds of older ones of two others wait."""
    await street.record("hanging", 30)
    await street.record("limited", 30)
    await street.record("shop", 3 * SLOTS)
    done, settled = 0, asyncio.Event()

    def count(refund: Refund) -> None:
        nonlocal done
        done += refund.status is Status.SETTLED
        if done == 3 * SLOTS + 1:
            settled.set()

    worker = Worker(street.gateway, concurrency=SLOTS, on_advance=count)
    working = asyncio.create_task(worker.run())
    async with asyncio.timeout(60):
        await settled.wait()
    await asyncio.sleep(0)

    assert worker.busy("limited") == 0
    assert worker.busy("hanging") == SLOTS
    assert await street.statuses("hanging") == {Status.SUBMITTED: SLOTS, Status.REQUESTED: 30 - SLOTS}
    assert await street.statuses("limited") == {Status.SETTLED: 1, Status.REQUESTED: 29}
    worker.stop()
    street.transport.released.set()
    await working


async def test_a_worker_can_be_confined_to_an_account(street: Street) -> None:
    """With an account, a worker leaves the refunds of all others alone, and is idle when its own are done."""
    await street.record("hanging", 2)
    await street.record("shop", 2)

    await Worker(street.gateway, account="shop").run(until_idle=True)

    assert await street.statuses("shop") == {Status.SETTLED: 2}
    assert await street.statuses("hanging") == {Status.REQUESTED: 2}
    with pytest.raises(UnknownAccount):
        Worker(street.gateway, account="nothing")


# --- an account that is unreachable -----------------------------------------------------------------------------------


async def _rounds(worker: Worker, count: int) -> list[int]:
    """Take and finish refunds so many times; return how many the worker takes each time."""
    taken = []
    for _ in range(count):
        taken.append(await worker._take())
        await asyncio.gather(*worker._in_progress())
    return taken


async def test_an_unreachable_account_is_probed_and_then_resumes_in_growing_steps(street: Street, clock: Clock) -> None:
    """Between two probes nothing is taken or leased; after the first answer the backlog is taken at once, spread."""
    await street.record("shop", 40)
    await street.gateway.journal.change_account("shop", lambda record: unanswered(10, record))
    worker = Worker(street.gateway, concurrency=16)

    assert [0, 0] == await _rounds(worker, 2)
    clock.move(61)
    assert [1, 2, 4, 8] == await _rounds(worker, 4)
    assert [16, 9, 0] == await _rounds(worker, 3)
    assert await street.statuses("shop") == {Status.SETTLED: 40}


async def test_an_unreachable_account_is_called_by_one_refund_at_a_time(street: Street, clock: Clock) -> None:
    """While the probe is not answered, no other refund of the account is taken, however many are due."""
    await street.record("hanging", 40)
    await street.gateway.journal.change_account("hanging", lambda record: unanswered(10, record))
    worker = Worker(street.gateway, concurrency=16)
    clock.move(61)

    first = await worker._take()
    clock.move(61)
    assert (1, 0, 1) == (first, await worker._take(), worker.busy("hanging"))

    street.transport.released.set()
    await asyncio.gather(*worker._in_progress())
    assert [0, 0] == await _rounds(worker, 2)
    assert 1 == street.transport.begun.total()


async def test_a_worker_is_idle_while_an_account_is_paused(street: Street) -> None:
    """What waits for `unpause` needs an operator: a worker processes the other accounts, and ends."""
    await street.record("shop", 2)
    await street.record("limited", 1)
    await street.gateway.journal.change_account("shop", lambda record: attrs.evolve(record, paused_at=AT))

    async with asyncio.timeout(60):
        await Worker(street.gateway).run(until_idle=True)

    assert await street.statuses("shop") == {Status.REQUESTED: 2}
    assert await street.statuses("limited") == {Status.SETTLED: 1}


# --- refunds that cannot be read --------------------------------------------------------------------------------------


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as opened:
        yield opened


def _plant(store: Path, refund_id: str, state: str = '{"at":"2026-11-22T12:00:00Z","hue":"blue"}') -> None:
    """Replace the newest event of a refund by one of a later version."""
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute(
            "UPDATE stored_events SET state=? WHERE rowid=(SELECT max(rowid) FROM stored_events WHERE originator_id=?)",
            (state.encode(), refund_id),
        )


async def test_a_refund_that_cannot_be_read_is_left_alone_and_flagged(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker processes every other refund, logs one error, and the refund is listed for review."""
    broken = await shop.request("R1", submit=False)
    await shop.request("R2", payment="P2", submit=False)
    _plant(shop.store, broken.id)

    worker = Worker(shop.gateway)
    await worker.run(until_idle=True)
    shop.clock.move(3600)
    await worker.run(until_idle=True)

    assert [broken.id] == list(worker.unreadable)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    (flagged,) = await shop.gateway.list(review=True)
    assert (broken.id, [ReviewReason.UNREADABLE_EVENT]) == (flagged.id, [review.code for review in flagged.review])
    assert (await shop.gateway.get("R2")).status is Status.SETTLED
    with pytest.raises(UnreadableEvent, match="position 1 "):
        await shop.gateway.get("R1")


async def test_a_refund_that_can_be_read_again_continues(shop: Shop) -> None:
    """A later version, or a repair, processes a refund that was set aside, and ends its flag."""
    asked = await shop.request("R1", submit=False)
    (event,) = await shop.gateway.journal.load(asked.id)
    with closing(sqlite3.connect(shop.store)) as connection, connection:
        (state,) = connection.execute("SELECT state FROM stored_events").fetchone()
    _plant(shop.store, asked.id)
    worker = Worker(shop.gateway)
    await worker.run(until_idle=True)

    _plant(shop.store, asked.id, state.decode())
    shop.clock.move(3600)
    await worker.run(until_idle=True)

    assert ([event], {}) == ((await shop.gateway.history("R1"))[:1], worker.unreadable)
    assert (await shop.gateway.get("R1")).status is Status.SETTLED
    assert [] == await shop.gateway.list(review=True)


async def test_events_that_cannot_follow_each_other_are_left_alone(shop: Shop) -> None:
    """A history that makes no sense is treated like one that cannot be read."""
    broken = await shop.request("R1", submit=False)
    with closing(sqlite3.connect(shop.store)) as connection, connection:
        connection.execute("UPDATE stored_events SET topic='settled', state=?", (_SETTLED,))

    worker = Worker(shop.gateway)
    await worker.run(until_idle=True)

    assert [broken.id] == list(worker.unreadable)


_SETTLED = b'{"at":"2026-11-22T12:00:00Z","channel":"reply","amount":{"minor":1233,"currency":"EUR","exponent":2}}'


async def test_the_log_is_printed_as_far_as_it_can_be_read(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """`events` prints every event but the one it cannot read, names its position, and exits with 2."""
    first, second = await shop.request("R1", submit=False), await shop.request("R2", submit=False)
    await shop.request("R3", submit=False)
    await shop.later(first)
    _plant(shop.store, second.id)

    def run(*arguments: str) -> tuple[int, int, str]:
        with pytest.raises(SystemExit) as ended:
            main(["--config", str(shop.config), *arguments])
        printed = capsys.readouterr()
        return int(ended.value.code or 0), len(printed.out.splitlines()), printed.err

    code, lines, errors = await asyncio.to_thread(run, "events")
    assert (2, 4) == (code, lines)
    assert "position 2 " in errors
    code, lines, errors = await asyncio.to_thread(run, "events", "R2")
    assert (2, 0) == (code, lines)
    assert "position 2 " in errors
    assert (0, 3, "") == await asyncio.to_thread(run, "events", "R1")
