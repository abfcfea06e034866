"""The tree, against RFC 6962's own words and the vectors of its reference implementation."""

import hashlib
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refundry.errors import Invalid
from refundry.journal.merkle import (
    EMPTY_FRONTIER,
    EMPTY_ROOT,
    TILE_WIDTH,
    Frontier,
    TileNodes,
    Tiles,
    consistency_proof,
    entry,
    extend,
    inclusion_proof,
    leaf_hash,
    nodes_of,
    root_of,
    tile_path,
    verify_consistency,
    verify_inclusion,
)

# From the Certificate Transparency reference implementation: eight inputs, and the root after each.
INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [leaf_hash(bytes.fromhex(each)) for each in INPUTS]
SIZES = 70


def plain_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + plain_root(leaves[:k]) + plain_root(leaves[k:])).digest()


def some_leaves(count: int) -> list[bytes]:
    return [leaf_hash(b"%d" % number) for number in range(count)]


def test_the_roots_are_those_of_the_reference() -> None:
    """Every prefix of the eight known inputs has the known root, and the empty tree the hash of nothing."""
    assert "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" == EMPTY_ROOT.hex() == root_of([]).hex()
    assert ROOTS == [root_of(LEAVES[: size + 1]).hex() for size in range(8)]


@pytest.mark.parametrize(
    ("index", "size", "path"),
    [
        (0, 1, []),
        (
            0,
            8,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            5,
            8,
            [
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
        (
            1,
            5,
            [
                "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ],
)
def test_the_paths_are_those_of_the_reference(index: int, size: int, path: list[str]) -> None:
    """The known audit paths come out, hash by hash."""
    assert path == [each.hex() for each in inclusion_proof(index, size, nodes_of(LEAVES[:size]))]


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        (1, 1, []),
        (
            1,
            8,
            [
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (
            6,
            8,
            [
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            5,
            [
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ],
)
def test_the_consistency_proofs_are_those_of_the_reference(old: int, new: int, path: list[str]) -> None:
    """The known consistency proofs come out, hash by hash."""
    assert path == [each.hex() for each in consistency_proof(old, new, nodes_of(LEAVES[:new]))]


def test_every_leaf_of_every_small_tree_is_proved_and_no_other() -> None:
    """An inclusion proof holds for its leaf, index, size and root, and for no neighbour of them."""
    for size in range(1, SIZES + 1):
        leaves = some_leaves(size)
        nodes, root = nodes_of(leaves), plain_root(leaves)
        for index, leaf in enumerate(leaves):
            proof = inclusion_proof(index, size, nodes)

            assert verify_inclusion(leaf, index, size, proof, root)
            assert not verify_inclusion(leaf_hash(b"other"), index, size, proof, root)
            assert not verify_inclusion(leaf, index + 1, size, proof, root)
            assert not verify_inclusion(leaf, index - 1, size, proof, root)
            assert not verify_inclusion(leaf, index, size, [*proof, root], root)
            assert not verify_inclusion(leaf, index, size, proof, leaf_hash(b"other"))
            assert not proof or not verify_inclusion(leaf, index, size, proof[:-1], root)


def test_every_small_tree_is_proved_to_extend_every_smaller_one() -> None:
    """A consistency proof holds for its two trees, and not if either, or the proof, is another."""
    leaves = some_leaves(SIZES)
    roots = [plain_root(leaves[:size]) for size in range(SIZES + 1)]
    other = leaf_hash(b"other")
    for new in range(SIZES + 1):
        nodes = nodes_of(leaves[:new])
        for old in range(new + 1):
            proof = consistency_proof(old, new, nodes)

            assert verify_consistency(old, new, proof, roots[old], roots[new])
            assert not verify_consistency(old, new, proof, other, roots[new])
            assert not verify_consistency(old, new, [*proof, other], roots[old], roots[new])
            # The empty tree is the beginning of every tree.
            assert old == 0 != new or not verify_consistency(old, new, proof, roots[old], other)
            assert not proof or not verify_consistency(old, new, proof[:-1], roots[old], roots[new])


@given(st.lists(st.binary(max_size=3), max_size=40), st.data())
def test_a_changed_hash_in_a_proof_proves_nothing(inputs: list[bytes], data: st.DataObject) -> None:
    """One flipped bit anywhere in a proof breaks it."""
    leaves = [leaf_hash(each) for each in [*inputs, b"a", b"b"]]
    size, root, nodes = len(leaves), root_of(leaves), nodes_of(leaves)
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size - 1))
    included, consistent = inclusion_proof(index, size, nodes), consistency_proof(old, size, nodes)
    bit = data.draw(st.integers(0, 255))

    def holds(included: list[bytes], consistent: list[bytes]) -> tuple[bool, bool]:
        old_root = root_of(leaves[:old])
        return (
            verify_inclusion(leaves[index], index, size, included, root),
            verify_consistency(old, size, consistent, old_root, root),
        )

    def flipped(proof: list[bytes]) -> list[bytes]:
        at = data.draw(st.integers(0, len(proof) - 1))
        changed = int.from_bytes(proof[at], "big") ^ 1 << bit
        return [*proof[:at], changed.to_bytes(32, "big"), *proof[at + 1 :]]

    assert (True, True) == holds(included, consistent)
    assert (False, False) == holds(flipped(included), flipped(consistent))


@given(st.lists(st.lists(st.binary(max_size=3), max_size=20), max_size=8))
def test_it_does_not_matter_in_which_groups_a_tree_grows(groups: list[list[bytes]]) -> None:
    """One by one, in groups or at once: the same frontier, the same root, through its bytes each time."""
    stored, leaves = EMPTY_FRONTIER, []
    for group in groups:
        stored, hashes = extend(stored, group)
        leaves += hashes
    one_by_one = Frontier()
    for leaf in leaves:
        one_by_one = one_by_one.append(leaf)

    assert [leaf_hash(each) for group in groups for each in group] == leaves
    assert Frontier.from_bytes(stored) == one_by_one == Frontier().extend(leaves)
    assert plain_root(leaves) == one_by_one.root()


@pytest.mark.parametrize("stored", [b"", b"\0" * 7, EMPTY_FRONTIER + b"\0", (3).to_bytes(8, "big") + b"\0" * 32])
def test_a_frontier_of_another_length_is_refused(stored: bytes) -> None:
    """Bytes that are not a frontier are refused."""
    with pytest.raises(Invalid, match="frontier"):
        Frontier.from_bytes(stored)


texts = st.text(max_size=8)
events = st.tuples(texts, st.integers(1, 10**6), texts, st.binary(max_size=8))


@given(events, events)
def test_two_events_never_have_one_entry(one: tuple[str, int, str, bytes], other: tuple[str, int, str, bytes]) -> None:
    """Entries are equal only if every part is."""
    assert (one == other) == (entry(*one) == entry(*other))


def test_an_entry_is_what_the_documentation_says() -> None:
    """The bytes are written out here, so that no change of the form goes unseen."""
    expected = [b"\0\0\0\x10refundry/event/1", b"\0\0\0\x03abc", b"\0\0\0\x0212", b"\0\0\0\x07settled", b"\0\0\0\x02{}"]

    assert b"".join(expected) == entry("abc", 12, "settled", b"{}")


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 70_000])
def test_tiles_have_what_proofs_need(size: int) -> None:
    """Proofs out of the tiles are those out of the leaves, and the tiles are those that the form asks for."""
    leaves = some_leaves(size)
    tiles: dict[tuple[int, int, int], bytes] = {}
    tiler = Tiles(lambda level, index, hashes: tiles.update({(level, index, len(hashes) // 32): hashes}))
    for start in range(0, size, 1000):
        tiler.extend(leaves[start : start + 1000])
    tiler.finish()
    expected = set()
    for level in range(3):
        count = size >> 8 * level
        expected |= {(level, index, TILE_WIDTH) for index in range(count // TILE_WIDTH)}
        expected |= {(level, count // TILE_WIDTH, count % TILE_WIDTH)} if count % TILE_WIDTH else set()
    nodes, from_tiles = nodes_of(leaves), TileNodes(size, lambda *tile: tiles[tile])

    assert expected == set(tiles)
    for index in {0, size // 3, size // 2, size - 1} & set(range(size)):
        assert inclusion_proof(index, size, nodes) == inclusion_proof(index, size, from_tiles)
    for old in {0, 1, size // 3, size - 1, size} & set(range(size + 1)):
        assert consistency_proof(old, size, nodes) == consistency_proof(old, size, from_tiles)


def test_a_tile_of_another_length_is_refused() -> None:
    """A tile that lost a byte is named."""
    with pytest.raises(Invalid, match=r"tile/0/000\.p/3: has 95 bytes"):
        TileNodes(3, lambda *_: b"\0" * 95)(0, 0)


def test_tiles_are_where_the_form_says() -> None:
    """The examples of c2sp.org/tlog-tiles."""
    assert "tile/0/x001/x234/067" == tile_path(0, 1234067)
    assert ["tile/1/000.p/7", "tile/2/999", "tile/0/x001/000"] == [
        tile_path(1, 0, 7), tile_path(2, 999), tile_path(0, 1000)
    ]  # fmt: skip


def test_a_proof_of_what_is_not_there_is_refused() -> None:
    """Neither a leaf outside the tree nor a beginning longer than the tree has a proof."""
    nodes = nodes_of(LEAVES)
    for index, size in [(-1, 8), (8, 8), (0, 0)]:
        with pytest.raises(Invalid, match="index"):
            inclusion_proof(index, size, nodes)
    for old, new in [(-1, 8), (9, 8)]:
        with pytest.raises(Invalid, match="old"):
            consistency_proof(old, new, nodes)
    outside = list(product([(-1, 8), (9, 8)], [[], [LEAVES[0]]]))

    assert not any(verify_consistency(*sizes, proof, LEAVES[0], LEAVES[0]) for sizes, proof in outside)
