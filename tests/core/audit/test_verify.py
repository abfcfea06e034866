"""What `audit verify` finds, what it does not accuse, and what it says that it cannot see."""

import hashlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refundry.audit.erasure import Tombstone
from refundry.audit.signing.signed_notes import sign_note
from refundry.audit.verification.findings import KEPT, FindingKind, Findings, Limit, LimitCode, Verdict
from refundry.audit.verification.streamed_roots import Batch
from refundry.audit.verification.verify import Given, verify
from refundry.errors import ConfigError, StoreError
from refundry.journal.log_source import BATCH
from refundry.journal.merkle import Frontier, root_of
from refundry.journal.sqlite.recorder import open_recorder
from refundry.journal.sqlite.rows import REPLACE_ROW, whole_row
from refundry.journal.stores import read_store
from refundry.money import Money
from refundry.refund import Channel, Failed, Settled, fold
from tests.core.audit.made import AT, Life, Made, life, lives, make_store, new_key, refund_id, signed
from tests.core.privilege import without_privilege

LOG = new_key().verifier()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "refunds.db"


def audited(path: Path, *notes: bytes, deep: bool = False) -> Verdict:
    """Verify a store with checkpoints from outside."""
    with read_store(path, deep=deep) as source:
        return verify(source, LOG, [Given("given", note) for note in notes])


def changed(path: Path, statement: str, *values: Any) -> None:
    """Change a store at rest."""
    with closing(sqlite3.connect(path)) as store, store:
        store.execute(statement, values)


def found(verdict: Verdict) -> list[tuple[str, str]]:
    """Return kind and place of all findings."""
    return [(finding.kind, finding.where) for finding in verdict.findings]


def made_of(path: Path, *some: Life) -> bytes:
    """Make a correctly signed store of these refunds."""
    made = Made(path)
    made.write(some)
    return made.close()


