"""What the events of a log say, taken into the accounts of their refunds as they stream by.

The rule of this module: every event is read once. What does not hold is told with the place of the event; what an event
names is looked up among what is kept.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from refundry.audit.verification import lean_state as books
from refundry.audit.verification.contents import Contents
from refundry.audit.verification.findings import FindingKind, Findings
from refundry.audit.verification.invariants import Ledger, check_replacement
from refundry.audit.verification.source import Event, place_of

__all__ = ["Reader"]


class Reader:
    """Takes events into the accounts of their refunds, and looks up what they name."""

    def __init__(self, ledger: Ledger, contents: Contents, findings: Findings) -> None:
        self._ledger = ledger
        self._contents = contents
        self._findings = findings
        self.refunds = 0

    def take(self, events: Sequence[Event]) -> None:
        """Take a batch."""
        at_hand, read, step = self._ledger.at_hand, books.read, books.step
        named: list[str] = []
        for event in events:
            _, id, version, topic, state = event
            try:
                said = read[topic](state)
            except (msgspec.DecodeError, KeyError, TypeError):
                said = books.read_any(topic, state)
                if said is None:
                    self._findings.add(FindingKind.EVENT, place_of(event), "it is not an event that Refundry writes")
                    continue
            account = at_hand.get(id)
            if account is None or account.version + 1 != version:
                self._open(event, said)
            else:
                account.version = version
                told = step[topic](account, said)
                if told is not None:
                    self._tell(event, *told)
            if topic == "submitted":
                named.append(said.digest)
            elif topic != "requested" and said.evidence is not None:
                named.append(said.evidence)
            if said.private is not None:
                named.append(said.private)
        self._look_up(named, events)
        self._ledger.tidy()

    def look_up(self, events: Sequence[Event]) -> None:
        """Only look up what events name: their refunds' histories are not complete."""
        said = [books.read_any(topic, state) for _, _, _, topic, state in events]
        self._look_up([name for each in said if each is not None for name in books.named_by(each)], events)

    def _open(self, event: Event, said: Any) -> None:
        """Take an event that is not the next of a refund at hand."""
        position, id, version, topic, _ = event
        if topic == "requested" and version == 1 and id not in self._ledger.at_hand:
            self._begin(event, said)
            return
        account = self._ledger.take_up(id, position)
        if account is None:
            self._tell(event, "I6", "its refund does not begin with a request")
            return
        self._ledger.at_hand[id] = account
        if account.version + 1 != version:
            self._tell(event, "I6", f"version {version} follows version {account.version} of its refund")
        account.version = version
        told = books.step[topic](account, said)
        if told is not None:
            self._tell(event, *told)

    def _begin(self, event: Event, said: Any) -> None:
        position, id, *_ = event
        self.refunds += 1
        account = self._ledger.at_hand[id] = books.begin(id, said)
        if account.retry_of is not None:
            told = check_replacement(account, self._ledger.take_up(account.retry_of, position))
            if told is not None:
                self._tell(event, *told)

    def _tell(self, event: Event, invariant: str, text: str) -> None:
        self._findings.add(FindingKind.INVARIANT, place_of(event), f"{invariant}: {text}")

    def _look_up(self, named: Sequence[str], events: Iterable[Event]) -> None:
        try:
            digests = [bytes.fromhex(digest) for digest in set(named)]
        except ValueError:
            digests = [digest for text in set(named) if (digest := _digest(text)) is not None]
            self._findings.add(FindingKind.EVENT, "log", "an event names a digest that is none")
        for digest in self._contents.look_up(digests):
            found = [event for event in events if isinstance(event[4], bytes) and digest.hex().encode() in event[4]]
            where = place_of(found[0]) if found else "log"
            text = f"it names {digest.hex()}, which is missing and was not erased"
            self._findings.add(FindingKind.EVIDENCE, where, text)


def _digest(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None
