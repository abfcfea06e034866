"""The tree in the journal: a leaf for every event, in the transaction that stores it, whichever process writes."""

import asyncio
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from refundry.errors import Stale, Tampered
from refundry.journal import AlreadyRequested
from refundry.journal.merkle import Frontier, entry, leaf_hash, root_of
from refundry.journal.sqlite.journal import SqliteJournal
from tests.core.journal.samples import evidence, new, settled, submitted, then


def check_tree(path: Path) -> int:
    """Compare events, leaves, frontier and size, each rebuilt from the previous one; return the size."""
    with closing(sqlite3.connect(path)) as connection:
        events = connection.execute(
            "SELECT rowid, originator_id, originator_version, topic, state FROM stored_events ORDER BY rowid"
        ).fetchall()
        expected = [
            (index, position, leaf_hash(entry(id, version, topic, state)))
            for index, (position, id, version, topic, state) in enumerate(events)
        ]
        leaves = connection.execute("SELECT idx, position, hash FROM audit_leaf ORDER BY idx").fetchall()
        trees = connection.execute("SELECT size, frontier FROM audit_tree").fetchall()
    whole = Frontier().extend([leaf for _, _, leaf in expected])

    assert expected == leaves
    assert [(whole.size, whole.to_bytes())] == trees or (not events and not trees)
    return whole.size


def change(path: Path, *statements: str) -> None:
    """Change the store directly."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


async def test_every_event_has_its_leaf(journal: SqliteJournal, path: Path) -> None:
    """Every saved event, alone or in a group, is in the tree in its place, hashed as it is stored."""
    first = new("a")
    await journal.save(first)
    await asyncio.gather(*(journal.save(new(f"b-{number}", evidence(b"%d" % number))) for number in range(150)))
    await journal.save(then(first.refund, submitted(), settled()))

    assert 153 == check_tree(path)
    assert 153 == Frontier.from_bytes(await journal.tree()).size
    assert Frontier.from_bytes(await journal.tree()).root() == root_of(await journal.leaves(0, 153))


async def test_what_is_refused_leaves_no_leaf(journal: SqliteJournal, path: Path) -> None:
    """A write that conflicts, in a group or alone, is neither in the log nor in the tree."""
    first = new("a")
    await journal.save(first)
    later_write = then(first.refund, submitted())
    outcomes = await asyncio.gather(
        journal.save(new("a")), journal.save(new("b")), journal.save(later_write), journal.save(later_write),
        journal.save(new("c")), return_exceptions=True,
    )  # fmt: skip

    assert [AlreadyRequested, list, list, Stale, list] == [type(outcome) for outcome in outcomes]
    assert 4 == check_tree(path)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM audit_tree",
        "UPDATE audit_tree SET frontier = x'00'",
        "UPDATE audit_tree SET frontier = 'text'",
        "DELETE FROM audit_leaf WHERE idx = (SELECT max(idx) FROM audit_leaf)",
    ],
)
async def test_a_tree_that_does_not_match_its_leaves_is_rebuilt(
    path: Path, statement: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged frontier stops no refund, and the process logs that it was damaged."""
    for keys in ("abc", "d"):
        journal = await SqliteJournal.open(path)
        for key in keys:
            await journal.save(new(key))
        tree = Frontier.from_bytes(await journal.tree())
        leaves = await journal.leaves(0, tree.size)
        await journal.close()
        if keys == "abc":
            change(path, statement)

    assert tree.root() == root_of(leaves)
    assert ["CRITICAL"] == [record.levelname for record in caplog.records]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_leaf SET hash = x'00' WHERE idx = 1",
        "UPDATE audit_leaf SET hash = 'text' WHERE idx = 1",
        "DELETE FROM audit_leaf WHERE idx = 1",
    ],
)
async def test_a_leaf_that_is_missing_or_damaged_is_named(journal: SqliteJournal, path: Path, statement: str) -> None:
    """Reading the leaves returns all of them, or names the wrong one."""
    for key in "abc":
        await journal.save(new(key))
    change(path, statement)
    with pytest.raises(Tampered, match="leaf 1 "):
        await journal.leaves(0, 3)


async def child(path: Path, name: str, *count: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.core.journal.child", str(path), name, *count, stdout=asyncio.subprocess.PIPE
    )


@pytest.mark.slow
async def test_several_processes_make_one_tree(path: Path) -> None:
    """Three processes that write at once leave one dense tree over everything."""
    processes = [await child(path, name, "40") for name in "abc"]
    for process in processes:
        await process.communicate()

    assert [0, 0, 0] == [process.returncode for process in processes]
    assert 3 * 40 * 3 == check_tree(path)


@pytest.mark.slow
async def test_a_killed_process_leaves_tree_and_log_of_one_moment(path: Path) -> None:
    """After SIGKILL in the middle of writing there is no event without its leaf and no leaf without its event."""
    for _ in range(3):
        process = await child(path, f"k-{_}")
        assert process.stdout is not None
        for _line in range(60):
            await process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        await process.communicate()

        assert 60 <= check_tree(path)
