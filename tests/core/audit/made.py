"""Whole stores for the tests and benchmarks of the audit, written straight into the tables: signed, and at rest."""

import hashlib
import os
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

import attrs
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from refundry.audit.erasure import Tombstone
from refundry.audit.signing.signed_notes import Checkpoint, Key, sign_note
from refundry.journal.codec import encode_apart
from refundry.journal.merkle import Frontier, entry, leaf_hash
from refundry.journal.sqlite.recorder import open_recorder
from refundry.journal.sqlite.rows import REPLACE_ROW, whole_row
from refundry.money import Money
from refundry.provider import OutcomeKind
from refundry.refund import Channel, Event, Failed, Inquired, NextStep, Requested, Settled, Submitted, fold

AT: Final = datetime(2026, 11, 22, 11, 0, 0, 123456, tzinfo=UTC)
ORIGIN: Final = "refundry/test"
GROUP: Final = 2_000
"""How many refunds are written at once."""


@cache
def new_key(name: str = ORIGIN) -> Key:
    """Return a signing key, always the same one for the same name."""
    private = Ed25519PrivateKey.generate()
    return Key(name, private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw), private.sign)


def signed(frontier: Frontier, key: Key | None = None) -> bytes:
    """Sign the tree with this frontier."""
    signer = key or new_key()
    return sign_note(Checkpoint(signer.name, frontier.size, frontier.root()).text, signer)


def refund_id(number: int) -> str:
    """Return an id that sorts after those of smaller numbers."""
    return f"0193{number >> 16:04x}-{number & 0xFFFF:04x}-7000-8000-{number:012x}"


@attrs.frozen
class Life:
    """The events of one refund and everything that they reference."""

    id: str
    events: Sequence[Event]
    contents: Sequence[bytes]

    def digest(self, number: int) -> str:
        """Return the digest of one of the contents."""
        return hashlib.sha256(self.contents[number]).hexdigest()


def life(number: int, *, by: str = "platform", reason: str | None = None, failed: bool = False) -> Life:
    """Return a refund with five events: requested, submitted, pending twice, and its end."""
    at = AT + timedelta(seconds=number)
    body = f'{{"refundRequestId":"refund-{number:012d}","refundAmount":{{"currency":"EUR","value":"1233"}}}}'.encode()
    words = [
        f"HTTP 200\nsignature: {hashlib.sha256(b'%d %d' % (number, turn)).hexdigest() * 5}\n\n".encode() + body
        for turn in range(3)
    ]
    digests = [hashlib.sha256(content).hexdigest() for content in (body, *words)]
    sender, plugin = "SANDBOX_5Y@https://open-de-global.alipay.com", "antom 1.0.0"
    euros = Money(1233, "EUR", 2)
    pending = Inquired(
        at=at + timedelta(seconds=2), channel=Channel.REPLY, outcome=OutcomeKind.PENDING, next_step=NextStep.INQUIRE,
        next_at=at + timedelta(seconds=30), code="REFUND_IN_PROCESS", cause="The refund is being processed.",
        provider_refund_id=f"2026112219401080010018882{number:010d}", evidence=digests[1], sender=sender, plugin=plugin,
    )  # fmt: skip
    end: Event = Settled(
        at=at + timedelta(seconds=31), channel=Channel.NOTIFICATION, amount=euros, evidence=digests[3], plugin=plugin,
        settled_at="2026-11-22T19:01:30+08:00",
    )  # fmt: skip
    if failed:
        end = Failed(
            at=at + timedelta(seconds=31), channel=Channel.INQUIRY, code="NO", cause="c", advice="a",
            evidence=digests[3], plugin=plugin,
        )  # fmt: skip
    events: list[Event] = [
        Requested(
            at=at, account="shop-eu", provider="antom", payment=f"20261122190741010007{number // 2:015d}", amount=euros,
            refund_request_id=f"refund-{number:012d}", by=by, reason=reason, payment_total=Money(10_000, "EUR", 2),
            plugin=plugin,
        ),
        Submitted(
            at=at + timedelta(seconds=1), attempt=1, digest=digests[0], next_at=at + timedelta(seconds=10),
            key_version="1", sender=sender, plugin=plugin,
        ),
        pending,
        attrs.evolve(pending, at=at + timedelta(seconds=20), channel=Channel.INQUIRY, evidence=digests[2]),
        end,
    ]  # fmt: skip
    return Life(refund_id(number), events, [body, *words])


