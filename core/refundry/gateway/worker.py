"""Workers process refunds that are due: any number of workers, in any number of processes, on one store.

The rule of this module: it decides nothing. The index states what is due, `policy` what to do, and the version of a
refund prevents that a step is taken twice. A refund that cannot be advanced never holds up another and is never
forgotten: it is flagged for review. An account never holds up another: each has slots of its own, and a refund takes
one only when its account may begin a call.
"""

import asyncio
import logging
import os
import socket
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import Final, assert_never

from refundry.errors import ConfigError, StoreError, UnreadableEvent
from refundry.gateway import Gateway
from refundry.inputs import Operator
from refundry.journal import WorkerRecord
from refundry.provider import ReviewReason
from refundry.refund import RaisedReview, Refund, Review, policy

__all__ = ["Worker", "process"]

_log = logging.getLogger("refundry")
_POLL: Final = 0.5
_MAX_FAILURES: Final = 3
_HEARTBEAT: Final = timedelta(seconds=5)
"""How often a worker reports that it runs, and checks the accounts for outages."""
_ASIDE: Final = timedelta(minutes=10)
"""How long a refund that cannot be read is left alone, before a worker, perhaps of a later version, tries again."""


class Worker:
    """Processes due refunds, up to `concurrency` of each account at once; with `account`, those of this account only.

    `lease` is for how many seconds other workers leave a refund to this one, even if it dies. It should cover one call
    to a provider; a wrong value only wastes work. `on_advance` is called with every refund that was advanced.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        concurrency: int = 64,
        account: str | None = None,
        lease: float | None = None,
        on_advance: Callable[[Refund], None] | None = None,
    ) -> None:
        timeouts = [found.terms.timeout for found in gateway.accounts.values()]
        self._gateway = gateway
        self._concurrency = concurrency
        self._account = None if account is None else gateway.account(account).name
        self._lease = timedelta(seconds=lease if lease is not None else max(timeouts, default=20.0) + 5)
        waits = [policy.longest_wait(found.terms) for found in gateway.accounts.values()]
        self._longest = max(*waits, self._lease, _ASIDE)
        """Nothing is planned or leased further ahead; what is was planned by a wrong clock."""
        self._on_advance = on_advance
        self._holder = gateway.ports.new_id()
        self._tasks: defaultdict[str, set[asyncio.Task[None]]] = defaultdict(set)
        self._growing: dict[str, int] = {}
        """The slots of accounts whose providers were unreachable until lately."""
        self._wake = asyncio.Event()
        self._stopping = False
        self._fatal: BaseException | None = None
        self.failures: dict[str, int] = {}
        """Refunds that could not be advanced because of an internal error, with the number of failures in a row."""
        self._versions: dict[str, int] = {}
        """The version at which this worker gave up on a refund."""
        self._started_at = gateway.ports.now()
        self._beaten_at: datetime | None = None
        self.unreadable: dict[str, str] = {}
        """Refunds with an event that cannot be read, and why; they are left alone."""
        self.unusable_accounts = {
            name: str(found.error)
            for name, found in gateway.accounts.items()
            if found.error is not None and account in (None, name)
        }
        """Accounts whose keys cannot be used, and why; their refunds wait for a corrected configuration."""
        self.unknown_accounts: set[str] = set()
        """Accounts with due refunds that the configuration does not have; their refunds are skipped."""

    @property
    def stuck(self) -> list[str]:
        """The refunds that this worker gave up on, because each of them failed several times in a row."""
        return [refund_id for refund_id in self.failures if self._gave_up(refund_id)]

    def busy(self, account: str) -> int:
        """Return how many refunds of an account are being processed."""
        return len(self._tasks[account])

    def stop(self) -> None:
        """Stop taking refunds; `run` returns when those in progress are done."""
        self._stopping = True
        self._wake.set()

    async def run(self, *, until_idle: bool = False) -> None:
        """Process refunds until `stop` is called; with `until_idle`, until each is final or needs an operator.

        Raises `StoreError` if the store fails; a later worker continues from the log.
        """
        self._gateway.catch_up()
        try:
            while not self._stopping and self._fatal is None:
                await self._beat()
                taken = await self._take()
                if not taken and until_idle and not self._in_progress() and await self._is_idle():
                    break
                if not taken:
                    await self._rest()
        finally:
            await self._finish()
        if self._fatal is not None:
            raise self._fatal

    def _in_progress(self) -> list[asyncio.Task[None]]:
        return [task for tasks in self._tasks.values() for task in tasks]

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
            in_progress=len(self._in_progress()),
            gave_up=len(self.stuck) + len(self.unreadable),
            unknown_accounts=tuple(sorted(self.unknown_accounts)),
        )
        await self._gateway.journal.keep_worker(record)
        if not first:
            # What was due before this worker started is not reported before it had time to process some of it.
            await self._gateway.monitor.check(sorted(self._gateway.accounts))

    async def _take(self) -> int:
        journal, now = self._gateway.journal, self._gateway.ports.now()
        beyond = now + self._longest
        accounts = await journal.due_accounts(now, beyond=beyond)
        room = {account: await self._room(account) for account in accounts}
        room = {account: some for account, some in room.items() if some}
        if not room:
            return 0
        until = now + self._lease
        taken = await journal.take_due(now, beyond=beyond, until=until, holder=self._holder, room=room)
        self._gateway.ports.step("work taken")
        started = 0
        for account, ids in taken.items():
            for refund_id in ids:
                if await self._may_try(refund_id):
                    self._start(account, refund_id)
                    started += 1
        return started

    async def _room(self, account: str) -> int:
        """Return how many refunds of an account to take: as many as have a slot and may begin a call."""
        if self._account not in (None, account) or account in self.unusable_accounts:
            return 0
        if account not in self._gateway.accounts:
            self.unknown_accounts.add(account)
            return 0
        slots = self._concurrency
        if (healthy := await self._gateway.monitor.room(account)) is not None:
            # When the provider answers again, its backlog is spread: one refund, then two, four and so on.
            slots = self._growing[account] = healthy
        elif account in self._growing:
            slots = min(slots, max(1, self._growing[account]))
        free = slots - self.busy(account)
        # A few at a time: one small transaction for each refund would cost more than the refund.
        if free < max(1, slots // 4):
            return 0
        return min(free, self._gateway.pacing.admits(account))

    def _grow(self, account: str) -> None:
        """Add a slot for each refund that was advanced since the provider answers again."""
        if account in self._growing:
            self._growing[account] += 1
            if self._growing[account] >= self._concurrency:
                del self._growing[account]

    def _start(self, account: str, refund_id: str) -> None:
        self._gateway.pacing.draw(account)
        task = asyncio.create_task(self._advance(account, refund_id))
        self._tasks[account].add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._tasks[account].discard(task)
            self._wake.set()

        task.add_done_callback(done)

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

    async def _advance(self, account: str, refund_id: str) -> None:
        try:
            refund = await self._gateway.advance(refund_id)
        except ConfigError as error:
            # The configuration is read when a process starts, so nothing changes until then.
            self.unusable_accounts[account] = str(error)
        except UnreadableEvent as error:
            await self._set_aside(refund_id, str(error))
        except StoreError as error:
            self._fatal = error
        except Exception:
            self.failures[refund_id] = self.failures.get(refund_id, 0) + 1
            _log.exception("refund %s could not be advanced", refund_id)
            if self._gave_up(refund_id):
                await self._escalate(refund_id)
        else:
            self.failures.pop(refund_id, None)
            self.unreadable.pop(refund_id, None)
            self._grow(refund.account)
            if self._on_advance is not None:
                self._on_advance(refund)

    async def _set_aside(self, refund_id: str, why: str) -> None:
        if refund_id not in self.unreadable:
            _log.error("refund %s is left alone: %s", refund_id, why)
        self.unreadable[refund_id] = why
        now = self._gateway.ports.now()
        review = Review(ReviewReason.UNREADABLE_EVENT, why, now)
        try:
            await self._gateway.journal.set_aside(refund_id, review, until=now + _ASIDE)
        except StoreError as error:
            self._fatal = error

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
        journal = self._gateway.journal
        records = await journal.account_records(self._account)
        paused = {record.account for record in records if record.paused_at is not None}
        count = await journal.waiting(self._account)
        for account in paused | self.unknown_accounts | self.unusable_accounts.keys():
            count -= await journal.waiting(account)
        # Other processes may have resolved some of the refunds that this worker gave up on.
        for refund_id in self.stuck:
            await self._may_try(refund_id)
        # Those that could not be flagged for review still count as waiting.
        return count <= sum(refund_id not in self._versions for refund_id in self.stuck)

    async def _rest(self) -> None:
        """Wait until a task ends or something may be due."""
        self._wake.clear()
        now = self._gateway.ports.now()
        due = await self._gateway.journal.next_due(now)
        pause = _POLL if due is None else min(_POLL, max(0.01, (due - now).total_seconds()))
        # Not `wait_for`: before Python 3.12 it forgets a cancellation that comes together with the wake.
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._wake.wait()

    async def _finish(self) -> None:
        if tasks := self._in_progress():
            await asyncio.gather(*tasks, return_exceptions=True)
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
