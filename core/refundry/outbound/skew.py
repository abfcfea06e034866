"""How far the clocks of the providers are ahead of this machine's, by the `Date` of their answers.

The rule of this module: it only informs. Anyone between here and the provider can write a date, so no decision rests on
it.
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Final

from refundry.logs import log
from refundry.provider import Answer

__all__ = ["TOLERATED", "Skews", "measured"]

TOLERATED: Final = timedelta(seconds=60)
"""A larger skew is logged: signed times are then refused by some providers, and notifications count as old."""


def measured(answer: Answer, sent_at: datetime, received_at: datetime) -> timedelta | None:
    """Return how far the clock that dated an answer is ahead; None if it has no date that can be read.

    The date has whole seconds and was written between sending and receiving: the measurement is as exact as that.
    """
    try:
        date = parsedate_to_datetime(answer.header("date") or "")
        date = date.replace(tzinfo=UTC) if date.tzinfo is None else date
        return date - (sent_at + (received_at - sent_at) / 2)
    except (ValueError, OverflowError):
        return None


class Skews:
    """The newest measurement for each account; what is out of tolerance is logged when it begins and when it ends."""

    def __init__(self) -> None:
        self._of: dict[str, timedelta] = {}

    @property
    def of(self) -> Mapping[str, timedelta]:
        """The skew of each account whose provider has answered."""
        return MappingProxyType(self._of)

    def note(self, account: str, answer: Answer, sent_at: datetime, received_at: datetime) -> None:
        """Measure an answer."""
        skew = measured(answer, sent_at, received_at)
        if skew is None:
            return
        before = abs(self._of.get(account, timedelta(0))) > TOLERATED
        self._of[account] = skew
        seconds = round(skew.total_seconds())
        if abs(skew) > TOLERATED and not before:
            log(logging.WARNING, "clock differs from the provider's", account=account, provider_ahead_seconds=seconds)
        elif abs(skew) <= TOLERATED and before:
            log(logging.INFO, "clock agrees with the provider's again", account=account, provider_ahead_seconds=seconds)
