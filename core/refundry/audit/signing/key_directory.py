"""The directory of a signer or a witness: its key, its last checkpoint, and the lock that one process holds at a time.

The rule of this module: a file is replaced atomically, and a private file is readable by its owner alone, whatever the
umask.
"""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from refundry.audit.signing.signed_notes import Key
from refundry.errors import ConfigError
from refundry.provider.signatures import pem_text

KEY: Final = "key.pem"
VKEY: Final = "key.vkey"
CHECKPOINT: Final = "checkpoint"
_LOCK: Final = "lock"
_WAIT: Final = 30.0
"""How many seconds to wait for another process that is creating the key."""


def make_key(path: Path, random: Callable[[int], bytes]) -> Key:
    """Create an Ed25519 key in a file that only its owner can read."""
    private = Ed25519PrivateKey.from_private_bytes(random(32))
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write(path, pem)
    return read_key(pem, "key")


def read_key(pem: bytes, field: str) -> Key:
    """Read a private key, which has no name yet; a `ConfigError` reveals nothing of it."""
    try:
        private = load_pem_private_key(pem_text(pem), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(field, "must be an Ed25519 private key in PEM format without a password") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise ConfigError(field, "must be an Ed25519 key; create one with `openssl genpkey -algorithm ed25519`")
    return Key("", private.public_key().public_bytes_raw(), private.sign)


def read(path: Path) -> bytes | None:
    """Read a file; return None if it does not exist."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def try_lock(directory: Path) -> int | None:
    """Lock a directory; return a handle that releases the lock when closed, or None if the lock is held elsewhere."""
    handle = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    except BaseException:
        os.close(handle)
        raise
    return handle


def wait_for_lock(directory: Path) -> int:
    """Wait for the lock of a directory; raise `ConfigError` if that takes too long."""
    until = time.monotonic() + _WAIT
    while (held := try_lock(directory)) is None:
        if time.monotonic() > until:
            raise ConfigError(
                "audit.directory", f"another process has held {directory / _LOCK} for {_WAIT:.0f} seconds"
            )
        time.sleep(0.01)
    return held


def write(path: Path, content: bytes, *, mode: int = 0o600, sync: bool = True) -> None:
    """Replace a file atomically; with `sync`, it is durable when this returns."""
    made = path.with_name(f"{path.name}.new")
    handle = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        left = memoryview(content)
        while left:
            left = left[os.write(handle, left) :]
        if sync:
            os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(made, path)
    if sync:
        _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
