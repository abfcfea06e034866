"""The open reasons why an operator should look at a refund, and what opens and closes them.

The rule of this module: pure, and it decides by codes; messages are for people.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import attrs

from refundry.provider import ReviewReason
from refundry.refund.events import RaisedReview


@attrs.frozen(slots=True)
class Review:
    """An open reason why an operator should look at a refund."""

    code: ReviewReason
    message: str
    """The reason in words, as it was raised last; for people only."""
    since: datetime
    """The time of the event that first raised it."""


RECONCILIATION_REASONS: Final = frozenset(
    {
        ReviewReason.RECONCILIATION_STATUS,
        ReviewReason.RECONCILIATION_AMOUNT,
        ReviewReason.RECONCILIATION_REFUND_ID,
        ReviewReason.RECONCILIATION_DUPLICATE,
        ReviewReason.RECONCILIATION_MISSING,
        ReviewReason.RECONCILIATION_REVERSED,
    }
)
"""The reasons that comparing a provider's report with the ledger raises."""
AGAINST_EVIDENCE: Final = RaisedReview(
    ReviewReason.DECIDED_AGAINST_EVIDENCE, "an operator decided against what the provider reported"
)
"""What a decision against the provider's word raises, until an operator reviews it."""


def with_raised(reviews: Sequence[Review], raised: Sequence[RaisedReview], at: datetime) -> tuple[Review, ...]:
    """Return the open reasons after an event: one that is open already keeps its time and takes the newer words."""
    open_reasons = {review.code: review for review in reviews}
    for reason in raised:
        known = open_reasons.get(reason.code)
        since = at if known is None else known.since
        open_reasons[reason.code] = Review(reason.code, reason.message, since)
    return tuple(open_reasons.values())


def unreconciled(reviews: Sequence[Review]) -> tuple[Review, ...]:
    """Return the open differences from the provider's report, which outlast a failure.

    A report that lists a refund agrees with it once it is settled; it does not once it has failed.
    """
    return tuple(review for review in reviews if review.code in RECONCILIATION_REASONS)
