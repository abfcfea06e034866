"""What the Merkle tree adds to writing: processor time, compared with the same writes without it.

Groups are committed with index rows and evidence, with and without leaves and frontier, in turns on one store, and the
medians are compared. Events arrive in groups when many refunds are in progress, and alone when the machine is idle.
Signing is measured as the gateway does it: a checkpoint for a thousand events, on the disk before it is in the store.

Run: python tests/bench/bench_tree.py [--quick]
"""

import asyncio
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from eventsourcing.persistence import StoredEvent

from refundry.audit.signing.anchors import Anchors
from refundry.audit.signing.checkpointer import EVENTS, Checkpointer
from refundry.audit.signing.settings import AuditSettings
from refundry.audit.signing.signer import open_signer
from refundry.journal.sqlite.journal import SqliteJournal
from refundry.journal.sqlite.recorder import open_recorder
from refundry.journal.sqlite.rows import Change
from refundry.journal.sqlite.tree import TreeWriter
from tests.bench.samples import PORTS, machine, new_write

GROUPS = (1, 8, 64, 256)


class _NoTree(TreeWriter):
    def grow(self, cursor: sqlite3.Cursor, events: Sequence[StoredEvent], first: int) -> None:
        """Do nothing."""


def _added(store: Path, group: int, count: int) -> tuple[float, float]:
    """Commit groups with and without the tree in turns; give the processor time of each, in microseconds an event."""
    recorder = open_recorder(store)
    trees: tuple[TreeWriter, TreeWriter] = (_NoTree(), TreeWriter())
    took: tuple[list[float], list[float]] = ([], [])
    for number in range(2 * count // group):
        changes = [Change.of(new_write(number * group + each), PORTS.random) for each in range(group)]
        recorder._tree = trees[number % 2]
        begun = time.process_time()
        recorder.insert_changes(changes)
        took[number % 2].append(time.process_time() - begun)
    recorder.datastore.close()
    return median(took[0]) / group * 1e6, median(took[1]) / group * 1e6


async def _stored(store: Path, count: int) -> float:
    """Have a log signed after every thousand events; give the processor time, in microseconds an event."""
    directory = store.with_name(f"{store.name}.audit")
    settings = AuditSettings(directory=directory, key=None, origin=None, anchors=(), base=store.parent)
    journal = await SqliteJournal.open(store)
    checkpointer = Checkpointer(journal, partial(open_signer, settings), Anchors([]), PORTS)
    await checkpointer.signer()
    took = 0.0
    for part in range(max(1, count // EVENTS)):
        await asyncio.gather(*(journal.save(new_write(part * EVENTS + each)) for each in range(EVENTS)))
        begun = time.process_time()
        await checkpointer.checkpoint_now()
        took += time.process_time() - begun
    await checkpointer.close()
    await journal.close()
    return took / max(EVENTS, count // EVENTS * EVENTS) * 1e6


def main(quick: bool) -> dict[str, object]:
    """Run everything; give the figures."""
    figures: dict[str, object] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        for group in GROUPS:
            without, with_tree = _added(place / f"{group}.db", group, 1024 if quick else 8192)
            figures[f"groups of {group}: without the tree, µs of processor time per event"] = without
            figures[f"groups of {group}: what the tree adds, µs of processor time per event"] = with_tree - without
        signing = asyncio.run(_stored(place / "signed.db", 3_000 if quick else 20_000))
        figures[f"a checkpoint for {EVENTS:,} events: signing, µs of processor time per event"] = signing
    return figures


if __name__ == "__main__":
    for what, figure in main("--quick" in sys.argv).items():
        print(f"{what:72} {figure:.2f}" if isinstance(figure, float) else f"{what:72} {figure}")
