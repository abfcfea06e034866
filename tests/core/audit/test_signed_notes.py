"""Signed notes and checkpoints."""

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from refundry.audit.signing.signed_notes import (
    COSIGNATURE,
    BadNote,
    Checkpoint,
    Key,
    Signature,
    Verifier,
    cosign,
    open_checkpoint,
    open_note,
    read_note,
    sign_note,
)
from refundry.journal.merkle import EMPTY_ROOT


def key(name: str, seed: int = 1) -> Key:
    private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    return Key(name, private.public_key().public_bytes_raw(), private.sign)


LOG, WITNESS = key("refundry/test", 1), key("platform.example/w", 2)
CHECKPOINT = Checkpoint("refundry/test", 7, b"\x07" * 32)
NOTE = sign_note(CHECKPOINT.text, LOG)

# The example in the documentation of Go's golang.org/x/mod/sumdb/note.
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()
# The example of c2sp.org/tlog-cosignature; its keys are not published.
COSIGNED = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+"
    "zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5"
    "nNo0xUe+mbIUBkBIfZ+qnA==\n"
).encode()


def test_a_note_that_go_signed_is_opened() -> None:
    """The key of Go's example verifies the example, and its text format is reproduced."""
    verifier = Verifier.from_vkey(GO_VKEY)

    assert open_note(GO_NOTE, [verifier]).text.startswith("If you think")
    assert (GO_VKEY, GO_NOTE) == (verifier.vkey, read_note(GO_NOTE).to_bytes())


def test_a_checkpoint_survives_signing_and_opening() -> None:
    """It is the same after signing and opening; its text has origin, size and root."""
    assert CHECKPOINT == open_checkpoint(NOTE, LOG.verifier())
    assert NOTE.startswith(
        b"refundry/test\n7\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n\n\xe2\x80\x94 refundry/test "
    )
    assert LOG.verifier() == Verifier.from_vkey(LOG.verifier().vkey)


