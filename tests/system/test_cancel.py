"""Cancellation: every call of the gateway is cut at every place where it waits, and the next worker goes on."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import coroutine
from typing import Any

import attrs
import pytest
from aiohttp import web

from refundry.gateway import Gateway
from refundry.gateway.worker import Worker
from refundry.provider import Notification
from refundry.refund import Refund, Status
from refundry.testing.simulator.ledger import State
from refundry.testing.simulator.settings import Keys
from tests.system.shop import RefundInstruction, Shop, instructions, judge, open_shop

PLACES = 60
"""More than any call has places to wait."""

MOMENTS = pytest.mark.parametrize("late", [False, True], ids=["while it waits", "as it is about to go on"])
"""A task can be cancelled while it waits, or when what it waited for has come and it has not run yet."""


@coroutine
def _cut(work: Coroutine[Any, Any, Any], place: int, late: bool) -> Generator[Any, Any, Any]:
    """Run a coroutine as its task would, and cancel that task at the place where it waits for the nth time."""
    task, loop, seen = asyncio.current_task(), asyncio.get_running_loop(), 0
    assert task is not None
    error: BaseException | None = None
    while True:
        try:
            future = work.send(None) if error is None else work.throw(error)
        except StopIteration as end:
            return end.value
        seen += 1
        if seen == place:
            if late and future is not None:
                future.add_done_callback(lambda _: task.cancel())
            else:
                loop.call_soon(task.cancel)
        error = None
        try:
            yield future
        except BaseException as thrown:
            error = thrown


async def _was_cut(work: Coroutine[Any, Any, Any], place: int, late: bool) -> bool:
    """Return whether the call was cut; False if it has fewer places to wait than that."""

    async def run() -> Any:
        return await _cut(work, place, late)

    task = asyncio.create_task(run())
    ended, _ = await asyncio.wait({task}, timeout=20)
    if not ended:
        task.cancel()
        await asyncio.wait({task}, timeout=20)
        raise AssertionError(f"cancelled at its place {place}, and it went on")
    if not task.cancelled():
        await task
    return task.cancelled()


@pytest.fixture
async def shop(tmp_path: Path, keys: Keys) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path, keys) as open_:
        yield open_


@pytest.fixture
async def gateway(shop: Shop) -> AsyncIterator[Gateway]:
    async with Gateway.open(shop.config) as opened:
        yield opened


@pytest.fixture
def wanted() -> Iterator[RefundInstruction]:
    return iter(instructions("CUT", PLACES + 1, random.Random(1), ["now"]))


async def _cut_everywhere(call: Callable[[int], Awaitable[bool]]) -> None:
    """Cut a new call at its first place to wait, its second and so on, until it has no more."""
    for place in range(1, PLACES):
        if not await call(place):
            assert place > 3, "a call that reads, writes and sends waits more often"
            return
    raise AssertionError("the call never ends uncut")


@pytest.mark.slow
@MOMENTS
@pytest.mark.parametrize("again", [False, True], ids=["not asked again", "asked again"])
async def test_a_request_cut_anywhere(
    shop: Shop, gateway: Gateway, wanted: Iterator[RefundInstruction], late: bool, again: bool
) -> None:
    """A request that is cancelled anywhere leaves nothing or a whole refund; asked again it is one, paid once."""
    acknowledged = []

    async def call(place: int) -> bool:
        instruction = next(wanted)
        cut = await _was_cut(gateway.request(instruction.request, submit=True), place, late)
        if again or not cut:
            await gateway.request(instruction.request, submit=True)
            acknowledged.append(instruction)
        return cut

    await _cut_everywhere(call)
    await Worker(gateway).run(until_idle=True)

    assert [] == await judge(shop, gateway, acknowledged)


@pytest.mark.slow
@MOMENTS
async def test_an_advance_cut_anywhere(
    shop: Shop, gateway: Gateway, wanted: Iterator[RefundInstruction], late: bool
) -> None:
    """A first attempt that is cancelled anywhere is taken up by the next worker, and paid once."""
    asked = []

    async def call(place: int) -> bool:
        asked.append(next(wanted))
        refund = await gateway.request(asked[-1].request, submit=False)
        return await _was_cut(gateway.advance(refund.id), place, late)

    await _cut_everywhere(call)
    await Worker(gateway).run(until_idle=True)

    assert [] == await judge(shop, gateway, asked)


@MOMENTS
async def test_an_inquiry_cut_anywhere(
    shop: Shop, gateway: Gateway, wanted: Iterator[RefundInstruction], late: bool
) -> None:
    """An inquiry that is cancelled anywhere changes nothing about how its refund ends."""
    shop.fault("drop_response", operation="refund", times=None)
    shop.providers["now"].change({"notify_sync": False})
    asked = []

    async def call(place: int) -> bool:
        asked.append(next(wanted))
        refund = await gateway.request(asked[-1].request, submit=True)
        assert Status.UNKNOWN is refund.status
        return await _was_cut(gateway.inquire(refund.id), place, late)

    await _cut_everywhere(call)
    await Worker(gateway).run(until_idle=True)

    assert [] == await judge(shop, gateway, asked)


class Door:
    """Where notifications come in; the hearing of some is cut, and they come again."""

    def __init__(self, gateway: Gateway, late: bool) -> None:
        self.cuts: asyncio.Queue[bool] = asyncio.Queue()
        self.place: int | None = None
        """Where to cut the next hearing; None: nowhere."""
        self._gateway = gateway
        self._late = late

    async def parse_notification(self, request: web.Request) -> web.Response:
        headers = tuple(request.headers.items())
        notification = Notification(request.method, request.raw_path, headers, await request.read())
        if self.place is not None:
            place, self.place = self.place, None
            self.cuts.put_nowait(
                await _was_cut(self._gateway.receive_notification("later", notification), place, self._late)
            )
            return web.Response(status=503)
        acknowledgement = await self._gateway.receive_notification("later", notification)
        return web.Response(
            status=acknowledgement.status, body=acknowledgement.body, headers=dict(acknowledgement.headers)
        )

    @asynccontextmanager
    async def open(self, port: int) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_post("/notifications/later", self.parse_notification)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            yield
        finally:
            await runner.cleanup()


@MOMENTS
async def test_a_notification_cut_anywhere(
    shop: Shop, gateway: Gateway, wanted: Iterator[RefundInstruction], late: bool
) -> None:
    """A notification whose recording is cancelled anywhere is taken when it comes again."""
    door, asked, provider = Door(gateway, late), [], shop.providers["later"]
    provider.change({"async_delay": "never", "time_scale": "0.0005"})

    async def call(place: int) -> bool:
        asked.append(attrs.evolve(next(wanted), account="later", submit=True))
        refund = await gateway.request(asked[-1].request, submit=asked[-1].submit)
        door.place = place
        provider.finish(refund.refund_request_id, State.SUCCESS)
        cut = await door.cuts.get()
        await _until_final(gateway, refund)
        return cut

    async with door.open(shop.port):
        await _cut_everywhere(call)

    assert [] == await judge(shop, gateway, asked)


async def _until_final(gateway: Gateway, refund: Refund) -> None:
    async with asyncio.timeout(20):
        while not (await gateway.get(refund.id)).final:  # noqa: ASYNC110  # the log has no notification
            await asyncio.sleep(0.01)


@pytest.mark.slow
@MOMENTS
async def test_a_worker_cut_anywhere(shop: Shop, gateway: Gateway, late: bool) -> None:
    """A worker that is cancelled anywhere ends, and leaves every refund to the next."""
    asked = instructions("MANY", 60, random.Random(2))
    await asyncio.gather(*(gateway.request(instruction.request, submit=False) for instruction in asked))
    for place in range(1, 16):
        assert await _was_cut(Worker(gateway, concurrency=4, lease=0.5).run(), place, late)
    await Worker(gateway).run(until_idle=True)

    assert [] == await judge(shop, gateway, asked)


@pytest.mark.slow
async def test_a_worker_cancelled_again_and_again(shop: Shop, gateway: Gateway) -> None:
    """A worker that is cancelled while it processes many refunds leaves every one of them to the next."""
    asked = instructions("MANY", 60, random.Random(2))
    await asyncio.gather(*(gateway.request(instruction.request, submit=False) for instruction in asked))
    for iterations in (1, 3, 10, 30, 60, 100, 200, 300):
        worker = asyncio.create_task(Worker(gateway, concurrency=8, lease=0.5).run())
        for _ in range(iterations):
            await asyncio.sleep(0.001)
        worker.cancel()
        with pytest.raises(asyncio.CancelledError):
            await worker
    await Worker(gateway).run(until_idle=True)

    assert [] == await judge(shop, gateway, asked)
