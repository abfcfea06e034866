"""What every store promises about notifications that match no refund."""

import asyncio
import hashlib

import attrs

from refundry.journal import (
    Journal,
    NotifiedBefore,
    UnmatchedNotification,
)
from tests.core.journal.ports.case import PortCase
from tests.core.journal.samples import (
    AT,
    later,
    new,
)


class UnmatchedNotificationsCase(PortCase):
    """What every store promises about notifications that match no refund."""

    async def test_an_unmatched_notification_is_stored_once(self, journal: Journal) -> None:
        """Unmatched notifications are listed oldest first, with their bytes, and a repeated one changes nothing."""
        digests = {content: hashlib.sha256(content).hexdigest() for content in (b"1", b"2")}
        first = UnmatchedNotification(AT, "shop", "r-9", digests[b"1"])
        other = UnmatchedNotification(later(1), "other", "r-9", digests[b"2"])
        await journal.keep_unmatched(first, b"1", b"signed")
        await journal.keep_unmatched(attrs.evolve(first, at=later(5)), b"1", b"signed")
        await journal.keep_unmatched(other, b"2", b"signed")

        assert [first, other] == list(await journal.unmatched())
        assert [other] == list(await journal.unmatched("other"))
        assert [first] == list(await journal.unmatched(limit=1))
        assert b"2" == await journal.evidence(other.evidence)

    async def test_a_copy_that_differs_in_what_is_not_signed_is_not_stored(self, journal: Journal) -> None:
        """A notification with the same signed bytes adds neither a row nor evidence; one with others is stored."""
        digests = [hashlib.sha256(content).hexdigest() for content in (b"1", b"2", b"3")]
        first, copy, other = (UnmatchedNotification(AT, "shop", "r-9", digest) for digest in digests)
        await journal.keep_unmatched(first, b"1", b"signed")
        await journal.keep_unmatched(copy, b"2", b"signed")
        await journal.keep_unmatched(other, b"3", b"signed later")

        assert [first, other] == list(await journal.unmatched())
        assert await journal.evidence(copy.evidence) is None

    async def test_what_a_new_refund_takes_is_unmatched_no_longer(self, journal: Journal) -> None:
        """A refund is recorded only together with all notifications about it, which then leave the list."""
        digests = [hashlib.sha256(content).hexdigest() for content in (b"1", b"2")]
        first, other = (UnmatchedNotification(AT, "shop", f"r-{n}", digest) for n, digest in enumerate(digests))
        await journal.keep_unmatched(first, b"1", b"signed")
        await journal.keep_unmatched(other, b"2", b"signed later")
        write = new("r-0")
        both = await asyncio.gather(journal.save(write), journal.save(new("r-7")), return_exceptions=True)
        taken = await journal.save(attrs.evolve(write, unmatched=[first.evidence]))

        assert isinstance(both[0], NotifiedBefore)
        assert [first.evidence] == list(both[0].digests)
        assert not isinstance(both[1], BaseException)
        assert write.refund.id == taken[0].refund_id
        assert [other] == list(await journal.unmatched())

    async def test_a_notification_about_a_known_refund_is_not_unmatched(self, journal: Journal) -> None:
        """If its refund was recorded in the meantime, nothing is kept and the refund is named."""
        write = new("r-9")
        await journal.save(write)
        digest = hashlib.sha256(b"1").hexdigest()
        found = await journal.keep_unmatched(UnmatchedNotification(AT, "shop", "r-9", digest), b"1", b"signed")

        assert write.refund.id == found
        assert [] == list(await journal.unmatched())
        assert await journal.evidence(digest) is None
