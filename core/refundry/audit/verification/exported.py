"""An export, read back: the same questions as of a store, answered without any database of its own.

The rule of this module: nothing is believed, and nothing is written into the folder. The log is read into a temporary
database on the disk, which is gone at the end; the files are read where they are.
"""

import json
import os
import re
import sqlite3
from base64 import b64decode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

from refundry.audit.publication.export import FORMAT, content_path
from refundry.audit.signing.signed_notes import Verifier
from refundry.audit.verification.invariants import ROW
from refundry.audit.verification.source import Event, SqliteSource
from refundry.errors import Invalid
from refundry.journal.merkle import HASH_BYTES, TILE_WIDTH, Tiles, tile_path

__all__ = ["ExportSource", "is_export"]

_MAX_LINE: Final = 64 * 1024 * 1024
_FILES: Final = 128
_NAME: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_TABLES: Final = (
    "CREATE TABLE stored_events (originator_id TEXT, originator_version INTEGER, topic TEXT, state BLOB)",
    "CREATE INDEX history ON stored_events (originator_id, originator_version)",
    "CREATE TABLE audit_leaf (idx INTEGER PRIMARY KEY, position INTEGER NOT NULL, hash BLOB)",
    "CREATE TABLE proof (position INTEGER PRIMARY KEY, idx INTEGER NOT NULL, hashes BLOB NOT NULL)",
    f"CREATE TABLE refund_index ({ROW.replace('id,', 'id PRIMARY KEY,', 1)}) WITHOUT ROWID",
)
_PUT_ROW: Final = f"INSERT OR REPLACE INTO refund_index VALUES ({','.join('?' * len(ROW.split(',')))})"  # noqa: S608


def is_export(place: Path) -> bool:
    """Say whether a folder claims to be an export."""
    return (place / "export.json").is_file()


