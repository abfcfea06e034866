"""An export is complete or not there, is checked without any database, and shows every change to it."""

import json
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import attrs
import pytest

from refundry.audit.erasure import Tombstone
from refundry.audit.export_format import content_path
from refundry.audit.publication.export import Exported, Part, export
from refundry.audit.signing.signed_notes import Verifier, sign_note
from refundry.audit.verification.export_source import ExportSource, is_export
from refundry.audit.verification.findings import LimitCode, Verdict
from refundry.audit.verification.verify import Given, verify, verify_part
from refundry.errors import Invalid, StoreError, Tampered
from refundry.journal.merkle import TileNodes, consistency_proof, root_of, tile_path, verify_consistency
from refundry.journal.stores import read_store
from tests.core.audit.made import AT, Life, Made, life, lives, new_key

LOG = new_key().verifier()
PAYMENT = "20261122190741010007000000000000001"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a store of 60 refunds, interleaved, so that its tree has tiles on two levels."""
    path = tmp_path_factory.mktemp("store") / "refunds.db"
    made = Made(path)
    made.write(list(lives(40)), interleaved=True)
    made.write(list(lives(20, 40)), interleaved=True)
    made.close()
    return path.read_bytes()


@pytest.fixture
def path(tmp_path: Path, store: bytes) -> Path:
    """Return a copy of the store."""
    path = tmp_path / "refunds.db"
    path.write_bytes(store)
    return path


def exported(path: Path, part: Part = Part(), *, prove: bool = False, place: Path | None = None) -> Exported:
    """Export to the directory `out` next to the store."""
    with read_store(path) as source:
        return export(source, LOG, [], place or path.with_name("out"), part, prove=prove)


def audited(folder: Path, log: Verifier | None = None, *given: Given) -> Verdict:
    """Verify an export, without the store."""
    with ExportSource.read(folder) as source:
        key = log or source.verifier()
        own = Given("the export's checkpoint", source.note(), outside=False)
        return verify(source, key, [own, *given]) if source.whole else verify_part(source, key, given)


def lines(folder: Path) -> list[dict[str, object]]:
    """Read the events as a third party does."""
    return [json.loads(line) for line in (folder / "events.jsonl").read_text("utf-8").splitlines()]


# --- what is in it ----------------------------------------------------------------------------------------------------


def test_a_whole_log(path: Path) -> None:
    """It contains everything, it is clean without the store, and its limitations are reported."""
    done = exported(path)
    path.unlink()
    verdict = audited(done.place)

    assert [] == verdict.findings
    assert (300, 60, 300) == (verdict.events, verdict.refunds, verdict.signed)
    assert done.contents == verdict.contents
    assert LimitCode.NO_OUTSIDE_CHECKPOINT is verdict.limits[0].code
    assert list(range(300)) == [line["idx"] for line in lines(done.place)]


def test_the_bytes_are_those_that_are_stored(path: Path) -> None:
    """Events and evidence are exported as they are stored, byte for byte."""
    folder = exported(path).place
    with closing(sqlite3.connect(path)) as store, store:
        stored = store.execute("SELECT state FROM stored_events ORDER BY rowid").fetchall()
        kept = dict(store.execute("SELECT digest, bytes FROM evidence").fetchall())
    files = [each for name in ("evidence", "private") for each in (folder / name).rglob("*") if each.is_file()]

    assert [state.decode() for (state,) in stored] == [line["state"] for line in lines(folder)]
    assert kept == {bytes.fromhex(each.name): each.read_bytes() for each in files}


def test_the_tiles_prove(path: Path) -> None:
    """The tiles of an export are sufficient to prove that the log only grew."""
    folder = exported(path).place
    nodes = TileNodes(300, lambda level, index, width: (folder / tile_path(level, index, width)).read_bytes())
    leaves = [nodes(0, index) for index in range(300)]
    proof = consistency_proof(200, 300, nodes)

    assert verify_consistency(200, 300, proof, root_of(leaves[:200]), root_of(leaves))


@pytest.mark.parametrize(
    ("part", "refunds", "events"),
    [
        (Part(payment=PAYMENT), 2, 10),
        (Part(account="shop-eu", payment=PAYMENT), 2, 10),
        (Part(refund=life(7).id), 1, 5),
        (Part(account="shop-eu"), 60, 300),
        (Part(since=AT + timedelta(seconds=25), until=AT + timedelta(seconds=26)), 60, 4),
        (Part(payment=PAYMENT, until=AT + timedelta(seconds=4)), 2, 3),
    ],
    ids=["payment", "both", "refund", "account", "times", "payment and time"],
)
def test_a_part(path: Path, part: Part, refunds: int, events: int) -> None:
    """A part has what was selected, each event with its proof, and can be checked on its own."""
    done = exported(path, part)
    verdict = audited(done.place)

    assert (events, events) == (done.events, len(lines(done.place)))
    assert [] == verdict.findings
    assert (events, events) == (verdict.events, verdict.signed)
    assert not (done.place / "tile").exists()
    assert refunds == (verdict.refunds if part.timeless else refunds)
    assert LimitCode.PARTIAL is verdict.limits[0].code


def test_what_is_not_signed_yet_is_left_out(path: Path) -> None:
    """Events newer than the newest checkpoint are not exported, and are counted."""
    with closing(sqlite3.connect(path)) as store, store:
        store.execute("DELETE FROM audit_checkpoint WHERE size=300")
    done = exported(path)

    assert (200, 100) == (done.events, done.left_out)
    assert [] == audited(done.place).findings


def test_erased_records(path: Path) -> None:
    """An erased record is not exported, its signed note is, and the check still passes."""
    each = life(1)
    digest = each.digest(1)
    stone = Tombstone(digest=digest, refund_id=each.id, at=AT, by="ada", why="asked to")
    note = sign_note(stone.text(LOG.name), new_key())
    with closing(sqlite3.connect(path)) as store, store:
        store.execute("UPDATE evidence SET bytes=zeroblob(9) WHERE digest=?", (bytes.fromhex(digest),))
        store.execute("INSERT INTO erased VALUES (?,?,?)", (bytes.fromhex(digest), each.id, note))
    for place, part in (("whole", Part()), ("part", Part(refund=each.id))):
        folder = exported(path, part, place=path.with_name(place)).place
        verdict = audited(folder)

        assert [] == verdict.findings
        assert 1 == verdict.erased
        assert note == (folder / content_path("erased", digest)).read_bytes()
        assert not (folder / content_path("evidence", digest)).exists()


def test_bytes_that_are_not_text(tmp_path: Path) -> None:
    """A state that is not UTF-8 is exported in base64, and matches its proof."""
    made = Made(tmp_path / "refunds.db")
    made.write([Life(life(1).id, life(1).events, life(1).contents)])
    made.close()
    # Correctly signed bytes that are not an event, which no export may hide.
    other = Made(tmp_path / "other.db")
    other.connection.execute("INSERT INTO stored_events VALUES ('r',1,'requested',x'ff00')")
    other.adopt()
    other.close()
    folder = exported(tmp_path / "other.db").place

    assert "/wA=" == lines(folder)[0]["state_base64"]
    assert {"event"} == {finding.kind for finding in audited(folder).findings}


# --- what it refuses --------------------------------------------------------------------------------------------------


def test_nothing_is_overwritten(path: Path) -> None:
    """An existing directory, file or broken link stays as it is."""
    takes: list[Callable[[Path], object]] = [Path.mkdir, Path.touch, lambda place: place.symlink_to("nowhere")]
    for number, take in enumerate(takes):
        place = path.with_name(f"taken-{number}")
        take(place)
        with pytest.raises(Invalid, match="there already; nothing is overwritten"):
            exported(path, place=place)


def test_nothing_half_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a file cannot be written, the log is not what was signed, or no event is selected, nothing remains."""
    before = sorted(path.parent.iterdir())

    def full(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(StoreError, match="No space left on device"):
            exported(path)
    with pytest.raises(Invalid, match="no event is both"):
        exported(path, Part(payment="unknown"))
    with pytest.raises(Invalid, match="there is no folder"):
        exported(path, place=path.with_name("no") / "where")
    with closing(sqlite3.connect(path)) as store, store:
        store.execute("DELETE FROM evidence WHERE digest=?", (bytes.fromhex(life(1).digest(0)),))
    with pytest.raises(Tampered, match="is not kept and was not erased"):
        exported(path)
    with closing(sqlite3.connect(path)) as store, store:
        store.execute("UPDATE stored_events SET topic='failed' WHERE rowid=9")
    with pytest.raises(Tampered, match="not those that were signed"):
        exported(path)

    assert before == sorted(path.parent.iterdir())


def test_only_its_owner_can_read_an_export(path: Path) -> None:
    """Every directory and file of an export is for its owner alone, whatever the umask."""
    umask = os.umask(0)
    try:
        exported(path)
    finally:
        os.umask(umask)
    found = [path.with_name("out"), *path.with_name("out").rglob("*")]

    assert {(True, 0o700), (False, 0o600)} == {(one.is_dir(), stat.S_IMODE(one.stat().st_mode)) for one in found}


def test_an_unsigned_log_is_not_exported(path: Path) -> None:
    """Without a genuine checkpoint nothing is exported."""
    with read_store(path) as source, pytest.raises(Invalid, match="nothing of it is signed with this key"):
        export(source, new_key("other").verifier(), [], path.with_name("out"))


def test_a_log_that_shrank(path: Path) -> None:
    """A store with fewer events than were signed is not exported."""
    with closing(sqlite3.connect(path)) as store, store:
        store.execute("DELETE FROM stored_events WHERE rowid>290")
    with pytest.raises(Tampered, match="300 events were signed, and the store has 290"):
        exported(path)


# --- what is changed in it --------------------------------------------------------------------------------------------


def _first_evidence(folder: Path) -> Path:
    return min(each for each in (folder / "evidence").rglob("*") if each.is_file())


def _rewrite(folder: Path, change: Callable[[list[str]], list[str]]) -> None:
    file = folder / "events.jsonl"
    file.write_text("\n".join(change(file.read_text("utf-8").splitlines())) + "\n", "utf-8")


def _first(old: str, new: str) -> Callable[[Path], object]:
    """Return a function that changes the first line of the events."""
    return lambda folder: _rewrite(folder, lambda all: [all[0].replace(old, new), *all[1:]])


def _copy(source: str, target: str) -> Callable[[Path], object]:
    return lambda folder: (folder / target).write_bytes((folder / source).read_bytes())


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "an amount": (_first("1233", "1234"), "event"),
    "a line less": (lambda folder: _rewrite(folder, lambda all: all[:-1]), "rollback"),
    "a line in the middle less": (lambda folder: _rewrite(folder, lambda all: all[:3] + all[4:]), "storage"),
    "two lines swapped": (lambda folder: _rewrite(folder, lambda all: [all[1], all[0], *all[2:]]), "storage"),
    "no JSON": (lambda folder: _rewrite(folder, lambda all: ["{", *all[1:]]), "storage"),
    "other types": (_first('"idx": 0', '"idx": "0"'), "storage"),
    "no events": (lambda folder: (folder / "events.jsonl").unlink(), "rollback"),
    "evidence": (lambda folder: _first_evidence(folder).write_bytes(b"x"), "evidence"),
    "no evidence": (lambda folder: _first_evidence(folder).unlink(), "evidence"),
    "a strange file": (lambda folder: (folder / "evidence" / "notes.txt").write_bytes(b"x"), "storage"),
    "a tile": (lambda folder: (folder / "tile/0/001.p/44").write_bytes(bytes(44 * 32)), "event"),
    "a high tile": (lambda folder: (folder / "tile/1/000.p/1").write_bytes(bytes(32)), "storage"),
    "no tile": (lambda folder: (folder / "tile/0/001.p/44").unlink(), "storage"),
    "an older checkpoint": (_copy("checkpoints/200", "checkpoint"), ""),
    "a checkpoint of another size": (_copy("checkpoint", "checkpoints/200"), "checkpoint"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_found(path: Path, name: str) -> None:
    """Any change in the directory is found; an older genuine checkpoint only covers less."""
    folder = exported(path).place
    change, kind = CHANGES[name]
    change(folder)
    verdict = audited(folder)

    if kind:
        assert kind in {finding.kind for finding in verdict.findings}, verdict.findings
    else:
        assert [] == verdict.findings


PART_CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "an amount": (_first("1233", "1234"), "proof"),
    "a proof": (_first('"proof": ["', '"proof": ["AAAA'), "proof"),
    "no proof": (_first("proof", "prove"), "storage"),
    "the beginning": (lambda folder: _rewrite(folder, lambda all: all[1:]), "invariant"),
    "the checkpoint": (lambda folder: (folder / "checkpoint").write_bytes(b"forged"), "checkpoint"),
    "no evidence": (lambda folder: shutil.rmtree(folder / "evidence"), "evidence"),
}


@pytest.mark.parametrize("name", PART_CHANGES)
def test_a_change_in_a_part_is_found(path: Path, name: str) -> None:
    """Each event of a part has its own proof."""
    folder = exported(path, Part(payment=PAYMENT)).place
    change, kind = PART_CHANGES[name]
    change(folder)

    assert kind in {finding.kind for finding in audited(folder).findings}


def test_a_part_is_compared_with_other_checkpoints(path: Path) -> None:
    """A checkpoint of the same size is compared with a part; one of another size is reported as a limitation."""
    folder = exported(path, Part(payment=PAYMENT)).place
    with read_store(path) as source:
        older, newest = (Given(f"of {size}", note) for size, note in source.checkpoints())
    other = Made(path.with_name("other.db"))
    other.write(list(lives(60, 300)))
    fork = Given("a fork", other.close())

    assert [] == audited(folder, None, newest).findings
    assert LimitCode.OTHER_SIZE in [limit.code for limit in audited(folder, None, older).limits]
    assert ["checkpoint"] == [finding.kind for finding in audited(folder, None, fork).findings]


def test_the_wrong_key(path: Path) -> None:
    """An auditor who got the key elsewhere is not deceived by the key in the export."""
    folder = exported(path).place
    verdict = audited(folder, attrs.evolve(LOG, public=new_key("another").public))

    assert {"checkpoint", "unsigned"} == {finding.kind for finding in verdict.findings}


def test_a_directory_that_is_not_an_export(tmp_path: Path) -> None:
    """Another directory, another version, and an export without its key or checkpoint are refused in one line."""
    assert not is_export(tmp_path)
    for about in ("", "[]", '{"format": "refundry/export/9", "size": 1}', '{"format": "refundry/export/1"}'):
        (tmp_path / "export.json").write_text(about)
        with pytest.raises(Invalid, match="is not an export that this Refundry reads"), ExportSource.read(tmp_path):
            pass
    (tmp_path / "export.json").write_text('{"format": "refundry/export/1", "size": 1, "whole": true}')
    with ExportSource.read(tmp_path) as source:
        for ask in (source.verifier, source.note):
            with pytest.raises(Invalid, match="is missing in the export"):
                ask()


def test_reading_writes_nothing(path: Path) -> None:
    """Verifying does not change the directory."""
    folder = exported(path).place
    before = sorted((each, each.stat().st_mtime_ns) for each in folder.rglob("*"))
    audited(folder)

    assert before == sorted((each, each.stat().st_mtime_ns) for each in folder.rglob("*"))
    assert os.access(folder / "README.txt", os.R_OK)
