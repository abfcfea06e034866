"""Golden logs: what any version wrote can always be read, and folds to the same states."""

import json
from typing import Any

import attrs
import pytest

from refundry.refund import EVENTS
from tests.core.audit.golden_logs import HASHES, SHAPES, names, read_log, summary

_RECORDED: dict[str, Any] = json.loads(HASHES.read_text("utf-8"))


@pytest.mark.parametrize("name", names())
def test_an_old_log_folds_to_the_recorded_hashes(name: str) -> None:
    """Every event decodes, and leaves, tree and states are those that were recorded when the log was kept."""
    assert _RECORDED[name] == summary(read_log(name))


def test_no_golden_log_was_removed() -> None:
    """Each log whose hashes are recorded is there."""
    assert sorted(_RECORDED) == names()


def test_every_field_of_every_event_is_in_a_golden_log() -> None:
    """No shape is left out: each field has a value somewhere, and each optional one its default somewhere else."""
    events = [line.event for name in SHAPES for line in read_log(name)]
    for kind in EVENTS:
        found = [event for event in events if type(event) is kind]
        for field in attrs.fields(kind):
            values = [getattr(event, field.name) for event in found]
            assert any(value != field.default for value in values), (kind.__name__, field.name)
            assert field.default is attrs.NOTHING or field.default in values, (kind.__name__, field.name)


@pytest.mark.parametrize("name", SHAPES)
def test_the_shapes_are_those_that_this_version_writes(name: str) -> None:
    """A kept log of shapes is what its events are today, so it is as good as new."""
    assert [event for events in SHAPES[name]() for event in events] == [line.event for line in read_log(name)]
