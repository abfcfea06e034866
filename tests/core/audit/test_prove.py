"""The proof of one refund: each event on its own, in formats that other tools read."""

import base64
import re
from hashlib import sha256
from pathlib import Path

import pytest

from refundry.audit.publication.export import Part, export
from refundry.audit.signing.signed_notes import open_checkpoint
from refundry.errors import Invalid, UnknownRefund
from refundry.journal.merkle import verify_inclusion
from refundry.journal.sqlite.snapshot import open_snapshot
from refundry.journal.sqlite.store_source import SqliteStoreSource
from refundry.journal.stores import read_store
from tests.core.audit.made import life, make_store, new_key

LOG = new_key().verifier()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "refunds.db"
    make_store(path, 40, group=7, interleaved=True)
    return path


@pytest.mark.parametrize("number", [0, 3, 39])
def test_every_event_has_its_proof(path: Path, number: int) -> None:
    """Each `.tlog-proof` contains index, path and checkpoint, and matches the bytes next to it."""
    with read_store(path) as source:
        place = export(source, LOG, [], path.with_name("proof"), Part(refund=life(number).id), prove=True).place
    files = sorted((place / "proofs").glob("*.tlog-proof"))

    assert ["0001", "0002", "0003", "0004", "0005"] == [file.stem for file in files]
    for file in files:
        head, note = file.read_text("utf-8").split("\n\n", 1)
        first, index, *hashes = head.split("\n")
        checkpoint = open_checkpoint(note.encode(), LOG)
        leaf = sha256(b"\0" + file.with_suffix(".entry").read_bytes()).digest()

        assert "c2sp.org/tlog-proof@v1" == first
        assert re.fullmatch(r"index (0|[1-9]\d*)", index)
        way = [base64.b64decode(each, validate=True) for each in hashes]
        assert verify_inclusion(leaf, int(index[6:]), checkpoint.size, way, checkpoint.root)


def test_either_id_names_a_refund(path: Path) -> None:
    """Refundry's id and the request id find it; an unknown id, or one that two accounts have, does not."""
    with open_snapshot(path) as snapshot:
        source = SqliteStoreSource(snapshot)
        assert life(3).id == source.resolve(life(3).id, None) == source.resolve("refund-000000000003", "shop-eu")
        with pytest.raises(UnknownRefund):
            source.resolve("refund-000000000003", "other")
        snapshot.connection.execute("CREATE TEMP TABLE refund_index AS SELECT * FROM main.refund_index")
        snapshot.connection.execute("UPDATE refund_index SET refund_request_id='same', account=id")
        with pytest.raises(Invalid, match="several accounts"):
            source.resolve("same", None)