class ExportSource(SqliteSource):
    """The folder of an export. Make it with `ExportSource.read`."""

    indexed = False

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self.folder = folder
        self._damage: list[tuple[str, str]] = []
        self.about = self._about()
        self.whole = self.about["whole"] is True
        self.timeless = not {"from", "to"} & {name for name, value in self._part().items() if value is not None}

    @classmethod
    @contextmanager
    def read(cls, folder: Path) -> Iterator[Self]:
        """Read an export; `Invalid` if the folder is none."""
        connection = sqlite3.connect("", isolation_level=None)
        try:
            connection.execute("PRAGMA cache_size=-65536")
            for statement in ("BEGIN", *_TABLES):
                connection.execute(statement)
            source = cls(folder, connection)
            source._load()
            yield source
        finally:
            connection.close()

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
        """Give the public key that lies in the export."""
        return Verifier.from_vkey(self._text("key.vkey"))

    def note(self) -> bytes:
        """Give the checkpoint that covers the export."""
        return self._text("checkpoint").encode()

    def _text(self, name: str) -> str:
        try:
            return (self.folder / name).read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            raise Invalid(name, "is missing in the export, or cannot be read") from None

    # Reading it in.

    def _load(self) -> None:
        """Read events and leaves; what cannot be read is noted."""
        positions = self._load_events()
        if self.whole:
            self._load_leaves(positions)

    def _load_events(self) -> list[int]:
        last = 0
        count = 0
        try:
            with (self.folder / "events.jsonl").open("rb") as lines:
                while line := lines.readline(_MAX_LINE):
                    count += 1
                    last = self._load_line(line, count, last)
        except OSError as error:
            self._damage.append(("events.jsonl", f"cannot be read: {error.strerror}"))
        return [count, last]

    def _load_line(self, line: bytes, number: int, last: int) -> int:
        where = f"events.jsonl, line {number}"
        try:
            said = json.loads(line)
            position, idx = said["position"], said["idx"]
            state = b64decode(said["state_base64"]) if "state_base64" in said else said["state"].encode()
            values = (position, said["refund"], said["version"], said["topic"], state)
            proof = None if self.whole else b"".join(b64decode(each, validate=True) for each in said["proof"])
            if [type(value) for value in (*values, idx)] != [int, str, int, str, bytes, int]:
                raise TypeError
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._damage.append((where, "is not an event as exports have them"))
            return last
        if position <= last or (self.whole and idx != number - 1):
            self._damage.append((where, "is not in its place"))
            return last
        with suppress(OverflowError):
            self._connection.execute(_PUT_EVENT, values)
            if self.whole:
                # The hash comes from the tiles.
                self._connection.execute("INSERT INTO audit_leaf VALUES (?,?,NULL)", (idx, position))
            else:
                self._connection.execute("INSERT INTO proof VALUES (?,?,?)", (position, idx, proof))
        return int(position)

    def _load_leaves(self, positions: list[int]) -> None:
        """Read the lowest tiles, make the higher ones of them, and compare those."""
        size = self.about["size"]
        tiles = Tiles(self._compare_tile)
        for index in range(-(-size // TILE_WIDTH)):
            width = min(TILE_WIDTH, size - index * TILE_WIDTH)
            content = self._tile(0, index, width)
            if content is None:
                return
            leaves = [content[start : start + HASH_BYTES] for start in range(0, len(content), HASH_BYTES)]
            first = index * TILE_WIDTH
            self._connection.executemany(
                "UPDATE audit_leaf SET hash=? WHERE idx=?", [(leaf, idx) for idx, leaf in enumerate(leaves, first)]
            )
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
            self._damage.append((tile_path(level, index, width), "the tile is not what the leaves make"))

    # What is asked of it.

    def proofs(self) -> Iterator[tuple[Event, int, Sequence[bytes]]]:
        """Give each event of a part with its index and its inclusion proof."""
        statement = """SELECT e.rowid, originator_id, originator_version, topic, state, p.idx, p.hashes
            FROM stored_events e JOIN proof p ON p.position = e.rowid ORDER BY e.rowid"""
        for *event, idx, hashes in self._connection.execute(statement):
            proof = [hashes[start : start + HASH_BYTES] for start in range(0, len(hashes), HASH_BYTES)]
            yield tuple(event), idx, proof

    def tree(self) -> tuple[int, bytes] | None:
        """Say that no state of the tree is kept: the tiles were compared."""
        return None

    def hashes(self, start: int, count: int) -> None:
        """Say that leaves and events come from different files, and are compared one by one."""

    def checkpoints(self) -> Iterator[tuple[int, bytes]]:
        """Give the checkpoints that are kept."""
        kept = [path for path in (self.folder / "checkpoints").glob("*") if path.name.isdecimal()]
        for path in sorted(kept, key=lambda path: int(path.name)):
            yield int(path.name), path.read_bytes()

    def contents(self) -> Iterator[Sequence[tuple[bytes, bytes]]]:
        """Give all files that are named by their digest."""
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
        """Give those for which there is no file."""
        return [digest for digest in digests if not any(map(Path.is_file, self._places(digest.hex())))]

    def _places(self, digest: str) -> Iterator[Path]:
        return (self.folder / content_path(folder, digest) for folder in ("evidence", "private", "erased"))

    def tombstones(self) -> Iterator[tuple[bytes, str, bytes]]:
        """Give the notes on what was erased; of which refund, they say themselves."""
        for path in self._files("erased"):
            note = path.read_bytes()
            refund = note.split(b"\n")[2:3]
            digest = bytes.fromhex(path.name) if _NAME.fullmatch(path.name) else path.name.encode()
            yield digest, refund[0].decode("utf-8", "replace") if refund else "", note

    def condition(self) -> Iterator[tuple[str, str]]:
        """Give what could not be read."""
        return iter(self._damage)

    def rows_of(self, accounts: Sequence[tuple[Any, ...]]) -> Sequence[tuple[Any, ...]]:
        """Keep the rows in an index of our own, so that it can be asked what holds between refunds."""
        self._connection.executemany(_PUT_ROW, accounts)
        return accounts


_PUT_EVENT: Final = """INSERT INTO stored_events (rowid, originator_id, originator_version, topic, state)
    VALUES (?,?,?,?,?)"""
