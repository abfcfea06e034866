"""A witness of an honest log, a forked one and a faulty one."""

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from refundry.audit.signing.signed_notes import (
    COSIGNATURE,
    BadNote,
    Checkpoint,
    Key,
    Verifier,
    open_checkpoint,
    read_note,
    sign_note,
)
from refundry.audit.signing.witness import Request, Witness, open_witness, request_over
from refundry.errors import ConfigError, Conflict, Invalid, Tampered
from refundry.journal.merkle import Frontier, consistency_proof, leaf_hash, nodes_of, prove_over

PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x05" * 32)
LOG = Key("refundry/test", PRIVATE.public_key().public_bytes_raw(), PRIVATE.sign)
LEAVES = [leaf_hash(b"%d" % number) for number in range(40)]
FORKED = [*LEAVES[:5], leaf_hash(b"other"), *LEAVES[6:]]
NAME = "platform.example/witness"


def checkpoint(size: int, leaves: list[bytes] = LEAVES) -> bytes:
    return sign_note(Checkpoint(LOG.name, size, Frontier().extend(leaves[:size]).root()).text, LOG)


def asking(old: int, size: int, leaves: list[bytes] = LEAVES) -> bytes:
    batches = [leaves[start : start + 7] for start in range(0, len(leaves), 7)]
    return request_over(batches, old, checkpoint(size, leaves)).to_bytes()


@pytest.fixture
def witness(tmp_path: Path) -> Witness:
    return open_witness(tmp_path / "w", name=NAME, log=LOG.verifier())


def test_a_log_that_grows_is_countersigned(witness: Witness, tmp_path: Path) -> None:
    """Each checkpoint comes back with the log's signature and the witness's, which has a time."""
    sizes = [0]
    for time, size in enumerate((1, 7, 7, 8, 40), 1_795_000_000):
        raw = witness.add_checkpoint(asking(witness.size(), size), time)
        cosignature = read_note(raw).by(Verifier.from_vkey((tmp_path / "w" / "key.vkey").read_text()))
        sizes.append(open_witness(tmp_path / "w").size())

        assert size == open_checkpoint(raw, LOG.verifier()).size
        assert cosignature is not None
        assert time == cosignature.time

    assert [0, 1, 7, 7, 8, 40] == sizes
    assert COSIGNATURE == witness.verifier.kind
    assert 0o600 == stat.S_IMODE((tmp_path / "w" / "key.pem").stat().st_mode)


def test_a_forked_log_is_refused_and_its_proof_is_kept(witness: Witness, tmp_path: Path) -> None:
    """Neither another root of the same size nor a tree with another history is signed, whatever the proof."""
    witness.add_checkpoint(asking(0, 10), 1)
    for size in (10, 20):
        with pytest.raises(Tampered):
            witness.add_checkpoint(asking(10, size, FORKED), 2)
        assert checkpoint(size, FORKED) == (tmp_path / "w" / "refused").read_bytes()

    assert 10 == witness.size()


def test_a_proof_from_elsewhere_is_refused(witness: Witness) -> None:
    """It must start at the size that the witness has seen: not before, not after, and never empty."""
    with pytest.raises(Conflict, match="start at 0"):
        witness.add_checkpoint(asking(3, 10), 1)
    witness.add_checkpoint(asking(0, 10), 1)
    for old, size in [(0, 20), (5, 20), (12, 20), (5, 7)]:
        with pytest.raises(Conflict, match="has seen 10 events"):
            witness.add_checkpoint(asking(old, size), 1)
    with pytest.raises(Conflict, match="covers only 7"):
        asking(10, 7)
    with pytest.raises(Tampered):
        witness.add_checkpoint(Request(10, [], checkpoint(20)).to_bytes(), 1)


def test_what_the_log_did_not_sign_is_refused(witness: Witness) -> None:
    """A checkpoint by another key or of another log is not even compared."""
    private = Ed25519PrivateKey.from_private_bytes(b"\x06" * 32)
    for name, origin in [(LOG.name, LOG.name), ("refundry/other", "refundry/other")]:
        other = Key(name, private.public_key().public_bytes_raw(), private.sign)
        raw = sign_note(Checkpoint(origin, 1, LEAVES[0]).text, other)
        with pytest.raises(BadNote):
            witness.add_checkpoint(Request(0, [], raw).to_bytes(), 1)


def test_a_witness_keeps_its_log_and_its_name(witness: Witness, tmp_path: Path) -> None:
    """Another log or name needs another directory, and a malformed name is refused."""
    other = Verifier("refundry/other", LOG.public)
    with pytest.raises(ConfigError, match="log: "):
        open_witness(tmp_path / "w", name=NAME, log=other)
    with pytest.raises(ConfigError, match="name: "):
        open_witness(tmp_path / "w", name="someone.else", log=LOG.verifier())
    with pytest.raises(BadNote, match="name: "):
        open_witness(tmp_path / "v", name="a name", log=LOG.verifier())
    for missing in ({"name": NAME}, {"log": LOG.verifier()}):
        with pytest.raises(ConfigError, match="on the first use"):
            open_witness(tmp_path / "new", **missing)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="directory: "):
        open_witness(tmp_path / "file", name=NAME, log=LOG.verifier())


def test_a_changed_memory_is_found(witness: Witness, tmp_path: Path) -> None:
    """A witness signs nothing if its last checkpoint does not carry its own signature."""
    witness.add_checkpoint(asking(0, 10), 1)
    (tmp_path / "w" / "checkpoint").write_bytes(checkpoint(3))
    with pytest.raises(BadNote, match="not signed by this witness"):
        witness.add_checkpoint(asking(3, 20), 2)


@given(st.integers(0, 10**18), st.lists(st.binary(min_size=32, max_size=32), max_size=63), st.binary(max_size=30))
def test_a_request_is_read_as_it_was_written(old: int, proof: list[bytes], raw: bytes) -> None:
    """Size, proof and checkpoint come back unchanged, whatever the checkpoint is."""
    assert Request(old, proof, raw) == Request.from_bytes(Request(old, proof, raw).to_bytes())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"old 1",
        b"old 1\n",
        b"old x\n\n",
        b"old -1\n\n",
        b"old 01\n\n",
        b"old " + b"9" * 5000 + b"\n\n",
        b"1\n\n",
        b"old 1\nAAAA\n\n",
        b"old 1\n?\n\n",
        b"old 1\n" + b"A" * 43 + b"=\n\xff\n\n",
        "old ١\n\n".encode(),
    ],
)
def test_a_malformed_request_is_refused(raw: bytes) -> None:
    """Every malformed request is refused before anything is compared."""
    with pytest.raises(BadNote, match="request"):
        Request.from_bytes(raw)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 9))
def test_a_proof_over_a_stream_equals_the_proof_over_all_leaves(one: int, other: int, width: int) -> None:
    """The proof does not depend on the batches; a stream that ends too early is an error."""
    old, new = sorted((one, other))
    batches = [LEAVES[start : start + width] for start in range(0, 40, width)]
    whole = consistency_proof(old, new, nodes_of(LEAVES[:new]))

    assert whole == prove_over(batches, lambda nodes: consistency_proof(old, new, nodes))
    if whole:
        with pytest.raises(Invalid, match="leaves: end after"):
            prove_over([LEAVES[: new - 1]], lambda nodes: consistency_proof(old, new, nodes))
