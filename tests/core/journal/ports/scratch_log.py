"""What every temporary log promises to an audit that reads an export into it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from refundry.journal.log_source import INDEX_FIELDS, ScratchLog, StoredEvent

EVENTS: list[StoredEvent] = [
    (1, "a", 1, "requested", b"first"),
    (2, "b", 1, "requested", b"second"),
    (3, "a", 2, "submitted", b"third"),
]


class ScratchLogCase(ABC):
    """What every temporary log promises to an audit that reads an export into it."""

    @abstractmethod
    def create(self) -> AbstractContextManager[ScratchLog]:
        """Create an empty temporary log."""

    @pytest.fixture
    def scratch(self) -> Iterator[ScratchLog]:
        """Return an empty temporary log."""
        with self.create() as scratch:
            yield scratch

    def test_a_whole_log_comes_back(self, scratch: ScratchLog) -> None:
        """Events come back in order with their leaves, and the history of one refund up to any position."""
        for event in EVENTS:
            scratch.add_event(event, event[0] - 1)
        scratch.add_hashes(0, [b"x", b"y", b"z"])

        assert 3 == scratch.count()
        assert [EVENTS] == [list(batch) for batch in scratch.events()]
        assert [[(0, 1, b"x"), (1, 2, b"y"), (2, 3, b"z")]] == [list(batch) for batch in scratch.leaves()]
        assert [[(2, 3, b"z")]] == [list(batch) for batch in scratch.leaves(2)]
        assert [("requested", b"first")] == list(scratch.history("a", 3))
        assert [] == list(scratch.proofs())

    def test_a_part_of_a_log_keeps_its_proofs(self, scratch: ScratchLog) -> None:
        """The events of a part come back with their index and the hashes of their proof."""
        scratch.add_event(EVENTS[2], 2, b"hashes")

        assert [(EVENTS[2], 2, b"hashes")] == list(scratch.proofs())

    def test_an_impossible_position_is_left_out(self, scratch: ScratchLog) -> None:
        """An event at a position that no log can have is not added, and nothing fails."""
        scratch.add_event((2**70, "a", 1, "requested", b"x"), 0)

        assert [] == list(scratch.events())

    def test_the_index_is_built_from_the_states(self, scratch: ScratchLog) -> None:
        """States that the index is asked about are kept and returned; a later state of a refund replaces it."""
        state = dict.fromkeys(INDEX_FIELDS) | {"id": "a", "account": "shop", "refund_request_id": "r", "version": 1}
        first, second = (tuple((state | {"version": version}).values()) for version in (1, 2))

        assert [first] == list(scratch.index.rows_of([first]))
        assert [second] == list(scratch.index.rows_of([second]))
        assert 1 == scratch.index.size()
