"""The export: a directory with which a third party checks the log, or a part of it, without using Refundry.

The rule of this module: everything that is written is covered by a signed checkpoint, or nothing is written. The
directory gets its name only when it is complete, and nothing that exists is overwritten.
"""

import json
import os
import shutil
import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

import attrs
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from refundry.audit.export_format import FORMAT, content_path, line_of
from refundry.audit.signing.signed_notes import BadNote, Checkpoint, Verifier, open_checkpoint
from refundry.audit.verification import stored_fields
from refundry.errors import Invalid, StoreError, Tampered
from refundry.journal.log_source import StoredEvent, StoreSource
from refundry.journal.merkle import Frontier, TileNodes, Tiles, entry, inclusion_proof, leaf_hash, tile_path

__all__ = ["Exported", "Part", "export"]

_TILES_CACHED: Final = 4_096

Progress = Callable[[int, int], None]


@attrs.frozen(kw_only=True)
class Part:
    """The part of a log that is exported; a field that is None does not narrow it."""

    account: str | None = None
    payment: str | None = None
    refund: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    """Events before this moment."""

    @property
    def whole(self) -> bool:
        """Return whether it is the whole log."""
        return not any(attrs.astuple(self))

    @property
    def timeless(self) -> bool:
        """Return whether the refunds in it have all their events."""
        return self.since is None and self.until is None

    def as_json(self) -> dict[str, Any]:
        """Return what was selected as JSON."""
        times = {"from": self.since, "to": self.until}
        moments = {name: None if at is None else at.isoformat() for name, at in times.items()}
        return {"account": self.account, "payment": self.payment, "refund": self.refund} | moments


@attrs.frozen(kw_only=True)
class Exported:
    """What was written."""

    place: Path
    checkpoint: Checkpoint
    events: int
    refunds: int
    contents: int
    left_out: int
    """How many events are newer than the checkpoint, and not in the export."""


def export(
    source: StoreSource,
    log: Verifier,
    notes: Sequence[bytes],
    place: Path,
    part: Part = Part(),
    progress: Progress = lambda done, total: None,
    *,
    prove: bool = False,
) -> Exported:
    """Write a log, or a part of it with a proof for each event, to a new directory.

    `notes` are checkpoints from outside the database. With `prove`, each event's proof is a file as well. Raises
    `Invalid` if the place is taken or nothing is found, `Tampered` if the log is not what was signed.
    """
    checkpoint, note = _newest(source, log, notes)
    with _new_folder(place) as folder:
        writer = _Writer(source, folder, part)
        writer.tree(checkpoint, progress)
        writer.events(checkpoint, note, prove=prove)
        if not writer.count and not part.whole:
            raise Invalid("export", "no event is both what was asked for and under a checkpoint")
        _describe(source, log, folder, checkpoint, note, part)
        (folder / "README.txt").write_text(_readme(part, place, prove=prove), "utf-8")
        if not part.whole:
            shutil.rmtree(folder / "tile")
    return Exported(
        place=place, checkpoint=checkpoint, events=writer.count, refunds=len(writer.refunds),
        contents=writer.contents, left_out=writer.newer,
    )  # fmt: skip


def _newest(source: StoreSource, log: Verifier, notes: Sequence[bytes]) -> tuple[Checkpoint, bytes]:
    """Return the largest genuine checkpoint; raise `Tampered` if the log has fewer events."""
    count = source.count()
    found: list[tuple[Checkpoint, bytes]] = []
    for note in [*notes, *(note for _, note in source.checkpoints())]:
        try:
            checkpoint = open_checkpoint(note, log)
        except (BadNote, TypeError, AttributeError):
            continue
        if not found or checkpoint.size > found[0][0].size:
            found = [(checkpoint, note)]
    if not found:
        raise Invalid("store", "nothing of it is signed with this key, so nothing can be shown to anybody")
    if found[0][0].size > count:
        raise Tampered(f"{found[0][0].size} events were signed, and the store has {count}")
    return found[0]


@contextmanager
def _new_folder(place: Path) -> Iterator[Path]:
    """Yield a directory that gets its name only when everything is in it."""
    if place.exists() or place.is_symlink():
        raise Invalid("DIRECTORY", f"{place} is there already; nothing is overwritten")
    if not place.absolute().parent.is_dir():
        raise Invalid("DIRECTORY", f"there is no folder {place.absolute().parent}")
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.absolute().parent))
    except OSError as error:
        raise Invalid("DIRECTORY", f"cannot be made: {error.strerror}") from None
    try:
        yield folder
        for path in folder.rglob("*"):
            path.chmod(0o700 if path.is_dir() else 0o600)
        os.rename(folder, place.absolute())
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise StoreError(f"export: cannot be written: {error.strerror}; nothing is left of it") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


