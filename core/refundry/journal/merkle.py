"""The Merkle tree over the log: RFC 6962 with SHA-256, and the tiles in which it is published.

The rule of this module: pure, and it knows no database. The store of a log calls `extend` with the bytes of the
tree's frontier and the new entries, and stores the result. A leaf hashes an event's stored bytes as they are.

The hashes and proofs are those of RFC 6962, section 2.1; the tiles are those of https://c2sp.org/tlog-tiles.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from struct import Struct
from typing import Final

import attrs

from refundry.errors import Invalid

__all__ = [
    "EMPTY_FRONTIER",
    "EMPTY_ROOT",
    "HASH_BYTES",
    "TILE_WIDTH",
    "Frontier",
    "Nodes",
    "TileNodes",
    "Tiles",
    "consistency_proof",
    "entry",
    "extend",
    "inclusion_proof",
    "leaf_hash",
    "nodes_of",
    "prove_over",
    "root_of",
    "tile_path",
    "verify_consistency",
    "verify_inclusion",
]

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()
TILE_WIDTH: Final = 256
TILE_HEIGHT: Final = 8

_LENGTH: Final = Struct(">I").pack
_SIZE: Final = Struct(">Q")

Nodes = Callable[[int, int], bytes]
"""Returns the hash of a complete subtree by its level and its index in that level; level 0 has the leaves."""


# --- entries and leaves -----------------------------------------------------------------------------------------------


def _prefixed(field: bytes) -> bytes:
    return _LENGTH(len(field)) + field


_EVENT: Final = _prefixed(b"refundry/event/1")


def entry(refund_id: str, version: int, topic: str, state: bytes) -> bytes:
    """Return the bytes that represent an event in the tree: its parts, each after its length in 4 bytes."""
    id, number, kind = refund_id.encode(), b"%d" % version, topic.encode()
    return b"".join(
        (_EVENT, _LENGTH(len(id)), id, _LENGTH(len(number)), number, _LENGTH(len(kind)), kind,
         _LENGTH(len(state)), state)
    )  # fmt: skip


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of an entry as a leaf."""
    return sha256(b"\x00" + entry).digest()


def _node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def _parents(hashes: Sequence[bytes]) -> list[bytes]:
    """Return the hashes of pairs; a last one without a partner is left out."""
    return [sha256(b"\x01" + left + right).digest() for left, right in zip(hashes[::2], hashes[1::2], strict=False)]


# --- the frontier -----------------------------------------------------------------------------------------------------


