"""The `audit` commands: their output and exit status."""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner, Result

from refundry.cli import cli
from refundry.cli.groups import audit
from refundry.errors import Invalid
from refundry.journal.log_source import StoreSource
from refundry.journal.stores import read_store
from refundry.provider import NotFound, Outcome
from tests.core.audit.later_plugin import with_change
from tests.core.audit.made import Made, life, lives, new_key
from tests.core.shop import open_shop

LOG = new_key().verifier()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Make a directory with a configuration, a store of some refunds, and its signer's directory."""
    made = Made(tmp_path / "refunds.db")
    made.write(list(lives(6)))
    note = made.close()
    (tmp_path / "refundry.toml").write_text('store = "sqlite:///refunds.db"\n')
    signer = tmp_path / "refunds.db.audit"
    signer.mkdir(mode=0o700)
    (signer / "key.vkey").write_text(f"{LOG.vkey}\n")
    (signer / "checkpoint").write_bytes(note)
    return tmp_path


def run(place: Path, *arguments: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(audit, [arguments[0], "--config", str(place / "refundry.toml"), *arguments[1:]])


def parsed(result: Result) -> Any:
    """Return what a command printed with `--json`."""
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return json.loads(result.stdout)


def test_a_clean_store(place: Path) -> None:
    """The configured store is verified with its signer's checkpoint, and the status is 0."""
    result = run(place, "verify")
    as_json = parsed(run(place, "verify", "--json", "--deep"))

    assert 0 == result.exit_code
    assert "30 events of 6 refunds" in result.stdout
    assert result.stdout.endswith("OK: no findings\n")
    assert (True, 30, 30, []) == (as_json["clean"], as_json["events"], as_json["signed"], as_json["limits"])
    total = as_json["totals"][0]
    assert total["requested"] == total["settled"] + total["failed"] + total["open"]


def test_a_store_that_was_tampered_with(place: Path) -> None:
    """Each finding is printed with its place, and the status is 5."""
    store = place / "refunds.db"
    store.write_bytes(store.read_bytes().replace(b'"minor":1233', b'"minor":9233', 1))
    result = run(place, "verify", str(store))
    as_json = run(place, "verify", str(store), "--json")

    assert 5 == result.exit_code == as_json.exit_code
    assert "event: position" in result.stdout
    assert {"kind", "where", "text"} == set(parsed(as_json)["findings"][0])


def test_a_store_in_use(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint that is signed during the check covers more events than the snapshot, and is not a finding."""
    opened = read_store

    @contextmanager
    def open_and_continue(path: Path, *, deep: bool = False) -> Iterator[StoreSource]:
        with opened(path, deep=deep) as source:
            made = Made(place / f"{len(list(place.iterdir()))}.db")
            made.write(list(lives(9)))
            (place / "refunds.db.audit" / "checkpoint").write_bytes(made.close())
            yield source

    note = (place / "refunds.db.audit" / "checkpoint").read_bytes()
    monkeypatch.setattr("refundry.cli.audit.read_store", open_and_continue)
    for arguments in (["verify"], ["export", str(place / "out")], ["prove", life(3).id, str(place / "proof")]):
        (place / "refunds.db.audit" / "checkpoint").write_bytes(note)

        assert 0 == run(place, *arguments).exit_code, arguments


def test_checkpoints_from_elsewhere(place: Path) -> None:
    """All checkpoints in an anchor's file are compared, so a rollback of the log is found."""
    made = Made(place / "other.db")
    made.write(list(lives(9)))
    newer = made.close()
    anchor = place / "anchor"
    own = (place / "refunds.db.audit" / "checkpoint").read_bytes()
    anchor.write_bytes(own + b"\n" + newer + b"\n")
    found = parsed(run(place, "verify", "--json", "--checkpoint", str(anchor)))

    assert ["rollback"] == [finding["kind"] for finding in found["findings"]]
    assert "anchor, number 2, of size 45" in found["findings"][0]["where"]
    missing = run(place, "verify", "--checkpoint", str(place / "no"))
    assert isinstance(missing.exception, Invalid)


def test_a_key_is_required(place: Path) -> None:
    """Nothing is verified without a public key, which can be given as text or as a file."""
    (place / "refunds.db.audit").rename(place / "elsewhere")
    missing = run(place, "verify")

    assert isinstance(missing.exception, Invalid)
    assert "--key: is required" in str(missing.exception)
    (place / "text").write_text("not a store")
    for name, words in (("text", "not an SQLite database"), ("no", "there is no file")):
        assert words in str(run(place, "verify", str(place / name)).exception)
    assert parsed(run(place, "verify", "--json", "--key", LOG.vkey))["limits"] != []
    assert [] == parsed(run(place, "verify", "--json", "--directory", str(place / "elsewhere")))["limits"]
    assert 0 == run(place, "verify", "--key", str(place / "elsewhere" / "key.vkey")).exit_code


def test_export_and_back(place: Path) -> None:
    """An export is verified without configuration or store."""
    done = parsed(run(place, "export", str(place / "out"), "--json"))
    part = run(place, "export", str(place / "part"), "--payment", "20261122190741010007000000000000001")
    (place / "refunds.db").unlink()
    (place / "refundry.toml").unlink()
    whole = parsed(run(place, "verify", str(place / "out"), "--json"))

    assert (30, 6, 0) == (done["events"], done["refunds"], done["left_out"])
    assert "10 events of 2 refunds" in part.stdout
    assert whole["clean"]
    assert "key_from_export" == whole["limits"][-1]["code"]
    assert 0 == run(place, "verify", str(place / "part"), "--key", LOG.vkey).exit_code
    assert 0 == run(place, "verify", str(place / "part")).exit_code


def test_prove(place: Path) -> None:
    """A refund is proven by either of its ids, and a changed proof ends with 5."""
    assert 0 == run(place, "prove", "refund-000000000003", str(place / "proof")).exit_code
    assert 5 == parsed(run(place, "prove", life(4).id, str(place / "other"), "--json"))["events"]
    events = place / "proof" / "events.jsonl"
    events.write_text(events.read_text().replace("1233", "1234"))
    assert 5 == run(place, "verify", str(place / "proof")).exit_code


def test_report(place: Path) -> None:
    """Reports are written in both formats, and for one refund."""
    assert "6 refunds" in run(place, "report", str(place / "all.html")).stdout
    one = run(place, "report", str(place / "one.csv"), "--id", "refund-000000000003", "--json")
    assert 1 == parsed(one)["refunds"]
    assert 6 == len((place / "one.csv").read_text().splitlines())


def test_checkpoint(place: Path) -> None:
    """The last checkpoint is printed unchanged, and so is the public key."""
    note = (place / "refunds.db.audit" / "checkpoint").read_text("utf-8")

    assert note == run(place, "checkpoint").stdout
    assert f"{LOG.vkey}\n" == run(place, "checkpoint", "--vkey").stdout
    assert (30, note) == tuple(parsed(run(place, "checkpoint", "--json"))[name] for name in ("size", "note"))
    (place / "refunds.db.audit" / "checkpoint").unlink()
    assert "nothing has been signed yet" in str(run(place, "checkpoint").exception)


def test_replay(place: Path) -> None:
    """Accounts that are not configured are listed as not read again; a changed index is a difference."""
    result = run(place, "replay", "--json")
    shown = parsed(result)

    assert 0 == result.exit_code
    assert (True, [], []) == (shown["clean"], shown["findings"], shown["wording"])
    assert ["account"] == [finding["kind"] for finding in shown["unread"]]

    with closing(sqlite3.connect(place / "refunds.db")) as store, store:
        store.execute("UPDATE refund_index SET amount=1")
    different = run(place, "replay")

    assert 5 == different.exit_code
    assert "index: refund" in different.stdout
    assert "differences" in different.stdout


@pytest.fixture
async def pending(tmp_path: Path) -> Path:
    """Return the configuration of a store with one refund that is pending."""
    async with open_shop(tmp_path, mode="async", async_delay=None) as shop:
        await shop.request()
        return shop.config


def changed(outcome: Any, **fields: str) -> Any:
    """Return an outcome with other values in some fields."""
    return attrs.evolve(outcome, **fields)


WORDING = {"cause": "NEW"}
CODE = {"code": "NEW"}


@pytest.mark.parametrize(
    ("change", "status", "listed", "line"),
    [
        (lambda outcome: changed(outcome, **WORDING), 0, "wording", "cause: then"),
        (lambda outcome: changed(outcome, **CODE), 5, "findings", "reading: position 3"),
        (
            lambda outcome: NotFound("Antom has no record of it."),
            5,
            "findings",
            'outcome: then "pending", now "unknown"',
        ),
    ],
    ids=["wording", "code", "outcome"],
)
def test_replay_with_a_later_plugin(
    pending: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Outcome], Outcome],
    status: int,
    listed: str,
    line: str,
) -> None:
    """A later wording is listed and passes; a later code or outcome is a difference and exits with 5."""
    monkeypatch.setattr("refundry.cli.audit.load_plugins", lambda **_: with_change(change))
    shown = CliRunner().invoke(audit, ["replay", "--config", str(pending)])
    as_json = parsed(CliRunner().invoke(audit, ["replay", "--config", str(pending), "--json"]))

    assert status == shown.exit_code
    assert line in shown.stdout
    assert (status == 0) == as_json["clean"] == shown.stdout.endswith("OK: replay matches the log\n")
    assert 1 <= len(as_json[listed])
    assert (listed == "wording") == (as_json["findings"] == [])


async def test_show_lists_a_wording_next_to_the_readings(pending: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`show` keeps the two apart, like `audit replay`."""
    later = with_change(lambda outcome: changed(outcome, cause="New text."))
    monkeypatch.setattr("refundry.gateway.queries.load_plugins", lambda **_: later)
    arguments = ["--config", str(pending), "show", "R1"]
    result = await asyncio.to_thread(CliRunner().invoke, cli, [*arguments, "--json"])
    shown = await asyncio.to_thread(CliRunner().invoke, cli, arguments)
    listed = parsed(result)

    assert [] == listed["readings"]
    assert ["cause"] == [reading["field"] for reading in listed["wording"]]
    assert "would be worded differently now: position 3, cause: then" in shown.stdout
