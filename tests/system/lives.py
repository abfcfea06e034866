"""What the processes that are killed do with their lives: work, listen, or ask."""

import asyncio
import logging
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import attrs
from aiohttp import web

from refundry.gateway import Gateway
from refundry.gateway.worker import Worker
from refundry.ports import Ports
from refundry.web import init_app
from tests.system.shop import RefundInstruction

LONGEST = 120
"""Seconds after which the operating system ends a life, whatever became of the test."""
LEASE = 1.5


@attrs.frozen
class Life:
    """One process: what it does, and the step at which it kills itself, if any."""

    role: str
    directory: Path
    step: str | None = None
    nth: int = 1
    port: int = 0
    instructions: tuple[RefundInstruction, ...] = ()

    @property
    def log(self) -> Path:
        """Where errors are logged: a bug is visible here."""
        return self.directory / "lives.log"

    @property
    def acknowledged(self) -> Path:
        """Where a platform notes what was acknowledged to it."""
        return self.directory / "acknowledged"


def live(life: Life) -> None:
    """Live until the work is done or the process is killed."""
    signal.alarm(LONGEST)
    logging.basicConfig(filename=life.log, level=logging.ERROR, force=True)
    asyncio.run(_live(life))


async def _live(life: Life) -> None:
    ports = Ports(step=_suicide(life.step, life.nth)) if life.step is not None else Ports()
    async with Gateway.open(life.directory / "refundry.toml", ports=ports) as gateway:
        await _ROLES[life.role](gateway, life)


def _suicide(step: str, nth: int) -> Callable[[str], None]:
    """Die by SIGKILL when the step is done for the nth time."""
    seen: Counter[str] = Counter()

    def done(name: str) -> None:
        seen[name] += 1
        if name == step and seen[name] == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    return done


async def _work(gateway: Gateway, life: Life) -> None:
    await Worker(gateway, concurrency=16, lease=LEASE).run()


async def _finish(gateway: Gateway, life: Life) -> None:
    await Worker(gateway, lease=LEASE).run(until_idle=True)


async def _listen(gateway: Gateway, life: Life) -> None:
    runner = web.AppRunner(init_app(web.Application(), gateway), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", life.port).start()
    await asyncio.Event().wait()


async def _ask(gateway: Gateway, life: Life) -> None:
    """Ask for each refund, a few at once, and note which were acknowledged in a file that outlives us."""
    waiting = list(reversed(life.instructions))
    notes = os.open(life.acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def ask() -> None:
        while waiting:
            instruction = waiting.pop()
            await gateway.request(instruction.request, submit=instruction.submit)
            os.write(notes, f"{instruction.id}\n".encode())

    await asyncio.gather(*(ask() for _ in range(4)))
    os.close(notes)


_ROLES: Final[dict[str, Callable[[Gateway, Life], Awaitable[None]]]] = {
    "worker": _work,
    "last worker": _finish,
    "listener": _listen,
    "platform": _ask,
}
