"""Every answer that a recorded one could have been: with any of its naming fields left out or about something else."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Final

ABSENT: Final = object()
Path_ = tuple[str, ...]


def recorded(samples: Path, prefix: str) -> list[dict[str, Any]]:
    """Return the recorded answers to an operation, with one object for each file."""
    found = [json.loads(path.read_bytes()) for path in sorted(samples.glob(f"{prefix}_*.json"))]
    assert len(found) > 5
    return found


def variants(body: Mapping[str, Any], choices: Mapping[Path_, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Yield the body with every combination of the choices for its fields; `ABSENT` leaves a field out."""
    for values in product(*choices.values()):
        changed = json.loads(json.dumps(body))
        for path, value in zip(choices, values, strict=True):
            _put(changed, path, value)
        yield changed


def _put(body: dict[str, Any], path: Path_, value: Any) -> None:
    *outer, last = path
    for name in outer:
        part = body.get(name)
        if not isinstance(part, dict):
            if value is ABSENT:
                return
            part = body[name] = {}
        body = part
    if value is ABSENT:
        body.pop(last, None)
    else:
        body[last] = value


def at(body: Mapping[str, Any], path: Path_) -> Any:
    """Return the value of a field, or None."""
    value: Any = body
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value
