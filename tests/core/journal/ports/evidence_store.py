"""What every store promises about evidence."""

import hashlib

from refundry.journal import Journal
from tests.core.journal.ports.case import PortCase, saved
from tests.core.journal.samples import evidence, new


class EvidenceStoreCase(PortCase):
    """What every store promises about evidence."""

    async def test_evidence_is_returned_byte_for_byte(self, journal: Journal) -> None:
        """Bytes of any content and size come back unchanged under their digest, also if two refunds have the same."""
        contents = [b"", b"\x00\xff" * 7, b"x" * 100_000]
        await saved(journal, new("a", evidence(*contents)), new("b", evidence(*contents)))

        assert contents == [await journal.evidence(hashlib.sha256(content).hexdigest()) for content in contents]