class _Writer:
    def __init__(self, source: StoreSource, folder: Path, part: Part) -> None:
        self._source = source
        self._folder = folder
        self._part = part
        self.refunds: set[str] = set()
        self.count = self.contents = self.newer = 0

    def tree(self, checkpoint: Checkpoint, progress: Progress) -> None:
        """Write the tiles; raise `Tampered` if the log does not have the root that was signed."""
        tiles, frontier, total = Tiles(self._tile), Frontier(), self._source.count()
        for events in self._source.events():
            leaves = [leaf_hash(entry(*event[1:])) for event in events[: checkpoint.size - frontier.size]]
            tiles.extend(leaves)
            frontier = frontier.extend(leaves)
            self.newer += len(events) - len(leaves)
            progress(frontier.size, total)
        tiles.finish()
        (self._folder / "tile").mkdir(exist_ok=True)
        if (frontier.size, frontier.root()) != (checkpoint.size, checkpoint.root):
            raise Tampered(f"the first {checkpoint.size} events are not those that were signed")

    def _tile(self, level: int, index: int, hashes: bytes) -> None:
        self._put(tile_path(level, index, len(hashes) // 32), hashes)

    def _put(self, name: str, content: bytes) -> None:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def events(self, checkpoint: Checkpoint, note: bytes, *, prove: bool) -> None:
        """Write the selected events, and everything that they name."""
        nodes = TileNodes(checkpoint.size, lru_cache(_TILES_CACHED)(self._read_tile))
        idx = 0
        with (self._folder / "events.jsonl").open("w", encoding="utf-8") as out:
            for events in self._source.events():
                for event in events[: checkpoint.size - idx]:
                    fields: Any = stored_fields.read_any(event[3], event[4])
                    if fields is None or self._wanted(event, fields):
                        proof = None if self._part.whole else inclusion_proof(idx, checkpoint.size, nodes)
                        out.write(line_of(event, idx, proof))
                        self._named(event, fields)
                        if prove and proof is not None:
                            self._prove(event, idx, proof, note)
                    idx += 1

    def _read_tile(self, level: int, index: int, width: int) -> bytes:
        return (self._folder / tile_path(level, index, width)).read_bytes()

    def _wanted(self, event: StoredEvent, fields: Any) -> bool:
        part, id = self._part, event[1]
        if event[3] == "requested" and part.refund in (None, id):
            wanted = part.account in (None, fields.account) and part.payment in (None, fields.payment)
            if wanted:
                self.refunds.add(id)
        if id not in self.refunds:
            return False
        return (part.since is None or fields.at >= part.since) and (part.until is None or fields.at < part.until)

    def _named(self, event: StoredEvent, fields: Any) -> None:
        self.count += 1
        if fields is None:
            return
        evidence = fields.digest if event[3] == "submitted" else getattr(fields, "evidence", None)
        for folder, digest in (("evidence", evidence), ("private", fields.private)):
            if digest is not None and not (self._folder / content_path(folder, digest)).exists():
                self._content(event, folder, digest)

    def _content(self, event: StoredEvent, folder: str, digest: str) -> None:
        content, note = self._source.content(bytes.fromhex(digest))
        if note is not None:
            self._put(content_path("erased", digest), note)
        elif content is not None:
            self.contents += 1
            self._put(content_path(folder, digest), content)
        else:
            raise Tampered(f"the event at position {event[0]} names {digest}, which is not kept and was not erased")

    def _prove(self, event: StoredEvent, idx: int, proof: Sequence[bytes], note: bytes) -> None:
        """Write what is hashed, and its proof in the form of https://c2sp.org/tlog-proof, for a single event."""
        lines = ["c2sp.org/tlog-proof@v1", f"index {idx}", *(b64encode(each).decode() for each in proof), "", ""]
        self._put(f"proofs/{event[2]:04d}.tlog-proof", "\n".join(lines).encode() + note)
        self._put(f"proofs/{event[2]:04d}.entry", entry(*event[1:]))


# --- the description of the export ------------------------------------------------------------------------------------


def _describe(
    source: StoreSource, log: Verifier, folder: Path, checkpoint: Checkpoint, note: bytes, part: Part
) -> None:
    (folder / "checkpoint").write_bytes(note)
    if part.whole:
        (folder / "checkpoints").mkdir()
        for size, each in source.checkpoints():
            if size <= checkpoint.size:
                (folder / "checkpoints" / f"{size}").write_bytes(each)
    (folder / "key.vkey").write_text(f"{log.vkey}\n", "utf-8")
    public = Ed25519PublicKey.from_public_bytes(log.public)
    (folder / "key.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    about = {"format": FORMAT, "origin": log.name, "size": checkpoint.size, "whole": part.whole}
    (folder / "export.json").write_text(json.dumps(about | {"part": part.as_json()}, indent=1) + "\n", "utf-8")
    (folder / "check.go").write_bytes(_packed("check.go"))


_TILES: Final = """\
  tile/          the tree, in the form of https://c2sp.org/tlog-tiles.
  checkpoints/   all checkpoints up to then that were kept, by their size.
"""
_PROOFS: Final = """\
  proofs/        for each event, by its version, what is hashed (`.entry`) and its proof in the form of
                 https://c2sp.org/tlog-proof.
"""


def _readme(part: Part, place: Path, *, prove: bool) -> str:
    asked = ", ".join(f"{name} {value}" for name, value in part.as_json().items() if value is not None)
    return (
        _packed("readme.txt")
        .decode()
        .format(
            what="The whole log up to the checkpoint." if part.whole else f"A part of the log: {asked}.",
            proofs="" if part.whole else "\n                 `proof` is its inclusion proof (RFC 6962), in base64.",
            tiles=_TILES if part.whole else "",
            proof_files=_PROOFS if prove else "",
            wholly=", and it has no others" if part.whole else "",
            complete="" if part.whole else " Nor that nothing else belongs to this part.",
            place=place.name,
        )
    )


def _packed(name: str) -> bytes:
    return resources.files("refundry.audit.publication").joinpath(name).read_bytes()
