"""The store as a file: made, refused, filled up, shared and killed."""

import asyncio
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from refundry.errors import ConfigError, RefundryError, StoreError
from refundry.journal.sqlite import recorder as sqlite_recorder
from refundry.journal.sqlite.journal import SqliteJournal
from refundry.journal.sqlite.recorder import FORMAT, check_settings, connect, pragma
from refundry.journal.stores import open_reader
from tests.core.journal.samples import events_of, evidence, new, submitted, then
from tests.core.privilege import without_privilege

ROOT = Path(__file__).parents[3]


async def make(path: Path) -> None:
    """Make an empty store."""
    await (await SqliteJournal.open(path)).close()


# --- read without a trace


def test_a_reader_leaves_no_file_next_to_a_store_at_rest(path: Path) -> None:
    """Opening, reading and closing leave the directory and the bytes of the store as they were."""

    async def read() -> None:
        reader = await open_reader(path)
        assert [] == list(await reader.load("unknown"))
        await reader.close()

    asyncio.run(make(path))
    before = path.read_bytes()
    asyncio.run(read())

    assert (["refunds.db"], before) == (os.listdir(path.parent), path.read_bytes())


_READS = """
import asyncio, sys
from pathlib import Path
from refundry.journal import Selection
from refundry.journal.stores import open_reader
async def main():
    reader = await open_reader(Path(sys.argv[1]))
    print(len(await reader.select(Selection())), flush=True)
    sys.stdin.readline()
    print(len(await reader.select(Selection())))
    await reader.close()
asyncio.run(main())
"""


async def add(path: Path) -> None:
    """Record a refund."""
    journal = await SqliteJournal.open(path)
    await journal.save(new())
    await journal.close()


