"""The journal on a real SQLite file: writing, reading, the index, leases."""

import asyncio
import hashlib
import time
from pathlib import Path

import attrs
import pytest

from refundry.errors import Invalid, Stale, StoreError
from refundry.journal import AlreadyRequested, IndexDifference, Journal, Selection, UnmatchedNotification, Write
from refundry.journal.index import row_of
from refundry.journal.sqlite.journal import SqliteJournal
from refundry.money import Money
from refundry.provider import OutcomeKind, ReviewReason, Scope
from refundry.refund import Channel, NextStep, RaisedReview, Refund, Status
from tests.core.journal.samples import (
    AT,
    LOOK,
    events_of,
    evidence,
    failed,
    inquired,
    later,
    new,
    requested,
    settled,
    submitted,
    then,
)


async def findings(journal: Journal) -> list[IndexDifference]:
    """Give all that the index and the log do not agree on."""
    return [finding async for finding in journal.compare_index()]


async def saved(journal: Journal, *writes: Write) -> list[Refund]:
    """Save writes one after the other; give their states."""
    for write in writes:
        await journal.save(write)
    return [write.refund for write in writes]


# --- saving and loading


async def test_what_was_saved_is_loaded(journal: SqliteJournal) -> None:
    """A refund's events come back in order, with their versions and their positions in the log."""
    first = new(kept=evidence(b"one"))
    second = then(first.refund, submitted(), settled(), kept=evidence(b"two", b"three"))
    recorded = [*await journal.save(first), *await journal.save(second)]

    assert [*first.events, *second.events] == events_of(recorded)
    assert [(1, 1), (2, 2), (3, 3)] == [(each.position, each.version) for each in recorded]
    assert recorded == list(await journal.load(first.refund.id))
    assert [b"one", b"two", b"three"] == [
        await journal.evidence(hashlib.sha256(each).hexdigest()) for each in (b"one", b"two", b"three")
    ]
    assert [] == await findings(journal)


async def test_what_is_not_there_is_not_found(journal: SqliteJournal) -> None:
    """Unknown ids, request ids and digests give nothing."""
    assert [] == list(await journal.load("nobody"))
    assert None is await journal.find("shop", "nothing")
    assert None is await journal.evidence("00" * 32)
    assert None is await journal.evidence("no digest")


async def test_everything_is_there_after_the_store_is_opened_again(path: Path) -> None:
    """Closing and opening changes nothing."""
    journal = await SqliteJournal.open(path)
    (refund,) = await saved(journal, new())
    await journal.close()
    again = await SqliteJournal.open(path)

    assert [requested()] == events_of(await again.load(refund.id))
    assert refund.id == await again.find("shop", "r-1")
    await again.close()


async def test_many_at_once_share_commits_and_are_numbered_without_gaps(journal: SqliteJournal) -> None:
    """Two thousand concurrent writes get the positions 1 to 2000, each its own, and the log has that order."""
    recorded = await asyncio.gather(*(journal.save(new(f"r-{n}")) for n in range(2000)))
    positions = {one.position: one.refund_id for (one,) in recorded}

    assert list(range(1, 2001)) == sorted(positions)
    assert [(p, positions[p]) for p in range(1, 2001)] == [
        (each.position, each.refund_id) async for each in journal.log()
    ]
    assert [] == await findings(journal)


async def test_the_log_is_read_in_pages_from_any_place(journal: SqliteJournal) -> None:
    """`log` begins after the given position and ends at the limit, whatever the size of its pages."""
    await asyncio.gather(*(journal.save(new(f"r-{n}")) for n in range(1200)))

    assert list(range(101, 1201)) == [each.position async for each in journal.log(100)]
    assert list(range(601, 1161)) == [each.position async for each in journal.log(600, 560)]
    assert [] == [each async for each in journal.log(1200)]
    assert [] == [each async for each in journal.log(0, 0)]


# --- conflicts


async def test_a_stale_write_fails_alone(journal: SqliteJournal) -> None:
    """Of two writes from the same state one wins; the other stores nothing, and its group is not harmed."""
    a, b = await saved(journal, new("a"), new("b"))
    lost = then(a, submitted(2), kept=evidence(b"lost"))
    results = await asyncio.gather(
        journal.save(then(a, submitted(1))),
        journal.save(lost),
        journal.save(then(b, submitted(1))),
        return_exceptions=True,
    )

    assert [list, Stale, list] == [type(each) for each in results]
    assert [requested("a"), submitted(1)] == events_of(await journal.load(a.id))
    assert None is await journal.evidence(next(iter(lost.evidence)))
    assert [] == await findings(journal)


async def test_a_refund_that_does_not_exist_cannot_move_on(journal: SqliteJournal) -> None:
    """A write that continues an unknown refund is stale, and nothing of it is stored."""
    write = then(new().refund, submitted())
    with pytest.raises(Stale):
        await journal.save(write)

    assert [] == list(await journal.load(write.refund.id))


