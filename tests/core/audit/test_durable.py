"""What must survive a power cut is on the disk before anything relies on it."""

import os
from pathlib import Path
from typing import Any

import pytest

from refundry.audit.signing.anchors import FileAnchor
from refundry.audit.signing.signer import open_signer
from tests.core.audit.child import settings
from tests.core.audit.test_signer import signed

Call = tuple[str, str]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """Note each write, sync and replacement with the name of the file or directory."""
    noted: list[Call] = []
    names: dict[int, str] = {}
    real = {name: getattr(os, name) for name in ("open", "write", "fsync", "replace")}

    def opened(path: Any, *arguments: Any, **options: Any) -> int:
        handle: int = real["open"](path, *arguments, **options)
        names[handle] = Path(os.fsdecode(path)).name
        return handle

    def written(handle: int, content: Any) -> int:
        noted.append(("write", names.get(handle, "?")))
        count: int = real["write"](handle, content)
        return count

    def synced(handle: int) -> None:
        noted.append(("sync", names.get(handle, "?")))
        real["fsync"](handle)

    def replaced(source: Any, target: Any) -> None:
        noted.append(("replace", Path(target).name))
        real["replace"](source, target)

    for name, instead in (("open", opened), ("write", written), ("fsync", synced), ("replace", replaced)):
        monkeypatch.setattr(os, name, instead)
    return noted


def test_a_key_and_a_checkpoint_are_durable_before_they_are_used(tmp_path: Path, calls: list[Call]) -> None:
    """Each is synced before it takes its place, and its directory is synced after that."""
    signed(open_signer(settings(tmp_path / "refunds.db")), 3)

    for name in ("key.pem", "checkpoint"):
        start = calls.index(("write", f"{name}.new"))
        assert [
            ("write", f"{name}.new"), ("sync", f"{name}.new"), ("replace", name), ("sync", "refunds.db.audit"),
        ] == calls[start : start + 4]  # fmt: skip


async def test_an_anchored_checkpoint_is_durable(tmp_path: Path, calls: list[Call]) -> None:
    """A checkpoint that was published to a file is synced after it was written."""
    await FileAnchor(tmp_path / "anchors.txt").publish(b"checkpoint\n")

    assert [("write", "anchors.txt"), ("sync", "anchors.txt")] == calls
    assert b"\ncheckpoint\n" == (tmp_path / "anchors.txt").read_bytes()
