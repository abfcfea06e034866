"""Erasing the personal data of a refund: the bytes are gone, everything else remains."""

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from refundry.audit.erasure import Erased, Tombstone, erase, open_tombstone
from refundry.audit.signing.signed_notes import BadNote, Key
from refundry.audit.signing.signer import Signer
from refundry.errors import Invalid, Stale, StoreError
from refundry.inputs import Operator
from refundry.journal import UnmatchedNotification
from refundry.journal.codec import ERASED, ERASED_DETAILS
from refundry.journal.sqlite.journal import SqliteJournal
from refundry.journal.sqlite.recorder import connect
from refundry.provider import ReviewReason
from refundry.refund import Channel, Failed, Refund, Requested, Review
from tests.core.journal.samples import AT, events_of, evidence, new, settled, submitted, then

_PRIVATE = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
KEY = Key("refundry/test", _PRIVATE.public_key().public_bytes_raw(), _PRIVATE.sign)
SIGNER = Signer(Path(), KEY)
WHEN = datetime(2026, 11, 22, 15, tzinfo=UTC)


async def kept_refund(journal: SqliteJournal, number: int, filler: int = 0, **changes: Any) -> Refund:
    """Record a settled refund with a distinct text in every field that people or its provider wrote."""
    mark = f"canary-{number:04d}"
    body, answer = f"body {mark} ".encode() + b"." * filler, f"answer {mark}".encode()
    ((digest, _),) = evidence(body).items()
    ((answer_digest, _),) = evidence(answer).items()
    asked = new(f"r-{number}", by=f"by {mark}", reason=f"reason {mark}", details={"note": f"details {mark}"}, **changes)
    await journal.save(asked)
    sent = then(asked.refund, submitted(digest=digest), kept=evidence(body))
    await journal.save(sent)
    done = then(sent.refund, attrs.evolve(settled(), evidence=answer_digest), kept=evidence(answer))
    await journal.save(done)
    decision = Failed(
        at=AT, channel=Channel.OPERATOR, code="C", cause="c", advice="a", by=f"who {mark}", why=f"why {mark}"
    )
    decided = then(done.refund, decision)
    await journal.save(decided)
    return decided.refund


async def erased(journal: SqliteJournal, refund: Refund) -> Erased:
    """Erase a refund."""
    return await erase(
        journal, lambda: SIGNER, refund, Operator(by="privacy officer", why="the customer asked"), at=WHEN
    )


def every_byte(path: Path) -> bytes:
    """Return the bytes of the database and of all files next to it."""
    return b"".join(file.read_bytes() for file in sorted(path.parent.iterdir()) if file.is_file())


@pytest.mark.slow
async def test_erased_bytes_are_in_no_file(journal: SqliteJournal, path: Path) -> None:
    """Whatever the sizes and the order, nothing of an erased refund is left in the database or its write-ahead log."""
    chance = random.Random(7)
    refunds = [await kept_refund(journal, number, chance.choice([0, 10, 300, 900, 20_000])) for number in range(100)]
    instruction = chance.sample(range(100), 80)
    assert all(b"canary-%04d" % number in every_byte(path) for number in range(100))

    for number in instruction:
        done = await erased(journal, refunds[number])
        assert (4, 0, True) == (len(done.digests), done.shared, done.gone)

    left = every_byte(path)
    assert sorted(instruction) == [number for number in range(100) if b"canary-%04d" % number not in left]


async def test_an_erased_refund_reads_as_erased_and_is_the_same_in_all_else(journal: SqliteJournal) -> None:
    """State, index and everything that is not personal are unchanged."""
    refund = await kept_refund(journal, 1)
    before = events_of(await journal.load(refund.id))

    await erased(journal, refund)

    after = events_of(await journal.load(refund.id))
    first, last = after[0], after[-1]
    assert isinstance(first, Requested)
    assert isinstance(last, Failed)
    assert (ERASED, ERASED, ERASED_DETAILS) == (first.by, first.reason, first.details)
    assert (ERASED, ERASED) == (last.by, last.why)
    assert before[1:-1] == after[1:-1]
    assert after == events_of([item async for item in journal.log()])
    assert [] == [finding async for finding in journal.compare_index()]
    assert refund.digest is not None
    assert None is await journal.evidence(refund.digest)