@attrs.frozen(slots=True)
class Frontier:
    """What a tree needs to grow and to compute its root: its size, and the hashes of its complete subtrees.

    There is one hash for each bit that is set in the size, the largest subtree first.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    @classmethod
    def from_bytes(cls, stored: bytes) -> "Frontier":
        """Read what `to_bytes` wrote; raise `Invalid` for anything else."""
        size = cls.checked_size(stored)
        starts = range(_SIZE.size, len(stored), HASH_BYTES)
        return cls(size, tuple(stored[start : start + HASH_BYTES] for start in starts))

    @staticmethod
    def checked_size(stored: bytes) -> int:
        """Return the size from what `to_bytes` wrote; raise `Invalid` for anything else."""
        if len(stored) < _SIZE.size:
            raise Invalid("frontier", "is too short")
        size: int = _SIZE.unpack_from(stored)[0]
        if len(stored) != _SIZE.size + HASH_BYTES * size.bit_count():
            raise Invalid("frontier", f"does not have the length of one of {size} leaves")
        return size

    @staticmethod
    def size_of(stored: bytes) -> int:
        """Return only the size from what `to_bytes` wrote."""
        size: int = _SIZE.unpack_from(stored)[0]
        return size

    def to_bytes(self) -> bytes:
        """Return the size in 8 bytes and the hashes, largest subtree first."""
        return _SIZE.pack(self.size) + b"".join(self.hashes)

    def extend(self, leaves: Sequence[bytes]) -> "Frontier":
        """Return the frontier of the tree with more leaves."""
        there, kept = list(self.hashes), []
        hashes, size = list(leaves), self.size
        # Level by level: what is left over on the right of a level is one of the new frontier.
        while hashes:
            if size % 2:
                hashes.insert(0, there.pop())
            if len(hashes) % 2:
                kept.append(hashes[-1])
            hashes, size = _parents(hashes), size // 2
        return Frontier(self.size + len(leaves), (*there, *reversed(kept)))

    def append(self, leaf: bytes) -> "Frontier":
        """Return the frontier of the tree with one more leaf."""
        return self.extend((leaf,))

    def root(self) -> bytes:
        """Return the root of the tree."""
        if not self.hashes:
            return EMPTY_ROOT
        *rest, root = self.hashes
        for left in reversed(rest):
            root = _node_hash(left, root)
        return root


EMPTY_FRONTIER: Final = Frontier().to_bytes()


def _levels(size: int) -> Iterator[int]:
    """Return the levels of the complete subtrees of a tree, highest first."""
    return (level for level in reversed(range(size.bit_length())) if size >> level & 1)


def extend(frontier: bytes, entries: Iterable[bytes]) -> tuple[bytes, list[bytes]]:
    """Add entries to the tree with this frontier; return the new frontier's bytes and the leaves' hashes."""
    leaves = [sha256(b"\x00" + entry).digest() for entry in entries]
    if len(leaves) == 1:
        return _with_one_more(frontier, leaves[0]), leaves
    return Frontier.from_bytes(frontier).extend(leaves).to_bytes(), leaves


def _with_one_more(stored: bytes, leaf: bytes) -> bytes:
    """Add one leaf to a frontier as it is stored, so that a single event does not cost as much as a group."""
    size, end = Frontier.checked_size(stored), len(stored)
    filled = size
    while filled & 1:
        end -= HASH_BYTES
        leaf = sha256(b"\x01" + stored[end : end + HASH_BYTES] + leaf).digest()
        filled >>= 1
    return _SIZE.pack(size + 1) + stored[_SIZE.size : end] + leaf


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the root of the tree with these leaves."""
    return Frontier().extend(leaves).root()


# --- proofs -----------------------------------------------------------------------------------------------------------


def nodes_of(leaves: Sequence[bytes]) -> Nodes:
    """Return the hash of any complete subtree of a tree that is held in memory."""
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        levels.append(_parents(levels[-1]))
    return lambda level, index: levels[level][index]


def _range_root(start: int, end: int, nodes: Nodes) -> bytes:
    """Return the root over the leaves from `start` to before `end`; a subtree of that size begins at `start`."""
    found: list[bytes] = []
    at = start
    for level in _levels(end - start):
        found.append(nodes(level, at >> level))
        at += 1 << level
    root = found.pop()
    while found:
        root = _node_hash(found.pop(), root)
    return root


def _split(size: int) -> int:
    """Return the largest power of two that is smaller than `size`."""
    return 1 << (size - 1).bit_length() - 1


