"""What every store promises about notifications that match no refund."""

import hashlib

import attrs

from refundry.journal import (
    Journal,
    UnmatchedNotification,
)
from tests.core.journal.ports.case import PortCase
from tests.core.journal.samples import (
    AT,
    later,
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
