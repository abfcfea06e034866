"""The checkpointer: on a real store, with real processes, while the store is being tampered with."""

import asyncio
import logging
import random
import shutil
import signal
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from refundry.audit.signing import checkpointer as checkpointer_module
from refundry.audit.signing.anchors import Anchors, read_notes
from refundry.audit.signing.checkpointer import Checkpointer
from refundry.audit.signing.signed_notes import Checkpoint, Key, open_checkpoint
from refundry.audit.signing.signer import open_signer, read_last_note, read_verifier
from refundry.cli import cli
from refundry.errors import Tampered
from refundry.gateway import Gateway
from refundry.gateway.request import RefundRequest
from refundry.journal.merkle import (
    Frontier,
    consistency_proof,
    entry,
    extend,
    nodes_of,
    root_of,
    verify_consistency,
)
from refundry.journal.sqlite.journal import SqliteJournal
from refundry.ports import Ports
from refundry.refund import Status
from refundry.web import init_app
from tests.core.audit.child import settings
from tests.core.journal.samples import new
from tests.core.shop import open_shop


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "refunds.db"


@asynccontextmanager
async def checkpointing(path: Path) -> AsyncIterator[tuple[SqliteJournal, Checkpointer]]:
    """Open a store and a checkpointer on it."""
    journal = await SqliteJournal.open(path)
    checkpointer = Checkpointer(journal, partial(open_signer, settings(path)), Anchors([]), Ports())
    try:
        yield journal, checkpointer
    finally:
        await checkpointer.close()
        await journal.close()


def directory(path: Path) -> Path:
    return path.with_name(f"{path.name}.audit")


def series(path: Path) -> list[Checkpoint]:
    """Read all checkpoints of a store, check each signature, and prove each consistent with the one before."""
    verifier = read_verifier(directory(path))
    assert verifier is not None
    with closing(sqlite3.connect(path)) as connection:
        leaves = [leaf for (leaf,) in connection.execute("SELECT hash FROM audit_leaf ORDER BY idx")]
        kept = connection.execute("SELECT size, note FROM audit_checkpoint ORDER BY size").fetchall()
    checkpoints = [open_checkpoint(note, verifier) for _, note in kept]
    own = read_last_note(directory(path))
    assert own is not None
    nodes = nodes_of(leaves)
    for before, after in zip(checkpoints, [*checkpoints[1:], open_checkpoint(own, verifier)], strict=True):
        proof = consistency_proof(before.size, after.size, nodes)
        assert verify_consistency(before.size, after.size, proof, before.root, after.root)

    assert [size for size, _ in kept] == [checkpoint.size for checkpoint in checkpoints]
    assert all(root_of(leaves[: checkpoint.size]) == checkpoint.root for checkpoint in checkpoints)
    return checkpoints


def change(path: Path, *statements: str) -> None:
    """Change the store without Refundry."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def make_tree_again(path: Path) -> None:
    """Rebuild leaves and frontier from the events, as an insider with write access to the whole database would."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT rowid, originator_id, originator_version, topic, state FROM stored_events ORDER BY rowid"
        ).fetchall()
        tree, leaves = extend(Frontier().to_bytes(), [entry(*row[1:]) for row in rows])
        connection.execute("DELETE FROM audit_leaf")
        connection.executemany(
            "INSERT INTO audit_leaf VALUES (?,?,?)",
            [(index, row[0], leaf) for index, (row, leaf) in enumerate(zip(rows, leaves, strict=True))],
        )
        connection.execute("UPDATE audit_tree SET size = ?, frontier = ?", (len(rows), tree))
        connection.commit()


