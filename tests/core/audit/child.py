"""A process that saves refunds and has the log signed, as a gateway does.

Run: python -m tests.core.audit.child STORE NAME [COUNT]. Prints the size of each checkpoint that it made.
"""

import asyncio
import sys
from functools import partial
from pathlib import Path

from refundry.audit.signing.anchors import Anchors
from refundry.audit.signing.checkpointer import Checkpointer
from refundry.audit.signing.settings import AuditSettings
from refundry.audit.signing.signed_notes import Checkpoint, read_note
from refundry.audit.signing.signer import open_signer
from refundry.journal import Write
from refundry.journal.sqlite.journal import SqliteJournal
from refundry.ports import Ports
from refundry.refund import fold
from tests.core.journal.samples import requested


class Printed(Anchors):
    """Prints what is published."""

    def publish(self, checkpoint: bytes) -> None:
        print(Checkpoint.from_text(read_note(checkpoint).text).size, flush=True)


def settings(store: Path, **changes: object) -> AuditSettings:
    """Return the settings that apply without `[audit]`."""
    values = {"directory": store.with_name(f"{store.name}.audit"), "key": None, "origin": None, "anchors": ()}
    return AuditSettings(**(values | changes), base=store.parent)  # type: ignore[arg-type]  # as the test has it


async def main(store: Path, name: str, count: int) -> None:
    """Save refunds one after the other and sign after each: `count` of them, or until the process is killed."""
    journal, ports = await SqliteJournal.open(store), Ports()
    checkpointer = Checkpointer(journal, partial(open_signer, settings(store)), Printed([]), ports)
    for number in range(count):
        # A new id, because the samples have the same ids in every process.
        event = requested(f"{name}-{number}")
        await journal.save(Write(fold(ports.new_id(), [event]), [event]))
        while not await checkpointer.checkpoint_now():  # noqa: ASYNC110 (another process has the lock)
            await asyncio.sleep(0.001)
    await checkpointer.close()
    await journal.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else sys.maxsize))