def test_openssl_verifies_the_signature(tmp_path: Path) -> None:
    """An independent tool verifies the signature over the text, and rejects it over another text."""
    public = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32).public_key()
    (tmp_path / "key.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "signature").write_bytes(read_note(NOTE).signatures[0].data)
    printed = []
    for name, text in [("text", CHECKPOINT.text), ("other", CHECKPOINT.text.replace("7", "8", 1))]:
        (tmp_path / name).write_text(text)
        verify = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-rawin", "-in", name]
        printed.append(subprocess.run([*verify, "-sigfile", "signature"], cwd=tmp_path, capture_output=True).returncode)

    assert [0, 1] == printed


def test_a_witness_adds_its_signature_and_its_time() -> None:
    """A cosigned checkpoint carries both signatures, and the witness's line has the time."""
    raw = cosign(NOTE, WITNESS, 1_795_000_000)
    witness = WITNESS.verifier(COSIGNATURE)
    cosignature = read_note(raw).by(witness)

    assert CHECKPOINT == open_checkpoint(raw, LOG.verifier())
    assert cosignature is not None
    assert 1_795_000_000 == cosignature.time
    assert witness == Verifier.from_vkey(witness.vkey)
    assert raw.startswith(NOTE)


def test_the_published_example_of_a_cosignature_is_read() -> None:
    """The second line of the example carries the documented time."""
    assert [1679315147] == [read_note(COSIGNED).signatures[1].time]
    assert COSIGNED == read_note(COSIGNED).to_bytes()


def test_a_cosignature_does_not_verify_as_the_log_s_signature_or_the_reverse() -> None:
    """The same name and key do not verify under the other type."""
    raw = cosign(NOTE, LOG, 1)
    for kind, signature in zip((1, 4), reversed(read_note(raw).signatures), strict=True):
        assert not LOG.verifier(kind).verifies(CHECKPOINT.text, signature)
    with pytest.raises(BadNote, match="not signed with a known key"):
        open_checkpoint(NOTE, LOG.verifier(COSIGNATURE))


def test_an_invalid_signature_of_a_known_key_rejects_the_note() -> None:
    """A valid signature does not excuse an invalid one."""
    good = read_note(NOTE)
    wrong = Signature(WITNESS.name, WITNESS.verifier().key_id, b"\0" * 64)
    raw = good.to_bytes() + wrong.line.encode()

    assert open_note(raw, [LOG.verifier()]).text == good.text
    with pytest.raises(BadNote, match="is invalid"):
        open_note(raw, [LOG.verifier(), WITNESS.verifier()])


def test_a_checkpoint_of_another_log_is_refused() -> None:
    """A checkpoint is accepted only for the log that it names, even if another log has the same key."""
    raw = sign_note(Checkpoint("refundry/other", 7, EMPTY_ROOT).text, LOG)
    with pytest.raises(BadNote, match="refundry/other"):
        open_checkpoint(raw, LOG.verifier())


@given(st.integers(0, len(NOTE) * 8 - 1))
def test_every_flipped_bit_is_detected(bit: int) -> None:
    """A note with any single bit changed is rejected."""
    raw = bytearray(NOTE)
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadNote):
        open_checkpoint(bytes(raw), LOG.verifier())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\n",
        b"\n\n",
        b"text\n\n",
        b"text\n\nno dash AAAAAAAA\n",
        "text\n— name AAAAAAAA\n".encode(),
        "text\n\n— name AAAAAAAA".encode(),
        "text\n\n— name AAAA\n".encode(),
        "text\n\n— name AAAAAAA\n".encode(),
        "text\n\n— name AAAAAAB=\n".encode(),
        "text\n\n— na+me AAAAAAAA\n".encode(),
        "text\n\n—  AAAAAAAA\n".encode(),
        "ab\rcd\n\n— name AAAAAAAA\n".encode(),
        "text\xff\n\n— name AAAAAAAA\n".encode("latin-1", "replace"),
        b"text\n\n" + "— name AAAAAAAA\n".encode() * 101,
        "text\n\n— name AAAAAAAA\n".encode() + b" " * 1_000_000,
    ],
)
def test_a_malformed_note_is_rejected(raw: bytes) -> None:
    """Every malformed note is rejected before its text is read."""
    with pytest.raises(BadNote):
        read_note(raw)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "o\n7\n",
        "o\n07\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n",
        "o\n-7\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n",
        "o\n٧\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n",
        "o\n7 \nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n",
        "\n7\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\n",
        "o\n7\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwd=\n",
        "o\n7\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBw==\n",
        "o\n7\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\nmore\n",
        "o\n7\nBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
    ],
)
def test_a_malformed_checkpoint_is_rejected(text: str) -> None:
    """Every malformed checkpoint is rejected, even one that only spells a number or a root differently."""
    with pytest.raises(BadNote):
        Checkpoint.from_text(text)


@pytest.mark.parametrize(
    "vkey", ["", "a+b+c", GO_VKEY.replace("c7", "c8"), GO_VKEY[:-4], GO_VKEY.replace("ARpc", "Ahpc")]
)
def test_a_malformed_key_is_rejected(vkey: str) -> None:
    """A key with a wrong id, length or type is rejected."""
    with pytest.raises(BadNote):
        Verifier.from_vkey(vkey)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u00a0b", "a\x00"])
def test_a_key_with_a_malformed_name_signs_nothing(name: str) -> None:
    """Names of keys have no spaces, no plus and no control characters."""
    with pytest.raises(BadNote, match="name"):
        sign_note("text\n", key(name))


def test_a_key_that_does_not_match_its_public_key_signs_nothing() -> None:
    """A mismatch is detected when the key signs, not later by the auditor."""
    private = Ed25519PrivateKey.from_private_bytes(b"\x03" * 32)
    broken = Key("refundry/test", LOG.public, private.sign)
    with pytest.raises(BadNote, match="does not match its public key"):
        sign_note(CHECKPOINT.text, broken)
    with pytest.raises(BadNote, match="does not match its public key"):
        cosign(NOTE, broken, 1)


def test_the_repr_of_a_key_reveals_nothing() -> None:
    """It contains no function that could lead to the private key."""
    assert "sign" not in repr(LOG).replace("signed", "")
