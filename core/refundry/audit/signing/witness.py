"""A witness: a second party that remembers one log, and confirms with its own key that the log only ever grew.

The rule of this module: the witness trusts neither the store nor the log's key. It signs a checkpoint only with proof
that the log extends the one it saw before, and what it signs is durable in its own directory before anyone receives it.
If the log has signed two checkpoints that contradict each other, the witness keeps the second one as proof of the fork.

The directory contains `key.pem`, `key.vkey` (for those who trust this witness), `log.vkey` (the log that it watches),
`checkpoint` (the last one that it signed), `lock`, and `refused` (a signed checkpoint that contradicts it, if there
ever was one).

The second party runs the witness on its own machine. Requests have the format of https://c2sp.org/tlog-witness, and its
signature is a cosignature as in https://c2sp.org/tlog-cosignature, so that other witness software can be used instead.

`open_witness` creates or opens a witness; `Witness.size()` tells from which size a proof must start; `request_over`
builds the request from the leaves of a store or an export; `Witness.add_checkpoint` returns the cosigned checkpoint.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import attrs

from refundry.audit.signing.key_directory import CHECKPOINT, KEY, VKEY, make_key, read, read_key, wait_for_lock, write
from refundry.audit.signing.signed_notes import (
    COSIGNATURE,
    BadNote,
    Checkpoint,
    Key,
    Verifier,
    check_key_name,
    cosign,
    from_base64,
    open_checkpoint,
    read_note,
    to_base64,
)
from refundry.errors import ConfigError, Conflict, Tampered
from refundry.journal.merkle import HASH_BYTES, consistency_proof, prove_over, verify_consistency

__all__ = ["Request", "Witness", "open_witness", "request_over"]

_LOG: Final = "log.vkey"
_REFUSED: Final = "refused"
_MAX_PROOF: Final = 63
T = TypeVar("T")
_OLD: Final = re.compile(r"old (0|[1-9][0-9]{0,18})", re.ASCII)


@attrs.frozen
class Request:
    """A checkpoint, and the proof that it extends a tree of `old` leaves."""

    old: int
    proof: Sequence[bytes]
    checkpoint: bytes

    def to_bytes(self) -> bytes:
        """Return the request as it is sent."""
        lines = [f"old {self.old}", *(to_base64(each) for each in self.proof), "", ""]
        return "\n".join(lines).encode() + self.checkpoint

    @classmethod
    def from_bytes(cls, raw: bytes) -> "Request":
        """Read a request; raise `BadNote` if it is malformed."""
        head, separator, checkpoint = raw.partition(b"\n\n")
        old, *lines = head.decode("utf-8", "replace").split("\n")
        proof = [from_base64(line) for line in lines]
        if not separator or _OLD.fullmatch(old) is None:
            raise BadNote("request", "must begin with a line `old SIZE`, the proof and an empty line")
        if len(proof) > _MAX_PROOF or any(each is None or len(each) != HASH_BYTES for each in proof):
            raise BadNote("request", "the proof must consist of hashes in base64")
        return cls(int(old.removeprefix("old ")), [each for each in proof if each is not None], checkpoint)


def request_over(batches: Iterable[Sequence[bytes]], old: int, checkpoint: bytes) -> Request:
    """Build a request from a stream of all leaves of a log; the checkpoint's signature is not verified."""
    size = Checkpoint.from_text(read_note(checkpoint).text).size
    if size < old:
        raise Conflict(f"the witness has already seen {old} events of this log, but the checkpoint covers only {size}")
    return Request(old, prove_over(batches, lambda nodes: consistency_proof(old, size, nodes)), checkpoint)


