"""Erasing the personal data and the evidence of one refund, and the signed notes that record the erasure.

The rule of this module: no event is touched. Personal texts and provider messages are overwritten in place, and each
leaves a tombstone: a note, signed with the audit signing key, that states when it was erased, for which refund, by whom
and why. A record that is missing without a tombstone was not erased but lost or removed.
"""

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import attrs

from refundry.audit.signing.signed_notes import BadNote, Verifier, open_note, sign_note
from refundry.audit.signing.signer import Signer
from refundry.errors import Invalid
from refundry.inputs import Operator
from refundry.journal import EvidenceEraser
from refundry.refund import Refund

__all__ = ["Erased", "Tombstone", "erase", "open_tombstone"]

_SUFFIX: Final = "/erased"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


@attrs.frozen(kw_only=True)
class Tombstone:
    """The note about one erased record. Everything in it is kept permanently in plain text."""

    digest: str
    """SHA-256 of the erased record, in hex."""
    refund_id: str
    at: datetime
    by: str
    why: str

    def text(self, origin: str) -> str:
        """Return the text that is signed: six lines, of which the last two are JSON strings."""
        words = [json.dumps(text, ensure_ascii=False) for text in (self.by, self.why)]
        return "\n".join([origin + _SUFFIX, self.digest, self.refund_id, self.at.isoformat(), *words, ""])

    @classmethod
    def from_text(cls, text: str, origin: str) -> "Tombstone":
        """Read the text that was signed; raise `BadNote` if it is anything else."""
        try:
            first, digest, refund_id, at, by, why, _ = text.split("\n")
            found = cls(
                digest=digest,
                refund_id=str(UUID(refund_id)),
                at=datetime.fromisoformat(at),
                by=json.loads(by),
                why=json.loads(why),
            )
        except (ValueError, TypeError):
            raise BadNote("note", "is not a tombstone") from None
        if first != origin + _SUFFIX or _DIGEST.fullmatch(digest) is None or found.text(origin) != text:
            raise BadNote("note", "is not a tombstone of this log")
        return found


def open_tombstone(raw: bytes, log: Verifier) -> Tombstone:
    """Read a tombstone; raise `BadNote` unless this log's key signed it."""
    return Tombstone.from_text(open_note(raw, [log]).text, log.name)


@attrs.frozen
class Erased:
    """The result of an erasure."""

    refund_id: str
    digests: Sequence[str]
    """The records that were erased now; empty if nothing was left to erase."""
    shared: int
    """How many records stay because another refund references the same bytes."""
    gone: bool
    """Whether the write-ahead log is free of copies. False if another process was reading; a later write frees it."""


async def erase(
    journal: EvidenceEraser, signer: Callable[[], Signer], refund: Refund, operator: Operator, *, at: datetime
) -> Erased:
    """Erase the personal data and the evidence of a refund; what was erased before is left as it is.

    Raises `Invalid` for a refund that is open or needs review, because its bytes may still be needed. Raises `Stale` if
    it, or a refund that references the same bytes, changed in the meantime; then nothing was erased.
    """
    if not refund.final or refund.review:
        state = refund.status if not refund.review else f"{refund.status} and needs review"
        raise Invalid("id", f"is {state}; only a final refund that needs no review can be erased")
    found = await journal.erasable(refund.id)
    key = (await asyncio.to_thread(signer)).key
    stones = (
        Tombstone(digest=digest, refund_id=refund.id, at=at, by=operator.by, why=operator.why)
        for digest in found.digests
    )
    notes = {stone.digest: sign_note(stone.text(key.name), key) for stone in stones}
    gone = await journal.erase(refund.id, refund.version, found.position, notes)
    return Erased(refund.id, found.digests, found.shared, gone)
