"""Every field of every event reaches the state of the refund, or is listed here with the reason why it does not."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs
import pytest

from refundry.provider import OutcomeKind
from refundry.refund import (
    EVENTS,
    Channel,
    Event,
    Failed,
    IllegalEvent,
    Inquired,
    Refund,
    Requested,
    Settled,
    Submitted,
    fold,
)
from tests.core.field_values import examples, typed_fields

ID: Final = "0190a0e6-0000-7000-8000-000000000090"
_PLUGIN: Final = "Which code read or wrote the message matters to an audit, not to what happens next."
_EVIDENCE: Final = "An audit follows it to the bytes; the fold reads only what was learned from them."
_WHY: Final = "The fold requires the reason of an operator and does not depend on its words."
_OFFLINE: Final = "How a decision was prepared matters to an audit; the decision is as final either way."
NOT_IN_STATE: Final[Mapping[str, str]] = {
    "Requested.plugin": _PLUGIN,
    "Requested.why": "The guard applies a corrected total, whatever the reason of the correction.",
    "Submitted.plugin": _PLUGIN,
    "Submitted.key_version": "Which key signed an attempt matters to an audit; the next attempt uses the current key.",
    "Inquired.evidence": _EVIDENCE,
    "Inquired.plugin": _PLUGIN,
    "Inquired.by": "The name is in the history; a resumed refund continues in the same way for every operator.",
    "Inquired.why": _WHY,
    "Settled.evidence": _EVIDENCE,
    "Settled.plugin": _PLUGIN,
    "Settled.by": "The name is in the history; a settled refund is final for every operator.",
    "Settled.why": _WHY,
    "Settled.offline": _OFFLINE,
    "Failed.evidence": _EVIDENCE,
    "Failed.plugin": _PLUGIN,
    "Failed.why": _WHY,
    "Failed.offline": _OFFLINE,
}
"""The fields that the fold does not keep, and why."""


def sample(kind: type[Any]) -> Any:
    """Return an event with every field set."""
    return kind(**{field.name: examples(type_)[0] for field, type_ in typed_fields(kind)})


SENT: Final[list[Event]] = [sample(Requested), sample(Submitted)]
BEFORE: Final[Mapping[type[Event], list[list[Event]]]] = {
    Requested: [[]],
    Submitted: [SENT[:1]],
    Inquired: [SENT],
    Settled: [SENT, [*SENT, sample(Failed)]],
    Failed: [SENT, [*SENT, sample(Settled)]],
}
"""The histories that an event is added to."""


def contexts(kind: type[Event]) -> Iterator[tuple[list[Event], Any]]:
    """Yield every history with an event that has every field set, by every channel and with every outcome."""
    choices = {"channel": Channel, "outcome": OutcomeKind}
    names = [field.name for field in attrs.fields(kind) if field.name in choices]
    for before in BEFORE[kind]:
        for values in itertools.product(*(choices[name] for name in names)):
            yield before, attrs.evolve(sample(kind), **dict(zip(names, values, strict=True)))


def state_after(before: list[Event], event: Event) -> Refund | None:
    """Return the state after one more event; None if it cannot happen."""
    try:
        return fold(ID, [*before, event])
    except IllegalEvent:
        return None


def reaches_state(kind: type[Event], name: str, values: tuple[Any, ...]) -> bool:
    """Return whether the state depends on this field in any context."""
    states = (
        [state_after(before, attrs.evolve(event, **{name: value})) for value in values]
        for before, event in contexts(kind)
    )
    return any(one != other for one, *others in states for other in others)


@pytest.mark.parametrize("kind", EVENTS)
def test_every_field_reaches_the_state_or_is_listed(kind: type[Event]) -> None:
    """The fields that the state does not depend on are exactly those that are listed with a reason."""
    unread = {
        f"{kind.__name__}.{field.name}"
        for field, type_ in typed_fields(kind)
        if not reaches_state(kind, field.name, examples(type_))
    }

    assert {name for name in NOT_IN_STATE if name.startswith(f"{kind.__name__}.")} == unread


def test_every_listed_field_has_a_reason() -> None:
    """A reason is a sentence."""
    assert all(reason.endswith(".") for reason in NOT_IN_STATE.values())
