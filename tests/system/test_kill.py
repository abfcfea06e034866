"""Crash safety: processes are killed with SIGKILL at random moments and at every named step, and nothing goes wrong.

`REFUNDRY_KILLS` says how many kills there are at least, `REFUNDRY_SEED` which; in CI the seed is fixed.
"""

import asyncio
import multiprocessing
import os
import random
import signal
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final

import pytest

from refundry.gateway import Gateway
from refundry.inputs import Operator
from refundry.ports import STEPS
from refundry.testing.simulator.settings import Keys
from tests.system.lives import Life, live
from tests.system.shop import RefundInstruction, Shop, instructions, judge, open_shop, seed_of_this_run

KILLS: Final = int(os.environ.get("REFUNDRY_KILLS", "210"))
AT_STEPS: Final[dict[str, tuple[str, ...]]] = {
    "worker": (*(step for step in STEPS if not step.startswith("notification") and step != "refund recorded"),),
    "platform": (*(step for step in STEPS if not step.startswith("notification") and step != "work taken"),),
    "listener": ("notification verified", "answer read", "outcome recorded", "notification recorded"),
}
"""Which steps each kind of process comes by."""
EACH: Final = max(5, KILLS // 40)
"""How often each kind of process is killed at each of its steps."""
SLOTS: Final = {"worker": 2, "platform": 1, "listener": 1}
"""How many processes of each kind live at once."""
RESUMES: Final = 5
"""How often an operator may have to resume refunds at the end."""
PATIENCE: Final = 20.0
"""Seconds after which a process that never comes by its step is killed and replaced."""
ENOUGH: Final = 150
"""Refunds that wait for the workers, at least."""
FAULTS: Final = (
    ("drop_request", {"probability": 5}),
    ("drop_response", {"probability": 6}),
    ("drop_response", {"probability": 1, "how": "hang"}),
    ("delay", {"probability": 5, "seconds": "0.3"}),
    ("delay", {"probability": 1, "seconds": "1.3", "late": True}),
    ("corrupt", {"probability": 2, "kind": "html"}),
    ("corrupt", {"probability": 2, "kind": "half_json"}),
    ("corrupt", {"probability": 2, "kind": "http_500"}),
    ("bad_signature", {"probability": 2}),
    ("reorder", {"probability": 3, "hold": "0.2", "operation": "refund"}),
    ("answer", {"probability": 2, "code": "UNKNOWN_EXCEPTION", "operation": "refund"}),
    ("answer", {"probability": 2, "code": "SYSTEM_ERROR", "work": "do", "operation": "refund"}),
    ("answer", {"probability": 2, "code": "REQUEST_TRAFFIC_EXCEED_LIMIT", "operation": "refund"}),
    ("answer", {"probability": 2, "code": "RISK_REJECT", "operation": "refund"}),
)


@pytest.fixture
def processes() -> Iterator[ForkServerContext]:
    """Processes that start fast: they are forked from one that has everything imported already."""
    context = multiprocessing.get_context("forkserver")
    # pytest too: a child imports the main module.
    context.set_forkserver_preload(["pytest", "refundry.cli", "refundry.web", "refundry_antom.simulator"])
    yield context
    # To leave no process behind; the library itself ends them only with this one.
    servers: list[Any] = [forkserver._forkserver, resource_tracker._resource_tracker]
    for server in servers:
        server._stop()


class Campaign:
    """Lives that end early, on one store."""

    def __init__(self, shop: Shop, gateway: Gateway, processes: ForkServerContext, dice: random.Random) -> None:
        self.shop = shop
        self.gateway = gateway
        self.kills: Counter[tuple[str, str]] = Counter()
        self.acknowledged: list[RefundInstruction] = []
        self._processes = processes
        self._dice = dice
        self._unasked = instructions("ASKED", 20 * KILLS, dice)
        self._stored = 0

    async def run(self) -> None:
        """Live and kill until every planned kill is done."""
        lives = _planned(self._dice)
        async with asyncio.TaskGroup() as group:
            supplier = group.create_task(self._supply())
            await asyncio.gather(
                *(self._fill(lives[role], role) for role, count in SLOTS.items() for _ in range(count))
            )
            supplier.cancel()

    async def finish(self) -> int | None:
        """Run one last worker, which is not killed, for what is left; return its exit status.

        Three contradictory answers in a row flag a refund for review, and among so many refunds that happens by chance:
        the operator resumes them, and the worker continues with the same ids.
        """
        for _ in range(RESUMES):
            process = self._start(Life("last worker", self.shop.directory))
            await _end(process, None)
            self._take_notes()
            resumed = [
                refund
                for account in self.gateway.accounts
                for refund in await self.gateway.resume_account(
                    account, Operator(by="ada", why="the network was at fault")
                )
            ]
            if not resumed:
                break
        return process.exitcode

    async def _fill(self, lives: "deque[str | None]", role: str) -> None:
        """Keep one process of a kind alive, and dying, while there are kills to do."""
        while lives:
            step = lives.popleft()
            await self._live_and_die(role, step)

    async def _live_and_die(self, role: str, step: str | None) -> None:
        for _ in range(10):
            process = self._start(self._life(role, step))
            await _end(process, PATIENCE if step else self._dice.uniform(0.05, 0.6))
            at_its_step = process.exitcode == -signal.SIGKILL and not getattr(process, "late", False)
            self._take_notes()
            assert process.exitcode in (0, -signal.SIGKILL), f"a {role} ended with {process.exitcode}"
            if process.exitcode and (at_its_step or step is None):
                self.kills[role, step or "a random moment"] += 1
                return
        raise AssertionError(f"no {role} came by the step {step!r}")

    def _life(self, role: str, step: str | None) -> Life:
        return Life(
            role,
            self.shop.directory,
            step,
            nth=self._dice.randint(1, 6),
            port=self.shop.port,
            instructions=tuple(self._unasked[:40]) if role == "platform" else (),
        )

    def _start(self, life: Life) -> BaseProcess:
        process = self._processes.Process(target=live, args=(life,), daemon=True)
        process.start()
        return process

    def _take_notes(self) -> None:
        """Take over what the platform noted before it died; the rest is asked again, with the same ids."""
        notes = Life("", self.shop.directory).acknowledged
        done = set(notes.read_text().split()) if notes.exists() else set()
        self.acknowledged += [instruction for instruction in self._unasked if instruction.id in done]
        self._unasked = [instruction for instruction in self._unasked if instruction.id not in done]

    async def _supply(self) -> None:
        """Record more refunds whenever few are left to process."""
        while True:
            waiting = await self.gateway.journal.waiting()
            if waiting < ENOUGH:
                more = instructions(f"STORED{self._stored}", 50, self._dice)
                self._stored += 1
                await asyncio.gather(*(self.gateway.request(instruction.request, submit=False) for instruction in more))
                self.acknowledged += more
            await asyncio.sleep(0.1)


def _planned(dice: random.Random) -> "dict[str, deque[str | None]]":
    """Return for each kind of process the steps to die at, None for a random moment, in random order."""
    named = sum(len(steps) for steps in AT_STEPS.values()) * EACH
    at_random = max(KILLS - named, KILLS // 3)
    plan = {}
    for role, steps in AT_STEPS.items():
        share = -(-at_random * SLOTS[role] // sum(SLOTS.values()))
        lives: list[str | None] = [*(step for step in steps for _ in range(EACH)), *([None] * share)]
        dice.shuffle(lives)
        plan[role] = deque(lives)
    return plan


async def _end(process: BaseProcess, after: float | None) -> None:
    """Wait until a process ends; kill it, and mark it `late`, if it still lives after so many seconds."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(process.sentinel, ended.set)
    try:
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), after)
        if not ended.is_set():
            process.late = True  # type: ignore[attr-defined]  # our own mark
            process.kill()
            await ended.wait()
    finally:
        loop.remove_reader(process.sentinel)
        process.kill()
        process.join(10)


@pytest.mark.slow(seconds=45)
async def test_killed_anywhere_every_refund_is_paid_once_and_ends(
    tmp_path: Path, keys: Keys, processes: ForkServerContext, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is killed whenever: no refund is paid twice, none is lost, and all end as the provider has them."""
    seed = seed_of_this_run()
    async with open_shop(tmp_path, keys, seed=seed) as shop, Gateway.open(shop.config) as gateway:
        for name, fields in FAULTS:
            shop.fault(name, times=None, **fields)
        campaign = Campaign(shop, gateway, processes, random.Random(seed))
        await campaign.run()
        status = await campaign.finish()
        wrong = await judge(shop, gateway, campaign.acknowledged)
    with capsys.disabled():
        print(f"\nseed {seed}: {campaign.kills.total()} kills, {len(campaign.acknowledged)} refunds acknowledged")
        for (role, step), count in sorted(campaign.kills.items()):
            print(f"  {count:4} {role}, {step}")

    assert [] == wrong
    assert 0 == status
    assert "" == Life("", tmp_path).log.read_text()
    assert campaign.kills.total() >= min(KILLS, 200)
    assert {(role, step) for role, steps in AT_STEPS.items() for step in steps} <= campaign.kills.keys()
    assert set(STEPS) <= {step for _, step in campaign.kills}
