"""The health of accounts: whether their providers answer, and whether they may be called.

The rule of this module: it decides only whether and when a call is made, never what an answer means. What it knows is
working data in the store, so every process sees it; it is read again at most a second later.

| state | meaning | calls |
| --- | --- | --- |
| `ok` | the last call succeeded, or none was made yet | all |
| `degraded` | the last call failed, or was not answered | all |
| `unreachable` | ten calls in a row were not answered, or three in at least 30 seconds | one probe at a time |
| `blocked` | the provider rejected the configuration of the account; a refund says why | none until `resume` |
| `paused` | an operator paused it | none until `unpause` |

A call succeeds if its outcome is conclusive or the provider has accepted the refund. Every other call failed; it was
answered if its outcome is `Unknown` and rests on an answer that the provider signed (`Unknown.answered`).
"""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Final, Protocol

import attrs

from refundry.config import OUTAGE_ALERT_AFTER, Account
from refundry.errors import StoreError
from refundry.inputs import Operator
from refundry.journal import AccountRecord, Backlog, HealthReader, HealthStore, RefundIndex
from refundry.logs import log
from refundry.provider import NotSent, Outcome, Unknown

__all__ = ["AccountHealth", "AccountState", "HealthMonitor", "HealthView", "health_of"]

UNREACHABLE_AFTER: Final = 10
"""As many unanswered calls in a row are no longer accidents of a bad network."""
_FEW: Final = 3
_LONG: Final = timedelta(seconds=30)
"""An account with few calls is unreachable after fewer of them, if nothing was answered for so long."""
_FIRST_PROBE: Final = timedelta(seconds=1)
_LAST_PROBE: Final = timedelta(seconds=60)
_MAX_AGE: Final = timedelta(seconds=1)
_WRITE_EVERY: Final = timedelta(seconds=5)
_MAX_ERROR: Final = 200


class AccountState(StrEnum):
    """How an account is."""

    OK = "ok"
    DEGRADED = "degraded"
    UNREACHABLE = "unreachable"
    BLOCKED = "blocked"
    PAUSED = "paused"


@attrs.frozen(slots=True, kw_only=True)
class AccountHealth:
    """The health of one account at a moment."""

    account: str
    state: AccountState
    since: datetime | None
    """Since when it is in this state; None if it is not known."""
    last_success: datetime | None
    last_error_at: datetime | None
    last_error: str | None
    last_notification: datetime | None
    waiting: int
    """How many refunds workers have to process, now or later."""
    oldest_due: datetime | None
    """Since when the oldest of them has been due; None if none is due yet."""
    outage_since: datetime | None
    """Since when work has been due without a successful call, if that is longer than `outage_alert_after`."""
    paused_by: str | None
    paused_why: str | None


# --- what a call changes ----------------------------------------------------------------------------------------------


def succeeded(record: AccountRecord, at: datetime) -> AccountRecord:
    """Return the record after a call that succeeded: whatever went wrong is over."""
    since = at if record.failing_since is not None or record.since is None else record.since
    return attrs.evolve(
        record, since=since, last_success=at, failing_since=None, unanswered=0, probe_at=None, outage_since=None
    )


def failed(record: AccountRecord, at: datetime, cause: str, *, answered: bool) -> AccountRecord:
    """Return the record after a call that failed; `answered` if the provider itself answered it."""
    since = at if record.failing_since is None else min(record.failing_since, at)
    unanswered = 0 if answered else min(record.unanswered + 1, UNREACHABLE_AFTER)
    unreachable = unanswered >= UNREACHABLE_AFTER or (unanswered >= _FEW and at - since >= _LONG)
    changed = record.failing_since is None or unreachable != (record.probe_at is not None)
    probe_at = None
    if unreachable:
        probe_at = at + min(max((at - since) / 4, _FIRST_PROBE), _LAST_PROBE)
        probe_at = probe_at if record.probe_at is None else min(record.probe_at, probe_at)
    return attrs.evolve(
        record,
        since=at if changed else record.since,
        last_error_at=at,
        last_error=cause[:_MAX_ERROR],
        failing_since=since,
        unanswered=unanswered,
        probe_at=probe_at,
    )


def probed(record: AccountRecord, at: datetime, until: datetime) -> AccountRecord:
    """Return the record after a caller took the probe until `until`; unchanged if no probe may be made now."""
    return attrs.evolve(record, probe_at=until) if record.probe_at is not None and record.probe_at <= at else record


def outage_since(record: AccountRecord, backlog: Backlog, at: datetime) -> datetime | None:
    """Return since when work has been due without a successful call; None if there is no such work.

    An account that is blocked or paused waits for an operator and has no outage.
    """
    if backlog.next_due is None or backlog.blocked_since is not None or record.paused_at is not None:
        return None
    starts = [backlog.next_due] if backlog.next_due <= at else []
    if record.failing_since is not None:
        starts.append(record.failing_since)
    if not starts:
        return None
    # A clock that was wrong may have left a success in the future.
    last = record.last_success if record.last_success is not None and record.last_success <= at else None
    return min(starts) if last is None else max(min(starts), last)