async def test_each_erased_record_leaves_a_signed_note(journal: SqliteJournal, path: Path) -> None:
    """The note opens with the public key alone, and states which record of which refund, when, by whom and why."""
    refund = await kept_refund(journal, 1)
    done = await erased(journal, refund)

    connection = connect(path)
    rows = connection.execute("SELECT digest, refund_id, note FROM erased").fetchall()
    connection.close()
    assert set(done.digests) == {digest.hex() for digest, _, _ in rows}
    for digest, refund_id, note in rows:
        expected = Tombstone(
            digest=digest.hex(), refund_id=refund_id, at=WHEN, by="privacy officer", why="the customer asked"
        )
        assert expected == open_tombstone(note, KEY.verifier())
        with pytest.raises(BadNote):
            open_tombstone(note.replace(b"officer", b"offcier"), KEY.verifier())


async def test_erasing_twice_has_the_same_effect_as_once(journal: SqliteJournal) -> None:
    """The second time nothing is left to erase, and the first note stays."""
    refund = await kept_refund(journal, 1)
    await erased(journal, refund)

    again = await erase(journal, lambda: SIGNER, refund, Operator(by="another operator", why="again"), at=AT)

    assert () == again.digests


async def test_bytes_that_two_refunds_share_stay_until_both_are_erased(journal: SqliteJournal, path: Path) -> None:
    """Erasing one leaves what the other still needs; erasing the other removes it."""
    both = evidence(b"canary of both")
    ((digest, _),) = both.items()
    ends = []
    for key in ("r-1", "r-2"):
        write = new(key)
        await journal.save(write)
        done = then(write.refund, attrs.evolve(settled(), evidence=digest), kept=both)
        await journal.save(done)
        ends.append(done.refund)

    assert 1 == (await erased(journal, ends[0])).shared
    assert b"canary of both" == await journal.evidence(digest)
    assert 0 == (await erased(journal, ends[1])).shared
    assert b"canary of both" not in every_byte(path)


async def test_an_unmatched_notification_is_erased_as_well(journal: SqliteJournal, path: Path) -> None:
    """A notification that arrived before its refund was known belongs to that refund."""
    refund = await kept_refund(journal, 1)
    ((digest, content),) = evidence(b"early canary").items()
    await journal.keep_unmatched(UnmatchedNotification(AT, "shop", "r-1", digest), content, content)

    await erased(journal, refund)

    assert b"early canary" not in every_byte(path)


@pytest.mark.parametrize("waits", [False, True])
async def test_a_refund_that_is_open_or_needs_review_is_not_erased(journal: SqliteJournal, waits: bool) -> None:
    """Its bytes may still be needed."""
    write = new()
    await journal.save(write)
    look = (Review(ReviewReason.WORKER_GAVE_UP, "look", write.refund.updated_at),)
    refund = attrs.evolve(await kept_refund(journal, 2), review=look) if waits else write.refund

    with pytest.raises(Invalid, match=r"^id: "):
        await erased(journal, refund)


async def test_nothing_is_erased_if_the_refund_has_changed(journal: SqliteJournal) -> None:
    """The operator decided about an earlier state, and must see the new one first."""
    refund = await kept_refund(journal, 1)
    found = await journal.erasable(refund.id)

    with pytest.raises(Stale):
        await journal.erase(refund.id, refund.version - 1, found.position, dict.fromkeys(found.digests, b"note"))
    assert refund.digest is not None
    assert await journal.evidence(refund.digest)


async def test_nothing_is_erased_that_a_new_event_references(journal: SqliteJournal) -> None:
    """Between search and erasure, another refund may have come to reference the same bytes."""
    refund = await kept_refund(journal, 1)
    found = await journal.erasable(refund.id)
    write = new("r-2")
    await journal.save(write)
    await journal.save(then(write.refund, attrs.evolve(settled(), evidence=refund.digest)))

    with pytest.raises(Stale):
        await journal.erase(refund.id, refund.version, found.position, dict.fromkeys(found.digests, b"note"))


async def test_a_record_that_is_missing_without_a_note_is_an_error(journal: SqliteJournal, path: Path) -> None:
    """Without a note, a missing record does not read as erased."""
    write = new(by="ada")
    await journal.save(write)
    connection = connect(path)
    connection.execute("DELETE FROM evidence")
    connection.close()

    with pytest.raises(StoreError, match="position 1 has lost its private text"):
        await journal.load(write.refund.id)


@pytest.mark.slow
async def test_copies_stay_while_another_process_reads_and_it_is_reported(journal: SqliteJournal, path: Path) -> None:
    """A reader keeps the write-ahead log in use; running the same command again empties it."""
    refund = await kept_refund(journal, 1)
    reader = connect(path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM evidence").fetchone()

    first = await erased(journal, refund)
    held = every_byte(path)
    reader.close()
    second = await erased(journal, refund)

    assert (False, True) == (first.gone, second.gone)
    assert b"canary-0001" in held
    assert b"canary-0001" not in every_byte(path)
