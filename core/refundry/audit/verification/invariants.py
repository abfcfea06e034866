"""The accounts of all refunds while a log streams by, and what must hold between them.

The rule of this module: memory is flat. The accounts at hand are few; the oldest are compared with their index rows and
let go, and where one more event of such a refund comes, its account is made again from the log. What holds between
refunds is asked of the index, which by then was compared with the log row by row.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from refundry.audit.verification import lean_state as books
from refundry.audit.verification.lean_state import Account, Told, close, columns
from refundry.audit.verification.source import Source
from refundry.journal.log_source import Totals

__all__ = ["Ledger", "check_replacement"]

AT_HAND: Final = 20_000
"""How many accounts are held in memory; when there are more, those that have ended are let go, or the older half."""


class Ledger:
    """Accounts by the id of their refund."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.at_hand: dict[str, Account] = {}
        self.matched = 0
        """How many refunds had the state of their index row when they were let go."""

    def take_up(self, id: str, before: int) -> Account | None:
        """Give the account of a refund as it was before a position, made again if it was let go."""
        account = self.at_hand.get(id)
        if account is not None:
            return account
        for topic, state in self._source.history(id, before):
            said: Any = books.read_any(topic, state)
            if said is None:
                continue
            if account is None:
                if topic == "requested":
                    account = books.begin(id, said)
            else:
                account.version += 1
                books.step[topic](account, said)
        return account

    def tidy(self) -> None:
        """Let some go if there are too many at hand."""
        if len(self.at_hand) > AT_HAND:
            ids = [id for id, account in self.at_hand.items() if account.ended]
            if len(ids) < AT_HAND // 4:
                ids = list(self.at_hand)[: AT_HAND // 2]
            self._let_go([self.at_hand.pop(id) for id in ids])

    def finish(self) -> None:
        """Compare the rest: the questions below are asked of the index."""
        self._let_go(list(self.at_hand.values()))
        self.at_hand.clear()

    def _let_go(self, accounts: Sequence[Account]) -> None:
        for account in accounts:
            close(account)
        rows = sorted(map(columns, accounts))
        if not rows:
            return
        found = self._source.index.rows_of(rows)
        self.matched += len(rows) if rows == found else len(set(rows).intersection(found))

    # Once everything is there.

    def totals(self) -> Sequence[Totals]:
        """Give what was requested and what became of it, by currency."""
        return self._source.index.totals()

    def broken(self) -> Iterator[tuple[str, Told]]:
        """Give what does not hold between refunds: where, which invariant, and a sentence."""
        # Where there is an index of its own, its unique key has said so already.
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


def check_replacement(new: Account, first: Account | None) -> Told | None:
    """Check that a refund may replace another: that one failed, at the same account, for the same payment."""
    if first is None:
        return "I5", f"it replaces {new.retry_of}, which is not in the log before it"
    if first.status != "failed" or first.review is not None:
        return "I5", f"it replaces {first.id}, which had not failed beyond doubt"
    if (first.account, first.payment) != (new.account, new.payment):
        return "I5", f"it replaces {first.id}, which is of another account or payment"
    return None
