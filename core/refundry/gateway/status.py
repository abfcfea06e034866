"""One look at everything: accounts, workers, audit and store, and what is wrong with them.

The rule of this module: it only reads. Every problem has a code, for alerts, and a sentence for people.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import attrs

from refundry.formatting import counted
from refundry.gateway.account_health import AccountHealth, AccountState
from refundry.gateway.queries import Reader
from refundry.journal import StoreRecord, WorkerRecord

__all__ = ["Problem", "ProblemCode", "StoreStatus", "read_status"]

SILENT_AFTER: Final = timedelta(seconds=30)
"""A worker without a heartbeat for so long was killed, or hangs."""
UNSIGNED_AFTER: Final = timedelta(seconds=60)
"""An event that is not signed for so long will not be: no process signs, or signing fails."""


class ProblemCode(StrEnum):
    """What can be wrong."""

    OUTAGE = "outage"
    """No call of the account has succeeded for `outage_alert_after` although work is due."""
    UNREACHABLE = "unreachable"
    """The provider does not answer."""
    BLOCKED = "blocked"
    """The provider rejects the account's configuration or contract."""
    NO_WORKER = "no_worker"
    """Refunds are due, and no worker runs."""
    WORKER_GAVE_UP = "worker_gave_up"
    """A worker gave up on refunds because of internal errors."""
    UNKNOWN_ACCOUNT = "unknown_account"
    """Refunds are due in an account that a worker's configuration does not have."""
    NEEDS_REVIEW = "needs_review"
    """Refunds need review."""
    NOT_SIGNED = "not_signed"
    """The log has events that are not signed."""


@attrs.frozen(slots=True)
class Problem:
    """One thing that is wrong."""

    code: ProblemCode
    message: str
    account: str | None = None


@attrs.frozen(slots=True, kw_only=True)
class StoreStatus:
    """Accounts, workers, audit and store at a moment."""

    at: datetime
    accounts: Sequence[AccountHealth]
    workers: Sequence[WorkerRecord]
    store: StoreRecord
    unsigned_since: datetime | None
    """The time of the first event that is not signed; None if all are."""

    def is_silent(self, worker: WorkerRecord) -> bool:
        """Return True if a worker has not sent a heartbeat for too long."""
        return abs(self.at - worker.heartbeat_at) > SILENT_AFTER

    @property
    def problems(self) -> Sequence[Problem]:
        """Everything that is wrong, the most urgent first."""
        return [
            *(problem for health in self.accounts for problem in _of_account(health, self.at)),
            *self._of_workers(),
            *self._of_store(),
        ]

    def _of_workers(self) -> Iterator[Problem]:
        running = [worker for worker in self.workers if not self.is_silent(worker)]
        due = [health.oldest_due for health in self.accounts if _is_callable(health) and health.oldest_due is not None]
        if not running and due and self.at - min(due) > SILENT_AFTER:
            yield Problem(ProblemCode.NO_WORKER, "refunds are due, and no worker runs: start refundry work")
        for name in sorted({name for worker in running for name in worker.unknown_accounts}):
            text = "has refunds that are due, but a worker's configuration does not have this account"
            yield Problem(ProblemCode.UNKNOWN_ACCOUNT, text, name)
        gave_up = sum(worker.gave_up for worker in running)
        if gave_up:
            text = f"workers gave up on {counted(gave_up, 'refund')} after internal errors: see their log"
            yield Problem(ProblemCode.WORKER_GAVE_UP, text)

    def _of_store(self) -> Iterator[Problem]:
        if self.store.needs_review:
            text = f"{counted(self.store.needs_review, 'refund')} to review: refundry list --needs-review"
            yield Problem(ProblemCode.NEEDS_REVIEW, text)
        if self.unsigned_since is not None and self.at - self.unsigned_since > UNSIGNED_AFTER:
            unsigned = self.store.events - self.store.signed
            text = f"{counted(unsigned, 'event')} of the log not signed: see the log of serve and work"
            yield Problem(ProblemCode.NOT_SIGNED, text)


async def read_status(reader: Reader) -> StoreStatus:
    """Read the status of a store."""
    store = await reader.journal.store_record()
    unsigned_since = None
    if store.signed < store.events:
        async for recorded in reader.journal.log(store.signed, 1):
            unsigned_since = recorded.event.at
    return StoreStatus(
        at=reader.ports.now(),
        accounts=await reader.health(),
        workers=await reader.workers(),
        store=store,
        unsigned_since=unsigned_since,
    )


def _is_callable(health: AccountHealth) -> bool:
    return health.state not in (AccountState.BLOCKED, AccountState.PAUSED)


def _of_account(health: AccountHealth, at: datetime) -> Iterator[Problem]:
    reason = f": {health.last_error}" if health.last_error else ""
    if health.outage_since is not None:
        minutes = counted(int((at - health.outage_since).total_seconds() // 60), "minute")
        text = f"no call has succeeded for {minutes} although refunds are due{reason}"
        yield Problem(ProblemCode.OUTAGE, text, health.account)
    elif health.state is AccountState.UNREACHABLE:
        yield Problem(ProblemCode.UNREACHABLE, f"the provider does not answer{reason}", health.account)
    if health.state is AccountState.BLOCKED:
        text = f"a refund blocks it: fix the cause, then refundry resume --account {health.account}"
        yield Problem(ProblemCode.BLOCKED, text, health.account)
