"""The check of the events: each is applied to the state of its refund, and what it names is looked up.

The rule of this module: every event is read once. A violation is reported with the place of its event.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from refundry.audit.verification import lean_state, stored_fields
from refundry.audit.verification.batches import place_of
from refundry.audit.verification.evidence_check import EvidenceCheck
from refundry.audit.verification.findings import Decision, FindingKind, Findings
from refundry.audit.verification.refund_states import RefundStates, check_replacement
from refundry.journal.log_source import StoredEvent

__all__ = ["EventCheck"]

_ENDS: Final = frozenset({"settled", "failed"})


class EventCheck:
    """Applies events to the states of their refunds, and looks up what they name."""

    def __init__(self, states: RefundStates, evidence: EvidenceCheck, findings: Findings) -> None:
        self._states = states
        self._evidence = evidence
        self._findings = findings
        self.refunds = 0
        self.decisions: list[Decision] = []
        """Operators' decisions that contradict what the provider reported."""

    def take(self, events: Sequence[StoredEvent]) -> None:
        """Check a batch."""
        cached, read, step = self._states.cached, stored_fields.read, lean_state.step
        named: list[str] = []
        for event in events:
            _, id, version, topic, content = event
            try:
                fields = read[topic](content)
            except (msgspec.DecodeError, KeyError, TypeError):
                fields = stored_fields.read_any(topic, content)
                if fields is None:
                    self._findings.add(FindingKind.EVENT, place_of(event), "it is not an event that Refundry writes")
                    continue
            state = cached.get(id)
            if state is None or state.version + 1 != version:
                self._apply_out_of_order(event, fields)
            else:
                state.version = version
                violation = step[topic](state, fields)
                if violation is not None:
                    self._report(event, *violation)
            if topic in _ENDS:
                self._list_decision(event, fields)
            if topic == "submitted":
                named.append(fields.digest)
            elif topic != "requested" and fields.evidence is not None:
                named.append(fields.evidence)
            if fields.private is not None:
                named.append(fields.private)
        self._look_up(named, events)
        self._states.evict()

    def look_up(self, events: Sequence[StoredEvent]) -> None:
        """Check only what events name, because the histories of their refunds are not complete."""
        found = [stored_fields.read_any(topic, content) for _, _, _, topic, content in events]
        named = [name for fields in found if fields is not None for name in stored_fields.named_by(fields)]
        self._look_up(named, events)

    def _apply_out_of_order(self, event: StoredEvent, fields: Any) -> None:
        """Apply an event that is not the next one of a cached refund."""
        position, id, version, topic, _ = event
        if topic == "requested" and version == 1 and id not in self._states.cached:
            self._begin(event, fields)
            return
        state = self._states.before(id, position)
        if state is None:
            self._report(event, "I6", "its refund does not begin with a request")
            return
        self._states.cached[id] = state
        if state.version + 1 != version:
            self._report(event, "I6", f"version {version} follows version {state.version} of its refund")
        state.version = version
        violation = lean_state.step[topic](state, fields)
        if violation is not None:
            self._report(event, *violation)

    def _begin(self, event: StoredEvent, fields: Any) -> None:
        position, id, *_ = event
        self.refunds += 1
        state = self._states.cached[id] = lean_state.begin(id, fields)
        if state.retry_of is not None:
            violation = check_replacement(state, self._states.before(state.retry_of, position))
            if violation is not None:
                self._report(event, *violation)

    def _list_decision(self, event: StoredEvent, fields: Any) -> None:
        state = self._states.cached.get(event[1])
        text = None if state is None else lean_state.against_provider(state, event[3], fields)
        if text is not None:
            self.decisions.append(Decision(place_of(event), text))

    def _report(self, event: StoredEvent, invariant: str, text: str) -> None:
        self._findings.add(FindingKind.INVARIANT, place_of(event), f"{invariant}: {text}")

    def _look_up(self, named: Sequence[str], events: Iterable[StoredEvent]) -> None:
        try:
            digests = [bytes.fromhex(digest) for digest in set(named)]
        except ValueError:
            digests = [digest for text in set(named) if (digest := _digest(text)) is not None]
            self._findings.add(FindingKind.EVENT, "log", "an event names something that is not a digest")
        for digest in self._evidence.look_up(digests):
            found = [event for event in events if isinstance(event[4], bytes) and digest.hex().encode() in event[4]]
            where = place_of(found[0]) if found else "log"
            text = f"it names {digest.hex()}, which is missing and was not erased"
            self._findings.add(FindingKind.EVIDENCE, where, text)


def _digest(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None
