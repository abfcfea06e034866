"""What group commit gains, and what loading a refund costs.

Group commit is compared with eventsourcing's own recorder called from 64 threads, on the same disk, with the same
durability (WAL, synchronous=FULL), in the same run. Loading is compared with reading the same rows.

Run: python tests/bench/bench_journal.py [--quick]
"""

import asyncio
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

import attrs
from eventsourcing.persistence import StoredEvent
from eventsourcing.sqlite import SQLiteApplicationRecorder, SQLiteConnectionPool, SQLiteDatastore

from refundry.journal import Write
from refundry.journal.codec import decode, encode
from refundry.journal.sqlite.journal import SqliteJournal
from refundry.journal.sqlite.recorder import open_recorder
from refundry.journal.sqlite.rows import Change
from refundry.refund import fold
from tests.bench.samples import LIFE, PORTS, machine, micros, new_write

WRITERS = 64
ROUNDS = 3


def _threads(path: Path, writes: Sequence[Write]) -> float:
    """Save one event each from 64 threads with the library's recorder; give events a second."""
    datastore = SQLiteDatastore(str(path), lock_timeout=30, pool_size=WRITERS, pool_timeout=60)
    assert type(datastore.pool) is SQLiteConnectionPool
    recorder = SQLiteApplicationRecorder(datastore)
    recorder.create_table()

    def save(write: Write) -> None:
        event = write.events[0]
        recorder.insert_events([StoredEvent(write.refund.id, 1, event.topic, encode(event))])

    with ThreadPoolExecutor(WRITERS) as threads:
        list(threads.map(save, writes[:WRITERS]))  # every thread and connection is there before the clock starts
        begun = time.perf_counter()
        list(threads.map(save, writes[WRITERS:]))
        took = time.perf_counter() - begun
    with datastore.get_connection(commit=False) as connection:
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous")
        assert cursor.fetchone()[0] == 2
    datastore.close()
    return (len(writes) - WRITERS) / took


def _threads_whole(path: Path, writes: Sequence[Write]) -> float:
    """Save one event each, with index row and evidence, from 64 threads in a commit each; give events a second."""
    recorder = open_recorder(path)
    with ThreadPoolExecutor(WRITERS) as threads:
        list(threads.map(lambda write: recorder.insert_changes([Change.of(write, PORTS.random)]), writes[:WRITERS]))
        begun = time.perf_counter()
        list(threads.map(lambda write: recorder.insert_changes([Change.of(write, PORTS.random)]), writes[WRITERS:]))
        took = time.perf_counter() - begun
    recorder.datastore.close()
    return (len(writes) - WRITERS) / took


async def _tasks(journal: SqliteJournal, writes: Sequence[Write]) -> float:
    """Save the same from 64 tasks through the journal; give events a second."""
    await asyncio.gather(*(journal.save(write) for write in writes[:WRITERS]))
    left: Iterator[Write] = iter(writes[WRITERS:])

    async def save_some() -> None:
        for write in left:
            await journal.save(write)

    begun = time.perf_counter()
    await asyncio.gather(*(save_some() for _ in range(WRITERS)))
    return (len(writes) - WRITERS) / (time.perf_counter() - begun)


async def _grouped(path: Path, writes: Sequence[Write], *, index: bool) -> float:
    journal = await SqliteJournal.open(path)
    try:
        if not index:
            journal = _without_index(journal)
        return await _tasks(journal, writes)
    finally:
        await journal.close()


def _without_index(journal: SqliteJournal) -> SqliteJournal:
    """Leave out the index and the evidence, to see what the events alone cost."""
    recorder = journal._recorder

    def insert(changes):  # type: ignore[no-untyped-def]
        positions = iter(recorder.insert_events([event for change in changes for event in change.stored]) or ())
        return [[next(positions) for _ in change.stored] for change in changes]

    recorder.insert_changes = insert  # type: ignore[method-assign]
    return journal


