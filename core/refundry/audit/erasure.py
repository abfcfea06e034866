"""Erasing what is personal of one refund, and the signed notes that say so.

The rule of this module: no event is touched. What persons wrote and the provider's words are overwritten where they lie
and each leaves a tombstone: a note, signed with the key of the audit, that says when, of which refund, by whom and why.
What is gone without one was not erased but lost, or taken away.
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
from refundry.journal import EvidenceEraser
from refundry.refund import Refund

__all__ = ["Erased", "Tombstone", "erase", "open_tombstone"]

_SUFFIX: Final = "/erased"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


@attrs.frozen(kw_only=True)
class Tombstone:
    """What is said of one erased text: everything here is kept in clear, for good."""

    digest: str
    """SHA-256 of what was erased, in hex."""
    refund_id: str
    at: datetime
    by: str
    why: str

    def text(self, origin: str) -> str:
        """Give the text that is signed: six lines, of which the last two are JSON texts."""
        words = [json.dumps(text, ensure_ascii=False) for text in (self.by, self.why)]
        return "\n".join([origin + _SUFFIX, self.digest, self.refund_id, self.at.isoformat(), *words, ""])

    @classmethod
    def from_text(cls, text: str, origin: str) -> "Tombstone":
        """Read the text that was signed; `BadNote` if it is anything else."""
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
            raise BadNote("note", "is no tombstone") from None
        if first != origin + _SUFFIX or _DIGEST.fullmatch(digest) is None or found.text(origin) != text:
            raise BadNote("note", "is no tombstone of this log")
        return found


def open_tombstone(raw: bytes, log: Verifier) -> Tombstone:
    """Read a tombstone that this log's key signed; `BadNote` if it did not."""
    return Tombstone.from_text(open_note(raw, [log]).text, log.name)


@attrs.frozen
class Erased:
    """What was done."""

    refund_id: str
    digests: Sequence[str]
    """What is gone now; empty where nothing was left to erase."""
    shared: int
    """How many texts stay because another refund names the same bytes."""
    gone: bool
    """The write-ahead log is empty too. False: another process was reading; it is emptied with a later write."""


async def erase(
    journal: EvidenceEraser, signer: Callable[[], Signer], refund: Refund, *, at: datetime, by: str, why: str
) -> Erased:
    """Erase what persons wrote and the evidence of a refund; what was erased before is left as it is.

    Raises `Invalid` for a refund that is open or waits for a person: its bytes may be needed again. Raises `Stale` if
    it, or a refund that names the same bytes, changed meanwhile: then nothing was erased.
    """
    if not refund.final or refund.review:
        state = refund.status if not refund.review else f"{refund.status} and waits for a person"
        raise Invalid("id", f"is {state}; only a refund that is final and needs nobody can be erased")
    found = await journal.erasable(refund.id)
    key = (await asyncio.to_thread(signer)).key
    notes = {
        digest: sign_note(Tombstone(digest=digest, refund_id=refund.id, at=at, by=by, why=why).text(key.name), key)
        for digest in found.digests
    }
    gone = await journal.erase(refund.id, refund.version, found.position, notes)
    return Erased(refund.id, found.digests, found.shared, gone)
