"""What an audit says: where something does not hold, and what could not be looked at.

The rule of this module: a finding names a place and says one sentence; of each kind only the first are kept, for a log
that was cut in the middle differs everywhere behind it.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import attrs

from refundry.audit.verification.invariants import Totals

__all__ = ["Finding", "Findings", "Verdict"]

KEPT: Final = 100
"""Of each kind."""


@attrs.frozen
class Finding:
    """Something that is not as it was recorded, or not as it may be."""

    kind: str
    """`event`, `leaf`, `tree`, `checkpoint`, `rollback`, `unsigned`, `evidence`, `tombstone`, `invariant`, `index`,
    `proof` or `storage`."""
    where: str
    """A position in the log, a refund, a payment, a digest, a size, a file."""
    text: str

    def as_json(self) -> dict[str, str]:
        """Show it to a program."""
        return {"kind": self.kind, "where": self.where, "text": self.text}


class Findings:
    """Gathers findings: all are counted, the first of each kind are kept."""

    def __init__(self) -> None:
        self._found: list[Finding] = []
        self._counts: Counter[str] = Counter()

    def add(self, kind: str, where: str, text: str) -> None:
        """Note one."""
        self._counts[kind] += 1
        if self._counts[kind] <= KEPT:
            self._found.append(Finding(kind, where, text))

    def all(self) -> list[Finding]:
        """Give those that are kept, and for each kind of which there are more, how many."""
        more = [
            Finding(kind, "further places", f"{count - KEPT} more of this kind")
            for kind, count in self._counts.items()
            if count > KEPT
        ]
        return [*self._found, *more]


@attrs.frozen(kw_only=True)
class Verdict:
    """What an audit found."""

    origin: str
    events: int
    refunds: int
    root: bytes
    signed: int
    """How many of the events are under a checkpoint that is genuine and that they fit."""
    checkpoints: int
    """How many checkpoints were checked, wherever they came from."""
    contents: int
    """How many pieces of evidence and private texts were hashed."""
    erased: int
    """How many were erased, and a signed note says so."""
    totals: Sequence[Totals]
    findings: Sequence[Finding]
    limits: Sequence[str]
    """What this audit could not exclude, in sentences."""

    @property
    def clean(self) -> bool:
        """Say whether nothing was found."""
        return not self.findings

    def as_json(self) -> dict[str, Any]:
        """Show it to a program."""
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
            "limits": list(self.limits),
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
