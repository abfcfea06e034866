"""The tree over the events as they stream by, compared with the stored tree and with what was signed.

The rule of this module: the tree is built from the events; leaves, frontier and checkpoints are only compared with it.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from heapq import merge
from itertools import chain
from operator import attrgetter
from struct import Struct
from typing import Any, Final

import attrs

from refundry.audit.signing.signed_notes import BadNote, Checkpoint, Verifier, open_checkpoint
from refundry.audit.verification.batches import in_batches, place_of
from refundry.audit.verification.findings import FindingKind, Findings
from refundry.audit.verification.streamed_roots import Batch
from refundry.journal.log_source import BATCH, LogSource, StoredEvent, StoredLeaf
from refundry.journal.merkle import EMPTY_ROOT, Frontier, entry, leaf_hash

__all__ = ["Claim", "Given", "Tree", "leaves_of", "open_claim", "paired"]


@attrs.frozen
class Given:
    """A checkpoint that does not come from the database."""

    name: str
    """Its source, as findings name it."""
    note: bytes = attrs.field(repr=False)
    outside: bool = True
    """Whether it came from another source than the log that is checked."""


# --- events and their leaves ------------------------------------------------------------------------------------------


def paired(source: LogSource, findings: Findings) -> Iterator[tuple[Sequence[StoredEvent], Sequence[bytes | None]]]:
    """Yield events with their stored leaves; if the two do not correspond, report it and join them by position."""
    events, index = source.events(), 0
    for some in events:
        kept = source.hashes(index, len(some))
        # Positions are ascending, so the first and the last of them show whether there is a gap.
        if kept is None or (some[0][0], some[-1][0]) != (index + 1, index + len(some)):
            yield from _joined(index, chain(some, _flat(events)), _flat(source.leaves(index)), findings)
            return
        index += len(some)
        yield some, kept
    yield from _joined(index, iter(()), _flat(source.leaves(index)), findings)


def _flat(batches: Iterator[Sequence[Any]]) -> Iterator[Any]:
    return chain.from_iterable(batches)


def _joined(
    start: int, events: Iterator[StoredEvent], leaves: Iterator[StoredLeaf], findings: Findings
) -> Iterator[tuple[Sequence[StoredEvent], Sequence[bytes | None]]]:
    for batch in in_batches(_merged(start, events, leaves, findings)):
        yield [event for event, _ in batch], [hash for _, hash in batch]


def _merged(
    start: int, events: Iterator[StoredEvent], leaves: Iterator[StoredLeaf], findings: Findings
) -> Iterator[tuple[StoredEvent, bytes | None]]:
    leaf = next(leaves, None)
    for index, event in enumerate(events, start):
        position = event[0]
        while leaf is not None and not _at_least(leaf[1], position):
            findings.add(FindingKind.LEAF, _place(leaf), "the tree has a leaf for an event that is not in the log")
            leaf = next(leaves, None)
        if leaf is None or leaf[1] != position:
            findings.add(FindingKind.LEAF, f"position {position}", "this event is not in the tree")
            yield event, None
            continue
        if leaf[0] != index:
            text = f"this event is number {index} of the log, but its leaf is number {leaf[0]}"
            findings.add(FindingKind.LEAF, f"position {position}", text)
        yield event, leaf[2]
        leaf = next(leaves, None)
    while leaf is not None:
        findings.add(FindingKind.LEAF, _place(leaf), "the tree has a leaf for an event that is not in the log")
        leaf = next(leaves, None)


def _at_least(position: object, least: int) -> bool:
    return isinstance(position, int) and position >= least


def _place(leaf: StoredLeaf) -> str:
    return f"position {leaf[1]}"


# --- leaves -----------------------------------------------------------------------------------------------------------

_LENGTH: Final = Struct(">I").pack
_UUID: Final = 36
_KNOWN: Final = 4_096


class _Middles(dict[tuple[int, str], bytes]):
    """Version and topic of an entry, each after its length; the same few values occur over and over."""

    def __missing__(self, key: tuple[int, str]) -> bytes:
        if len(self) > _KNOWN:
            self.clear()
        number, topic = b"%d" % key[0], key[1].encode()
        self[key] = made = _LENGTH(len(number)) + number + _LENGTH(len(topic)) + topic
        return made


_HEAD: Final = b"\x00" + entry("-" * _UUID, 1, "", b"").partition(b"-")[0]
_MIDDLES: Final = _Middles()


def leaves_of(events: Sequence[StoredEvent]) -> list[bytes]:
    """Return the leaf hashes of events."""
    try:
        ids = [event[1].encode() for event in events]
        if set(map(len, ids)) == {_UUID} and {type(event[2]) for event in events} == {int}:
            # The same bytes as `entry` at a third of the cost: all ids have the same length, and the rest repeats.
            middles, length = _MIDDLES, _LENGTH
            return [
                sha256(_HEAD + id + middles[number, topic] + length(len(state)) + state).digest()
                for id, (_, _, number, topic, state) in zip(ids, events, strict=True)
            ]
    except (AttributeError, TypeError, UnicodeEncodeError):
        pass
    return [_leaf(event) for event in events]


def _leaf(event: StoredEvent) -> bytes:
    """Return the leaf hash of one event; values of other types get a hash that no recorded event can have."""
    _, refund_id, version, topic, state = event
    try:
        if type(version) is int and type(state) is bytes:
            return leaf_hash(entry(refund_id, version, topic, state))
    except (AttributeError, TypeError, UnicodeEncodeError):
        pass
    return sha256(repr(event).encode("utf-8", "backslashreplace")).digest()


# --- the tree ---------------------------------------------------------------------------------------------------------


class Tree:
    """The tree over the events as they stream by, compared with leaves, frontier and checkpoints."""

    def __init__(self, source: LogSource, log: Verifier, given: Sequence[Given], findings: Findings) -> None:
        self._source = source
        self._log = log
        self._findings = findings
        self._claims = _claims(source, log, given, findings)
        self._claim = next(self._claims, None)
        self.frontier = Frontier()
        self.size = 0
        self.signed = 0
        self.checked = 0
        self._wrong = 0

    def take(self, events: Sequence[StoredEvent], stored: Sequence[bytes | None]) -> None:
        """Add the next events; all batches but the last are full."""
        leaves = leaves_of(events)
        if leaves != stored:
            for event, leaf, kept in zip(events, leaves, stored, strict=True):
                if leaf != kept and kept is not None:
                    text = "this event is not what was recorded at its place"
                    self._findings.add(FindingKind.EVENT, place_of(event), text)
        # Batches may be short if events and leaves did not correspond, but a subtree needs full ones.
        for start in range(0, len(leaves), BATCH):
            self._grow(leaves[start : start + BATCH])

    def _grow(self, leaves: Sequence[bytes]) -> None:
        if self.frontier.size % BATCH:
            room = BATCH - self.frontier.size % BATCH
            self._grow_by_one(leaves[:room])
            leaves = leaves[room:]
        if not leaves:
            return
        batch = Batch.of(self.frontier, leaves)
        end = self.size + len(leaves)
        while self._claim is not None and self._claim.size <= end:
            self._compare(batch.root(self._claim.size - self.size))
        self.frontier, self.size = batch.frontier(), end

    def _grow_by_one(self, leaves: Sequence[bytes]) -> None:
        for leaf in leaves:
            self.frontier = self.frontier.append(leaf)
            self.size += 1
            while self._claim is not None and self._claim.size <= self.size:
                self._compare(self.frontier.root())

    def _compare(self, root: bytes) -> None:
        claim = self._claim
        assert claim is not None
        self.checked += 1
        if claim.root == root:
            self.signed = max(self.signed, claim.size) if not self._wrong else self.signed
        else:
            self._wrong += 1
            if self._wrong == 1:
                text = f"the first {claim.size} events are not those that were signed"
                since = f"; the first {self.signed} are" if self.signed else ""
                self._findings.add(FindingKind.CHECKPOINT, f"{claim.name} of size {claim.size}", text + since)
        self._claim = next(self._claims, None)

    def finish(self) -> None:
        """Compare the rest after all events have been read."""
        while self._claim is not None and self._claim.size == self.size == 0:
            self._compare(EMPTY_ROOT)
        while self._claim is not None:
            text = f"{self._claim.size} events were signed, but the log has only {self.size}"
            self._findings.add(FindingKind.ROLLBACK, f"{self._claim.name} of size {self._claim.size}", text)
            self.checked += 1
            self._claim = next(self._claims, None)
        if self.size and not self.checked:
            text = "no checkpoint covers this log, so changes to it cannot be detected"
            self._findings.add(FindingKind.UNSIGNED, "log", text)
        if self._wrong > 1:
            text = f"{self._wrong - 1} more do not match the events"
            self._findings.add(FindingKind.CHECKPOINT, "further checkpoints", text)
        self._compare_stored()

    def _compare_stored(self) -> None:
        stored = self._source.tree()
        if stored is not None and stored != (self.size, self.frontier.to_bytes()):
            self._findings.add(FindingKind.TREE, "frontier", "the stored state of the tree is not that of the events")
        elif stored is None and self._source.is_store and self.size:
            self._findings.add(FindingKind.TREE, "frontier", "the stored state of the tree is missing")


@attrs.frozen
class Claim:
    """A signed root."""

    size: int
    root: bytes
    name: str


def _claims(source: LogSource, log: Verifier, given: Sequence[Given], findings: Findings) -> Iterator[Claim]:
    """Yield every genuine claim, the smallest size first."""
    opened = [claim for each in given if (claim := open_claim(each.note, each.name, log, findings)) is not None]
    return merge(_stored_claims(source, log, findings), sorted(opened, key=_SIZE), key=_SIZE)


_SIZE: Final = attrgetter("size")


def _stored_claims(source: LogSource, log: Verifier, findings: Findings) -> Iterator[Claim]:
    for size, note in source.checkpoints():
        claim = open_claim(note, "the database's checkpoint", log, findings, size)
        if claim is not None:
            yield claim


def open_claim(note: bytes, name: str, log: Verifier, findings: Findings, size: int | None = None) -> Claim | None:
    """Open a checkpoint; report it if it is not genuine, or not of the size under which it is stored."""
    try:
        checkpoint: Checkpoint = open_checkpoint(note, log)
    except (BadNote, TypeError, AttributeError) as error:
        where = name if size is None else f"{name} of size {size}"
        findings.add(FindingKind.CHECKPOINT, where, f"it is not genuine: {error}")
        return None
    if size is not None and checkpoint.size != size:
        findings.add(FindingKind.CHECKPOINT, f"{name} of size {size}", f"it covers {checkpoint.size} events")
        return None
    return Claim(checkpoint.size, checkpoint.root, name)
