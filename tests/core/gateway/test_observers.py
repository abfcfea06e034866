"""Observers receive every event at least once, after the commit, and never delay a refund."""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from refundry.errors import Invalid, PluginError
from refundry.gateway import Gateway
from refundry.gateway.request import RefundRequest
from refundry.journal import ObservedEvent
from refundry.plugin_host import Observer, Plugins, Start, hookimpl, load_plugins, observer
from refundry.refund import Status
from tests.core.shop import open_shop


class Seen:
    """An observer that keeps what it receives, or does what a test asks."""

    def __init__(self, do: Callable[[Sequence[ObservedEvent]], None] | None = None, start: Start = "now") -> None:
        self.seen: list[ObservedEvent] = []
        self.start: Start = start
        self.calls = 0
        self.threads: set[str] = set()
        self._do = do

    @hookimpl
    def refundry_observers(self) -> list[Observer]:
        return [Observer("ledger", self.deliver, self.start)]

    def deliver(self, events: Sequence[ObservedEvent]) -> None:
        self.calls += 1
        self.threads.add(threading.current_thread().name)
        if self._do is not None:
            self._do(events)
        self.seen += events


def with_observer(observer: object) -> Plugins:
    return load_plugins(extra=[observer])


def _wait(event: threading.Event) -> None:
    event.wait()


async def log(gateway: Gateway) -> list[ObservedEvent]:
    return [event async for event in gateway.events()]


async def delivered(observer: Seen, count: int) -> None:
    async with asyncio.timeout(30):
        while len(observer.seen) < count:  # noqa: ASYNC110  # filled by a thread
            await asyncio.sleep(0.01)


async def test_an_observer_sees_everything_in_order_and_off_the_loop(tmp_path: Path) -> None:
    """Every event reaches the observer, in the order of the log, in a thread of its own."""
    observer = Seen()
    async with open_shop(tmp_path, plugins=with_observer(observer)) as shop:
        for number in range(5):
            await shop.request(f"R{number}")
        whole = await log(shop.gateway)

    assert 15 == len(whole)
    assert whole == observer.seen
    assert {"refundry-observe-ledger"} == observer.threads


