"""The journal on a real SQLite file, beyond what every store promises: damage, locks and the event loop."""

import asyncio
import time
from pathlib import Path

import pytest

from refundry.errors import StoreError
from refundry.journal.sqlite.journal import SqliteJournal
from tests.core.journal.ports.case import differences, saved
from tests.core.journal.samples import (
    failed,
    new,
    submitted,
    then,
)


async def test_an_event_that_the_index_let_through_is_refused_by_the_log(journal: SqliteJournal) -> None:
    """With a wrong index the log's own key still refuses a second event of one version, and only that write fails."""
    (a,) = await saved(journal, new("a"))
    await saved(journal, then(a, submitted()))
    await journal._transact(lambda cursor: cursor.execute("UPDATE refund_index SET version=1"))
    results = await asyncio.gather(
        journal.save(new("b")), journal.save(then(a, failed())), journal.save(new("c")), return_exceptions=True
    )

    assert [list, StoreError, list] == [type(each) for each in results]
    assert "rebuild the index" in str(results[1])
    assert 4 == len([each async for each in journal.log()])


async def test_the_index_can_be_made_again_from_the_log(journal: SqliteJournal) -> None:
    """Whatever was done to the index, every difference is named, and rebuilding ends them all."""
    refunds = await saved(journal, *(new(f"r-{n}") for n in range(6)))
    await saved(journal, then(refunds[0], submitted()))

    def damage(cursor: object) -> None:
        execute = cursor.execute  # type: ignore[attr-defined]
        execute("UPDATE refund_index SET status='settled', due_at=NULL WHERE refund_request_id='r-0'")
        execute("DELETE FROM refund_index WHERE refund_request_id='r-1'")
        execute("UPDATE refund_index SET id='zz' WHERE refund_request_id='r-2'")
        execute("UPDATE refund_index SET amount=1, payment_total=5 WHERE refund_request_id='r-3'")

    await journal._transact(damage)
    found = {(finding.refund_id, finding.field) for finding in await differences(journal)}

    assert {
        (refunds[0].id, "status"),
        (refunds[0].id, "due_at"),
        (refunds[1].id, "row"),
        (refunds[2].id, "row"),
        ("zz", "row"),
        (refunds[3].id, "amount"),
        (refunds[3].id, "payment_total"),
    } == found
    assert 6 == await journal.rebuild_index()
    assert [] == await differences(journal)


async def test_the_event_loop_never_waits_for_the_disk(journal: SqliteJournal) -> None:
    """While the writer is held up by another process's lock the loop goes on turning, and the write then happens."""
    held = journal._recorder.datastore.pool._create_connection()
    held.cursor().execute("BEGIN IMMEDIATE")
    save = asyncio.create_task(journal.save(new()))
    turns = 0
    until = time.monotonic() + 0.2
    while time.monotonic() < until:
        await asyncio.sleep(0.001)
        turns += 1

    assert not save.done()
    assert turns > 20
    held.rollback()
    assert 1 == (await save)[0].position
    held.close()


async def test_a_closed_journal_says_so(path: Path) -> None:
    """Every use after `close` is a `StoreError`, not a surprise of some library."""
    journal = await SqliteJournal.open(path)
    await journal.close()
    for use in (journal.save(new()), journal.load("x"), journal.release("w"), journal.waiting()):
        with pytest.raises(StoreError, match="closed"):
            await use
