"""Observers receive every event at least once, after the commit, and never delay a refund."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from refundry.gateway import Gateway
from refundry.gateway.request import RefundRequest
from refundry.journal import Recorded
from refundry.plugin_host import Plugins, hookimpl, load_plugins
from refundry.refund import Status
from tests.core.shop import open_shop


class Observer:
    """Keeps what it receives, or does what a test asks."""

    def __init__(self, do: Callable[[Sequence[Recorded]], None] | None = None) -> None:
        self.seen: list[Recorded] = []
        self.calls = 0
        self.threads: set[str] = set()
        self._do = do

    @hookimpl
    def refundry_recorded(self, events: Sequence[Recorded]) -> None:
        self.calls += 1
        self.threads.add(threading.current_thread().name)
        if self._do is not None:
            self._do(events)
        self.seen += events


def with_observer(observer: object) -> Plugins:
    return load_plugins(extra=[observer])


def _wait(event: threading.Event) -> None:
    event.wait()


async def log(gateway: Gateway) -> list[Recorded]:
    return [recorded async for recorded in gateway.journal.log()]


async def delivered(observer: Observer, count: int) -> None:
    async with asyncio.timeout(30):
        while len(observer.seen) < count:  # noqa: ASYNC110  # filled by a thread
            await asyncio.sleep(0.01)


async def test_an_observer_sees_everything_in_order_and_off_the_loop(tmp_path: Path) -> None:
    """Every event reaches the observer, in the order of the log, in a thread of its own."""
    observer = Observer()
    async with open_shop(tmp_path, plugins=with_observer(observer)) as shop:
        for number in range(5):
            await shop.request(f"R{number}")
        whole = await log(shop.gateway)

    assert 15 == len(whole)
    assert whole == observer.seen
    assert {"refundry-observe-Observer"} == observer.threads


@pytest.mark.slow
async def test_delivery_to_an_observer_that_fails_is_retried(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An exception of an observer is logged and changes nothing; it receives the same events again, then the next."""
    failures = [RuntimeError("observers may fail"), SystemExit(3)]

    def fail(events: Sequence[Recorded]) -> None:
        if failures:
            raise failures.pop()

    observer = Observer(fail)
    async with open_shop(tmp_path, plugins=with_observer(observer)) as shop:
        refund = await shop.request()
        await delivered(observer, 3)
        whole = await log(shop.gateway)

    assert Status.SETTLED is refund.status
    assert whole == observer.seen
    assert 3 <= observer.calls
    assert "observers may fail" in caplog.text


@pytest.mark.slow
async def test_an_observer_that_hangs_delays_no_other(tmp_path: Path) -> None:
    """With an observer that never returns, refunds settle, another observer receives events, and the gateway closes."""
    never = threading.Event()

    class Hanging(Observer):
        pass

    hanging, other = Hanging(lambda events: _wait(never)), Observer()
    began = time.monotonic()
    async with open_shop(tmp_path, plugins=load_plugins(extra=[hanging, other])) as shop:
        refunds = [await shop.request(f"R{number}") for number in range(20)]
        await delivered(other, 60)
    never.set()

    assert {Status.SETTLED} == {refund.status for refund in refunds}
    assert time.monotonic() - began < 30  # not a speed: it would never end


async def test_what_a_failing_observer_missed_the_next_process_tells(tmp_path: Path) -> None:
    """What was not delivered is delivered when the store is opened again, before anything new is recorded."""

    def fail(events: Sequence[Recorded]) -> None:
        raise RuntimeError("not now")

    later = Observer()
    async with open_shop(tmp_path, plugins=with_observer(Observer(fail))) as shop:
        await shop.request()
        whole = await log(shop.gateway)
        config = shop.config
    async with Gateway.open(config, ports=shop.gateway.ports, plugins=with_observer(later)) as gateway:
        gateway.catch_up()
        await delivered(later, 3)

    assert whole == later.seen


async def test_a_new_observer_begins_at_the_end_of_the_log(tmp_path: Path) -> None:
    """A plugin that is added to a store later receives what is recorded from then on."""
    observer = Observer()
    async with open_shop(tmp_path) as shop:
        await shop.request("R1")
        async with shop.reopened(plugins=with_observer(observer)) as gateway:
            refund = await gateway.request(
                RefundRequest(account="shop", payment="P1", amount="1.00", currency="EUR", refund_request_id="R2")
            )
            await delivered(observer, 3)

    assert {refund.id} == {recorded.refund_id for recorded in observer.seen}


async def test_two_processes_do_not_both_tell(tmp_path: Path) -> None:
    """While one gateway delivers to an observer, another on the same store does not; together they miss nothing."""
    one, two = Observer(lambda events: time.sleep(0.05)), Observer(lambda events: time.sleep(0.05))
    async with (
        open_shop(tmp_path, plugins=with_observer(one)) as shop,
        shop.reopened(plugins=with_observer(two)) as gateway,
    ):
        for number in range(10):
            await shop.request(f"R{number}")
            gateway.catch_up()
        whole = await log(gateway)
        async with asyncio.timeout(10):
            while len(one.seen + two.seen) < 30:  # noqa: ASYNC110  # filled by threads
                await asyncio.sleep(0.01)

    assert sorted(recorded.position for recorded in one.seen + two.seen) == [recorded.position for recorded in whole]


_DIES = """
import asyncio, os, sys
from datetime import datetime
from refundry.gateway import Gateway, RefundRequest
from refundry.plugin_host import hookimpl, load_plugins
from refundry.ports import Ports

class Observer:
    @hookimpl
    def refundry_recorded(self, events):
        os.write(1, f"{len(events)}".encode())
        os.kill(os.getpid(), 9)

async def main():
    ports = Ports(now=lambda: datetime.fromisoformat(sys.argv[2]))
    async with Gateway.open(sys.argv[1], plugins=load_plugins(extra=[Observer()]), ports=ports) as gateway:
        await gateway.request(
            RefundRequest(account="shop", payment="P1", amount="1.00", currency="EUR", refund_request_id="R1")
        )
        await asyncio.sleep(30)

asyncio.run(main())
"""


@pytest.mark.slow
async def test_a_process_that_is_killed_during_delivery_loses_nothing(tmp_path: Path) -> None:
    """Killed with SIGKILL in the middle of the hook, the next process delivers the same events."""
    observer = Observer()
    async with open_shop(tmp_path) as shop:
        command = [sys.executable, "-c", _DIES, str(shop.config), shop.clock.at.isoformat()]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, env=dict(os.environ))
        shop.clock.move(86_400)  # the dead process's lease is over
        async with shop.reopened(plugins=with_observer(observer)) as gateway:
            gateway.catch_up()
            await delivered(observer, 1)
            first = (await log(gateway))[0]

    assert -9 == done.returncode
    assert done.stdout
    assert first == observer.seen[0]
