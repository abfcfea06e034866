"""What every store promises about working data."""

import asyncio
from datetime import timedelta

import attrs

from refundry.journal import AccountRecord, Backlog, Journal, WorkerRecord
from refundry.provider import OutcomeKind, Scope
from refundry.refund import NextStep
from tests.core.journal.ports.case import PortCase, saved
from tests.core.journal.samples import AT, inquired, later, new, submitted, then

WORKER = WorkerRecord(
    id="w1", host="h", pid=7, version="1", started_at=AT, heartbeat_at=later(5), in_progress=3, gave_up=1,
    unknown_accounts=("gone", "lost"),
)  # fmt: skip


class HealthStoreCase(PortCase):
    """What every store promises about working data."""

    async def test_a_record_is_read_as_it_was_written(self, journal: Journal) -> None:
        """An account has no record before its first change, and every field is kept."""
        whole = AccountRecord(
            account="shop", since=AT, last_success=later(1), last_error_at=later(2), last_error="HTTP status 403",
            last_notification=later(3), failing_since=later(4), unanswered=10, probe_at=later(5), outage_since=later(6),
            paused_at=later(7), paused_by="ann", paused_why="a\nreason",
        )  # fmt: skip

        assert [] == await journal.account_records()
        assert (AccountRecord(account="shop"), whole) == await journal.change_account("shop", lambda _: whole)
        await journal.change_account("other", lambda record: attrs.evolve(record, unanswered=1))
        assert [whole] == await journal.account_records("shop")
        assert {"other", "shop"} == {record.account for record in await journal.account_records()}

    async def test_changes_at_the_same_time_are_made_one_after_the_other(self, journal: Journal) -> None:
        """Every change sees the one before it, so of callers that exclude each other one succeeds."""

        def count(record: AccountRecord) -> AccountRecord:
            return attrs.evolve(record, unanswered=record.unanswered + 1)

        pairs = await asyncio.gather(*(journal.change_account("shop", count) for _ in range(20)))

        assert [(n, n + 1) for n in range(20)] == sorted((old.unanswered, now.unanswered) for old, now in pairs)

    async def test_the_backlog_has_what_waits_and_what_blocks(self, journal: Journal) -> None:
        """Open refunds are counted by account with the first due time; a refund that blocks is not one of them."""
        a, _, _ = await saved(journal, new("a"), new("b"), new("c", account="other", at=later(-9)))
        blocked = inquired(
            outcome=OutcomeKind.BLOCKED, scope=Scope.ACCOUNT, next_step=NextStep.MANUAL_REVIEW, next_at=None
        )
        (refund,) = await saved(journal, then(a, submitted(), blocked))

        assert [
            Backlog(account="other", count=1, next_due=later(-9)),
            Backlog(account="shop", count=1, next_due=AT, blocked_since=refund.updated_at),
        ] == await journal.backlog()

    async def test_workers_are_listed_until_they_stop(self, journal: Journal) -> None:
        """A worker is listed with its newest heartbeat until it stops, or is silent for more than a day."""
        killed = attrs.evolve(WORKER, id="w0", started_at=later(-1), unknown_accounts=())
        await journal.keep_worker(killed)
        await journal.keep_worker(WORKER)
        beaten = attrs.evolve(WORKER, heartbeat_at=later(10), in_progress=0)
        await journal.keep_worker(beaten)

        assert [killed, beaten] == await journal.workers()
        await journal.keep_worker(attrs.evolve(beaten, heartbeat_at=later(6) + timedelta(days=1)))
        assert ["w1"] == [worker.id for worker in await journal.workers()]
        await journal.remove_worker("w1")
        assert [] == await journal.workers()

    async def test_a_store_that_can_be_written_to_says_so(self, journal: Journal) -> None:
        """The check writes, and may be repeated."""
        for _ in range(2):
            await journal.check_writable(AT)
