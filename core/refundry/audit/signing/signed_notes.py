"""Signed notes and checkpoints in standard formats, so that other tools can read and verify them.

The rule of this module: pure, and it accepts exactly what the formats allow; two different texts never read as
the same. The formats are https://c2sp.org/signed-note, https://c2sp.org/tlog-checkpoint and
https://c2sp.org/tlog-cosignature. Go's golang.org/x/mod/sumdb/note opens what is signed here.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from struct import Struct
from typing import Final

import attrs
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from refundry.errors import Invalid
from refundry.journal.merkle import HASH_BYTES

__all__ = [
    "COSIGNATURE",
    "ED25519",
    "BadNote",
    "Checkpoint",
    "Key",
    "Note",
    "Signature",
    "Verifier",
    "check_key_name",
    "cosign",
    "from_base64",
    "open_checkpoint",
    "open_note",
    "read_note",
    "sign_note",
    "to_base64",
]

ED25519: Final = 0x01
"""The type of signature with which a log signs its notes."""
COSIGNATURE: Final = 0x04
"""The type of signature with which a witness confirms that it saw a checkpoint, and when."""
MAX_SIGNATURES: Final = 100
MAX_BYTES: Final = 1_000_000
"""Longer notes are rejected; Go's reader has the same bounds."""

_KEY_ID: Final = 4
_SIGNATURE: Final = 64
_TIME: Final = Struct(">Q")
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_DASH: Final = "— "


class BadNote(Invalid):
    """A note that is malformed or does not carry the expected signature."""

    next = "do not trust it; get the note again from its source"


def _refuse(rule: str) -> BadNote:
    return BadNote("note", rule)


# --- keys -------------------------------------------------------------------------------------------------------------


def check_key_name(name: str) -> str:
    """Check the name of a key or the origin of a log; raise `BadNote` if it is not allowed."""
    if not name or "+" in name or any(mark.isspace() for mark in name) or _CONTROL.search(name):
        raise BadNote("name", "must be text without spaces, control characters or '+'")
    return name


def _key_id(name: str, kind: int, public: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:_KEY_ID]


@attrs.frozen
class Verifier:
    """A name, a public Ed25519 key and the type of its signatures: all that is needed to verify them."""

    name: str
    public: bytes
    kind: int = ED25519

    @property
    def key_id(self) -> bytes:
        """The four bytes that identify the key in a signature line."""
        return _key_id(self.name, self.kind, self.public)

    @property
    def vkey(self) -> str:
        """The key in the text format that other tools accept."""
        return f"{self.name}+{self.key_id.hex()}+{to_base64(bytes([self.kind]) + self.public)}"

    @classmethod
    def from_vkey(cls, text: str) -> "Verifier":
        """Read a key in its text format; raise `BadNote` if it is not the key of a log or a witness."""
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        material = from_base64(encoded)
        if material is None or len(material) != 1 + HASH_BYTES or material[0] not in (ED25519, COSIGNATURE):
            raise BadNote("vkey", "must be NAME+ID+KEY of an Ed25519 key")
        verifier = cls(check_key_name(name), material[1:], material[0])
        if verifier.key_id.hex() != key_id:
            raise BadNote("vkey", "its id does not match its name and key")
        return verifier

    def verifies(self, text: str, signature: "Signature") -> bool:
        """Return whether a signature is valid for this key and this text."""
        data, message = signature.data, text.encode()
        if self.kind == COSIGNATURE:
            if len(data) != _TIME.size + _SIGNATURE:
                return False
            message, data = _cosigned(text, signature.time), data[_TIME.size :]
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(data, message)
        except (InvalidSignature, ValueError):
            return False
        return True


@attrs.frozen
class Key:
    """A signing key: its name, its public key, and the function that signs bytes with Ed25519."""

    name: str
    public: bytes
    sign: Callable[[bytes], bytes] = attrs.field(repr=False)

    def verifier(self, kind: int = ED25519) -> Verifier:
        """Return what is needed to verify this key's signatures."""
        return Verifier(self.name, self.public, kind)


# --- notes ------------------------------------------------------------------------------------------------------------


@attrs.frozen
class Signature:
    """One signature line."""

    name: str
    key_id: bytes
    data: bytes

    @property
    def line(self) -> str:
        """The line as it appears in the note."""
        return f"{_DASH}{self.name} {to_base64(self.key_id + self.data)}\n"

    @property
    def time(self) -> int:
        """When the witness saw the checkpoint, in seconds since 1970; only a cosignature has a time."""
        time: int = _TIME.unpack_from(self.data)[0]
        return time


