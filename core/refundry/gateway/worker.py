"""Workers process refunds that are due: any number of workers, in any number of processes, on one store.

The rule of this module: it decides nothing. The index states what is due, `policy` what to do, and the version of a
refund prevents that a step is taken twice. A refund that cannot be advanced never holds up another and is never
forgotten: it is flagged for review.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Final, assert_never

from refundry.errors import StoreError, UnknownAccount
from refundry.gateway import Gateway
from refundry.inputs import Operator
from refundry.journal import WorkerRecord
from refundry.provider import ReviewReason
from refundry.refund import RaisedReview, Refund, policy

__all__ = ["Worker", "process"]

_log = logging.getLogger("refundry")
_POLL: Final = 0.5
_MAX_FAILURES: Final = 3
_HEARTBEAT: Final = timedelta(seconds=5)
"""How often a worker reports that it runs, and checks the accounts for outages."""


class Worker:
    """Processes due refunds, up to `concurrency` at once.

    `lease` is for how many seconds other workers leave a refund to this one, even if it dies. It should cover one call
    to a provider; a wrong value only wastes work. `on_advance` is called with every refund that was advanced.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        concurrency: int = 64,
        lease: float | None = None,
        on_advance: Callable[[Refund], None] | None = None,
    ) -> None:
        timeouts = [account.terms.timeout for account in gateway.accounts.values()]
        self._gateway = gateway
        self._concurrency = concurrency
        self._lease = timedelta(seconds=lease if lease is not None else max(timeouts, default=20.0) + 5)
        self._on_advance = on_advance
        self._holder = gateway.ports.new_id()
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._stopping = False
        self._fatal: BaseException | None = None
        self._left_alone: set[str] = set()
        self.failures: dict[str, int] = {}
        """Refunds that could not be advanced because of an internal error, with the number of failures in a row."""
        self._versions: dict[str, int] = {}
        """The version at which this worker gave up on a refund."""
        self._started_at = gateway.ports.now()
        self._beaten_at: datetime | None = None
        self.unknown_accounts: set[str] = set()
        """Accounts with due refunds that the configuration does not have; their refunds are skipped."""

    @property
    def stuck(self) -> list[str]:
        """The refunds that this worker gave up on, because each of them failed several times in a row."""
        return [refund_id for refund_id in self.failures if self._gave_up(refund_id)]

    def stop(self) -> None:
        """Stop taking refunds; `run` returns when those in progress are done."""
        self._stopping = True
        self._wake.set()

    async def run(self, *, until_idle: bool = False) -> None:
        """Process refunds until `stop` is called; with `until_idle`, until none is left that a worker can process.

        Raises `StoreError` if the store fails; a later worker continues from the log.
        """
        self._gateway.catch_up()
        try:
            while not self._stopping and self._fatal is None:
                await self._beat()
                taken = await self._take()
                if not taken and until_idle and not self._tasks and await self._is_idle():
                    break
                if not taken:
                    await self._rest()
        finally:
            await self._finish()
        if self._fatal is not None:
            raise self._fatal

    async def _beat(self) -> None:
        now = self._gateway.ports.now()
        if self._beaten_at is not None and timedelta(0) <= now - self._beaten_at < _HEARTBEAT:
            return
        first, self._beaten_at = self._beaten_at is None, now
        record = WorkerRecord(
            id=self._holder,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=version("refundry"),
            started_at=self._started_at,
            heartbeat_at=now,
            in_progress=len(self._tasks),
            gave_up=len(self.stuck),
            unknown_accounts=tuple(sorted(self.unknown_accounts)),
        )
        await self._gateway.journal.keep_worker(record)
        if not first:
            # What was due before this worker started is not reported before it had time to process some of it.
            await self._gateway.monitor.check(sorted(self._gateway.accounts))

    async def _take(self) -> int:
        free = self._concurrency - len(self._tasks)
        # A few at a time: one small transaction for each refund would cost more than the refund.
        if free < max(1, self._concurrency // 4):
            return 0
        now = self._gateway.ports.now()
        ids = await self._gateway.journal.take_due(now, until=now + self._lease, holder=self._holder, limit=free)
        self._gateway.ports.step("work taken")
        wanted = [
            refund_id for refund_id in ids if refund_id not in self._left_alone and await self._may_try(refund_id)
        ]
        for refund_id in wanted:
            task = asyncio.create_task(self._advance(refund_id))
            self._tasks.add(task)
            task.add_done_callback(self._done)
        return len(wanted)

    async def _may_try(self, refund_id: str) -> bool:
        """Return False for a refund that this worker gave up on, until something new is recorded about it."""
        if not self._gave_up(refund_id):
            return True
        try:
            refund = await self._gateway.get(refund_id)
        except StoreError:
            raise
        except Exception:
            _log.exception("refund %s could not be read", refund_id)
            return False
        if not refund.final and refund.version == self._versions.get(refund_id, refund.version):
            return False
        del self.failures[refund_id]
        return True

    def _gave_up(self, refund_id: str) -> bool:
        return self.failures.get(refund_id, 0) >= _MAX_FAILURES

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._wake.set()

    async def _advance(self, refund_id: str) -> None:
        try:
            refund = await self._gateway.advance(refund_id)
        except StoreError as error:
            self._fatal = error
        except UnknownAccount as error:
            self.unknown_accounts.add(error.account)
            self._left_alone.add(refund_id)
        except Exception:
            self.failures[refund_id] = self.failures.get(refund_id, 0) + 1
            _log.exception("refund %s could not be advanced", refund_id)
            if self._gave_up(refund_id):
                await self._escalate(refund_id)
        else:
            self.failures.pop(refund_id, None)
            if self._on_advance is not None:
                self._on_advance(refund)

    async def _escalate(self, refund_id: str) -> None:
        # Without the text of the errors, which a plugin may have filled with anything.
        text = f"a worker gave up after {_MAX_FAILURES} unexpected errors in a row; see its log"
        reason = RaisedReview(ReviewReason.WORKER_GAVE_UP, text)
        try:
            refund = await self._gateway.flag_for_review(
                refund_id, [reason], Operator("refundry", "it cannot be processed")
            )
            self._versions[refund_id] = refund.version
        except StoreError as failed:
            self._fatal = failed
        except Exception:
            _log.exception("refund %s could not be flagged for review", refund_id)

    async def _is_idle(self) -> bool:
        count, _ = await self._gateway.journal.waiting()
        if count > len(self.stuck) + len(self._left_alone):
            return False
        # Other processes may have resolved some of the refunds that this worker gave up on.
        for refund_id in self.stuck:
            await self._may_try(refund_id)
        return count <= len(self.stuck) + len(self._left_alone)

    async def _rest(self) -> None:
        """Wait until a task ends or something may be due."""
        self._wake.clear()
        pause = _POLL
        if not self._tasks:
            _, due = await self._gateway.journal.waiting()
            if due is not None:
                pause = min(_POLL, max(0.01, (due - self._gateway.ports.now()).total_seconds()))
        # Not `wait_for`: before Python 3.12 it forgets a cancellation that comes together with the wake.
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._wake.wait()

    async def _finish(self) -> None:
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(StoreError):
            await self._gateway.journal.release(self._holder)
            await self._gateway.journal.remove_worker(self._holder)


async def process(gateway: Gateway, refund: Refund, seconds: float) -> Refund:
    """Process one refund for up to `seconds`, or until it is final or needs an operator; return it as it is then."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        step = await gateway.next_step(refund)
        match step:
            case policy.ManualReview() | policy.Done():
                return refund
            case policy.Submit() | policy.Inquire():
                at = step.at
            case _:
                assert_never(step)
        left = deadline - loop.time()
        if left <= 0:
            return refund
        wait = (at - gateway.ports.now()).total_seconds()
        if wait > 0:
            # A worker or a notification may change it meanwhile.
            await gateway.ports.sleep(min(wait, left, _POLL))
            refund = await gateway.get(refund.id)
            continue
        before = refund.version
        with suppress(TimeoutError):
            async with asyncio.timeout(left):
                refund = await gateway.advance(refund.id)
        if refund.version == before:
            await gateway.ports.sleep(min(max(deadline - loop.time(), 0), _POLL))
