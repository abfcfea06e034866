"""A process that saves refunds and says which ones were acknowledged.

Run: python -m tests.core.journal.child PATH NAME [COUNT]
"""

import asyncio
import sys

from refundry.errors import StoreError
from refundry.journal import Write
from refundry.journal.sqlite.journal import SqliteJournal
from refundry.ports import Ports
from refundry.refund import fold
from tests.core.journal.samples import evidence, requested, settled, submitted, then


async def _process(journal: SqliteJournal, key: str) -> None:
    first = requested(key)
    write = Write(fold(Ports().new_id(), [first]), [first], evidence(key.encode()))
    for step in range(3):
        recorded = await journal.save(write)
        print(write.refund.id, recorded[-1].version, flush=True)
        if step < 2:
            events = [submitted(1)] if step == 0 else [settled(3)]
            write = then(write.refund, *events, kept=evidence(f"{key} {step}".encode()))


async def main(path: str, name: str, count: int) -> None:
    """Save refunds, eight at a time: `count` of them, or until the process is killed."""
    journal = await SqliteJournal.open(path)
    number = 0
    try:
        while number < count:
            await asyncio.gather(*(_process(journal, f"{name}-{number + n}") for n in range(8)))
            number += 8
    except StoreError as error:
        print(error, flush=True)
    await journal.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else sys.maxsize))
