"""The signer: its files, its key, and what it remembers."""

import logging
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from refundry.audit.signing.signed_notes import Key, open_checkpoint
from refundry.audit.signing.signer import Signer, open_signer, read_last_note, read_verifier
from refundry.errors import ConfigError, Tampered
from refundry.journal.merkle import Frontier, leaf_hash
from tests.core.audit.child import settings

LEAVES = [leaf_hash(b"%d" % number) for number in range(10)]


def tree(size: int) -> Frontier:
    return Frontier().extend(LEAVES[:size])


def signed(signer: Signer, size: int) -> bytes:
    """Sign a tree of this many leaves while holding the lock."""
    assert signer.try_lock()
    try:
        return signer.sign(signer.last(), tree(size))
    finally:
        signer.unlock()


def pem(private: Ed25519PrivateKey) -> str:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "refunds.db"


@pytest.fixture
def directory(store: Path) -> Path:
    return store.with_name("refunds.db.audit")


def test_first_use_creates_a_private_key_and_announces_it_once(
    store: Path, directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Directory 0700 and private files 0600, whatever the umask; one message at INFO tells to back the key up."""
    caplog.set_level(logging.INFO, "refundry")
    before = os.umask(0)
    try:
        signed(open_signer(settings(store)), 3)
    finally:
        os.umask(before)
    signed(open_signer(settings(store)), 4)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [directory, *directory.iterdir()]}

    assert 0o700 == modes.pop("refunds.db.audit")
    assert 0o644 == modes.pop("key.vkey")
    assert {"key.pem": 0o600, "checkpoint": 0o600, "frontier": 0o600, "lock": 0o600} == modes
    assert [logging.INFO] == [record.levelno for record in caplog.records]
    assert f"created the audit signing key {directory / 'key.pem'}. Back it up" in caplog.text
    assert "PRIVATE" not in caplog.text


def test_the_last_checkpoint_is_remembered(store: Path, directory: Path) -> None:
    """Another signer on the same directory has the same key and continues from the last tree; others can read it."""
    signer = open_signer(settings(store))
    assert signer.last() is None
    assert read_last_note(directory) is None
    note = signed(signer, 7)
    again = open_signer(settings(store))
    last, verifier = again.last(), read_verifier(directory)

    assert last is not None
    assert verifier is not None
    assert (note, tree(7)) == (last.note, last.frontier)
    assert tree(7).root() == open_checkpoint(note, verifier).root
    assert (again.verifier, note) == (verifier, read_last_note(directory))
    assert verifier.name.startswith("refundry/")


def test_nothing_smaller_is_signed(store: Path) -> None:
    """The signer itself refuses a log that shrank, and keeps its memory."""
    signer = open_signer(settings(store))
    note = signed(signer, 7)
    with pytest.raises(Tampered, match="7 events were signed before, and the log has only 6 now"):
        signed(signer, 6)
    last = signer.last()

    assert last is not None
    assert note == last.note


def test_only_the_newest_checkpoint_can_be_extended(store: Path) -> None:
    """A signer that read the memory before another one signed signs nothing."""
    signer = open_signer(settings(store))
    signed(signer, 3)
    old = signer.last()
    note = signed(signer, 9)
    assert signer.try_lock()
    with pytest.raises(RuntimeError, match="signed in the meantime"):
        signer.sign(old, tree(5))
    signer.unlock()

    assert note == read_last_note(signer.directory)


@pytest.mark.parametrize("content", [None, b"", tree(3).to_bytes(), tree(7).to_bytes()[:-1] + b"\0", b"\xff" * 40])
def test_a_lost_frontier_does_no_harm(store: Path, directory: Path, content: bytes | None) -> None:
    """A frontier that is missing, damaged or of another tree is ignored; the checkpoint is still used."""
    signer = open_signer(settings(store))
    signed(signer, 7)
    if content is None:
        (directory / "frontier").unlink()
    else:
        (directory / "frontier").write_bytes(content)
    last = signer.last()

    assert last is not None
    assert (7, None) == (last.checkpoint.size, last.frontier)


def test_a_changed_memory_is_detected(store: Path, directory: Path) -> None:
    """The signer trusts its own last checkpoint only with its own signature."""
    signer = open_signer(settings(store))
    note = signed(signer, 7)
    (directory / "checkpoint").write_bytes(note.replace(b"\n7\n", b"\n6\n"))
    with pytest.raises(Tampered, match="not signed with this key"):
        signer.last()


def test_only_one_signs_at_a_time(store: Path) -> None:
    """While one signer holds the lock no other can, and without it nothing is signed."""
    one, other = open_signer(settings(store)), open_signer(settings(store))

    assert [True, False, False] == [one.try_lock(), one.try_lock(), other.try_lock()]
    with pytest.raises(RuntimeError, match="requires the lock"):
        other.sign(None, tree(1))
    one.unlock()
    assert other.try_lock()
    other.unlock()


def test_the_key_may_be_elsewhere(store: Path, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in a named file, in the environment or from a plugin is used, and none is created in the directory."""
    private = Ed25519PrivateKey.generate()
    (store.parent / "elsewhere.pem").write_text(pem(private))
    monkeypatch.setenv("AUDIT_KEY", pem(private))
    monkeypatch.setenv("ONE_LINE", pem(private).replace("\n", "\\n"))
    hooked = Key("vault", private.public_key().public_bytes_raw(), private.sign)
    notes = []
    for key in ("elsewhere.pem", "env:AUDIT_KEY", "env:ONE_LINE", "plugin:vault"):
        signer = open_signer(settings(store, key=key, origin="shop/refunds"), hooked=lambda: [hooked])
        notes.append(signed(signer, 7))

    assert {notes[0]} == set(notes)
    assert notes[0].startswith(b"shop/refunds\n7\n")
    assert not (directory / "key.pem").exists()


def test_a_log_keeps_its_key_and_its_name(store: Path, directory: Path) -> None:
    """A different key or origin is refused, and a key that was removed is not created again."""
    signed(open_signer(settings(store, origin="shop/refunds")), 1)
    (store.parent / "other.pem").write_text(pem(Ed25519PrivateKey.generate()))
    with pytest.raises(ConfigError, match=r"audit\.origin: must stay 'shop/refunds'"):
        open_signer(settings(store, origin="shop/other"))
    with pytest.raises(ConfigError, match=r"audit\.key: is not the key"):
        open_signer(settings(store, key="other.pem"))
    (directory / "key.pem").unlink()
    with pytest.raises(ConfigError, match=r"audit\.key: .*key\.pem is missing"):
        open_signer(settings(store))


@pytest.mark.parametrize(
    "key", ["missing.pem", "env:NOT_SET_AT_ALL", "plugin:vault", "text.pem", "ec.pem", "locked.pem"]
)
def test_a_key_that_cannot_be_used_is_named_and_not_shown(store: Path, key: str) -> None:
    """The error names the configuration key, and shows nothing of the file."""
    private = Ed25519PrivateKey.generate()
    locked = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word"))
    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for name, content in (("text.pem", b"very secret"), ("ec.pem", other), ("locked.pem", locked)):
        (store.parent / name).write_bytes(content)
    with pytest.raises(ConfigError, match=r"audit\.key: ") as caught:
        open_signer(settings(store, key=key))

    assert "secret" not in str(caught.value)
    assert "PRIVATE" not in str(caught.value)


def test_a_directory_that_cannot_be_used_is_named(store: Path, directory: Path) -> None:
    """A file in its place is an error that names the configuration key."""
    directory.write_text("a file")
    with pytest.raises(ConfigError, match=r"audit\.directory: "):
        open_signer(settings(store))
