"""What it costs to replay a log: every refund rebuilt and compared with its row, every answer read again.

Refunds at a simulated Antom have five events; three of them rest on an answer whose RSA signature is verified again.
Refunds that are settled by their first answer have three events, one of which rests on one. Compared with the same
without verifying signatures, with reading the same rows, and with loading such histories with the eventsourcing
library's own aggregates. Events per second of processor time of one process.

Run: python -m tests.bench.bench_replay [--quick]
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

from refundry.audit.replay.replay import replay
from refundry.config import read_config
from refundry.journal.sqlite.recorder import connect
from refundry.plugin_host import load_plugins
from refundry.testing.simulator.ledger import State
from tests.bench.bench_audit_verify import EACH, _library
from tests.bench.samples import machine
from tests.core.shop import Shop, open_shop

_AT_ONCE = 100
_TIMES = 5
_SHORT = 3
"""The events of a refund that is settled by its first answer."""
_ROWS = (
    "SELECT originator_id, originator_version, topic, state FROM stored_events ORDER BY originator_id",
    "SELECT digest, bytes FROM evidence",
    "SELECT * FROM refund_index ORDER BY id",
)


async def _make(directory: Path, refunds: int) -> Path:
    async with open_shop(directory, mode="async", async_delay=None) as shop:
        for first in range(0, refunds, _AT_ONCE):
            await _lives(shop, range(first, first + _AT_ONCE))
        return shop.config


async def _make_short(directory: Path, refunds: int) -> Path:
    async with open_shop(directory) as shop:
        for first in range(0, refunds, _AT_ONCE):
            numbers = range(first, first + _AT_ONCE)
            made = await asyncio.gather(*(shop.request(f"R{number}", payment=f"P{number}") for number in numbers))
            assert {_SHORT} == {refund.version for refund in made}
        return shop.config


async def _lives(shop: Shop, numbers: range) -> None:
    words = {"reason": "too small", "by": "orders"}
    made = await asyncio.gather(*(shop.request(f"R{number}", payment=f"P{number}", **words) for number in numbers))
    for seconds in (3, 10):
        shop.clock.move(seconds)
        made = await asyncio.gather(*(shop.gateway.advance(refund.id) for refund in made))
        for refund in made:
            book = shop.antom.ledger.refunds[refund.refund_request_id]
            if book.state is State.PROCESSING:
                shop.antom.ledger.finish(book, State.SUCCESS, shop.clock())
    assert {EACH} == {refund.version for refund in made}


def _read(store: Path) -> None:
    with closing(connect(store)) as connection:
        for statement in _ROWS:
            cursor = connection.execute(statement)
            while cursor.fetchmany(1_000):
                pass


def _seconds(function: Callable[[], object]) -> float:
    """Return the processor time of the run that was disturbed least."""
    taken = []
    for _ in range(_TIMES):
        begun = time.process_time()
        function()
        taken.append(time.process_time() - begun)
    return min(taken)


def main(quick: bool) -> dict[str, object]:
    """Measure replay, with and without signatures, in turns with reading and with the library."""
    refunds = 400 if quick else 4_000
    with tempfile.TemporaryDirectory() as name:
        config = read_config(asyncio.run(_make(Path(name), refunds)))
        plugins = load_plugins()

        def replayed() -> None:
            assert [] == list(replay(config, plugins, processes=1))

        events = refunds * EACH
        whole = events / _seconds(replayed)
        with patch("refundry.provider.signatures.verify", lambda *_: None):
            unverified = events / _seconds(replayed)
        read = events / _seconds(lambda: _read(config.store_path))
    with tempfile.TemporaryDirectory() as name:
        short = read_config(asyncio.run(_make_short(Path(name), refunds)))
        settled = refunds * _SHORT / _seconds(lambda: list(replay(short, plugins, processes=1)))
    library = _library(refunds)
    return {
        "machine": machine(),
        "events": events,
        "replayed, verifying a signature for 3 of 5 events (events/s)": whole,
        "replayed without verifying signatures (events/s)": unverified,
        "settled by the first answer: replayed, verifying a signature for 1 of 3 events (events/s)": settled,
        "reading the same rows (events/s)": read,
        "the library's aggregates, loaded (events/s)": library,
        "replayed without signatures / the library": unverified / library,
        "replayed with signatures / the library": whole / library,
        "reading / replayed without signatures": read / unverified,
    }


if __name__ == "__main__":
    for name, figure in main("--quick" in sys.argv).items():
        print(f"{name:72} {figure}")