def checked(record: AccountRecord, backlog: Backlog, at: datetime, alert_after: timedelta) -> AccountRecord:
    """Return the record with the outage that there is now, if it is longer than `alert_after`."""
    since = outage_since(record, backlog, at)
    if since is None or at - since < alert_after:
        return attrs.evolve(record, outage_since=None)
    return record if record.outage_since is not None else attrs.evolve(record, outage_since=since)


def health_of(record: AccountRecord, backlog: Backlog, at: datetime, alert_after: timedelta) -> AccountHealth:
    """Return the health of an account."""
    state, since = _state(record, backlog)
    due = backlog.next_due
    return AccountHealth(
        account=record.account,
        state=state,
        since=since,
        last_success=record.last_success,
        last_error_at=record.last_error_at,
        last_error=record.last_error,
        last_notification=record.last_notification,
        waiting=backlog.count,
        oldest_due=due if due is not None and due <= at else None,
        outage_since=checked(record, backlog, at, alert_after).outage_since,
        paused_by=record.paused_by,
        paused_why=record.paused_why,
    )


def _state(record: AccountRecord, backlog: Backlog) -> tuple[AccountState, datetime | None]:
    if record.paused_at is not None:
        return AccountState.PAUSED, record.paused_at
    if backlog.blocked_since is not None:
        return AccountState.BLOCKED, backlog.blocked_since
    if record.probe_at is not None:
        return AccountState.UNREACHABLE, record.since
    return AccountState.DEGRADED if record.failing_since is not None else AccountState.OK, record.since


# --- reading and writing it -------------------------------------------------------------------------------------------


class AccountReader(RefundIndex, HealthReader, Protocol):
    """What is read about accounts."""


class AccountStore(AccountReader, HealthStore, Protocol):
    """What is read and written about accounts."""


@attrs.frozen(slots=True)
class _Known:
    at: datetime
    blocked: bool
    record: AccountRecord


class HealthView:
    """Reads the health of accounts, and remembers it for a second."""

    def __init__(self, journal: AccountReader, now: Callable[[], datetime]) -> None:
        self.alert_after = OUTAGE_ALERT_AFTER
        """The seconds after which an outage is reported."""
        self._reader = journal
        self._now = now
        self._known: dict[str, _Known] = {}

    async def is_blocked(self, account: str) -> bool:
        """Return True while a refund of the account blocks it."""
        return (await self._look_up(account)).blocked

    async def room(self, account: str) -> int | None:
        """Return how many refunds of the account are worth taking now; None if its health sets no limit.

        There is no room while it is blocked or paused, and between two probes while it is unreachable.
        """
        known = await self._look_up(account)
        if known.blocked or known.record.paused_at is not None:
            return 0
        if known.record.probe_at is None:
            return None
        return 1 if known.record.probe_at <= self._now() else 0

    async def all(self, accounts: Sequence[str]) -> Sequence[AccountHealth]:
        """Return the health of these accounts, as the store has it now."""
        records = {record.account: record for record in await self._reader.account_records()}
        backlogs = {backlog.account: backlog for backlog in await self._reader.backlog()}
        now = self._now()
        return [
            health_of(
                records.get(name, AccountRecord(account=name)),
                backlogs.get(name, Backlog(account=name)),
                now,
                timedelta(seconds=self.alert_after),
            )
            for name in accounts
        ]

    def forget(self, account: str) -> None:
        """Look the account up again next time: an operator resumed one of its refunds."""
        self._known.pop(account, None)

    async def _look_up(self, account: str) -> _Known:
        now = self._now()
        known = self._known.get(account)
        if known is None or not timedelta(0) <= now - known.at < _MAX_AGE:
            blocked = bool(await self._reader.blocked(account))
            found = await self._reader.account_records(account)
            known = _Known(now, blocked, found[0] if found else AccountRecord(account=account))
            self._known[account] = known
        return known


