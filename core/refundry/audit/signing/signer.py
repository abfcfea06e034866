"""The signer: it holds the key, and remembers outside the store what it signed last.

The rule of this module: it never signs two trees unless the smaller is the beginning of the larger. A checkpoint is
durable in the signer's own directory before it is published. Several processes may open a signer on the same
directory: the one that holds the lock signs, and all their checkpoints form one series. The signer is synchronous; the
checkpointer calls it in a thread.

The directory contains `key.pem` (the private key, unless it is kept elsewhere), `key.vkey` (the public key),
`checkpoint` (the last signed note), `frontier` (the state of that tree, from which it continues; it can be rebuilt) and
`lock`. `read_verifier` and `read_last_note` read the public part and create nothing.
"""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import attrs

from refundry.audit.signing.key_directory import (
    CHECKPOINT,
    KEY,
    VKEY,
    make_key,
    read,
    read_key,
    try_lock,
    wait_for_lock,
    write,
)
from refundry.audit.signing.settings import PLUGIN, AuditSettings
from refundry.audit.signing.signed_notes import BadNote, Checkpoint, Key, Verifier, open_checkpoint, sign_note
from refundry.errors import ConfigError, Invalid, Tampered
from refundry.journal.merkle import Frontier
from refundry.plugin_host.interfaces import SigningKey

__all__ = ["Last", "Signer", "open_signer", "read_last_note", "read_verifier"]

_FRONTIER: Final = "frontier"
_log = logging.getLogger("refundry")


@attrs.frozen
class Last:
    """The last signed checkpoint."""

    note: bytes
    checkpoint: Checkpoint
    frontier: Frontier | None
    """None if the file is missing or older than the checkpoint; it is then rebuilt from the leaves."""


class Signer:
    """A key, and the memory of what it signed last. `open_signer` creates it."""

    def __init__(self, directory: Path, key: Key) -> None:
        self.directory = directory
        self.key = key
        self.verifier = key.verifier()
        self._held: int | None = None
        self._leaving = False
        self._mutex = threading.Lock()

    def try_lock(self) -> bool:
        """Acquire the lock of the directory; return False if another signer, in any process, holds it."""
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
        """Release the lock: now, or as soon as another thread has finished signing."""
        self._leaving = True
        if self._mutex.acquire(blocking=False):
            try:
                if self._held is not None:
                    os.close(self._held)
                    self._held = None
            finally:
                self._mutex.release()

    def last(self) -> Last | None:
        """Read the last signed checkpoint, or None; raise `Tampered` if this key did not sign it."""
        note = read_last_note(self.directory)
        if note is None:
            return None
        try:
            checkpoint = open_checkpoint(note, self.verifier)
        except BadNote as error:
            raise Tampered(f"{self.directory / CHECKPOINT} was not signed with this key: {error.rule}") from None
        frontier = _read_frontier(self.directory)
        fits = frontier is not None and (frontier.size, frontier.root()) == (checkpoint.size, checkpoint.root)
        return Last(note, checkpoint, frontier if fits else None)

    def sign(self, before: Last | None, frontier: Frontier) -> bytes:
        """Sign a tree that extends the one signed before, remember it, and return the note.

        The caller holds the lock and has extended `frontier` from the one before. Raises `OSError` if the checkpoint
        cannot be stored.
        """
        try:
            with self._mutex:
                return self._sign(before, frontier)
        finally:
            if self._leaving:
                self.unlock()

    def _sign(self, before: Last | None, frontier: Frontier) -> bytes:
        if self._held is None:
            raise RuntimeError("sign() requires the lock")
        if self.last() != before:
            raise RuntimeError("another checkpoint was signed in the meantime")
        if before is not None and frontier.size < before.checkpoint.size:
            raise Tampered(
                f"{before.checkpoint.size} events were signed before, and the log has only {frontier.size} now"
            )
        note = sign_note(Checkpoint(self.key.name, frontier.size, frontier.root()).text, self.key)
        # The frontier is written first and needs no sync: one that does not match the checkpoint is rebuilt.
        write(self.directory / _FRONTIER, frontier.to_bytes(), sync=False)
        write(self.directory / CHECKPOINT, note)
        return note


# --- the public part --------------------------------------------------------------------------------------------------


def read_verifier(directory: Path) -> Verifier | None:
    """Read the log's public key; return None if there is no signer yet, and raise `Invalid` if it is malformed."""
    text = read(directory / VKEY)
    return None if text is None else Verifier.from_vkey(text.decode("utf-8", "replace"))


def read_last_note(directory: Path) -> bytes | None:
    """Read the signer's own last checkpoint without verifying it; return None if nothing has been signed."""
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
    """Open the signer; create its directory and key on first use.

    `hooked` returns the keys of plugins, for `key = "plugin:NAME"`. Raises `ConfigError` if the configured key or
    directory cannot be used, or differs from the one that signed this log before.
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
        raise ConfigError("audit.origin", f"must stay {known.name!r}, because this log was signed under that name")
    name = known.name if known is not None else settings.origin or f"refundry/{random(8).hex()}"
    key = attrs.evolve(
        _given_key(settings, hooked) or _own_key(settings.directory, None if known else random), name=name
    )
    if known is None:
        write(settings.directory / VKEY, f"{key.verifier().vkey}\n".encode(), mode=0o644)
    elif known.public != key.public:
        raise ConfigError("audit.key", f"is not the key that signed this log before ({settings.directory / VKEY})")
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
        raise ConfigError("audit.key", f"no plugin provides the signing key {wanted!r}; available: {known}")
    return Key(found.name, found.public, found.sign)


def _own_key(directory: Path, random: Callable[[int], bytes] | None) -> Key:
    path = directory / KEY
    if (pem := read(path)) is not None:
        return read_key(pem, "audit.key")
    if random is None:
        raise ConfigError("audit.key", f"{path} is missing: restore it, or set `key` to where it is kept now")
    key = make_key(path, random)
    _log.info(
        "created the audit signing key %s. Back it up, and keep copies of the checkpoint where someone with write"
        " access to the store cannot change them (see docs/howto/audit)",
        path,
    )
    return key