@pytest.mark.slow(seconds=0.7)
@pytest.mark.parametrize("log", [None, b""], ids=["at rest", "an empty log is left"])
def test_a_store_in_a_directory_that_cannot_be_written_to_is_read(path: Path, log: bytes | None) -> None:
    """A process that cannot create files there reads it, also what another process writes afterwards."""
    asyncio.run(make(path))
    if log is not None:
        path.with_name("refunds.db-wal").write_bytes(log)
    path.chmod(0o444)
    path.parent.chmod(0o555)
    command = [*without_privilege(), sys.executable, "-c", _READS, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reading:
        assert reading.stdout is not None
        first = reading.stdout.readline()
        path.parent.chmod(0o755)
        path.chmod(0o644)
        asyncio.run(add(path))
        rest, _ = reading.communicate("\n")

    assert "0\n1\n" == first + rest


async def test_only_its_owner_can_read_a_store(path: Path) -> None:
    """The store and the files next to it are for their owner alone, even where the umask would allow everyone."""
    umask = os.umask(0)
    try:
        journal = await SqliteJournal.open(path)
        await journal.save(new())
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        await journal.close()
    finally:
        os.umask(umask)

    assert dict.fromkeys(("refunds.db", "refunds.db-shm", "refunds.db-wal"), 0o600) == modes


# --- opened twice in one process

_READS_AND_CLOSES = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT * FROM audit_tree").fetchall()
connection.close()
"""


def test_opening_a_store_again_keeps_the_locks_of_the_process(path: Path) -> None:
    """Another process does not take itself for the last one that has it open, and removes no write-ahead log in use.

    POSIX drops all locks of a process on a file when it closes any handle of that file.
    """

    async def opened_twice() -> None:
        first = await SqliteJournal.open(path)
        await first.save(new())
        again = await SqliteJournal.open(path)
        await again.close()
        command = [sys.executable, "-c", _READS_AND_CLOSES, str(path)]
        await asyncio.to_thread(subprocess.run, command, check=True)
        assert "refunds.db-wal" in os.listdir(path.parent)
        await first.close()

    asyncio.run(opened_twice())


# --- removed or replaced


async def refused(path: Path, change: Callable[[], object]) -> list[str]:
    """Return the errors of the writes after a change of the files."""
    journal = await SqliteJournal.open(path)
    await journal.save(new("before"))
    change()
    writes = [new(f"r-{number}") for number in range(5)]
    errors = [
        str(error)
        for _ in range(2)
        for error in await asyncio.gather(*map(journal.save, writes), return_exceptions=True)
    ]
    await journal.close()
    return errors


async def test_a_connection_that_is_opened_later_creates_no_file(path: Path) -> None:
    """Reading a store that was removed while it was open is an error, and leaves no empty file that looks new."""
    journal = await SqliteJournal.open(path)
    os.unlink(path)
    with pytest.raises(StoreError):
        await journal.load("unknown")
    await journal.close()

    assert "refunds.db" not in os.listdir(path.parent)


@pytest.mark.parametrize("name", ["refunds.db", "refunds.db-wal"])
@pytest.mark.parametrize("replaced", [False, True], ids=["removed", "replaced"])
def test_a_store_that_is_removed_or_replaced_acknowledges_nothing(path: Path, name: str, replaced: bool) -> None:
    """A write that would be lost with a file of the store is not acknowledged, neither in a group nor repeated."""

    def change() -> None:
        content = path.with_name(name).read_bytes()
        path.with_name(name).unlink()
        if replaced:
            path.with_name(name).write_bytes(content)

    errors = asyncio.run(refused(path, change))

    assert 10 == len(errors)
    assert all("removed or replaced while it was open" in error for error in errors)


# --- refused at the start


async def test_the_connection_that_writes_waits_for_the_disk_at_every_commit(journal: SqliteJournal) -> None:
    """The writer's own connection has WAL and synchronous=FULL, and so have the readers'."""
    with journal._recorder.datastore.get_connection(commit=True) as writer:
        settings = [pragma(writer._sqlite_conn, name) for name in ("journal_mode", "synchronous", "mmap_size")]
    await journal.load("x")

    assert ["wal", 2, 0] == settings
    assert [2] == [pragma(reader, "synchronous") for reader in journal._connections]


def _foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE customers (name)")


def _garbage(path: Path) -> None:
    path.write_bytes(b"These are the refunds of last year.\n" * 99)


def _of_another_version(path: Path) -> None:
    asyncio.run(make(path))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"PRAGMA user_version={FORMAT + 1}")


def _not_wal(path: Path) -> None:
    asyncio.run(make(path))
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()


@pytest.mark.parametrize(
    ("prepare", "rule"),
    [
        (_foreign, "not a Refundry store"),
        (_garbage, "not an SQLite database"),
        (_of_another_version, f"is in format {FORMAT + 1}"),
        (_not_wal, "journal_mode is delete"),
        (Path.mkdir, "is a directory"),
    ],
)
def test_a_file_that_is_not_a_safe_store_is_refused_and_left_as_it_is(prepare: object, rule: str, path: Path) -> None:
    """One clear line names the store and the rule, and the file is not changed."""
    prepare(path)  # type: ignore[operator]
    before = None if path.is_dir() else path.read_bytes()
    with pytest.raises(RefundryError, match=rule) as caught:
        asyncio.run(make(path))

    assert str(caught.value).startswith("store: ")
    assert "\n" not in str(caught.value)
    assert before == (None if path.is_dir() else path.read_bytes())


@pytest.mark.parametrize("place", ["", ":memory:", "file:x?mode=memory", "/no/such/directory/refunds.db"])
async def test_a_place_that_cannot_keep_refunds_is_refused(place: str) -> None:
    """Databases in memory and directories that do not exist are errors of the configuration."""
    with pytest.raises(ConfigError) as caught:
        await SqliteJournal.open(place)

    assert "store" == caught.value.field


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """The error comes at the start, not with the first refund."""
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="cannot be written"):
        asyncio.run(make(tmp_path / "refunds.db"))


async def test_a_connection_that_would_not_wait_for_the_disk_is_refused(path: Path) -> None:
    """Anything below synchronous=FULL loses acknowledged refunds in a power cut."""
    await make(path)
    connection = connect(path)
    connection.execute("PRAGMA synchronous=NORMAL")
    with pytest.raises(ConfigError, match="synchronous"):
        check_settings(connection)
    connection.close()


# --- the disk is full, or fails


@pytest.mark.parametrize("spare", [0, 1, 2, 3, 5, 8, 20])
async def test_a_full_disk_stores_nothing_half(spare: int, path: Path) -> None:
    """Wherever the space ends, the write that does not fit is refused whole, earlier ones stay and the store opens."""
    journal = await SqliteJournal.open(path)
    kept = [new(f"r-{n}", kept=evidence(b"%d" % n * 500)) for n in range(20)]
    await asyncio.gather(*(journal.save(write) for write in kept))
    with journal._recorder.datastore.get_connection(commit=True) as writer:
        connection = writer._sqlite_conn
        connection.execute(f"PRAGMA max_page_count={pragma(connection, 'page_count') + spare}")
    more = [new(f"s-{n}", kept=evidence(b"+%d" % n * 2000)) for n in range(100)]
    results: list[object] = []
    for n in range(0, 100, 10):
        group = (journal.save(write) for write in more[n : n + 10])
        results += await asyncio.gather(*group, return_exceptions=True)
    await journal.close()
    refusals = {str(each) for each in results if isinstance(each, Exception)}
    stored = [write for write, each in zip(more, results, strict=True) if not isinstance(each, Exception)]

    assert {"store: the disk is full; nothing was stored"} == refusals
    again = await SqliteJournal.open(path)
    assert {write.refund.id for write in (*kept, *stored)} == {each.refund_id async for each in again.log()}
    for write, result in zip(more, results, strict=True):
        for digest in write.evidence:
            assert (await again.evidence(digest) is None) == isinstance(result, Exception)
    assert [] == [finding async for finding in again.compare_index()]
    await again.save(new("there is space again"))
    await again.close()


async def test_after_an_io_error_nothing_more_is_written(path: Path) -> None:
    """When the operating system refuses to write, the process stops writing, and the store opens undamaged."""
    script = (
        "import resource, signal, sys, asyncio; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, -1));"
        "from tests.core.journal.child import main;"
        "asyncio.run(main(sys.argv[1], 'a', 10**9))"
    )
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(path), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await child.communicate()
    *acknowledged, last = output.decode().splitlines()

    assert 0 == child.returncode
    assert last.startswith("store: an I/O error")
    await check_store(path, acknowledged)


async def test_a_journal_that_failed_with_an_io_error_refuses_writes_and_still_reads(journal: SqliteJournal) -> None:
    """What is on the disk is not known then, so only reading goes on."""
    write = new()
    await journal.save(write)
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC

    def fail(changes: object) -> None:
        raise error

    journal._recorder.insert_changes, works = fail, journal._recorder.insert_changes  # type: ignore[method-assign,assignment]
    with pytest.raises(StoreError, match="I/O error"):
        await journal.save(new("b"))
    journal._recorder.insert_changes = works  # type: ignore[method-assign]
    with pytest.raises(StoreError, match="until it is reopened"):
        await journal.save(new("c"))
    with pytest.raises(StoreError, match="until it is reopened"):
        await journal.release("w")

    assert [*write.events] == events_of(await journal.load(write.refund.id))


# --- several processes


@pytest.fixture
def children() -> Iterator[list["subprocess.Popen[str]"]]:
    """Collect child processes; whichever still runs at the end is ended."""
    running: list[subprocess.Popen[str]] = []
    yield running
    for child in running:
        if child.poll() is None:
            child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()


def start(path: Path, name: str, *count: str) -> "subprocess.Popen[str]":
    """Start a process that saves refunds."""
    command = [sys.executable, "-m", "tests.core.journal.child", str(path), name, *count]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


async def check_store(path: Path, acknowledged: list[str]) -> None:
    """Check that all that was acknowledged is there, that nothing is there by halves, and that the index is right."""
    journal = await SqliteJournal.open(path)
    versions: dict[str, int] = {}
    position = 0
    async for recorded in journal.log():
        position += 1
        assert position == recorded.position
        assert versions.get(recorded.refund_id, 0) + 1 == recorded.version
        versions[recorded.refund_id] = recorded.version
    for line in acknowledged:
        refund_id, version = line.split()
        assert versions.get(refund_id, 0) >= int(version)
    assert [] == [finding async for finding in journal.compare_index()]
    connection = connect(path)
    kept = connection.execute("SELECT count(*) FROM evidence").fetchone()[0]
    # Each event of the child came with one piece of evidence, and the first of each refund with who asked.
    assert sum(versions.values()) + len(versions) == kept
    assert "ok" == pragma(connection, "integrity_check")
    connection.close()
    await journal.close()


@pytest.mark.slow
async def test_processes_that_open_and_write_at_once_lose_nothing(
    path: Path, children: list["subprocess.Popen[str]"]
) -> None:
    """Four processes create the store and write to it at the same time; every write is stored, without an error."""
    children += [start(path, f"p{n}", "80") for n in range(4)]
    lines = [line for child in children for line in (await asyncio.to_thread(child.communicate))[0].splitlines()]

    assert [0] * 4 == [child.returncode for child in children]
    assert 4 * 80 * 3 == len(lines)
    await check_store(path, lines)


async def test_a_locked_store_waits_and_then_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write waits for another process's lock; when that takes too long it is refused whole."""
    await make(path)
    monkeypatch.setattr(sqlite_recorder, "LOCK_TIMEOUT", 0.2)
    journal = await SqliteJournal.open(path)
    other = connect(path)
    other.execute("BEGIN IMMEDIATE")
    write = new()
    with pytest.raises(StoreError, match="locked"):
        await journal.save(write)
    other.execute("ROLLBACK")

    assert [] == list(await journal.load(write.refund.id))
    await journal.save(write)
    await journal.save(then(write.refund, submitted()))
    other.close()
    await journal.close()


@pytest.mark.slow
async def test_killed_at_any_moment_nothing_acknowledged_is_lost(
    path: Path, children: list["subprocess.Popen[str]"]
) -> None:
    """Twenty processes are killed while they write, one after the other: what they output was stored is there."""
    luck = random.Random(20261122)
    acknowledged: list[str] = []
    for kill in range(20):
        child = start(path, f"k{kill}")
        children.append(child)
        assert child.stdout is not None
        acknowledged.append(child.stdout.readline().strip())  # it is under way
        await asyncio.sleep(luck.uniform(0.0, 0.15))
        child.send_signal(signal.SIGKILL)
        output, _ = child.communicate()
        acknowledged += [line.strip() for line in output.splitlines(keepends=True) if line.endswith("\n")]
        if kill % 5 == 4:
            await check_store(path, acknowledged)

    assert len(acknowledged) >= 20