class HealthMonitor(HealthView):
    """Records how the calls of accounts go, and decides whether another may be made."""

    def __init__(self, journal: AccountStore, now: Callable[[], datetime]) -> None:
        super().__init__(journal, now)
        self._store = journal

    def block(self, account: str) -> None:
        """Remember that the account was blocked just now."""
        known = self._known.get(account)
        record = AccountRecord(account=account) if known is None else known.record
        self._known[account] = _Known(self._now(), True, record)

    async def may_call(self, account: Account) -> bool:
        """Return True if the provider may be called for this account now.

        While it is unreachable, one caller at a time gets True: the call is the probe. If that caller dies, the next
        probe may be made when that call must have ended.
        """
        known = await self._look_up(account.name)
        now = self._now()
        if known.blocked or known.record.paused_at is not None:
            return False
        if known.record.probe_at is None:
            return True
        if known.record.probe_at > now:
            return False
        until = now + timedelta(seconds=account.terms.timeout) + _FIRST_PROBE
        before, after = await self._change(account.name, partial(probed, at=now, until=until))
        return after.probe_at is None or after != before

    async def called(self, account: str, outcome: Outcome | NotSent) -> None:
        """Record how a call went; if the store fails, the outcome is used all the same."""
        if isinstance(outcome, NotSent) and outcome.withheld:
            return
        now = self._now()
        if isinstance(outcome, NotSent | Unknown):
            answered = isinstance(outcome, Unknown) and outcome.answered
            change = partial(failed, at=now, cause=outcome.cause, answered=answered)
        else:
            change = partial(succeeded, at=now)
        known = self._known.get(account)
        if known is None or _is_news(known.record, change(known.record)):
            await self._try(account, change)

    async def notified(self, account: str) -> None:
        """Record that a genuine notification was received."""
        now = self._now()
        known = self._known.get(account)
        last = None if known is None else known.record.last_notification
        if last is None or not timedelta(0) <= now - last < _WRITE_EVERY:
            await self._try(account, lambda record: attrs.evolve(record, last_notification=now))

    async def pause(self, account: str, operator: Operator) -> None:
        """Stop all calls of an account, in every process within a second, until `unpause`; keep who did it first."""
        at = self._now()

        def paused(record: AccountRecord) -> AccountRecord:
            known = record.paused_at is not None
            return (
                record if known else attrs.evolve(record, paused_at=at, paused_by=operator.by, paused_why=operator.why)
            )

        await self._change(account, paused)
        log(logging.WARNING, "operator action", account=account, type="paused", by=operator.by)

    async def unpause(self, account: str, operator: Operator) -> None:
        """Resume a paused account: its calls are allowed again."""
        await self._change(
            account, lambda record: attrs.evolve(record, paused_at=None, paused_by=None, paused_why=None)
        )
        log(logging.WARNING, "operator action", account=account, type="unpaused", by=operator.by)

    async def check(self, accounts: Sequence[str]) -> None:
        """Report outages of these accounts that begin or end in the log, each once among all processes."""
        records = {record.account: record for record in await self._reader.account_records()}
        backlogs = {backlog.account: backlog for backlog in await self._reader.backlog()}
        now = self._now()
        for name in accounts:
            backlog = backlogs.get(name, Backlog(account=name))
            change = partial(checked, backlog=backlog, at=now, alert_after=timedelta(seconds=self.alert_after))
            record = records.get(name, AccountRecord(account=name))
            if change(record) != record:
                await self._change(name, change)

    async def _try(self, account: str, change: Callable[[AccountRecord], AccountRecord]) -> None:
        try:
            await self._change(account, change)
        except StoreError as error:
            # Whatever else is written fails as well, and is reported; one line for each call would hide that.
            log(logging.DEBUG, "health not recorded", account=account, reason=str(error))

    async def _change(
        self, account: str, change: Callable[[AccountRecord], AccountRecord]
    ) -> tuple[AccountRecord, AccountRecord]:
        before, after = await self._store.change_account(account, change)
        known = self._known.get(account)
        if known is not None:
            self._known[account] = attrs.evolve(known, record=after)
        _log_change(before, after, self._now())
        return before, after


_NEWS: Final = frozenset({"last_success", "last_error_at", "last_error"})


def _is_news(stored: AccountRecord, record: AccountRecord) -> bool:
    """Return True if a change is worth a write: most calls are like the one before."""
    for name in (field.name for field in attrs.fields(AccountRecord)):
        if name not in _NEWS and getattr(stored, name) != getattr(record, name):
            return True
    return _moved(stored.last_success, record.last_success) or _moved(stored.last_error_at, record.last_error_at)


def _moved(before: datetime | None, after: datetime | None) -> bool:
    if before is None or after is None:
        return before is not after
    return not timedelta(0) <= after - before < _WRITE_EVERY


def _log_change(before: AccountRecord, after: AccountRecord, now: datetime) -> None:
    account = after.account
    if before.outage_since is None and after.outage_since is not None:
        seconds = int((now - after.outage_since).total_seconds())
        log(
            logging.ERROR, "outage began", account=account, since=after.outage_since.isoformat(), seconds=seconds,
            last_success=None if after.last_success is None else after.last_success.isoformat(),
            last_error=after.last_error,
        )  # fmt: skip
    if before.outage_since is not None and after.outage_since is None:
        seconds = int((now - before.outage_since).total_seconds())
        log(logging.INFO, "outage ended", account=account, since=before.outage_since.isoformat(), seconds=seconds)
    if before.probe_at is None and after.probe_at is not None:
        log(logging.WARNING, "account unreachable", account=account, reason=after.last_error)
    if before.probe_at is not None and after.probe_at is None:
        log(logging.INFO, "account reachable", account=account)