class Witness:
    """A key, and the memory of one log. `open_witness` creates it."""

    def __init__(self, directory: Path, key: Key, log: Verifier) -> None:
        self.directory = directory
        self.log = log
        self.verifier = key.verifier(COSIGNATURE)
        self._key = key

    def last(self) -> Checkpoint | None:
        """Return the last checkpoint that it signed, or None."""
        raw = read(self.directory / CHECKPOINT)
        if raw is None:
            return None
        checkpoint = open_checkpoint(raw, self.log)
        if read_note(raw).by(self.verifier) is None:
            raise BadNote("checkpoint", f"{self.directory / CHECKPOINT} was not signed by this witness")
        return checkpoint

    def size(self) -> int:
        """Return how many events of the log it has seen, which is where the next proof must start."""
        last = self.last()
        return 0 if last is None else last.size

    def add_checkpoint(self, request: bytes, time: int) -> bytes:
        """Check a checkpoint against the last one, and return it cosigned at `time` (seconds since 1970).

        Raises `BadNote` if the log did not sign it, `Conflict` if the proof does not start at the last one, and
        `Tampered` if the log does not extend the one that was seen before.
        """
        asked = Request.from_bytes(request)
        seen = open_checkpoint(asked.checkpoint, self.log)
        with _locked(self.directory):
            last = self.last()
            if last is not None:
                self._check(asked, last, seen)
            elif asked.old or asked.proof:
                raise Conflict("this witness has not seen this log yet; the proof must start at 0")
            signed = cosign(asked.checkpoint, self._key, time)
            write(self.directory / CHECKPOINT, signed)
            return signed

    def _check(self, asked: Request, last: Checkpoint, seen: Checkpoint) -> None:
        if asked.old != last.size or seen.size < last.size:
            raise Conflict(f"this witness has seen {last.size} events of this log; the proof must start there")
        if not verify_consistency(last.size, seen.size, asked.proof, last.root, seen.root):
            self._refuse(asked, seen.size == last.size)

    def _refuse(self, asked: Request, contradicts: bool) -> None:
        write(self.directory / _REFUSED, asked.checkpoint)
        if contradicts:
            second = self.directory / _REFUSED
            raise Tampered(f"the log signed two different roots for {asked.old} events; the second is in {second}")
        raise Tampered(f"the proof does not show that this log extends the {asked.old} events that were seen before")


def open_witness(
    directory: Path,
    *,
    name: str | None = None,
    log: Verifier | None = None,
    random: Callable[[int], bytes] = os.urandom,
) -> Witness:
    """Open a witness of a log; create its directory and key on first use.

    `name` is the witness's own name, such as `platform.example/witness`. Name and log are required on first use only.
    Raises `ConfigError` if one of them is missing then or differs later, or if the directory cannot be used.
    """
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        with _locked(directory):
            known, watched = _known(directory / VKEY), _known(directory / _LOG)
            wanted = check_key_name(_same("name", name, None if known is None else known.name))
            log = _same("log", log, watched)
            pem = read(directory / KEY)
            key = make_key(directory / KEY, random) if pem is None else read_key(pem, str(directory / KEY))
            witness = Witness(directory, attrs.evolve(key, name=wanted), log)
            if known not in (None, witness.verifier):
                raise ConfigError("directory", f"the private key in {directory} does not match {directory / VKEY}")
            for path, verifier in ((directory / VKEY, witness.verifier), (directory / _LOG, log)):
                write(path, f"{verifier.vkey}\n".encode(), mode=0o644)
            return witness
    except OSError as error:
        raise ConfigError("directory", f"{directory} cannot be used: {error.strerror}") from None


def _known(path: Path) -> Verifier | None:
    text = read(path)
    return None if text is None else Verifier.from_vkey(text.decode("utf-8", "replace"))


def _same(field: str, given: T | None, known: T | None) -> T:
    """Return the known value, or the given one on first use; a witness never changes its name, its key or its log."""
    if known is None and given is None:
        raise ConfigError(field, "is required on the first use of this witness")
    if known is not None and given not in (None, known):
        raise ConfigError(field, f"differs from the one this witness was created with: {getattr(known, 'vkey', known)}")
    found = given if known is None else known
    assert found is not None
    return found


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    held = wait_for_lock(directory)
    try:
        yield
    finally:
        os.close(held)
