"""The roots of a tree at many sizes, computed while its leaves stream by: a log of any length needs little memory.

The rule of this module: pure, and the hashes are those of `refundry.journal.merkle`. This module only computes them in
batches, because every check may hash a tree of ten million leaves.
"""

from collections.abc import Sequence
from hashlib import sha256

import attrs

from refundry.journal.merkle import Frontier

__all__ = ["Batch", "pairs"]


def pairs(hashes: Sequence[bytes]) -> list[bytes]:
    """Return the hashes of neighbors in pairs, without a last one that has no neighbor."""
    return [sha256(b"\x01" + left + right).digest() for left, right in zip(hashes[::2], hashes[1::2], strict=False)]


@attrs.frozen
class Batch:
    """Some leaves after a tree whose size is a multiple of the largest batch, with all levels of their subtrees."""

    before: Frontier
    levels: Sequence[Sequence[bytes]]

    @classmethod
    def of(cls, before: Frontier, leaves: Sequence[bytes]) -> "Batch":
        """Build all levels above the leaves."""
        levels: list[Sequence[bytes]] = [leaves]
        while len(levels[-1]) > 1:
            levels.append(pairs(levels[-1]))
        return cls(before, levels)

    def frontier(self, count: int | None = None) -> Frontier:
        """Return the frontier of the tree with the first `count` of these leaves, or all of them."""
        taken = len(self.levels[0]) if count is None else count
        hashes = list(self.before.hashes)
        at = 0
        for level in reversed(range(taken.bit_length())):
            if taken >> level & 1:
                hashes.append(self.levels[level][at >> level])
                at += 1 << level
        return Frontier(self.before.size + taken, _merged(self.before.size + taken, hashes))

    def root(self, count: int) -> bytes:
        """Return the root of the tree with the first `count` of these leaves."""
        return self.frontier(count).root()


def _merged(size: int, hashes: list[bytes]) -> tuple[bytes, ...]:
    """Join a full batch with the subtrees of its size before it."""
    while len(hashes) > size.bit_count():
        right, left = hashes.pop(), hashes.pop()
        hashes.append(sha256(b"\x01" + left + right).digest())
    return tuple(hashes)
