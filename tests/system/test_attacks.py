"""Attacks on the first promise, at random: whatever a script does to a payment, it is refunded at most once.

Each script is played against a real store and a simulated provider: the process is stopped before a first byte, calls
and answers are lost, operators decide too early and in the wrong, replacements are requested at every moment, and the
clock is set forth and back. `REFUNDRY_ATTACKS` says how many scripts there are, `REFUNDRY_SEED` which.
"""

import os
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs
import pytest

from refundry.errors import RefundryError
from refundry.gateway import Gateway
from refundry.gateway.request import RefundRequest
from refundry.gateway.worker import Worker
from refundry.inputs import Operator
from refundry.journal import Row
from refundry.ports import Ports
from refundry.refund import Status
from refundry_antom.simulator import AntomSimulator
from tests.core.shop import TERMS, Clock, simulator, write_config
from tests.system.shop import seed_of_this_run

ATTACKS: Final = int(os.environ.get("REFUNDRY_ATTACKS", "40"))
ADA: Final = Operator("ada", "it looks like that")
CODES: Final = (
    "MERCHANT_BALANCE_NOT_ENOUGH",
    "RISK_REJECT",
    "UNKNOWN_EXCEPTION",
    "REFUND_IN_PROCESS",
    "INVALID_SIGNATURE",
)
STEPS: Final = ("refund composed", "attempt recorded", "request signed", "answer received", "answer read")
YEAR: Final = 365 * 86_400.0


@attrs.define
class Attack:
    """One payment, and everything that is done to its refunds."""

    gateway: Gateway
    antom: AntomSimulator
    clock: Clock
    dice: random.Random
    payment: str
    done: list[str] = attrs.field(factory=list)
    stops: dict[str, float] = attrs.field(factory=dict)
    """For how long the process is stopped at which step, once."""
    before_the_first_byte: list[Callable[[], Awaitable[object]]] = attrs.field(factory=list)
    clock_is_wrong_by: float = 0.0

    async def refunds(self) -> list[Row]:
        return list(await self.gateway.list(payment=self.payment))

    # --- what can be done ---------------------------------------------------------------------------------------------

    async def request(self) -> None:
        """Request the refund, or a replacement of one of the refunds."""
        known = await self.refunds()
        failed = [row for row in known if row.status is Status.FAILED] or known
        replaced = self.dice.choice(failed).id if known else None
        id = f"{self.payment}-{len(known)}"
        request = RefundRequest(
            account="shop",
            payment=self.payment,
            amount="12.33",
            currency="EUR",
            refund_request_id=id,
            retry_of=replaced,
        )
        await self.gateway.request(request, submit=self.dice.random() < 0.8)

    async def decide(self) -> None:
        """Decide without knowing anything, often without asking the provider."""
        row = self.dice.choice(await self.refunds())
        settled, offline = self.dice.random() < 0.2, self.dice.random() < 0.7
        await self.gateway.resolve(row.id, ADA, settled=settled, version=row.version, offline=offline)

    async def resume(self) -> None:
        await self.gateway.resume(self.dice.choice(await self.refunds()).id, ADA)

    async def inquire(self) -> None:
        await self.gateway.inquire(self.dice.choice(await self.refunds()).id)

    async def work(self) -> None:
        worker = Worker(self.gateway, concurrency=2)
        await worker._take()
        await worker._finish()

    async def wait(self) -> None:
        self.clock.move(self.dice.choice((0.5, 3.0, 10.0, 40.0)))

    async def set_clock(self) -> None:
        """Set the clock a year forth or back, or right again."""
        by = self.dice.choice((YEAR, -YEAR)) if not self.clock_is_wrong_by else -self.clock_is_wrong_by
        self.clock.move(by)
        self.clock_is_wrong_by += by

    async def stop(self) -> None:
        """Stop the process at one of its steps, and decide and request meanwhile."""
        self.stops[self.dice.choice(STEPS)] = self.dice.choice((1.0, 4.0, 7.0, 100.0))
        if self.dice.random() < 0.7:
            self.before_the_first_byte += [self.decide, self.request]

    async def lose(self) -> None:
        self.antom.fault(self.dice.choice(("drop_request", "drop_response")), operation=self.dice.choice(OPERATIONS))

    async def answer(self) -> None:
        fields = {"work": self.dice.choice(("do", "skip"))}
        self.antom.fault("answer", code=self.dice.choice(CODES), operation="refund", **fields)

    # --- the script ---------------------------------------------------------------------------------------------------

    async def play(self, actions: int) -> None:
        await self._do(self.dice.choice((self.stop, self.stop, self.lose, self.answer)))
        await self._do(self.request)
        for _ in range(actions):
            await self._do(self.dice.choice((
                self.request, self.request, self.decide, self.decide, self.resume, self.inquire, self.work, self.work,
                self.wait, self.wait, self.set_clock, self.stop, self.lose, self.answer,
            )))  # fmt: skip

    async def _do(self, action: Callable[[], Awaitable[object]]) -> None:
        """Do one thing; what is refused is refused, and anything but a clear refusal fails the test."""
        self.done.append(getattr(action, "__name__", "?"))
        with suppress(RefundryError):
            await action()

    async def first_byte(self) -> None:
        waiting, self.before_the_first_byte = self.before_the_first_byte, []
        for action in waiting:
            await self._do(action)

    def step(self, name: str) -> None:
        self.clock.move(self.stops.pop(name, 0.0))


OPERATIONS: Final = ("refund", "inquiry")


async def _attacked(directory: Path, seed: int) -> list[str]:
    """Play scripts against as many payments; return what went wrong."""
    clock, wrong = Clock(), []
    attack: Attack | None = None

    def step(name: str) -> None:
        if attack is not None:
            attack.step(name)

    async with simulator(clock) as antom:
        config = write_config(directory, {"shop": antom.url}, TERMS)
        async with Gateway.open(config, ports=Ports(now=clock, step=step)) as gateway:
            plain = gateway._caller._transport

            class Stopping:
                async def send(self, request: Any, timeout: float, delivery: Any) -> Any:
                    if attack is not None:
                        await attack.first_byte()
                    return await plain.send(request, timeout, delivery)

            gateway._caller._transport = Stopping()
            for number in range(ATTACKS):
                dice = random.Random(f"{seed}-{number}")
                attack = Attack(gateway, antom, clock, dice, f"P{number}")
                await attack.play(dice.randint(4, 14))
                antom.clear_faults()
                paid = [move.refund_request_id for move in antom.ledger.movements if move.payment == attack.payment]
                unknown = set(paid) - {row.refund_request_id for row in await attack.refunds()}
                if len(paid) > 1 or unknown:
                    wrong.append(f"{attack.payment} was paid as {paid} after {' '.join(attack.done)}")
                for row in await attack.refunds():
                    if row.status is Status.SETTLED and row.refund_request_id not in paid:
                        history = [item.event for item in await gateway.history(row.id)]
                        if not any(getattr(event, "by", None) == ADA.by for event in history):
                            wrong.append(
                                f"{row.refund_request_id} is settled and was not paid: {' '.join(attack.done)}"
                            )
                if attack.clock_is_wrong_by:
                    await attack.set_clock()
    return wrong


@pytest.mark.slow(seconds=5)
async def test_no_attack_pays_a_refund_twice(tmp_path: Path) -> None:
    """After any script, at most one refund of a payment was paid, and none is settled automatically that was not."""
    seed = seed_of_this_run()
    print(f"REFUNDRY_SEED={seed}")

    assert [] == await _attacked(tmp_path, seed)