async def test_an_id_that_is_taken_names_the_refund_that_has_it(journal: SqliteJournal) -> None:
    """Asked again, even in the same group and with another payment, the first refund's id is the answer."""
    first, second = new("r"), new("r", payment="another")
    results = await asyncio.gather(journal.save(first), journal.save(second), return_exceptions=True)

    assert isinstance(results[1], AlreadyRequested)
    assert first.refund.id == results[1].refund_id == await journal.find("shop", "r")
    assert [] == list(await journal.load(second.refund.id))
    await journal.save(new("r", account="another shop"))


async def test_ten_percent_of_conflicts_fail_and_all_else_is_stored(journal: SqliteJournal) -> None:
    """In big groups with many refusals every accepted write is there and no refused one is."""
    writes = [new(f"r-{n - n % 10 if n % 10 == 1 else n}", payment=f"p-{n}") for n in range(500)]
    results = await asyncio.gather(*(journal.save(write) for write in writes), return_exceptions=True)

    assert 50 == sum(isinstance(each, AlreadyRequested) for each in results)
    assert 450 == len([each async for each in journal.log()])
    assert [] == await findings(journal)


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


async def test_text_that_no_database_can_hold_is_refused_alone(journal: SqliteJournal) -> None:
    """Half a surrogate pair in a key is the caller's error; in what a provider said it is kept."""
    results = await asyncio.gather(
        journal.save(new("\ud800")), journal.save(new("b", reason="\ud800")), return_exceptions=True
    )

    assert isinstance(results[0], Invalid)
    assert isinstance(results[1], list)
    strange = then(
        new("c").refund, submitted(), inquired(review=(RaisedReview(ReviewReason.UNREADABLE_ANSWER, "it said \ud800"),))
    )
    await saved(journal, Write(strange.refund, [requested("c"), *strange.events]))
    assert [] == await findings(journal)


# --- the guard


async def test_refunds_of_one_payment_cannot_exceed_its_total(journal: SqliteJournal) -> None:
    """Asked for at once, as many as fit are taken and the others are refused, without a race."""
    total = Money(3 * 1233 + 1, "EUR", 2)
    writes = [new(f"r-{n}", payment="p", payment_total=total) for n in range(10)]
    results = await asyncio.gather(*(journal.save(write) for write in writes), return_exceptions=True)

    assert 3 == sum(isinstance(each, list) for each in results)
    assert {"amount"} == {each.field for each in results if isinstance(each, Invalid)}
    assert 3 == len([each async for each in journal.log()])


async def test_what_failed_can_be_asked_for_again_unless_it_is_in_doubt(journal: SqliteJournal) -> None:
    """A refund that failed gives its amount back; one that failed and was then contradicted does not."""
    total = Money(1233, "EUR", 2)
    (first,) = await saved(journal, new("1", payment="p", payment_total=total))
    with pytest.raises(Invalid, match="amount"):
        await journal.save(new("2", payment="p"))
    (_, second) = await saved(journal, then(first, submitted(), failed()), new("2", payment="p"))
    (gone,) = await saved(journal, then(second, submitted(), failed()))
    await saved(
        journal,
        then(
            gone,
            inquired(
                outcome=OutcomeKind.SUCCEEDED,
                review=(RaisedReview(ReviewReason.SETTLED_AFTER_FAILURE, "it paid after all"),),
            ),
        ),
    )
    with pytest.raises(Invalid, match="amount"):
        await journal.save(new("3", payment="p"))


async def test_asking_twice_for_all_that_is_left_finds_the_first(journal: SqliteJournal) -> None:
    """The repeated request is not taken for one too many."""
    total = Money(1233, "EUR", 2)
    (first,) = await saved(journal, new("1", payment="p", payment_total=total))
    with pytest.raises(AlreadyRequested) as caught:
        await journal.save(new("1", payment="p", payment_total=total))

    assert first.id == caught.value.refund_id


# --- the index


async def test_rows_are_listed_in_the_order_of_their_ids_and_narrowed(journal: SqliteJournal) -> None:
    """`select` gives each refund's row, page by page, by every criterion alone and together."""
    a, b, c, d = await saved(journal, new("a"), new("b", account="other"), new("c", payment="p"), new("d", payment="p"))
    sent = then(c, submitted(), inquired(next_step=NextStep.MANUAL_REVIEW, review=LOOK))
    await saved(journal, sent)
    refunds = {each.id: each for each in (a, b, sent.refund, d)}

    async def ids(**wanted: object) -> list[str]:
        return [row.refund_request_id for row in await journal.select(Selection(**wanted))]  # type: ignore[arg-type]

    assert [row_of(refunds[id]) for id in sorted(refunds)] == list(await journal.select(Selection()))
    assert [b.id, c.id] == [row.id for row in await journal.select(Selection(), after=a.id, limit=2)]
    assert ["a", "c", "d"] == await ids(account="shop")
    assert ["c", "d"] == await ids(payment="p")
    assert ["c"] == await ids(review=True)
    assert ["c"] == await ids(status=Status.PENDING, account="shop")
    assert ["a", "b", "d"] == await ids(status=Status.REQUESTED)
    assert ["b"] == await ids(refund_request_id="b")
    assert [] == await ids(refund_request_id="b", account="shop")


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
    found = {(finding.refund_id, finding.field) for finding in await findings(journal)}

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
    assert [] == await findings(journal)


