"""The format of an export: what its files are called, and how an event is written in it.

The rule of this module: pure. Writing an export is `refundry.audit.publication.export`, reading one is
`refundry.audit.verification.export_source`; what both have to agree on is here.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any, Final

import attrs

from refundry.journal.log_source import StoredEvent

__all__ = ["FORMAT", "Line", "content_path", "line_of", "read_line"]

FORMAT: Final = "refundry/export/1"


def content_path(folder: str, digest: str) -> str:
    """Return the path of a record in an export."""
    return f"{folder}/{digest[:2]}/{digest}"


@attrs.frozen
class Line:
    """A line of `events.jsonl`."""

    event: StoredEvent
    idx: int
    """The index of its leaf."""
    proof: bytes | None
    """The hashes of its inclusion proof; None in the export of a whole log."""


def line_of(event: StoredEvent, idx: int, proof: Sequence[bytes] | None) -> str:
    """Write an event as a line."""
    position, refund, version, topic, state = event
    line: dict[str, Any] = {"position": position, "idx": idx, "refund": refund, "version": version, "topic": topic}
    try:
        line["state"] = state.decode()
    except UnicodeDecodeError:
        line["state_base64"] = b64encode(state).decode()
    if proof is not None:
        line["proof"] = [b64encode(each).decode() for each in proof]
    return json.dumps(line, ensure_ascii=False) + "\n"


def read_line(line: bytes, *, whole: bool) -> Line | None:
    """Read the line of an event, with its proof unless the export is of a whole log; None if it is not one."""
    try:
        fields = json.loads(line)
        state = b64decode(fields["state_base64"]) if "state_base64" in fields else fields["state"].encode()
        event = (fields["position"], fields["refund"], fields["version"], fields["topic"], state)
        proof = None if whole else b"".join(b64decode(each, validate=True) for each in fields["proof"])
        idx = fields["idx"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if [type(value) for value in (*event, idx)] != [int, str, int, str, bytes, int]:
        return None
    return Line(event, idx, proof)
