"""An export, read back: a `LogSource` like a store, over the files of a directory.

The rule of this module: nothing is believed, and nothing is written into the directory. The log is read into a scratch
log on the disk, which vanishes at the end; all other files are read where they are.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

from refundry.audit.export_format import FORMAT, content_path, read_line
from refundry.audit.signing.signed_notes import Verifier
from refundry.errors import Invalid
from refundry.journal.log_source import IndexReader, ScratchLog, StoredEvent, StoredLeaf
from refundry.journal.merkle import HASH_BYTES, TILE_WIDTH, Tiles, tile_path
from refundry.journal.stores import scratch_log

__all__ = ["ExportSource", "is_export"]

_MAX_LINE: Final = 64 * 1024 * 1024
_FILES: Final = 128
_NAME: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


def is_export(place: Path) -> bool:
    """Return whether a directory claims to be an export."""
    return (place / "export.json").is_file()


class ExportSource:
    """The directory of an export. Make it with `ExportSource.read`."""

    is_store = False

    def __init__(self, folder: Path, log: ScratchLog) -> None:
        self.folder = folder
        self._log = log
        self._damage: list[tuple[str, str]] = []
        self.about = self._about()
        self.whole = self.about["whole"] is True
        self.timeless = not {"from", "to"} & {name for name, value in self._part().items() if value is not None}

    @classmethod
    @contextmanager
    def read(cls, folder: Path) -> Iterator[Self]:
        """Read an export; raise `Invalid` if the directory does not contain one."""
        with scratch_log() as log:
            source = cls(folder, log)
            source._load()
            yield source

    def _about(self) -> dict[str, Any]:
        try:
            about = json.loads((self.folder / "export.json").read_bytes())
            if about["format"] != FORMAT or not isinstance(about["size"], int):
                raise ValueError
            found: dict[str, Any] = about
            return {"whole": False} | found
        except (OSError, ValueError, KeyError, TypeError):
            raise Invalid("export.json", f"{self.folder} is not an export that this Refundry reads") from None

    def _part(self) -> dict[str, Any]:
        part = self.about.get("part")
        return part if isinstance(part, dict) else {}

    def verifier(self) -> Verifier:
        """Return the public key that is part of the export."""
        return Verifier.from_vkey(self._text("key.vkey"))

    def note(self) -> bytes:
        """Return the checkpoint that covers the export."""
        return self._text("checkpoint").encode()

    def _text(self, name: str) -> str:
        try:
            return (self.folder / name).read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            raise Invalid(name, "is missing in the export, or cannot be read") from None

    # --- reading the log in -------------------------------------------------------------------------------------------

    def _load(self) -> None:
        """Read events and leaves; record what cannot be read."""
        self._load_events()
        if self.whole:
            self._load_leaves()

    def _load_events(self) -> None:
        last = count = 0
        try:
            with (self.folder / "events.jsonl").open("rb") as lines:
                while line := lines.readline(_MAX_LINE):
                    count += 1
                    last = self._load_line(line, count, last)
        except OSError as error:
            self._damage.append(("events.jsonl", f"cannot be read: {error.strerror}"))

    def _load_line(self, line: bytes, number: int, last: int) -> int:
        """Add the event of a line; return its position, or that of the last event before it."""
        where = f"events.jsonl, line {number}"
        found = read_line(line, whole=self.whole)
        if found is None:
            self._damage.append((where, "is not an event as exports have them"))
            return last
        position = found.event[0]
        if position <= last or (self.whole and found.idx != number - 1):
            self._damage.append((where, "is not in its place"))
            return last
        self._log.add_event(found.event, found.idx, found.proof)
        return position

    def _load_leaves(self) -> None:
        """Read the lowest tiles, build the higher ones from them, and compare those."""
        size = self.about["size"]
        tiles = Tiles(self._compare_tile)
        for index in range(-(-size // TILE_WIDTH)):
            width = min(TILE_WIDTH, size - index * TILE_WIDTH)
            content = self._tile(0, index, width)
            if content is None:
                return
            leaves = _hashes(content)
            self._log.add_hashes(index * TILE_WIDTH, leaves)
            tiles.extend(leaves)
        tiles.finish()

    def _tile(self, level: int, index: int, width: int) -> bytes | None:
        name = tile_path(level, index, width)
        try:
            content = (self.folder / name).read_bytes()
        except OSError:
            content = b""
        if len(content) == width * HASH_BYTES:
            return content
        self._damage.append((name, "the tile is missing or has another length"))
        return None

    def _compare_tile(self, level: int, index: int, hashes: bytes) -> None:
        width = len(hashes) // HASH_BYTES
        if level and self._tile(level, index, width) not in (None, hashes):
            self._damage.append((tile_path(level, index, width), "the tile does not follow from the leaves"))

    # --- the log ------------------------------------------------------------------------------------------------------

    @property
    def index(self) -> IndexReader:
        """The index that is built while the log is checked."""
        return self._log.index

    def count(self) -> int:
        """Return the position of the newest event."""
        return self._log.count()

    def events(self) -> Iterator[Sequence[StoredEvent]]:
        """Yield the events in order, a batch at a time."""
        return self._log.events()

    def history(self, refund_id: str, before: int) -> Sequence[tuple[str, bytes]]:
        """Return topic and state of a refund's events before a position."""
        return self._log.history(refund_id, before)

    def leaves(self, start: int = 0) -> Iterator[Sequence[StoredLeaf]]:
        """Yield the leaves in order from an index on, a batch at a time."""
        return self._log.leaves(start)

    def proofs(self) -> Iterator[tuple[StoredEvent, int, Sequence[bytes]]]:
        """Yield each event of a part with its index and its inclusion proof."""
        for event, idx, hashes in self._log.proofs():
            yield event, idx, _hashes(hashes)

    def hashes(self, start: int, count: int) -> None:
        """Return None: leaves and events come from different files, and are compared one by one."""

    def tree(self) -> tuple[int, bytes] | None:
        """Return None: an export contains no frontier; its tiles were compared."""
        return None

    def checkpoints(self) -> Iterator[tuple[int, bytes]]:
        """Yield the checkpoints of the export by size, smallest first."""
        kept = [path for path in (self.folder / "checkpoints").glob("*") if path.name.isdecimal()]
        for path in sorted(kept, key=lambda path: int(path.name)):
            yield int(path.name), path.read_bytes()

    # --- records ------------------------------------------------------------------------------------------------------

    def contents(self) -> Iterator[Sequence[tuple[bytes, bytes]]]:
        """Yield all files that are named by their digest."""
        batch: list[tuple[bytes, bytes]] = []
        for path in self._files("evidence", "private"):
            if _NAME.fullmatch(path.name) is None:
                self._damage.append((str(path.relative_to(self.folder)), "is not named by a digest"))
                continue
            batch.append((bytes.fromhex(path.name), path.read_bytes()))
            if len(batch) == _FILES:
                yield batch
                batch = []
        if batch:
            yield batch

    def _files(self, *folders: str) -> Iterator[Path]:
        for folder in folders:
            for place, _, names in os.walk(self.folder / folder):
                yield from (Path(place, name) for name in sorted(names))

    def missing(self, digests: Sequence[bytes]) -> Sequence[bytes]:
        """Return those of the digests for which there is no file."""
        return [digest for digest in digests if not any(map(Path.is_file, self._places(digest.hex())))]

    def _places(self, digest: str) -> Iterator[Path]:
        return (self.folder / content_path(folder, digest) for folder in ("evidence", "private", "erased"))

    def tombstones(self) -> Iterator[tuple[bytes, str, bytes]]:
        """Yield the notes about what was erased; each names its refund."""
        for path in self._files("erased"):
            note = path.read_bytes()
            refund = note.split(b"\n")[2:3]
            digest = bytes.fromhex(path.name) if _NAME.fullmatch(path.name) else path.name.encode()
            yield digest, refund[0].decode("utf-8", "replace") if refund else "", note

    def condition(self) -> Iterator[tuple[str, str]]:
        """Yield what could not be read."""
        return iter(self._damage)


def _hashes(content: bytes) -> list[bytes]:
    return [content[start : start + HASH_BYTES] for start in range(0, len(content), HASH_BYTES)]
