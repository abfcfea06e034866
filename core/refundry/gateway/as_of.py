"""A moment in the life of a store, and rows as they were then.

The rule of this module: what was known at a moment is the beginning of a refund's history, folded by today's code.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from itertools import takewhile
from typing import Final

import attrs

from refundry.errors import Invalid
from refundry.journal import Recorded, Row, Selection, StoreReader
from refundry.journal.index import row_of
from refundry.refund import fold

__all__ = ["NOW", "AsOf", "select_as_of"]

_PAGE: Final = 500


def _check_zone(_: object, attribute: "attrs.Attribute[datetime | None]", value: datetime | None) -> None:
    if value is not None and value.tzinfo is None:
        raise Invalid("as_of", "needs a time zone")


@attrs.frozen
class AsOf:
    """A moment in the life of a store: a time, or a position in the log. With neither of them it is now.

    Raises `Invalid` for both at once, for a time without a zone and for a position below zero.
    """

    at: datetime | None = attrs.field(default=None, validator=_check_zone)
    """What was recorded up to and including this time."""
    position: int | None = attrs.field(default=None, kw_only=True)
    """What was recorded up to and including the event at this position."""

    @position.validator
    def _check_position(self, _: object, value: int | None) -> None:
        if value is not None and self.at is not None:
            raise Invalid("as_of", "takes a time or a position, not both")
        if value is not None and value < 0:
            raise Invalid("as_of_position", "must be a position in the log, from 0")

    @property
    def now(self) -> bool:
        """Whether it is the present: nothing is left out."""
        return self.at is None and self.position is None

    def __str__(self) -> str:
        return "now" if self.now else f"position {self.position}" if self.at is None else self.at.isoformat()

    def history(self, recorded: Sequence[Recorded]) -> Sequence[Recorded]:
        """Return the events of a refund before the first one that is later than this moment."""
        return recorded if self.now else list(takewhile(self._knew, recorded))

    def _knew(self, recorded: Recorded) -> bool:
        if self.position is not None:
            return recorded.position <= self.position
        return self.at is None or recorded.event.at <= self.at


NOW: Final = AsOf()


async def select_as_of(
    journal: StoreReader, selection: Selection, as_of: AsOf, *, after: str, limit: int
) -> Sequence[Row]:
    """Return rows as they were at a moment, in the order of their ids, starting after the id `after`."""
    if as_of.now:
        return await journal.select(selection, after=after, limit=limit)
    found: list[Row] = []
    async for row in _rows_as_of(journal, selection, as_of, after):
        found.append(row)
        if len(found) == limit:
            break
    return found


async def _rows_as_of(journal: StoreReader, selection: Selection, as_of: AsOf, after: str) -> AsyncIterator[Row]:
    # The status of a refund changes; its account and payment do not.
    lasting = attrs.evolve(selection, status=None, review=False)
    while rows := await journal.select(lasting, after=after, limit=_PAGE):
        histories = await journal.histories([row.id for row in rows])
        for history in map(as_of.history, histories):
            if history:
                row = row_of(fold(history[0].refund_id, [recorded.event for recorded in history]))
                if _matches(row, selection):
                    yield row
        after = rows[-1].id


def _matches(row: Row, selection: Selection) -> bool:
    return selection.status in (None, row.status) and not (selection.review and not row.review)