@attrs.frozen
class Note:
    """A text and its signatures, which have not been verified yet."""

    text: str
    signatures: Sequence[Signature]

    def to_bytes(self) -> bytes:
        """Return the note as it is stored and sent."""
        return f"{self.text}\n{''.join(signature.line for signature in self.signatures)}".encode()

    def by(self, verifier: Verifier) -> Signature | None:
        """Return the verified signature of this key, or None; raise `BadNote` if a signature in its name is invalid."""
        found = None
        for signature in self.signatures:
            if (signature.name, signature.key_id) == (verifier.name, verifier.key_id):
                if not verifier.verifies(self.text, signature):
                    raise _refuse(f"the signature of {verifier.name} is invalid")
                found = found or signature
        return found


def read_note(raw: bytes) -> Note:
    """Parse a note without verifying its signatures; raise `BadNote` if it is malformed."""
    if len(raw) > MAX_BYTES:
        raise _refuse("is too long")
    try:
        whole = raw.decode()
    except UnicodeDecodeError:
        raise _refuse("is not UTF-8") from None
    if _CONTROL.search(whole):
        raise _refuse("contains a control character")
    text, separator, lines = whole.rpartition("\n\n")
    if not separator or not text or not lines.endswith("\n"):
        raise _refuse("must consist of a text, an empty line and signature lines")
    signatures = lines[:-1].split("\n")
    if len(signatures) > MAX_SIGNATURES:
        raise _refuse("has too many signatures")
    return Note(text + "\n", tuple(_read_signature(line) for line in signatures))


def _read_signature(line: str) -> Signature:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    data = from_base64(encoded)
    if not line.startswith(_DASH) or data is None or len(data) <= _KEY_ID:
        raise _refuse("a signature line must consist of a dash, a name and base64")
    return Signature(check_key_name(name), data[:_KEY_ID], data[_KEY_ID:])


def open_note(raw: bytes, verifiers: Iterable[Verifier]) -> Note:
    """Read a note; raise `BadNote` unless one of these keys signed it and none of their signatures is invalid."""
    note = read_note(raw)
    if not [verifier for verifier in verifiers if note.by(verifier) is not None]:
        raise _refuse("is not signed with a known key")
    return note


def sign_note(text: str, key: Key) -> bytes:
    """Sign a text, which must end with a newline, and return the note."""
    signature = Signature(check_key_name(key.name), key.verifier().key_id, key.sign(text.encode()))
    if not text.endswith("\n") or not key.verifier().verifies(text, signature):
        raise _refuse("the private key does not match its public key")
    raw = Note(text, (signature,)).to_bytes()
    read_note(raw)
    return raw


def cosign(raw: bytes, key: Key, time: int) -> bytes:
    """Add a witness's signature, made at `time` (seconds since 1970), to a checkpoint that the witness has verified."""
    note = read_note(raw)
    witness = key.verifier(COSIGNATURE)
    data = _TIME.pack(time) + key.sign(_cosigned(note.text, time))
    signature = Signature(check_key_name(key.name), witness.key_id, data)
    if not witness.verifies(note.text, signature):
        raise _refuse("the private key does not match its public key")
    return Note(note.text, (*note.signatures, signature)).to_bytes()


def _cosigned(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()


# --- checkpoints ------------------------------------------------------------------------------------------------------


@attrs.frozen
class Checkpoint:
    """A log's statement about itself: its name, the number of its entries, and the root of the tree over them."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{to_base64(self.root)}\n"

    @classmethod
    def from_text(cls, text: str) -> "Checkpoint":
        """Read the text of a checkpoint; raise `BadNote` if it is malformed."""
        lines = text.split("\n")
        # The format allows extension lines. Refundry writes none, and could not verify any.
        if len(lines) != 4 or lines[3]:
            raise BadNote("checkpoint", "must have three lines: origin, size, root")
        origin, size, encoded, _ = lines
        root = from_base64(encoded)
        if not origin or _SIZE.fullmatch(size) is None or root is None or len(root) != HASH_BYTES:
            raise BadNote("checkpoint", "must have an origin, a size in digits and a root in base64")
        return cls(origin, int(size), root)


def open_checkpoint(raw: bytes, log: Verifier) -> Checkpoint:
    """Read a checkpoint; raise `BadNote` unless this log has signed it as its own."""
    checkpoint = Checkpoint.from_text(open_note(raw, [log]).text)
    if checkpoint.origin != log.name:
        raise BadNote("checkpoint", f"belongs to the log {checkpoint.origin!r}, not to {log.name!r}")
    return checkpoint


def to_base64(data: bytes) -> str:
    """Encode bytes in the base64 of notes."""
    return base64.b64encode(data).decode()


def from_base64(text: str) -> bytes | None:
    """Decode base64; return None unless it is exactly what `to_base64` writes."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if to_base64(data) == text else None