def inclusion_proof(index: int, size: int, nodes: Nodes) -> list[bytes]:
    """Return the audit path of a leaf in the tree of `size` leaves (RFC 6962, section 2.1.1)."""
    if not 0 <= index < size:
        raise Invalid("index", f"there is no leaf {index} in a tree of {size}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_root(middle, end, nodes))
            end = middle
        else:
            path.append(_range_root(start, middle, nodes))
            start = middle
    return path[::-1]


def consistency_proof(old: int, new: int, nodes: Nodes) -> list[bytes]:
    """Prove that the tree of `new` leaves begins with the tree of `old` (RFC 6962, section 2.1.2)."""
    if not 0 <= old <= new:
        raise Invalid("old", f"a tree of {new} leaves has no beginning of {old}")
    if old in (0, new):
        return []
    path: list[bytes] = []
    start, end, whole = 0, new, True
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(_range_root(middle, end, nodes))
            end = middle
        else:
            path.append(_range_root(start, middle, nodes))
            start, whole = middle, False
    return ([] if whole else [_range_root(start, end, nodes)]) + path[::-1]


def prove_over(batches: Iterable[Sequence[bytes]], prove: Callable[[Nodes], list[bytes]]) -> list[bytes]:
    """Return a proof over leaves that stream by, in little memory: `prove` receives `Nodes` and returns the proof.

    `Invalid` if the leaves end before what the proof is about.
    """
    wanted: dict[tuple[int, int], Frontier] = {}

    def ask(level: int, index: int) -> bytes:
        wanted[level, index] = Frontier()
        return EMPTY_ROOT

    prove(ask)
    at = 0
    for leaves in batches:
        for (level, index), frontier in wanted.items():
            some = leaves[max(0, (index << level) - at) : max(0, (index + 1 << level) - at)]
            wanted[level, index] = frontier.extend(some) if some else frontier
        at += len(leaves)
    if any(frontier.size != 1 << level for (level, _), frontier in wanted.items()):
        raise Invalid("leaves", f"end after {at}")
    return prove(lambda level, index: wanted[level, index].root())


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Return whether the proof shows that this leaf is at `index` in the tree of `size` leaves with this root."""
    if not 0 <= index < size:
        return False
    # RFC 9162, section 2.1.3.2: the same proofs, with the verification spelt out.
    fn, sn, found = index, size - 1, leaf
    for each in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            found = _node_hash(each, found)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            found = _node_hash(found, each)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and found == root


def verify_consistency(old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Return whether the proof shows that the tree of `new` leaves begins with the tree of `old`."""
    if not 0 <= old <= new:
        return False
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    # RFC 9162, section 2.1.4.2.
    path = list(proof) if old & old - 1 else [old_root, *proof]
    if not path:
        return False
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    first = second = path[0]
    for each in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            first, second = _node_hash(each, first), _node_hash(each, second)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            second = _node_hash(second, each)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and first == old_root and second == new_root


# --- tiles ------------------------------------------------------------------------------------------------------------


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """Return the path of a tile, such as `tile/0/x001/x234/067` or, with 7 hashes, `tile/1/000.p/7`."""
    name = f"{index % 1000:03d}"
    while index := index // 1000:
        name = f"x{index % 1000:03d}/{name}"
    return f"tile/{level}/{name}" + ("" if width == TILE_WIDTH else f".p/{width}")


class Tiles:
    """Cuts a stream of leaves into tiles; it holds only one tile of each level.

    `emit` is called with level, index and hashes of each full tile when it is full, and of the others at `finish`.
    """

    def __init__(self, emit: Callable[[int, int, bytes], None]) -> None:
        self._emit = emit
        self._open: list[tuple[int, list[bytes]]] = []

    def extend(self, hashes: Sequence[bytes], level: int = 0) -> None:
        """Add hashes to a level: leaves to level 0."""
        if level == len(self._open):
            self._open.append((0, []))
        index, there = self._open[level]
        there = [*there, *hashes]
        full = len(there) - len(there) % TILE_WIDTH
        for start in range(0, full, TILE_WIDTH):
            self._emit(level, index + start // TILE_WIDTH, b"".join(there[start : start + TILE_WIDTH]))
        self._open[level] = (index + full // TILE_WIDTH, there[full:])
        if full:
            roots = there[:full]
            for _ in range(TILE_HEIGHT):
                roots = _parents(roots)
            self.extend(roots, level + 1)

    def finish(self) -> None:
        """Write the tiles that are not full."""
        for level, (index, hashes) in enumerate(self._open):
            if hashes:
                self._emit(level, index, b"".join(hashes))


class TileNodes:
    """`Nodes` from the tiles of a tree of `size` leaves; `read` returns a tile by level, index and width."""

    def __init__(self, size: int, read: Callable[[int, int, int], bytes]) -> None:
        self._size = size
        self._read = read

    def __call__(self, level: int, index: int) -> bytes:
        """Return the hash of a complete subtree; raise `Invalid` if a tile does not have the length for this size."""
        tile_level, height = divmod(level, TILE_HEIGHT)
        tile, offset = divmod(index << height, TILE_WIDTH)
        width = min(TILE_WIDTH, (self._size >> TILE_HEIGHT * tile_level) - tile * TILE_WIDTH)
        content = self._read(tile_level, tile, width)
        if len(content) != width * HASH_BYTES:
            raise Invalid(tile_path(tile_level, tile, width), f"has {len(content)} bytes")
        starts = range(offset * HASH_BYTES, (offset + (1 << height)) * HASH_BYTES, HASH_BYTES)
        hashes = [content[start : start + HASH_BYTES] for start in starts]
        for _ in range(height):
            hashes = _parents(hashes)
        return hashes[0]