async def until(holds: Callable[[], Awaitable[object]]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(20):
        while not await holds():  # noqa: ASYNC110 (it has no event)
            await asyncio.sleep(0.01)


async def problem_of(checkpointer: Checkpointer) -> str | None:
    return checkpointer.problem


# --- one series -------------------------------------------------------------------------------------------------------


async def test_saved_events_are_signed(path: Path) -> None:
    """Each checkpoint has the size and the root that the log had then, and extends the one before."""
    async with checkpointing(path) as (journal, checkpointer):
        for count in (1, 2, 30):
            await asyncio.gather(*(journal.save(new(f"{count}-{number}")) for number in range(count)))
            assert await checkpointer.checkpoint_now()
            assert await checkpointer.checkpoint_now()  # nothing new: nothing more is signed

    assert [1, 3, 33] == [checkpoint.size for checkpoint in series(path)]


async def test_an_empty_log_is_not_signed(path: Path) -> None:
    """Without events there is no checkpoint."""
    async with checkpointing(path) as (journal, checkpointer):
        assert await checkpointer.checkpoint_now()
        assert await journal.last_checkpoint() is None
        assert not directory(path).exists()


@pytest.mark.slow
async def test_a_notified_checkpointer_signs_soon_and_at_the_end(path: Path) -> None:
    """Some events are signed within a second, a thousand at once, and the rest when it closes."""
    async with checkpointing(path) as (journal, checkpointer):
        await journal.save(new("a"))
        checkpointer.notify()
        await until(journal.last_checkpoint)
        await journal.save(new("b"))
        checkpointer.notify()

    assert [1, 2] == [checkpoint.size for checkpoint in series(path)]


async def test_a_thousand_events_do_not_wait(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are signed at once, however long fewer events would wait."""
    monkeypatch.setattr(checkpointer_module, "SECONDS", 1e6)
    async with checkpointing(path) as (journal, checkpointer):
        await journal.save(new("a"))
        checkpointer.notify(999)
        await asyncio.sleep(0.1)
        assert await journal.last_checkpoint() is None
        checkpointer.notify(1)
        await until(journal.last_checkpoint)


async def child(path: Path, name: str, *count: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.core.audit.child", str(path), name, *count,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.slow
async def test_several_processes_make_one_series(path: Path) -> None:
    """From the first use on, three processes share one key, and each checkpoint extends the one before."""
    processes = [await child(path, name, "25") for name in "abc"]
    printed = [await process.communicate() for process in processes]

    assert [0, 0, 0] == [process.returncode for process in processes], printed
    assert 75 == series(path)[-1].size


@pytest.mark.slow
async def test_a_killed_process_does_not_break_the_series(path: Path) -> None:
    """However often and wherever a process is killed, the next one continues from what was signed."""
    dice = random.Random(4)
    for number in range(8):
        process = await child(path, f"p{number}")
        assert process.stdout is not None
        await process.stdout.readline()
        await asyncio.sleep(dice.random() / 5)
        process.send_signal(signal.SIGKILL)
        _, printed = await process.communicate()
        assert b"Tampered" not in printed
    async with checkpointing(path) as (_, checkpointer):
        assert await checkpointer.checkpoint_now()

    assert len(series(path)) > 8


async def test_a_note_that_did_not_reach_the_store_is_stored_later(path: Path) -> None:
    """After a crash between the signer's directory and the store, the next process stores the same note."""
    async with checkpointing(path) as (journal, checkpointer):
        await journal.save(new("a"))
        await checkpointer.checkpoint_now()
    change(path, "DELETE FROM audit_checkpoint")
    async with checkpointing(path) as (journal, checkpointer):
        assert await journal.last_checkpoint() is None
        await checkpointer.checkpoint_now()

    assert [1] == [checkpoint.size for checkpoint in series(path)]


async def test_a_lost_frontier_is_rebuilt_from_the_leaves(path: Path) -> None:
    """The signer's checkpoint is enough to continue, if the store still has what was signed."""
    async with checkpointing(path) as (journal, checkpointer):
        for key in "abc":
            await journal.save(new(key))
        await checkpointer.checkpoint_now()
        (directory(path) / "frontier").unlink()
        await journal.save(new("d"))
        await checkpointer.checkpoint_now()

    assert [3, 4] == [checkpoint.size for checkpoint in series(path)]


# --- a changed log ----------------------------------------------------------------------------------------------------

SHRANK = ("DELETE FROM stored_events WHERE rowid > 6",)
EDITED = ("UPDATE stored_events SET state = CAST(state || ' ' AS BLOB) WHERE rowid = 2",)
REMOVED = ("DELETE FROM stored_events WHERE rowid = 1",)
SWAPPED = (
    "UPDATE stored_events SET rowid = -1 WHERE rowid = 2",
    "UPDATE stored_events SET rowid = 2 WHERE rowid = 3",
    "UPDATE stored_events SET rowid = 3 WHERE rowid = -1",
)


@pytest.mark.parametrize("lost_frontier", [False, True])
@pytest.mark.parametrize("statements", [SHRANK, EDITED, REMOVED, SWAPPED])
@pytest.mark.parametrize("more", [0, 5])
async def test_a_changed_history_is_not_signed(
    path: Path, statements: tuple[str, ...], more: int, lost_frontier: bool
) -> None:
    """Rewritten events are not signed, not even with a rebuilt tree and after the log has grown."""
    async with checkpointing(path) as (journal, checkpointer):
        for key in "abcdefgh":
            await journal.save(new(key))
        await checkpointer.checkpoint_now()
    before = read_last_note(directory(path))
    change(path, *statements)
    make_tree_again(path)
    if lost_frontier:
        (directory(path) / "frontier").unlink()
    async with checkpointing(path) as (journal, checkpointer):
        for number in range(more):
            await journal.save(new(f"more-{number}"))
        with pytest.raises(Tampered):
            await checkpointer.checkpoint_now()

    assert before == read_last_note(directory(path))


def put_back(path: Path) -> None:
    """Replace the store with its backup."""
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    shutil.copy(path.with_suffix(".backup"), path)


async def test_a_store_that_was_rolled_back_is_not_signed(path: Path) -> None:
    """A restored backup that grows past the signed size again has another history."""
    async with checkpointing(path) as (journal, checkpointer):
        await journal.save(new("a"))
        await checkpointer.checkpoint_now()
    shutil.copy(path, path.with_suffix(".backup"))
    async with checkpointing(path) as (journal, checkpointer):
        await journal.save(new("b"))
        await checkpointer.checkpoint_now()
    put_back(path)
    async with checkpointing(path) as (journal, checkpointer):
        with pytest.raises(Tampered, match="2 events were signed, but the store has 1"):
            await checkpointer.checkpoint_now()
        for key in "cde":
            await journal.save(new(key))
        with pytest.raises(Tampered, match="history differs"):
            await checkpointer.checkpoint_now()


async def test_a_changed_log_is_reported_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The problem is available to `GET /health` and logged once, and every save still works."""
    async with checkpointing(path) as (journal, checkpointer):
        await journal.save(new("a"))
        await checkpointer.checkpoint_now()
    change(path, "UPDATE stored_events SET state = CAST(state || ' ' AS BLOB)")
    make_tree_again(path)
    caplog.clear()
    with caplog.at_level(logging.WARNING, "refundry"):
        async with checkpointing(path) as (journal, checkpointer):
            for key in "bcd":
                await journal.save(new(key))
                checkpointer.notify(1000)
                await until(lambda: problem_of(checkpointer))
            problem = checkpointer.problem

    assert problem is not None
    assert "history differs" in problem
    assert [logging.CRITICAL] == [record.levelno for record in caplog.records]
    assert "audit verify" in caplog.text


@pytest.mark.slow
async def test_signing_resumes_once_the_problem_is_fixed(path: Path) -> None:
    """A signer's directory is used as soon as it can be, and the problem is cleared."""
    directory(path).write_text("a file")
    async with checkpointing(path) as (journal, checkpointer):
        await journal.save(new("a"))
        checkpointer.notify(1000)
        await until(lambda: problem_of(checkpointer))
        assert "audit.directory" in str(checkpointer.problem)
        directory(path).unlink()
        await until(journal.last_checkpoint)
    assert checkpointer.problem is None

    assert [1] == [checkpoint.size for checkpoint in series(path)]


# --- in the gateway ---------------------------------------------------------------------------------------------------


async def test_a_gateway_signs_its_events_before_it_closes(tmp_path: Path) -> None:
    """After one refund everything is signed; a gateway that only reads creates and signs nothing."""
    async with open_shop(tmp_path) as shop:
        await shop.request("R1")
        config = shop.config
    store = tmp_path / "refunds.db"
    sizes = [checkpoint.size for checkpoint in series(store)]
    with closing(sqlite3.connect(store)) as connection:
        events = connection.execute("SELECT count(*) FROM stored_events").fetchone()[0]
    shutil.rmtree(directory(store))
    async with Gateway.open(config) as gateway:
        await gateway.get("R1")

    assert events == sizes[-1]
    assert not directory(store).exists()


async def test_a_starting_worker_signs_what_a_dead_process_left(tmp_path: Path) -> None:
    """The next worker signs the events that a process left unsigned when it died."""
    async with open_shop(tmp_path) as shop:
        config = shop.config
    path = tmp_path / "refunds.db"
    journal = await SqliteJournal.open(path)
    await journal.save(new("a"))
    await journal.close()
    async with Gateway.open(config) as gateway:
        gateway.catch_up()

    assert [1] == [checkpoint.size for checkpoint in series(path)]


CONFIGURED = """
[audit]
directory = "signer"
origin = "shop.example/refunds"
anchors = [{anchor = "file", path = "anchor.txt"}]
"""


async def test_signer_and_anchor_use_the_configured_places(tmp_path: Path) -> None:
    """Signer and anchor are in their configured places, and `audit verify` reports no findings for either."""
    async with open_shop(tmp_path) as shop:
        with shop.config.open("a") as file:
            file.write(CONFIGURED)
        async with shop.reopened() as gateway:
            for number in range(3):
                await gateway.request(
                    RefundRequest(
                        account="shop",
                        payment=f"P{number}",
                        amount="1.00",
                        currency="EUR",
                        refund_request_id=f"R{number}",
                    )
                )
    (anchored,) = read_notes((tmp_path / "anchor.txt").read_bytes())
    verify = [
        "audit",
        "verify",
        "--config",
        str(tmp_path / "refundry.toml"),
        "--checkpoint",
        str(tmp_path / "anchor.txt"),
    ]
    result = await asyncio.to_thread(CliRunner().invoke, cli, verify)

    assert anchored == read_last_note(tmp_path / "signer")
    assert anchored.startswith(b"shop.example/refunds\n")
    assert not directory(tmp_path / "refunds.db").exists()
    assert 0 == result.exit_code, result.output


@pytest.mark.slow
async def test_health_reports_an_unsigned_log_and_refunds_continue(tmp_path: Path) -> None:
    """`GET /health` stays healthy, because refunds continue, and shows the problem under `audit`."""
    async with open_shop(tmp_path) as shop:
        await shop.request("R1")
        config = shop.config
    store = tmp_path / "refunds.db"
    change(store, "UPDATE stored_events SET state = CAST(state || ' ' AS BLOB) WHERE rowid = 1")
    make_tree_again(store)
    async with Gateway.open(config) as gateway:
        runner = web.AppRunner(init_app(web.Application(), gateway), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        assert gateway.checkpointer is not None
        checkpointer = gateway.checkpointer
        async with aiohttp.ClientSession() as session:
            await until(lambda: problem_of(checkpointer))
            async with session.get(f"http://127.0.0.1:{runner.addresses[0][1]}/health") as answer:
                status, printed = answer.status, await answer.json()
        asked = await gateway.request(
            RefundRequest(account="shop", payment="P2", amount="1.00", currency="EUR", refund_request_id="R2"),
            submit=False,
        )
        await runner.cleanup()

    assert (200, "ok") == (status, printed["status"])
    assert "history differs" in printed["audit"]
    assert Status.REQUESTED is asked.status


@pytest.mark.slow
async def test_a_hanging_key_blocks_neither_saving_nor_closing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Saving and closing do not wait for a signing hook that hangs, and its lock is free once it returns."""
    monkeypatch.setattr(checkpointer_module, "_GRACE", 0.2)
    private, come_back = Ed25519PrivateKey.generate(), threading.Event()

    def sign(message: bytes) -> bytes:
        come_back.wait(20)
        return private.sign(message)

    key = Key("slow", private.public_key().public_bytes_raw(), sign)
    opened = open_signer(settings(path, key="plugin:slow"), hooked=lambda: [key])
    journal = await SqliteJournal.open(path)
    checkpointer = Checkpointer(journal, lambda: opened, Anchors([]), Ports())
    await journal.save(new("a"))
    checkpointer.notify(1000)
    await asyncio.sleep(0.1)
    await journal.save(new("b"))
    async with asyncio.timeout(15):
        await checkpointer.close()
    await journal.close()
    locked = not opened.try_lock()
    come_back.set()
    await until(lambda: asyncio.to_thread(opened.try_lock))
    opened.unlock()

    assert locked


async def test_signing_may_be_canceled_anywhere(path: Path) -> None:
    """A canceled call leaves the lock free, and the next checkpoint is valid."""
    async with checkpointing(path) as (journal, checkpointer):
        for number in range(40):
            await journal.save(new(f"a-{number}"))
            task = asyncio.create_task(checkpointer.checkpoint_now())
            for _ in range(number % 12):
                await asyncio.sleep(0)
            await asyncio.sleep(0.0002 * (number % 7))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await until(checkpointer.checkpoint_now)

    assert 40 == series(path)[-1].size
