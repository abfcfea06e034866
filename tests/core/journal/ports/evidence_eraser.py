"""What every store promises about erasing records."""

from typing import Final

import pytest

from refundry.errors import Stale
from refundry.journal import Journal, Write
from tests.core.journal.ports.case import PortCase, saved
from tests.core.journal.samples import evidence, new, settled, submitted, then

RECORD: Final = evidence(b"a record")
DIGEST: Final = next(iter(RECORD))


def sent(key: str) -> Write:
    """Return the write of an attempt whose call is the record."""
    first = new(key)
    second = then(first.refund, submitted(digest=DIGEST))
    return Write(second.refund, [*first.events, *second.events], RECORD)


class EvidenceEraserCase(PortCase):
    """What every store promises about erasing records."""

    async def test_an_erased_record_is_not_returned(self, journal: Journal) -> None:
        """Erased bytes are gone, their refund can still be loaded, and there is nothing left to erase."""
        (refund,) = await saved(journal, sent("a"))
        found = await journal.erasable(refund.id)
        notes = dict.fromkeys(found.digests, b"note")

        assert DIGEST in found.digests
        assert await journal.erase(refund.id, refund.version, found.position, notes)
        assert await journal.evidence(DIGEST) is None
        assert 2 == len(await journal.load(refund.id))
        assert () == tuple((await journal.erasable(refund.id)).digests)

    async def test_a_shared_record_stays(self, journal: Journal) -> None:
        """A record that another refund names as well is counted and cannot be erased."""
        first, _ = await saved(journal, sent("a"), sent("b"))
        found = await journal.erasable(first.id)

        assert DIGEST not in found.digests
        assert 1 == found.shared

    async def test_a_refund_that_changed_meanwhile_is_not_erased(self, journal: Journal) -> None:
        """Erasing another version than the one that was searched is stale, and erases nothing."""
        (refund,) = await saved(journal, sent("a"))
        found = await journal.erasable(refund.id)
        await saved(journal, then(refund, settled()))
        with pytest.raises(Stale):
            await journal.erase(refund.id, refund.version, found.position, {DIGEST: b"note"})

        assert b"a record" == await journal.evidence(DIGEST)

    async def test_a_record_that_became_shared_is_not_erased(self, journal: Journal) -> None:
        """If another refund came to name the record after the search, nothing is erased."""
        (refund,) = await saved(journal, sent("a"))
        found = await journal.erasable(refund.id)
        await saved(journal, sent("b"))
        with pytest.raises(Stale):
            await journal.erase(refund.id, refund.version, found.position, {DIGEST: b"note"})

        assert b"a record" == await journal.evidence(DIGEST)
