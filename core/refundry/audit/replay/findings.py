"""What a replay reports, and what each kind of finding means for its result.

The rule of this module: only a difference in codes, outcomes, amounts, ids or channels makes a replay fail. Text for
people may be worded differently by every version.
"""

from collections import Counter
from collections.abc import Iterator
from enum import StrEnum, auto
from typing import Final, assert_never

from refundry.audit.verification.findings import Finding
from refundry.formatting import counted

__all__ = ["Found", "ReplayKind", "Significance", "Wordings", "significance"]

WORDINGS_KEPT: Final = 100
"""How many different wordings are listed; further ones are only counted."""


class Significance(StrEnum):
    """What a kind of finding means for the result of a replay."""

    DIFFERENCE = auto()
    """The installed code or plugins come to another result than the one recorded: exit status 5."""
    WORDING = auto()
    """Only text for people differs."""
    UNREAD = auto()
    """Something could not be read again, which proves nothing."""


class ReplayKind(StrEnum):
    """What `audit replay` may report."""

    EVENT = "event"
    """An event cannot be read, or does not follow from those before it."""
    INDEX = "index"
    """A row of the index differs from the log."""
    TOTALS = "totals"
    """The sums of the index differ from those of the log."""
    READING = "reading"
    """The installed plugin reads a stored message differently."""
    EVIDENCE = "evidence"
    """Bytes that an event names are missing without a note about their erasure."""
    WORDING = "wording"
    """The installed plugin comes to the same decision in other words."""
    ERASED = "erased"
    """Messages were erased and cannot be read again."""
    ACCOUNT = "account"
    """The account is not in the configuration, so its messages cannot be read again."""
    SENDER = "sender"
    """The account has another identity at its provider now, so the message cannot be read as it was then."""


def significance(kind: ReplayKind) -> Significance:
    """Return what a finding of this kind means for the result."""
    match kind:
        case ReplayKind.EVENT | ReplayKind.INDEX | ReplayKind.TOTALS | ReplayKind.READING | ReplayKind.EVIDENCE:
            return Significance.DIFFERENCE
        case ReplayKind.WORDING:
            return Significance.WORDING
        case ReplayKind.ERASED | ReplayKind.ACCOUNT | ReplayKind.SENDER:
            return Significance.UNREAD
        case _:
            assert_never(kind)


Found = Finding[ReplayKind]


class Wordings:
    """Collects changed wordings, each once: a new wording usually concerns every event with the same result code."""

    def __init__(self) -> None:
        self._places: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        self._further = 0

    def add(self, text: str, place: str, events: int = 1) -> None:
        """Record that an event, or so many of them with this one as the first, would be worded differently."""
        if text in self._places or len(self._places) < WORDINGS_KEPT:
            self._places.setdefault(text, place)
            self._counts[text] += events
        else:
            self._further += events

    def update(self, other: "Wordings") -> None:
        """Add what another part of the log has."""
        for text, place in other._places.items():
            self.add(text, place, other._counts[text])
        self._further += other._further

    def findings(self) -> Iterator[Found]:
        """Yield one finding for each wording, with its first event and the number of the others."""
        for text, place in self._places.items():
            others = self._counts[text] - 1
            more = f" and {counted(others, 'more event')}" if others else ""
            yield Finding(ReplayKind.WORDING, f"{place}{more}", text)
        if self._further:
            text = f"{counted(self._further, 'more event')} would be worded differently"
            yield Finding(ReplayKind.WORDING, "further places", text)