# --- clean ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interleaved", [False, True])
def test_a_whole_log(path: Path, interleaved: bool) -> None:
    """A log of several batches has no findings, and its events and amounts are counted."""
    note = make_store(path, 2 * BATCH // 5 + 30, group=300, interleaved=interleaved)
    verdict = audited(path, note, deep=True)
    refunds = 2 * BATCH // 5 + 30

    assert [] == verdict.findings
    assert [] == verdict.limits
    assert (refunds, 5 * refunds, 5 * refunds) == (verdict.refunds, verdict.events, verdict.signed)
    failed = sum(number % 10 == 5 for number in range(refunds)) * 1233
    assert [("EUR", 2, refunds, 1233 * refunds, 1233 * refunds - failed, failed, 0)] == verdict.totals


def test_a_small_cache_changes_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The result is the same if states are evicted and rebuilt, and few digests are remembered."""
    note = make_store(path, 200, group=100, interleaved=True)
    monkeypatch.setattr("refundry.audit.verification.refund_states.CACHED", 3)
    monkeypatch.setattr("refundry.audit.verification.evidence_check.REMEMBERED", 5)
    monkeypatch.setattr("refundry.journal.sqlite.snapshot.BATCH", 32)
    verdict = audited(path, note)

    assert [] == verdict.findings
    assert 200 == verdict.refunds


def test_an_empty_log(path: Path) -> None:
    """A store without events is clean."""
    Made(path).connection.close()
    verdict = audited(path)

    assert [] == verdict.findings
    assert 0 == verdict.events


def test_an_earlier_checkpoint_and_one_of_nothing(path: Path) -> None:
    """A log that grew matches every earlier checkpoint, including that of the empty log."""
    made = Made(path)
    first = signed(made.frontier)
    made.write(list(lives(3)))
    second = signed(made.frontier)
    made.write(list(lives(4, 3)))
    made.close()
    verdict = audited(path, first, second)

    assert [] == verdict.findings
    assert 4 == verdict.checkpoints


def test_a_live_store(path: Path) -> None:
    """A store in use is read in one snapshot, which does not contain later writes."""
    made = Made(path)
    made.write(list(lives(5)))
    with read_store(path) as source:
        made.write(list(lives(5, 5)))
        verdict = verify(source, LOG)
    made.close()

    assert [] == verdict.findings
    assert 25 == verdict.events


def test_nothing_is_written(path: Path) -> None:
    """A store at rest is read as it is: no file is created next to it, and its bytes do not change."""
    note = make_store(path, 5)
    before = (sorted(each.name for each in path.parent.iterdir()), path.read_bytes())
    audited(path, note)

    assert before == (sorted(each.name for each in path.parent.iterdir()), path.read_bytes())


_READS = """
import sys
from pathlib import Path
from refundry.journal.stores import read_store
with read_store(Path(sys.argv[1])) as source:
    print(sum(len(batch) for batch in source.events()))
try:
    Path(sys.argv[1]).with_name("new").write_text("")
except PermissionError:
    print("read-only")
"""


@pytest.mark.parametrize("empty_log", [False, True])
def test_a_folder_that_cannot_be_written_to(path: Path, empty_log: bool) -> None:
    """A copy in a read-only directory is read, even with an empty write-ahead log next to it."""
    make_store(path, 5)
    if empty_log:
        path.with_name("refunds.db-wal").write_bytes(b"")
    path.chmod(0o444)
    path.parent.chmod(0o555)
    command = [*without_privilege(), sys.executable, "-c", _READS, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    path.parent.chmod(0o755)

    assert "25\nread-only\n" == done.stdout, done.stderr


def test_a_write_during_the_check_is_refused(path: Path) -> None:
    """A store at rest that is written to while it is read is refused, because it was not a snapshot."""
    make_store(path, 5)
    with pytest.raises(StoreError, match="another process wrote"), read_store(path):
        changed(path, "DELETE FROM observed")


def test_a_file_that_is_not_a_store(path: Path) -> None:
    """A missing file and another database are refused in one line."""
    with pytest.raises(ConfigError, match="there is no file"), read_store(path):
        pass
    sqlite3.connect(path).execute("CREATE TABLE t (x)").connection.close()
    with pytest.raises(ConfigError, match="not a Refundry store"), read_store(path):
        pass


# --- tampered ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "kind", "where"),
    [
        ("UPDATE stored_events SET state=replace(state,'1233','9233') WHERE rowid=1", "event", "position 1"),
        ("UPDATE stored_events SET state=CAST(state AS TEXT) WHERE rowid=2", "event", "position 2"),
        ("UPDATE stored_events SET topic=CAST('failed' AS BLOB) WHERE rowid=5", "event", "position 5"),
        ("UPDATE stored_events SET originator_id=CAST(x'ff00' AS TEXT) WHERE rowid=7", "event", "position 7"),
        ("DELETE FROM stored_events WHERE rowid=8", "leaf", "position 8"),
        ("DELETE FROM stored_events WHERE rowid=25", "rollback", "given of size 25"),
        ("DELETE FROM audit_leaf WHERE position=4", "leaf", "position 4"),
        ("UPDATE stored_events SET rowid=-5 WHERE rowid=25", "leaf", "position -5"),
        ("INSERT INTO stored_events (rowid, topic) VALUES (-9223372036854775808, 'x')", "leaf", "position -9"),
        ("INSERT INTO audit_leaf VALUES (-1, 0, zeroblob(32))", "leaf", "position 0"),
        ("INSERT INTO audit_leaf VALUES (25, 26, zeroblob(32))", "leaf", "position 26"),
        ("UPDATE audit_leaf SET hash=zeroblob(32) WHERE idx=3", "event", "position 4"),
        ("UPDATE audit_leaf SET position=99 WHERE idx=24", "leaf", "position 25"),
        ("UPDATE audit_leaf SET hash=CAST(x'ff00' AS TEXT) WHERE idx=24", "event", "position 25"),
        ("UPDATE audit_tree SET size=24", "tree", "frontier"),
        ("DELETE FROM audit_tree", "tree", "frontier"),
        ("UPDATE audit_checkpoint SET note=replace(note,'25','26')", "checkpoint", "the database's"),
        ("UPDATE audit_checkpoint SET size=7", "checkpoint", "the database's checkpoint of size 7"),
        ("UPDATE evidence SET bytes=bytes||x'20' WHERE rowid=1", "evidence", ""),
        ("DELETE FROM evidence WHERE rowid=1", "evidence", "position 2"),
        ("UPDATE refund_index SET amount=1 WHERE refund_request_id='refund-000000000002'", "index", "refund "),
        ("UPDATE refund_index SET review='x' WHERE refund_request_id='refund-000000000002'", "index", "refund "),
        ("DELETE FROM refund_index WHERE refund_request_id='refund-000000000002'", "index", "refund "),
        ("UPDATE refund_index SET id='x' WHERE refund_request_id='refund-000000000002'", "index", "refund "),
        ("UPDATE refund_index SET lease_until=0", "storage", "refund "),
        ("DROP INDEX refund_due", "storage", "tables"),
        ("INSERT INTO unmatched_notifications VALUES (0,'a','r',x'00',x'01')", "storage", "unmatched"),
        ("INSERT INTO erased VALUES (x'00','r','no note')", "tombstone", "00"),
    ],
)  # fmt: skip
def test_each_change_is_found_in_its_place(path: Path, statement: str, kind: str, where: str) -> None:
    """Each change is found, with its kind and its place."""
    note = make_store(path, 5)
    changed(path, statement)
    verdict = audited(path, note)

    assert any(k == kind and w.startswith(where) for k, w in found(verdict)), verdict.findings


def test_the_last_good_checkpoint_is_named(path: Path) -> None:
    """If everything was rebuilt after an edit, the checkpoints show between which two of them it happened."""
    make_store(path, 6, group=2)
    rightly = path.read_bytes()
    path.unlink()
    made = Made(path)
    made.write(list(lives(2)))
    made.write([attrs.evolve(life(number), contents=[]) for number in (9, 8)])
    made.close()
    forged = sqlite3.connect(path)
    original = path.with_name("original.db")
    original.write_bytes(rightly)
    with closing(sqlite3.connect(original)) as store, store:
        notes = store.execute("SELECT size, at, note FROM audit_checkpoint").fetchall()
    forged.execute("DELETE FROM audit_checkpoint")
    forged.executemany("INSERT INTO audit_checkpoint VALUES (?,?,?)", notes)
    forged.commit()
    forged.close()
    texts = [finding.text for finding in audited(path).findings if finding.kind in ("checkpoint", "rollback")]

    assert [
        "the first 20 events are not those that were signed; the first 10 are",
        "30 events were signed, but the log has only 20",
    ] == sorted(texts, key=lambda text: "first" not in text)


def test_nothing_signed(path: Path) -> None:
    """A log without any checkpoint proves nothing, and that is a finding."""
    make_store(path, 2)
    changed(path, "DELETE FROM audit_checkpoint")

    assert [("unsigned", "log")] == found(audited(path))


def test_a_flood_is_counted(path: Path) -> None:
    """Of many findings of one kind only the first are kept, and the others are counted."""
    findings = Findings()
    for number in range(KEPT + 7):
        findings.add(FindingKind.EVENT, f"position {number}", "x")

    assert KEPT + 1 == len(findings.all())
    assert "7 more of this kind" == findings.all()[-1].text


# --- what does not hold -----------------------------------------------------------------------------------------------


def _settled_with_more(each: Life) -> Life:
    end = each.events[4]
    assert isinstance(end, Settled)
    return attrs.evolve(each, events=[*each.events[:4], attrs.evolve(end, amount=Money(1234, "EUR", 2))])


def _refund(number: int, **changes: Any) -> Life:
    each = life(number)
    return attrs.evolve(each, events=[attrs.evolve(each.events[0], **changes), *each.events[1:]])


_TOTAL = Money(2000, "EUR", 2)


def _aliased(number: int) -> Life:
    each = _refund(number, payment_total=_TOTAL)
    end = each.events[4]
    assert isinstance(end, Settled)
    return attrs.evolve(each, events=[*each.events[:4], attrs.evolve(end, payment_alias="merchant:o")])


@pytest.mark.parametrize("wrong", [{"payment_total": Money(1, "EUR", 2)}, {"amount": Money(1, "USD", 2)}])
def test_a_failed_refund_binds_nothing(path: Path, wrong: dict[str, Any]) -> None:
    """The total and the currency of a refund that failed without review lead to no finding."""
    failed = life(4, failed=True)
    failed = attrs.evolve(failed, events=[attrs.evolve(failed.events[0], **wrong), *failed.events[1:]])

    assert audited(path, made_of(path, failed, life(5))).clean


@pytest.mark.parametrize("clean", [True, False])
def test_a_corrected_total_applies(path: Path, clean: bool) -> None:
    """Refunds beyond an earlier total are a finding, unless a later refund corrected it."""
    corrected = _refund(5, payment_total=Money(3000, "EUR", 2), corrects_total=clean)

    assert clean == audited(path, made_of(path, _refund(4, payment_total=_TOTAL), corrected)).clean


@pytest.mark.parametrize(
    ("some", "invariant"),
    [
        ([_settled_with_more(life(1))], "I7: 1233 minor units of EUR were requested, and 1234 of EUR settled"),
        ([_refund(2, payment_total=_TOTAL), _refund(3, payment_total=_TOTAL)], "I1: refunds of 2466 minor units"),
        ([life(4), _refund(5, amount=Money(1233, "USD", 2), payment_total=None)], "I7: its refunds are in more"),
        ([_aliased(2), _refund(5, payment="merchant:o", payment_total=_TOTAL)], "I1: refunds of 2466 minor units"),
        ([life(2), _refund(3, retry_of=life(2).id)], "I5: it replaces"),
        ([_refund(3, retry_of="unknown")], "I5: it replaces unknown, which is not in the log before it"),
        ([attrs.evolve(life(1), events=[life(1).events[0], *life(1).events[2:]])], "I4: an answer is recorded"),
    ],
    ids=["too much", "over total", "two currencies", "another name", "not failed", "replaces unknown", "not sent"],
)  # fmt: skip
def test_invariants(path: Path, some: list[Life], invariant: str) -> None:
    """A correctly signed log that makes no sense is reported by the invariant that it violates."""
    note = made_of(path, *some)
    texts = [finding.text for finding in audited(path, note).findings if finding.kind is FindingKind.INVARIANT]

    assert any(text.startswith(invariant) for text in texts), texts


_REQUIRED: dict[type[Any], dict[str, Any]] = {
    Failed: {"code": "OPERATOR", "cause": "c", "advice": "a"},
    Settled: {"amount": Money(1233, "EUR", 2)},
}


@pytest.mark.parametrize(
    ("kept", "decided", "listed"),
    [
        (5, Failed, "an operator recorded that it failed; the provider reported that it settled"),
        (4, Failed, "an operator recorded that it failed; the provider reported that it is in process"),
        (4, Settled, None),
    ],
    ids=["settled", "in process", "in process, settled"],
)  # fmt: skip
def test_a_decision_against_the_provider_is_listed(
    path: Path, kept: int, decided: type[Any], listed: str | None
) -> None:
    """It is listed and is not a finding, whether or not the decision itself states that it contradicts the provider."""
    each = life(1)
    end: Any = decided(at=AT, channel=Channel.OPERATOR, by="ann", why="seen", **_REQUIRED[decided])
    verdict = audited(path, made_of(path, attrs.evolve(each, events=[*each.events[:kept], end])))

    assert verdict.clean
    assert ([] if listed is None else [listed]) == [decision.text for decision in verdict.decisions]
    assert verdict.as_json()["decisions_against_evidence"] == [attrs.asdict(each) for each in verdict.decisions]


def test_a_failed_refund_may_be_replaced_once(path: Path) -> None:
    """A failure may have one replacement; a second one is reported."""
    first = life(4, failed=True)
    note = made_of(path, first, _refund(5, retry_of=first.id))

    assert [] == audited(path, note).findings

    path.unlink()
    made = Made(path)
    made.connection.execute("DROP INDEX refund_retry")
    made.write([first, _refund(5, retry_of=first.id), _refund(6, retry_of=first.id, payment=first.events[0].payment)])  # type: ignore[union-attr]
    texts = [finding.text for finding in audited(path, made.close()).findings]

    assert "I5: it was replaced twice: each failure has one replacement" in texts


def test_a_gap_in_the_versions(path: Path) -> None:
    """A missing version, or a history without its beginning, is reported."""
    made = Made(path)
    made.write([life(1), life(2)])
    made.close()
    changed(path, "UPDATE stored_events SET originator_version=9 WHERE rowid=5")
    changed(path, "UPDATE stored_events SET originator_version=7 WHERE rowid=6")
    texts = [finding.text for finding in audited(path).findings if finding.kind is FindingKind.INVARIANT]

    assert "I6: version 9 follows version 4 of its refund" in texts
    assert any("does not begin with a request" in text or "version 7 follows" in text for text in texts)


# --- erased -----------------------------------------------------------------------------------------------------------


def _erase(path: Path, refund: Life, digest: str, note_digest: str | None = None) -> None:
    stone = Tombstone(digest=note_digest or digest, refund_id=refund.id, at=AT, by="ada", why="asked to")
    note = sign_note(stone.text(LOG.name), new_key())
    changed(path, "UPDATE evidence SET bytes=zeroblob(length(bytes)) WHERE digest=?", bytes.fromhex(digest))
    changed(path, "INSERT INTO erased VALUES (?,?,?)", bytes.fromhex(digest), refund.id, note)


def test_erased_evidence_is_counted(path: Path) -> None:
    """Erased evidence with a genuine note is not a finding, and is counted."""
    each = life(1)
    note = made_of(path, each, life(2))
    _erase(path, each, each.digest(1))
    verdict = audited(path, note)

    assert [] == verdict.findings
    assert 1 == verdict.erased
    text = "1 record was erased; signed notes state when, by whom and why."
    assert [Limit(LimitCode.ERASED, text)] == verdict.limits


def test_a_note_about_something_else(path: Path) -> None:
    """A genuine note about another record does not excuse a missing one."""
    each = life(1)
    note = made_of(path, each)
    _erase(path, each, each.digest(1), note_digest=hashlib.sha256(b"other").hexdigest())

    assert [("tombstone", each.digest(1))] == found(audited(path, note))


# --- limits -----------------------------------------------------------------------------------------------------------


def test_limitations_are_reported(path: Path) -> None:
    """A missing checkpoint from outside and events without a checkpoint are reported as limitations."""
    made = Made(path)
    made.write(list(lives(2)))
    made.write(list(lives(1, 2)))
    made.connection.execute("DELETE FROM audit_checkpoint WHERE size=15")
    made.close()
    limits = audited(path).limits

    assert 2 == len(limits)
    assert [LimitCode.NO_OUTSIDE_CHECKPOINT, LimitCode.UNSIGNED_TAIL] == [limit.code for limit in limits]
    assert "The newest 5 events are not covered by a checkpoint yet" in limits[1].text


# --- batches of leaves ------------------------------------------------------------------------------------------------


@given(st.integers(0, 3), st.integers(1, 64), st.data())
@settings(max_examples=60)
def test_roots_of_batches(full: int, last: int, data: st.DataObject) -> None:
    """The root at every size within a batch is that of the whole tree."""
    leaves = [hashlib.sha256(b"%d" % number).digest() for number in range(full * 64 + last)]
    frontier = Frontier()
    for start in range(0, full * 64, 64):
        frontier = Batch.of(frontier, leaves[start : start + 64]).frontier()
    batch = Batch.of(frontier, leaves[full * 64 :])
    taken = data.draw(st.integers(0, last))

    assert root_of(leaves[: full * 64 + taken]) == batch.root(taken)
    assert Frontier().extend(leaves) == batch.frontier()


def test_progress_is_reported(path: Path) -> None:
    """The callback receives how many events are done, and how many there are."""
    make_store(path, 5)
    seen: list[tuple[int, int]] = []
    tell: Callable[[int, int], None] = lambda done, total: seen.append((done, total))  # noqa: E731
    with read_store(path) as source:
        verify(source, LOG, [], tell)

    assert [(25, 25)] == seen


def test_the_index_of_one_refund(path: Path) -> None:
    """A row of an older state is reported field by field."""
    made = Made(path)
    each = life(1)
    made.write([each])
    made.connection.execute(REPLACE_ROW, whole_row(fold(each.id, each.events[:2])))
    fields = {where.rpartition(" ")[2] for kind, where in found(audited(path, made.close())) if kind == "index"}

    assert {"version", "status", "due_at", "updated_at"} == fields


@given(st.lists(st.integers(0, 10**9), unique=True))
def test_made_refunds_have_ids_in_the_order_in_which_they_are_made(numbers: list[int]) -> None:
    """Stores that are made for tests and figures have ids that rise with time, as real ones have."""
    assert [refund_id(number) for number in sorted(numbers)] == sorted(map(refund_id, numbers))


def test_a_table_definition_that_is_not_text_is_a_damaged_file(tmp_path: Path) -> None:
    """A flipped bit in SQLite's definition of a table is reported in one line, by the audit and by the journal."""
    path = tmp_path / "refunds.db"
    make_store(path, 1)
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE evidence (", b"CREATE TABLE evidence \xac", 1))

    with pytest.raises(StoreError, match=r"^store: the database file is damaged$"), read_store(path):
        pass
    with pytest.raises(StoreError, match=r"^store: the database file is damaged$"):
        open_recorder(path)
