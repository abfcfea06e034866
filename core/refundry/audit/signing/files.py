"""The files of those who sign: written whole or not at all, on the disk when that is said, one process at a time.

The rule of this module: what is private is made for its owner alone, whatever the umask.
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

from refundry.audit.signing.note import Key
from refundry.errors import ConfigError

KEY: Final = "key.pem"
VKEY: Final = "key.vkey"
CHECKPOINT: Final = "checkpoint"
_LOCK: Final = "lock"
_WAIT: Final = 30.0
"""How many seconds the first use waits for another process that makes the key."""


def make_key(path: Path, random: Callable[[int], bytes]) -> Key:
    """Make an Ed25519 key and put it where only its owner can read it."""
    private = Ed25519PrivateKey.from_private_bytes(random(32))
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write(path, pem)
    return read_key(pem, "key")


def read_key(pem: bytes, field: str) -> Key:
    """Read a private key, which has no name yet; `ConfigError` shows nothing of it."""
    try:
        private = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ConfigError(field, "must be an Ed25519 private key in PEM, without a password") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise ConfigError(field, "must be an Ed25519 key, such as `openssl genpkey -algorithm ed25519` makes")
    return Key("", private.public_key().public_bytes_raw(), private.sign)


def read(path: Path) -> bytes | None:
    """Read a file; None if there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def try_lock(directory: Path) -> int | None:
    """Take the lock of a directory; give the handle whose closing gives it back, or None if somebody has it."""
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
    """Take the lock of a directory, and wait for it; `ConfigError` if that takes too long."""
    until = time.monotonic() + _WAIT
    while (held := try_lock(directory)) is None:
        if time.monotonic() > until:
            raise ConfigError(
                "audit.directory", f"another process has kept {directory / _LOCK} for {_WAIT:.0f} seconds"
            )
        time.sleep(0.01)
    return held


def write(path: Path, content: bytes, *, mode: int = 0o600, sync: bool = True) -> None:
    """Put a file in its place whole; with `sync`, it is on the disk when this returns."""
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