def lives(count: int, first: int = 0) -> Iterator[Life]:
    """Yield refunds of every kind that the tests need; every tenth fails, and every seventh has personal data."""
    for number in range(first, first + count):
        personal = number % 7 == 3
        yield life(
            number, by="ada@example.com" if personal else "platform", reason="too small" if personal else None,
            failed=number % 10 == 5,
        )  # fmt: skip


class Made:
    """A store under construction, without the gateway and without waiting for the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        recorder = open_recorder(path)
        recorder.datastore.close()
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA synchronous=OFF")
        self.frontier = Frontier()
        self.number = 0

    def write(self, some: Sequence[Life], *, interleaved: bool = False) -> None:
        """Write refunds with leaves, index rows, evidence and a checkpoint."""
        rows, kept = [], []
        for each in some:
            for version, event in enumerate(each.events, 1):
                state, private = encode_apart(event, os.urandom)
                rows.append((each.id, version, event.topic, state))
                kept += [] if private is None else [private]
            kept += each.contents
        if interleaved:
            rows.sort(key=lambda row: (row[1], row[0]))
        leaves = [leaf_hash(entry(*row)) for row in rows]
        size = self.frontier.size
        self.frontier = self.frontier.extend(leaves)
        run = self.connection
        run.execute("BEGIN")
        run.executemany("INSERT INTO stored_events VALUES (?,?,?,?)", rows)
        run.executemany(
            "INSERT INTO audit_leaf VALUES (?,?,?)", [(idx, idx + 1, leaf) for idx, leaf in enumerate(leaves, size)]
        )
        run.execute("INSERT OR REPLACE INTO audit_tree VALUES (1,?,?)", (self.frontier.size, self.frontier.to_bytes()))
        run.executemany(
            "INSERT OR IGNORE INTO evidence VALUES (?,?)", [(hashlib.sha256(data).digest(), data) for data in kept]
        )
        run.executemany(REPLACE_ROW, [whole_row(fold(each.id, each.events)) for each in some])
        self.sign()
        run.execute("COMMIT")

    def erase(self, refund: Life) -> None:
        """Erase the evidence of a refund as the journal does: the bytes are gone, and a signed note remains."""
        for content in refund.contents:
            digest = hashlib.sha256(content)
            stone = Tombstone(digest=digest.hexdigest(), refund_id=refund.id, at=AT, by="ada", why="asked to")
            note = sign_note(stone.text(ORIGIN), new_key())
            self.connection.execute("UPDATE evidence SET bytes=zeroblob(9) WHERE digest=?", (digest.digest(),))
            self.connection.execute("INSERT INTO erased VALUES (?,?,?)", (digest.digest(), refund.id, note))

    def adopt(self) -> None:
        """Add what was written by hand to the tree, and sign it."""
        rows = self.connection.execute("SELECT rowid, * FROM stored_events ORDER BY rowid").fetchall()
        leaves = [leaf_hash(entry(*row[1:])) for row in rows]
        self.frontier = Frontier().extend(leaves)
        stored = [(idx, row[0], leaf) for idx, (row, leaf) in enumerate(zip(rows, leaves, strict=True))]
        self.connection.executemany("INSERT OR REPLACE INTO audit_leaf VALUES (?,?,?)", stored)
        state = (self.frontier.size, self.frontier.to_bytes())
        self.connection.execute("INSERT OR REPLACE INTO audit_tree VALUES (1,?,?)", state)
        self.sign()

    def sign(self) -> bytes:
        """Store a checkpoint of the current log, and return it."""
        note = signed(self.frontier)
        self.connection.execute("INSERT OR REPLACE INTO audit_checkpoint VALUES (?,?,?)", (self.frontier.size, 0, note))
        return note

    def close(self) -> bytes:
        """Move everything into the one file, close it, and return the newest checkpoint."""
        note = signed(self.frontier)
        self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self.connection.close()
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        return note


def make_store(path: Path, refunds: int, *, group: int = GROUP, interleaved: bool = False) -> bytes:
    """Make a store of this many refunds with five events each, and return the newest checkpoint."""
    made = Made(path)
    for first in range(0, refunds, group):
        made.write(list(lives(min(group, refunds - first), first)), interleaved=interleaved)
    return made.close()