@pytest.mark.slow
async def test_delivery_to_an_observer_that_fails_is_retried(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An exception of an observer is logged and changes nothing; it receives the same events again, then the next."""
    failures = [RuntimeError("observers may fail"), SystemExit(3)]

    def fail(events: Sequence[ObservedEvent]) -> None:
        if failures:
            raise failures.pop()

    observer = Seen(fail)
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

    hanging, other = Observer("hanging", lambda events: _wait(never)), Seen()
    began = time.monotonic()
    async with open_shop(tmp_path, plugins=with_observer(other), observers=[hanging]) as shop:
        refunds = [await shop.request(f"R{number}") for number in range(20)]
        await delivered(other, 60)
    never.set()

    assert {Status.SETTLED} == {refund.status for refund in refunds}
    assert time.monotonic() - began < 30  # not a speed: it would never end


async def test_what_a_failing_observer_missed_the_next_process_tells(tmp_path: Path) -> None:
    """What was not delivered is delivered when the store is opened again, before anything new is recorded."""

    def fail(events: Sequence[ObservedEvent]) -> None:
        raise RuntimeError("not now")

    later = Seen()
    async with open_shop(tmp_path, plugins=with_observer(Seen(fail))) as shop:
        await shop.request()
        whole = await log(shop.gateway)
        config = shop.config
    async with Gateway.open(config, ports=shop.gateway.ports, plugins=with_observer(later)):
        await delivered(later, 3)

    assert whole == later.seen


async def test_a_new_observer_begins_at_the_end_of_the_log(tmp_path: Path) -> None:
    """A plugin that is added to a store later receives what is recorded from then on."""
    observer = Seen()
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
    one, two = Seen(lambda events: time.sleep(0.05)), Seen(lambda events: time.sleep(0.05))
    async with (
        open_shop(tmp_path, plugins=with_observer(one)) as shop,
        shop.reopened(plugins=with_observer(two)) as gateway,
    ):
        for number in range(10):
            await shop.request(f"R{number}")
            whole = await log(gateway)
        async with asyncio.timeout(10):
            while len(one.seen + two.seen) < 30:  # noqa: ASYNC110  # filled by threads
                await asyncio.sleep(0.01)

    assert sorted(recorded.position for recorded in one.seen + two.seen) == [recorded.position for recorded in whole]


_DIES = """
import asyncio, os, sys
from datetime import datetime
from refundry.gateway import Gateway, RefundRequest
from refundry.plugin_host import observer
from refundry.ports import Ports

@observer(name="ledger")
def ledger(events):
    os.write(1, f"{len(events)}".encode())
    os.kill(os.getpid(), 9)

async def main():
    ports = Ports(now=lambda: datetime.fromisoformat(sys.argv[2]))
    async with Gateway.open(sys.argv[1], observers=[ledger], ports=ports) as gateway:
        await gateway.request(
            RefundRequest(account="shop", payment="P1", amount="1.00", currency="EUR", refund_request_id="R1")
        )
        await asyncio.sleep(30)

asyncio.run(main())
"""


@pytest.mark.slow
async def test_a_process_that_is_killed_during_delivery_loses_nothing(tmp_path: Path) -> None:
    """Killed with SIGKILL in the middle of the hook, the next process delivers the same events."""
    observer = Seen()
    async with open_shop(tmp_path) as shop:
        command = [sys.executable, "-c", _DIES, str(shop.config), shop.clock.at.isoformat()]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, env=dict(os.environ))
        shop.clock.move(5)  # the dead process's lease is over
        async with shop.reopened(plugins=with_observer(observer)) as gateway:
            await delivered(observer, 1)
            first = (await log(gateway))[0]

    assert -9 == done.returncode
    assert done.stdout
    assert first == observer.seen[0]


async def test_an_event_names_its_refund_as_the_platform_does(tmp_path: Path) -> None:
    """Every event is delivered with account, payment, refund id and request id, also one that is not the first."""
    seen = Seen()
    async with open_shop(tmp_path, plugins=with_observer(seen)) as shop:
        refund = await shop.request("R1")
        await delivered(seen, 3)
        (last,) = [event async for event in shop.gateway.events(after=2)]

    assert {("shop", "P1", refund.id, "R1")} == {
        (event.account, event.payment, event.refund_id, event.refund_request_id) for event in [*seen.seen, last]
    }
    assert seen.seen[-1] == last


@pytest.mark.slow(seconds=1.2)
async def test_a_gateway_that_records_nothing_delivers_what_others_record(tmp_path: Path) -> None:
    """Deliveries run as long as the gateway is open, without a worker and without a write of its own."""
    seen = Seen()
    async with open_shop(tmp_path) as shop, shop.reopened(plugins=with_observer(seen)):
        await shop.request("R1")
        await delivered(seen, 3)

    assert [1, 2, 3] == [event.position for event in seen.seen]


@pytest.mark.parametrize(("start", "positions"), [("beginning", [1, 2, 3]), (1, [2, 3]), ("now", [])])
async def test_a_new_observer_starts_where_it_wants(tmp_path: Path, start: Start, positions: list[int]) -> None:
    """It starts at the beginning of the log, after a position, or at the end; the name decides whether it is new."""
    first, renamed = Seen(start=start), Seen(start="beginning")
    async with open_shop(tmp_path) as shop:
        await shop.request("R1")
        async with shop.reopened(observers=[Observer("ledger", first.deliver, start)]):
            await delivered(first, len(positions))
        async with shop.reopened(observers=[Observer("ledger", renamed.deliver, "beginning")]):
            await asyncio.sleep(0.05)

    assert positions == [event.position for event in first.seen]
    assert [] == renamed.seen


async def test_an_idle_gateway_does_not_hold_the_lease(tmp_path: Path) -> None:
    """A process that has nothing to deliver leaves the observer to the process that has, without waiting."""
    idle, busy = Seen(), Seen()
    async with open_shop(tmp_path) as shop:
        await shop.request("R1")
        async with shop.reopened(plugins=with_observer(idle)):
            await asyncio.sleep(0.05)
            taken = await shop.gateway.journal.take_observer(
                "ledger", shop.clock.at, until=shop.clock.at + timedelta(seconds=5), holder="other"
            )

    assert 3 == taken
    assert [] == busy.seen


async def test_events_can_be_followed(tmp_path: Path) -> None:
    """The iterator over events ends at the end of the log, or waits there for what is recorded later."""
    async with open_shop(tmp_path) as shop:
        await shop.request("R1")
        ended = [event.position async for event in shop.gateway.events(after=1)]
        followed = []
        async for event in shop.gateway.events(after=2, follow=True):
            followed.append(event.position)
            if event.position == 3:
                await shop.request("R2")
            if event.position == 6:
                break

    assert [2, 3] == ended
    assert [3, 4, 5, 6] == followed


async def test_two_observers_of_one_name_are_refused(tmp_path: Path) -> None:
    """They would share one position, so each would miss what the other was delivered."""
    with pytest.raises(PluginError, match="two observers are called 'ledger'"):
        async with open_shop(tmp_path, plugins=with_observer(Seen()), observers=[Observer("ledger", print)]):
            pass


@pytest.mark.parametrize(
    ("name", "start", "rule"),
    [("", "now", "observer name: "), ("x", "Now", "observer 'x': start: "), ("x", -1, "start"), ("x", True, "start")],
)
def test_an_observer_that_cannot_be_registered_is_refused(name: str, start: Any, rule: str) -> None:
    """A name or a start that means nothing is an error where it is written."""
    with pytest.raises(Invalid, match=rule):
        observer(name=name, start=start)(print)
