"""The check of a whole log: events against leaves, tree and checkpoints; evidence; invariants; the index.

The rule of this module: only the key is trusted. The tree is built from the events themselves and compared with what
is stored of it. The check changes nothing, needs no network and no plugin, and reads everything once, in flat memory.
It reports what it cannot exclude.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from refundry.audit.erasure import open_tombstone
from refundry.audit.signing.signed_notes import BadNote, Verifier
from refundry.audit.verification.batches import in_batches, place_of
from refundry.audit.verification.event_check import EventCheck
from refundry.audit.verification.evidence_check import EvidenceCheck
from refundry.audit.verification.export_source import ExportSource
from refundry.audit.verification.findings import FindingKind, Findings, Limit, LimitCode, Verdict
from refundry.audit.verification.refund_states import RefundStates
from refundry.audit.verification.tree_check import Claim, Given, Tree, leaves_of, open_claim, paired
from refundry.errors import StoreError
from refundry.formatting import counted
from refundry.journal.log_source import BATCH, LogSource
from refundry.journal.merkle import verify_inclusion

__all__ = ["Given", "verify", "verify_part", "without_collector"]

Progress = Callable[[int, int], None]
"""Called now and then with how many events are done, and how many there are."""
_NOTHING_GIVEN: Final = (
    "No checkpoint from outside was given, so a rollback of the store to an earlier state cannot be detected. Pass one "
    "with --checkpoint, or the signer's directory with --directory."
)
_PART: Final = "This is a part of the log: whether other refunds belong to it cannot be checked."


@contextmanager
def without_collector() -> Iterator[None]:
    """Run without the cyclic garbage collector: a check creates no cycles, and looking for them costs a tenth.

    This affects the whole process, so it is for commands that do nothing else.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def verify(
    source: LogSource,
    log: Verifier,
    given: Sequence[Given] = (),
    progress: Progress = lambda done, total: None,
) -> Verdict:
    """Check a whole log against the key of its signer and the checkpoints that are given.

    Raises nothing for a log that was tampered with: the verdict says what and where.
    """
    audit = _Audit(source, log, progress)
    audit.guarded(lambda: audit.whole(given))
    return audit.verdict()


def verify_part(
    source: ExportSource,
    log: Verifier,
    given: Sequence[Given] = (),
    progress: Progress = lambda done, total: None,
) -> Verdict:
    """Check a part of a log: that each of its events is in the signed tree, and what the events say together.

    A given checkpoint can be compared with a part only if it is of the same size.
    """
    audit = _Audit(source, log, progress)
    audit.guarded(lambda: audit.part(source, given))
    return audit.verdict()


