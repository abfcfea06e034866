"""`refundry audit witness`: a second party on the command line, with a real store."""

import asyncio
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from refundry.audit.signing.signed_notes import Verifier, open_checkpoint, read_note
from refundry.audit.signing.signer import read_verifier
from refundry.cli import cli
from tests.core.audit.child import main as save_and_checkpoint


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Make a store with three events and its checkpoints."""
    path = tmp_path / "refunds.db"
    asyncio.run(save_and_checkpoint(path, "a", 3))
    return path


def run(*arguments: str, given: bytes | None = None) -> Result:
    return CliRunner().invoke(cli, ["audit", "witness", *arguments], input=given)


def first(store: Path) -> Result:
    """Use a witness for the first time."""
    folder = str(store.parent / "witness")
    vkey = str(store.with_name("refunds.db.audit") / "key.vkey")
    return run(str(store), "--directory", folder, "--name", "platform.example/w", "--log", vkey)


def again(store: Path, *more: str, given: bytes | None = None) -> Result:
    return run(*more, "--directory", str(store.parent / "witness"), given=given)


def size(store: Path, signed: bytes) -> int:
    """Check both signatures of a checkpoint, and return its size."""
    log = read_verifier(store.with_name("refunds.db.audit"))
    assert log is not None
    assert read_note(signed).by(Verifier.from_vkey((store.parent / "witness" / "key.vkey").read_text())) is not None
    return open_checkpoint(signed, log).size


def test_a_witness_follows_a_log(store: Path) -> None:
    """The name and the log's key are given once; each time the newest checkpoint comes back with both signatures."""
    sizes = [size(store, first(store).stdout_bytes)]
    asyncio.run(save_and_checkpoint(store, "b", 4))
    sizes.append(size(store, again(store, str(store)).stdout_bytes))
    parsed = json.loads(again(store, str(store), "--json").stdout)

    assert [3, 7] == sizes
    assert (7, 7) == (parsed["size"], size(store, parsed["note"].encode()))


def test_a_witness_that_must_not_see_the_log_works_from_a_request(store: Path) -> None:
    """The output of `--ask` contains only sizes and hashes, and is all that `--request` needs."""
    first(store)
    asyncio.run(save_and_checkpoint(store, "b", 4))
    asked = run(str(store), "--ask", "3")
    answer = again(store, "--request", "-", given=asked.stdout_bytes)

    assert asked.stdout_bytes.startswith(b"old 3\n")
    assert 7 == size(store, answer.stdout_bytes)


def test_a_log_that_was_rolled_back_is_not_signed(store: Path) -> None:
    """A backup that was restored and signed again with the log's own key ends with status 5, and nothing is signed."""
    signer = store.with_name("refunds.db.audit")
    shutil.copytree(signer, store.parent / "signer")
    shutil.copy(store, store.parent / "backup")
    asyncio.run(save_and_checkpoint(store, "b", 4))
    first(store)
    for path in (store, Path(f"{store}-wal"), Path(f"{store}-shm")):
        path.unlink(missing_ok=True)
    shutil.rmtree(signer)
    shutil.copytree(store.parent / "signer", signer)
    shutil.copy(store.parent / "backup", store)
    asyncio.run(save_and_checkpoint(store, "c", 6))
    result = again(store, str(store))

    assert 5 == result.exit_code
    assert b"" == result.stdout_bytes
    assert "nothing was signed" in result.stderr


@pytest.mark.parametrize("missing", ["--directory", "--name", "--log", "checkpoint"])
def test_what_is_missing_is_named(store: Path, missing: str) -> None:
    """The error is one line on stderr, and the status is 2."""
    given = {"--directory": str(store.parent / "w"), "--name": "w", "--log": str(store) + ".audit/key.vkey"}
    given.pop(missing, None)
    if missing == "checkpoint":
        with closing(sqlite3.connect(store)) as connection:
            connection.execute("DELETE FROM audit_checkpoint")
            connection.commit()
    result = run(str(store), *(part for pair in given.items() for part in pair))

    assert missing.strip("-") in str(result.exception) + result.stderr
    assert result.exit_code != 0
