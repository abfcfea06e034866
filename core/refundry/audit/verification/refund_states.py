"""The states of all refunds while a log streams by, and what must hold between refunds.

The rule of this module: memory is flat. Few states are cached; the oldest are compared with their index rows and
evicted, and rebuilt from the log if another event of such a refund follows. What holds between refunds is asked of the
index, which by then was compared with the log row by row.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from refundry.audit.verification import lean_state, stored_fields
from refundry.audit.verification.lean_state import LeanState, Violation, close, columns
from refundry.journal.log_source import LogSource, Totals

__all__ = ["RefundStates", "check_replacement"]

CACHED: Final = 20_000
"""How many states are cached; when there are more, those of final refunds are evicted, or the older half."""


class RefundStates:
    """The states of refunds by id."""

    def __init__(self, source: LogSource) -> None:
        self._source = source
        self.cached: dict[str, LeanState] = {}
        self.matched = 0
        """How many refunds matched their index row when they were evicted."""

    def before(self, id: str, position: int) -> LeanState | None:
        """Return the state of a refund before a position, rebuilt if it was evicted."""
        state = self.cached.get(id)
        if state is not None:
            return state
        for topic, content in self._source.history(id, position):
            fields: Any = stored_fields.read_any(topic, content)
            if fields is None:
                continue
            if state is None:
                if topic == "requested":
                    state = lean_state.begin(id, fields)
            else:
                state.version += 1
                lean_state.step[topic](state, fields)
        return state

    def evict(self) -> None:
        """Remove states if too many are cached."""
        if len(self.cached) > CACHED:
            ids = [id for id, state in self.cached.items() if state.ended]
            if len(ids) < CACHED // 4:
                ids = list(self.cached)[: CACHED // 2]
            self._compare([self.cached.pop(id) for id in ids])

    def finish(self) -> None:
        """Compare all remaining states with the index."""
        self._compare(list(self.cached.values()))
        self.cached.clear()

    def _compare(self, states: Sequence[LeanState]) -> None:
        for state in states:
            close(state)
        rows = sorted(map(columns, states))
        if not rows:
            return
        found = self._source.index.rows_of(rows)
        self.matched += len(rows) if rows == found else len(set(rows).intersection(found))

    # --- after `finish` -----------------------------------------------------------------------------------------------

    def totals(self) -> Sequence[Totals]:
        """Return what was requested and what became of it, by currency."""
        return self._source.index.totals()

    def broken(self) -> Iterator[tuple[str, Violation]]:
        """Yield what does not hold between refunds: where, which invariant, and a sentence."""
        # The unique key of a store's own index excludes repeated requests.
        for account, request_id, id in () if self._source.is_store else self._source.index.repeated_requests():
            yield f"refund {id}", ("I5", f"{account} has two refunds with the request id {request_id!r}")
        for id in self._source.index.repeated_replacements():
            yield f"refund {id}", ("I5", "it was replaced twice: each failure has one replacement")
        for account, payment, currency, mixed, moving, total in self._source.index.conflicting_payments():
            where = f"payment {payment} at {account}"
            if mixed:
                yield where, ("I7", "its refunds are in more than one currency")
            else:
                text = f"refunds of {moving} minor units of {currency} are settled or open, and {total} were paid"
                yield where, ("I1", text)


def check_replacement(new: LeanState, first: LeanState | None) -> Violation | None:
    """Check that a refund may replace another, which must have failed at the same account for the same payment."""
    if first is None:
        return "I5", f"it replaces {new.retry_of}, which is not in the log before it"
    if first.status != "failed" or first.review is not None:
        return "I5", f"it replaces {first.id}, whose failure was not confirmed"
    if (first.account, first.payment) != (new.account, new.payment):
        return "I5", f"it replaces {first.id}, which is of another account or payment"
    return None