# --- due work


async def test_due_refunds_are_taken_oldest_first_and_by_one_worker(journal: SqliteJournal) -> None:
    """A leased refund is taken by nobody else until the lease ends, is given back, or the refund moves."""
    a, b, c = await saved(journal, *(new(key, at=later(-n)) for n, key in enumerate("abc")))

    assert [c.id, b.id] == await journal.take_due(AT, until=later(60), holder="w1", limit=2)
    assert [a.id] == await journal.take_due(AT, until=later(60), holder="w2", limit=2)
    assert [] == await journal.take_due(later(59), until=later(99), holder="w3", limit=9)
    assert (3, later(60)) == await journal.waiting()

    await journal.release("w1")
    assert [c.id, b.id] == await journal.take_due(later(1), until=later(61), holder="w3", limit=9)
    await saved(journal, then(c, submitted(2)))
    assert [c.id] == await journal.take_due(later(12), until=later(99), holder="w4", limit=9)
    assert [a.id] == await journal.take_due(later(60), until=later(99), holder="w5", limit=9)


async def test_what_is_not_due_yet_is_not_taken(journal: SqliteJournal) -> None:
    """A refund is due at its moment, not before, and never once it is final."""
    (refund,) = await saved(journal, new())
    (sent,) = await saved(journal, then(refund, submitted(0)))

    assert [] == await journal.take_due(later(9.999999), until=later(60), holder="w", limit=9)
    assert (1, later(10)) == await journal.waiting()
    assert [refund.id] == await journal.take_due(later(10), until=later(11), holder="w", limit=9)
    await saved(journal, then(sent, settled()))
    assert [] == await journal.take_due(later(9999), until=later(99999), holder="w", limit=9)
    assert (0, None) == await journal.waiting()


async def test_a_blocked_account_waits_and_others_do_not(journal: SqliteJournal) -> None:
    """While one refund says that its account is wrong, none of the account is taken; a person's word ends it."""
    a, b, c = await saved(journal, new("a"), new("b"), new("c", account="other"))
    blocked = then(
        a,
        submitted(),
        inquired(outcome=OutcomeKind.BLOCKED, scope=Scope.ACCOUNT, next_step=NextStep.MANUAL_REVIEW, next_at=None),
    )
    await saved(journal, blocked)

    assert [a.id] == await journal.blocked("shop")
    assert [] == await journal.blocked("other")
    assert (1, c.requested_at) == await journal.waiting()
    assert [c.id] == await journal.take_due(later(9), until=later(60), holder="w", limit=9)

    word = inquired(outcome=OutcomeKind.RESUMED, channel=Channel.OPERATOR, next_at=later(4), by="ann", why="mended")
    await saved(journal, then(blocked.refund, word))
    assert [] == await journal.blocked("shop")
    assert [b.id, a.id] == await journal.take_due(later(9), until=later(60), holder="w", limit=9)


# --- notifications that nobody waits for


async def test_a_notification_about_an_unknown_refund_is_kept_once(journal: SqliteJournal) -> None:
    """Parked notifications are listed oldest first, with their bytes, and a repeated one changes nothing."""
    digests = {content: hashlib.sha256(content).hexdigest() for content in (b"1", b"2")}
    first = UnmatchedNotification(AT, "shop", "r-9", digests[b"1"])
    other = UnmatchedNotification(later(1), "other", "r-9", digests[b"2"])
    await journal.keep_unmatched(first, b"1")
    await journal.keep_unmatched(attrs.evolve(first, at=later(5)), b"1")
    await journal.keep_unmatched(other, b"2")

    assert [first, other] == list(await journal.unmatched())
    assert [other] == list(await journal.unmatched("other"))
    assert [first] == list(await journal.unmatched(limit=1))
    assert b"2" == await journal.evidence(other.evidence)


# --- the event loop


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


async def test_a_cancelled_save_is_whole_or_not_there(journal: SqliteJournal) -> None:
    """Cancelling writes at any moment leaves each of them stored whole or not at all, and harms no other."""
    writes = [new(f"r-{n}", kept=evidence(b"%d" % n)) for n in range(200)]
    tasks = [asyncio.create_task(journal.save(write)) for write in writes]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)

    assert 100 == sum(isinstance(each, list) for each in results)
    assert [] == await findings(journal)
