"""What an audit reports: where something does not hold, and what could not be checked.

The rule of this module: kinds are codes, and the text next to them is for people. A finding names one place in one
sentence. Only the first findings of each kind are kept, because a log that was cut in the middle differs everywhere
behind the cut.
"""

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

import attrs

from refundry.journal.log_source import Totals

__all__ = ["Decision", "Finding", "FindingKind", "Findings", "Limit", "LimitCode", "Verdict"]

KEPT: Final = 100
"""How many findings of each kind are kept."""


class FindingKind(StrEnum):
    """What `audit verify` may find."""

    EVENT = "event"
    """An event was changed, or is not a valid event."""
    LEAF = "leaf"
    """A leaf of the stored tree is missing, added or in another place."""
    TREE = "tree"
    """The stored state of the tree is not that of the events."""
    CHECKPOINT = "checkpoint"
    """The events are not those that were signed, or a checkpoint is not genuine."""
    ROLLBACK = "rollback"
    """More events were signed than the log has."""
    UNSIGNED = "unsigned"
    """No checkpoint covers the log."""
    EVIDENCE = "evidence"
    """Bytes that an event names are missing or changed."""
    TOMBSTONE = "tombstone"
    """The note about an erasure is not genuine."""
    INVARIANT = "invariant"
    """The events break a rule that must hold over the whole log."""
    INDEX = "index"
    """A row of the index differs from the log."""
    PROOF = "proof"
    """An event of a partial export is not in the signed tree."""
    STORAGE = "storage"
    """The database file, its tables or a file of an export is damaged."""


class LimitCode(StrEnum):
    """What `audit verify` may be unable to exclude."""

    NO_OUTSIDE_CHECKPOINT = "no_outside_checkpoint"
    """Without a checkpoint from outside, a rollback of everything cannot be detected."""
    UNSIGNED_TAIL = "unsigned_tail"
    """Changes to events newer than the last checkpoint cannot be detected."""
    PARTIAL = "partial"
    """In a partial export, missing refunds cannot be detected."""
    OTHER_SIZE = "other_size"
    """A given checkpoint has another size than the export's and cannot be compared with it."""
    KEY_FROM_EXPORT = "key_from_export"
    """The public key was taken from the export itself."""
    ERASED = "erased"
    """What was erased cannot be read, only who erased it, when and why."""


Kind = TypeVar("Kind", bound=StrEnum)


@attrs.frozen
class Finding(Generic[Kind]):
    """One thing that is not as it was recorded, or not as it may be."""

    kind: Kind
    where: str
    """A position in the log, a refund, a payment, a digest, a size, a file."""
    text: str

    def as_json(self) -> dict[str, str]:
        """Return it as a JSON value."""
        return {"kind": self.kind.value, "where": self.where, "text": self.text}


@attrs.frozen
class Limit:
    """One thing that an audit could not exclude."""

    code: LimitCode
    text: str

    def as_json(self) -> dict[str, str]:
        """Return it as a JSON value."""
        return {"code": self.code.value, "text": self.text}


@attrs.frozen
class Decision:
    """A decision of an operator that contradicts what the provider reported: permitted, and listed."""

    where: str
    text: str


class Findings:
    """Collects findings: all are counted, the first of each kind are kept."""

    def __init__(self) -> None:
        self._found: list[Finding[FindingKind]] = []
        self._counts: Counter[FindingKind] = Counter()

    def add(self, kind: FindingKind, where: str, text: str) -> None:
        """Record one finding."""
        self._counts[kind] += 1
        if self._counts[kind] <= KEPT:
            self._found.append(Finding(kind, where, text))

    def all(self) -> list[Finding[FindingKind]]:
        """Return the findings that were kept, and for each kind that has more, how many."""
        more = [
            Finding(kind, "further places", f"{count - KEPT} more of this kind")
            for kind, count in self._counts.items()
            if count > KEPT
        ]
        return [*self._found, *more]


@attrs.frozen(kw_only=True)
class Verdict:
    """The result of an audit."""

    origin: str
    events: int
    refunds: int
    root: bytes
    signed: int
    """How many of the events are covered by a genuine checkpoint that they match."""
    checkpoints: int
    """How many checkpoints were checked, wherever they came from."""
    contents: int
    """How many pieces of evidence and private texts were hashed."""
    erased: int
    """How many were erased according to a signed note."""
    totals: Sequence[Totals]
    findings: Sequence[Finding[FindingKind]]
    decisions: Sequence[Decision]
    """The operators' decisions against what the provider reported, in the order of the log. They are not findings."""
    limits: Sequence[Limit]
    """What this audit could not exclude."""

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON value."""
        return {
            "clean": self.clean,
            "origin": self.origin,
            "events": self.events,
            "refunds": self.refunds,
            "root": self.root.hex(),
            "signed": self.signed,
            "checkpoints": self.checkpoints,
            "contents": self.contents,
            "erased": self.erased,
            "totals": [_total_as_json(*total) for total in self.totals],
            "findings": [finding.as_json() for finding in self.findings],
            "decisions_against_evidence": [attrs.asdict(decision) for decision in self.decisions],
            "limits": [limit.as_json() for limit in self.limits],
        }


def _total_as_json(
    currency: str, exponent: int, refunds: int, requested: int, settled: int | None, failed: int, left: int
) -> dict[str, Any]:
    return {
        "currency": currency,
        "exponent": exponent,
        "refunds": refunds,
        "requested": requested,
        "settled": settled or 0,
        "failed": failed,
        "open": left,
    }
