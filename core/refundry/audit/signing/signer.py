"""The signer: it has the key, and remembers outside the store what it signed last.

The rule of this module: never two trees of which the smaller is not the beginning of the larger. What is signed is on
the signer's own disk before anybody sees it. Any number of processes may have a signer on one directory: whoever holds
its lock signs, and their checkpoints are one series. Synchronous: the sealer calls it in a thread.

In the directory: `key.pem` (the private key, unless it is kept elsewhere), `key.vkey` (the public key, for everybody),
`checkpoint` (the last signed note), `frontier` (of that tree, to go on from; it can be made again) and `lock`.

For others: `read_verifier(directory)` and `read_last_note(directory)` read what is public, and make nothing.
"""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import attrs

from refundry.audit.signing.files import CHECKPOINT, KEY, VKEY, make_key, read, read_key, try_lock, wait_for_lock, write
from refundry.audit.signing.note import BadNote, Checkpoint, Key, Verifier, open_checkpoint, sign_note
from refundry.audit.signing.settings import PLUGIN, AuditSettings
from refundry.errors import ConfigError, Invalid, Tampered
from refundry.journal.merkle import Frontier
from refundry.plugin_host.interfaces import SigningKey

__all__ = ["Last", "Signer", "open_signer", "read_last_note", "read_verifier"]

_FRONTIER: Final = "frontier"
_log = logging.getLogger("refundry")


@attrs.frozen
class Last:
    """What was signed last."""

    note: bytes
    checkpoint: Checkpoint
    frontier: Frontier | None
    """None: the file is lost or older than the checkpoint; the tree's own leaves give it again."""


class Signer:
    """A key and a memory. Make it with `open_signer`."""

    def __init__(self, directory: Path, key: Key) -> None:
        self.directory = directory
        self.key = key
        self.verifier = key.verifier()
        self._held: int | None = None
        self._leaving = False
        self._mutex = threading.Lock()

    def try_lock(self) -> bool:
        """Take the lock of the directory; False while somebody else, in this process or another, has it."""
        if not self._mutex.acquire(blocking=False):
            return False
        try:
            if self._held is not None:
                return False
            self._leaving = False
            self._held = try_lock(self.directory)
            return self._held is not None
        finally:
            self._mutex.release()

    def unlock(self) -> None:
        """Give the lock back: now, or as soon as the signing is over that is under way in another thread."""
        self._leaving = True
        if self._mutex.acquire(blocking=False):
            try:
                if self._held is not None:
                    os.close(self._held)
                    self._held = None
            finally:
                self._mutex.release()

    def last(self) -> Last | None:
        """Read what was signed last; None if nothing was. `Tampered` if it is not this key's."""
        note = read_last_note(self.directory)
        if note is None:
            return None
        try:
            checkpoint = open_checkpoint(note, self.verifier)
        except BadNote as error:
            raise Tampered(f"{self.directory / CHECKPOINT} is not what this key signed: {error.rule}") from None
        frontier = _read_frontier(self.directory)
        fits = frontier is not None and (frontier.size, frontier.root()) == (checkpoint.size, checkpoint.root)
        return Last(note, checkpoint, frontier if fits else None)

    def sign(self, before: Last | None, frontier: Frontier) -> bytes:
        """Sign a tree that begins with the one signed before, and remember it; give the note.

        The caller holds the lock and made `frontier` out of the one before. Raises `OSError` if it cannot be kept.
        """
        try:
            with self._mutex:
                return self._sign(before, frontier)
        finally:
            if self._leaving:
                self.unlock()

    def _sign(self, before: Last | None, frontier: Frontier) -> bytes:
        if self._held is None:
            raise RuntimeError("the signer signs only with its lock")
        if self.last() != before:
            raise RuntimeError("something was signed meanwhile")
        if before is not None and frontier.size < before.checkpoint.size:
            raise Tampered(f"a log of {before.checkpoint.size} events was signed; it has {frontier.size} now")
        note = sign_note(Checkpoint(self.key.name, frontier.size, frontier.root()).text, self.key)
        # The frontier first: one that does not fit the checkpoint is made again, so it needs no sync.
        write(self.directory / _FRONTIER, frontier.to_bytes(), sync=False)
        write(self.directory / CHECKPOINT, note)
        return note


