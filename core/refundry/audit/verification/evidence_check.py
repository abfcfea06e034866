"""The check of the evidence: everything that events name is stored, and has the digest under which it is stored.

The rule of this module: every record is hashed once, and memory is flat. What an event names was stored together with
it, so the records are read alongside the log, and most names are found among those just read. The others are looked up
one by one.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from refundry.audit.verification.findings import FindingKind, Findings
from refundry.journal.log_source import BATCH, LogSource

__all__ = ["EvidenceCheck"]

REMEMBERED: Final = 50_000
"""How many digests that no event has named yet are remembered."""
AHEAD: Final = 3 * BATCH
"""How many more records are read for one batch of events before the rest is looked up."""


class EvidenceCheck:
    """Reads the records of a source once, from beginning to end."""

    def __init__(self, source: LogSource, findings: Findings) -> None:
        self._source = source
        self._findings = findings
        self._batches = source.contents()
        self._unnamed: set[bytes] = set()
        self.count = 0

    def look_up(self, named: Sequence[bytes]) -> Sequence[bytes]:
        """Return those of the digests under which nothing is stored."""
        wanted = set(named)
        wanted -= self._found(wanted)
        end = self.count + AHEAD
        while wanted and self.count < end and self._read():
            wanted -= self._found(wanted)
        return self._source.missing(list(wanted)) if wanted else ()

    def _found(self, wanted: set[bytes]) -> set[bytes]:
        # What is named once is rarely named again: forget it, and look it up in that case.
        found = wanted & self._unnamed
        self._unnamed -= found
        return found

    def finish(self) -> None:
        """Read the records that no event has named."""
        while self._read():
            pass

    def _read(self) -> bool:
        """Read and hash the next batch; return whether there was one."""
        batch = next(self._batches, ())
        if not batch:
            return False
        digests = [digest for digest, _ in batch]
        self.count += len(batch)
        try:
            hashes = [sha256(content).digest() for _, content in batch]
        except TypeError:
            hashes = [sha256(content).digest() if isinstance(content, bytes) else b"" for _, content in batch]
        if hashes != digests:
            for digest, hash in zip(digests, hashes, strict=True):
                if digest != hash:
                    where = digest.hex() if isinstance(digest, bytes) else repr(digest)
                    self._findings.add(FindingKind.EVIDENCE, where, "the stored bytes do not have this digest")
        if len(self._unnamed) > REMEMBERED:
            self._unnamed.clear()
        self._unnamed.update(digests)
        return True