class _Audit:
    def __init__(self, source: LogSource, log: Verifier, progress: Progress) -> None:
        self._source = source
        self._log = log
        self._progress = progress
        self._findings = Findings()
        self._limits: list[Limit] = []
        self._evidence = EvidenceCheck(source, self._findings)
        self._states = RefundStates(source)
        self._events = EventCheck(self._states, self._evidence, self._findings)
        self._size = self._signed = self._checked = self._erased = 0
        self._root = b""
        self._totals: Sequence[Any] = ()

    def guarded(self, check: Callable[[], None]) -> None:
        """Make the check; what keeps it from coming to its end is a finding."""
        try:
            check()
            for where, text in self._source.condition():
                self._findings.add(FindingKind.STORAGE, where, text)
        except (StoreError, OSError, OverflowError, UnicodeError) as error:
            # Only a damaged store fails like this.
            self._findings.add(FindingKind.STORAGE, "file", f"it cannot be read to its end: {error}")

    def whole(self, given: Sequence[Given]) -> None:
        """Check a whole log."""
        total = self._source.count()
        tree = Tree(self._source, self._log, given, self._findings)
        try:
            for events, leaves in paired(self._source, self._findings):
                tree.take(events, leaves)
                self._events.take(events)
                self._progress(tree.size, max(total, tree.size))
            tree.finish()
        finally:
            self._size, self._signed, self._checked = tree.size, tree.signed, tree.checked
            self._root = tree.frontier.root()
        self._between()
        self._kept()
        if not any(each.outside for each in given):
            self._limit(LimitCode.NO_OUTSIDE_CHECKPOINT, _NOTHING_GIVEN)
        if 0 < tree.signed < tree.size:
            text = f"The newest {tree.size - tree.signed} events are not covered by a checkpoint yet"
            self._limit(LimitCode.UNSIGNED_TAIL, f"{text}: a change to them cannot be detected.")

    def part(self, source: ExportSource, given: Sequence[Given]) -> None:
        """Check a part."""
        claim = open_claim(source.note(), "the export's checkpoint", self._log, self._findings)
        if claim is None:
            return
        self._checked, self._root = 1, claim.root
        for each in given:
            self._compare(claim, open_claim(each.note, each.name, self._log, self._findings))
        for batch in in_batches(source.proofs(), BATCH):
            events = [event for event, _, _ in batch]
            for leaf, (event, idx, proof) in zip(leaves_of(events), batch, strict=True):
                self._size += 1
                if verify_inclusion(leaf, idx, claim.size, proof, claim.root):
                    self._signed += 1
                else:
                    text = "this event is not in the tree that was signed"
                    self._findings.add(FindingKind.PROOF, place_of(event), text)
            if source.timeless:
                self._events.take(events)
            else:
                self._events.look_up(events)
            self._progress(self._size, claim.size)
        if source.timeless:
            self._between()
        self._kept()
        self._limit(LimitCode.PARTIAL, _PART)

    def _compare(self, claim: Claim, other: Claim | None) -> None:
        if other is None:
            return
        if other.size != claim.size:
            text = f"{other.name} has size {other.size} and the export's checkpoint {claim.size}"
            self._limit(LimitCode.OTHER_SIZE, f"{text}: only a complete export shows whether both are of one log.")
        elif other.root != claim.root:
            text = "another log of the same length was signed with the same key"
            self._findings.add(FindingKind.CHECKPOINT, f"{other.name} of size {other.size}", text)
        self._checked += 1

    def _between(self) -> None:
        """Check what holds between refunds, and the index."""
        states = self._states
        states.finish()
        for where, (invariant, text) in states.broken():
            self._findings.add(FindingKind.INVARIANT, where, f"{invariant}: {text}")
        index = self._source.index
        if self._source.is_store and not states.matched == self._events.refunds == index.size():
            for refund_id in index.ids():
                for field, text in index.differences(refund_id):
                    self._findings.add(FindingKind.INDEX, f"refund {refund_id}, {field}", text)
        self._totals = states.totals()

    def _kept(self) -> None:
        """Check the rest of what is kept, and the notes on what is not."""
        self._evidence.finish()
        for digest, refund_id, note in self._source.tombstones():
            try:
                stone = open_tombstone(note, self._log)
            except (BadNote, TypeError, AttributeError) as error:
                text = f"the note about its erasure is not genuine: {error}"
                self._findings.add(FindingKind.TOMBSTONE, _hex(digest), text)
                continue
            if (stone.digest, stone.refund_id) != (_hex(digest), refund_id):
                text = "the note about its erasure is about something else"
                self._findings.add(FindingKind.TOMBSTONE, _hex(digest), text)
            self._erased += 1

    def _limit(self, code: LimitCode, text: str) -> None:
        self._limits.append(Limit(code, text))

    def verdict(self) -> Verdict:
        """Return what was found."""
        if self._erased:
            text = f"{counted(self._erased, 'record was', 'records were')} erased"
            self._limit(LimitCode.ERASED, f"{text}; signed notes state when, by whom and why.")
        return Verdict(
            origin=self._log.name, events=self._size, refunds=self._events.refunds, root=self._root,
            signed=self._signed, checkpoints=self._checked, contents=self._evidence.count, erased=self._erased,
            totals=self._totals, findings=self._findings.all(), decisions=self._events.decisions, limits=self._limits,
        )  # fmt: skip


def _hex(digest: object) -> str:
    return digest.hex() if isinstance(digest, bytes) else repr(digest)