# --- reading what is public -------------------------------------------------------------------------------------------


def read_verifier(directory: Path) -> Verifier | None:
    """Read the log's public key; None if there is no signer yet, `Invalid` if the file holds something else."""
    text = read(directory / VKEY)
    return None if text is None else Verifier.from_vkey(text.decode("utf-8", "replace"))


def read_last_note(directory: Path) -> bytes | None:
    """Read the signer's own last checkpoint, not verified; None if nothing was signed."""
    return read(directory / CHECKPOINT)


def _read_frontier(directory: Path) -> Frontier | None:
    stored = read(directory / _FRONTIER)
    try:
        return None if stored is None else Frontier.from_bytes(stored)
    except Invalid:
        return None


# --- opening ----------------------------------------------------------------------------------------------------------


def open_signer(
    settings: AuditSettings,
    *,
    hooked: Callable[[], Sequence[SigningKey]] = tuple,
    random: Callable[[int], bytes] = os.urandom,
) -> Signer:
    """Open the signer, and make its directory and key on first use.

    `hooked` gives the keys of plugins, for `key = "plugin:NAME"`. Raises `ConfigError` if what is configured cannot be
    used or is not what the log was signed with before.
    """
    directory = settings.directory
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        held = wait_for_lock(directory)
        try:
            return Signer(directory, _key(settings, hooked, random))
        finally:
            os.close(held)
    except OSError as error:
        raise ConfigError("audit.directory", f"{directory} cannot be used: {error.strerror}") from None


def _key(settings: AuditSettings, hooked: Callable[[], Sequence[SigningKey]], random: Callable[[int], bytes]) -> Key:
    known = read_verifier(settings.directory)
    if known is not None and settings.origin not in (None, known.name):
        raise ConfigError("audit.origin", f"this log was signed as {known.name!r} before; a log keeps its name")
    name = known.name if known is not None else settings.origin or f"refundry/{random(8).hex()}"
    key = attrs.evolve(
        _given_key(settings, hooked) or _own_key(settings.directory, None if known else random), name=name
    )
    if known is None:
        write(settings.directory / VKEY, f"{key.verifier().vkey}\n".encode(), mode=0o644)
    elif known.public != key.public:
        raise ConfigError("audit.key", f"is not the key that signed this log before; see {settings.directory / VKEY}")
    return key


def _given_key(settings: AuditSettings, hooked: Callable[[], Sequence[SigningKey]]) -> Key | None:
    if settings.key is None:
        return None
    if not settings.key.startswith(PLUGIN):
        return read_key(settings.read_key(), "audit.key")
    wanted, keys = settings.key.removeprefix(PLUGIN), hooked()
    found = next((key for key in keys if key.name == wanted), None)
    if found is None:
        known = ", ".join(sorted(key.name for key in keys)) or "none"
        raise ConfigError("audit.key", f"no plugin brings the signing key {wanted!r}; there are: {known}")
    return Key(found.name, found.public, found.sign)


def _own_key(directory: Path, random: Callable[[int], bytes] | None) -> Key:
    path = directory / KEY
    if (pem := read(path)) is not None:
        return read_key(pem, "audit.key")
    if random is None:
        raise ConfigError("audit.key", f"{path} is missing; put it back, or name the place where the key is now")
    key = make_key(path, random)
    _log.warning(
        "made the key that signs the log: %s. Keep a copy of it, and of `checkpoint` beside it, where nobody who can"
        " write to the store can write, or name another place in [audit]; both together could rewrite the past",
        path,
    )
    return key