def _rates(directory: Path, count: int) -> dict[str, float]:
    rates: dict[str, list[float]] = {"threads": [], "threads whole": [], "events": [], "whole": []}
    for turn in range(ROUNDS):
        numbers = range(turn * count, (turn + 1) * count)
        rates["threads"].append(_threads(directory / f"threads{turn}.db", [new_write(n) for n in numbers]))
        bare = [attrs.evolve(new_write(n), evidence={}) for n in numbers]
        rates["events"].append(asyncio.run(_grouped(directory / f"events{turn}.db", bare, index=False)))
        whole = [new_write(n) for n in numbers]
        rates["threads whole"].append(_threads_whole(directory / f"apart{turn}.db", whole))
        rates["whole"].append(asyncio.run(_grouped(directory / f"whole{turn}.db", whole, index=True)))
    return {name: median(each) for name, each in rates.items()}


def _load(directory: Path, number: int) -> dict[str, float]:
    """Measure reading five rows, and reading, decoding and folding them, on one connection in one thread."""
    path = directory / "load.db"

    async def fill() -> str:
        journal = await SqliteJournal.open(path)
        writes = [new_write(n, LIFE[1:]) for n in range(1_000)]
        await asyncio.gather(*(journal.save(write) for write in writes))
        await journal.close()
        return writes[500].refund.id

    refund_id = asyncio.run(fill())
    connection = sqlite3.connect(path, isolation_level=None)
    statement = "SELECT rowid, originator_version, topic, state FROM stored_events WHERE originator_id=? ORDER BY 2"

    def read() -> list[tuple[int, int, str, bytes]]:
        return connection.execute(statement, (refund_id,)).fetchall()

    def load() -> object:
        return fold(refund_id, [decode(topic, state, position) for position, _, topic, state in read()])

    figures = {"read": micros(read, number), "load": micros(load, number)}
    connection.close()
    return figures


async def _hop(directory: Path, number: int) -> dict[str, float]:
    """Measure the same as a caller in the event loop sees it, through the reader's thread."""
    journal = await SqliteJournal.open(directory / "load.db")
    refund_id = PORTS.new_id()
    async for recorded in journal.log(2_500, 1):
        refund_id = recorded.refund_id
    statement = "SELECT rowid, originator_version, topic, state FROM stored_events WHERE originator_id=? ORDER BY 2"
    try:
        spent = {"read": 0.0, "load": 0.0}
        for _ in range(number):
            begun = time.perf_counter()
            await journal._rows(statement, refund_id)
            middle = time.perf_counter()
            fold(refund_id, [recorded.event for recorded in await journal.load(refund_id)])
            spent["load"] += time.perf_counter() - middle
            spent["read"] += middle - begun
        return {name: seconds / number * 1e6 for name, seconds in spent.items()}
    finally:
        await journal.close()


def main(quick: bool) -> dict[str, object]:
    """Measure both, side by side."""
    count = 2_000 if quick else 20_000
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        rates = _rates(directory, count)
        direct = _load(directory, 1_000 if quick else 5_000)
        hop = asyncio.run(_hop(directory, 500 if quick else 3_000))
    return {
        "machine": machine(),
        "the library's recorder from 64 threads (events/s)": round(rates["threads"]),
        "64 threads, one commit each, with index and evidence (events/s)": round(rates["threads whole"]),
        "group commit of 64 tasks, events only (events/s)": round(rates["events"]),
        "group commit of 64 tasks, with index and evidence (events/s)": round(rates["whole"]),
        "group commit / threads, events only": round(rates["events"] / rates["threads"], 1),
        "group commit / threads, both with index and evidence": round(rates["whole"] / rates["threads whole"], 1),
        "group commit with index and evidence / threads, events only": round(rates["whole"] / rates["threads"], 1),
        "five rows read (µs)": round(direct["read"], 1),
        "five events read, decoded and applied (µs)": round(direct["load"], 1),
        "loaded / read": round(direct["load"] / direct["read"], 2),
        "five rows read, awaited (µs)": round(hop["read"], 1),
        "five events loaded and applied, awaited (µs)": round(hop["load"], 1),
        "loaded / read, awaited": round(hop["load"] / hop["read"], 2),
    }


if __name__ == "__main__":
    for name, figure in main("--quick" in sys.argv).items():
        print(f"{name:64} {figure}")
