"""What it costs to verify a whole log with everything that its events reference.

Every refund has five events, an index row and four pieces of evidence; there is a checkpoint for every thousand events.
Compared with reading the same rows and doing nothing with them, and with loading the same histories with the
eventsourcing library's own aggregates and repository. Seconds are processor time of one process including the kernel's
share, which is what reading the file costs: little if it is in memory, much if it comes from a disk. Memory is the peak
resident set. The stores are in the directory for temporary files (TMPDIR).

Ten million events were verified once (REFUNDRY_BENCH_EVENTS=10000000, TMPDIR in memory): 172,500 per second of one
core, in 42 MB, where reading the same rows reached 538,500. From a disk, reading costs the kernel 1 to 2 µs more per
event; then it is 134,000.

Run: python tests/bench/bench_audit_verify.py [--quick]
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from refundry.audit.signing.signed_notes import Verifier
from refundry.audit.verification.verify import Given, verify, without_collector
from refundry.journal.log_source import BATCH
from refundry.journal.sqlite.snapshot import open_snapshot
from refundry.journal.stores import read_store
from tests.bench.samples import machine
from tests.core.audit.made import Made, lives, new_key

EVENTS = int(os.environ.get("REFUNDRY_BENCH_EVENTS", "1000000"))
"""Ten million take ten gigabytes and a quarter of an hour."""
QUICK = 200_000
EACH = 5
GROUP = 200
"""How many refunds are written, and signed, at a time: a thousand events."""
_READ = (
    "SELECT rowid, originator_id, originator_version, topic, state FROM stored_events ORDER BY rowid",
    "SELECT idx, position, hash FROM audit_leaf ORDER BY idx",
    "SELECT digest, bytes FROM evidence",
    "SELECT * FROM refund_index",
)


class Paid(Aggregate):
    """A refund as the library's users write one: the same events with the same fields, kept by decorated methods."""

    @event("Requested")
    def __init__(self, account: str, payment: str, minor: int, currency: str, key: str, by: str) -> None:
        self.account, self.payment, self.minor, self.currency, self.key, self.by = (
            account, payment, minor, currency, key, by,
        )  # fmt: skip
        self.status, self.evidence, self.due = "requested", "", ""

    @event("Submitted")
    def submit(self, attempt: int, digest: str, sender: str, plugin: str, next_at: str) -> None:
        self.status, self.attempt, self.digest, self.sender, self.due = "submitted", attempt, digest, sender, next_at

    @event("Inquired")
    def inquire(self, channel: str, outcome: str, cause: str, code: str, evidence: str, next_at: str) -> None:
        self.status, self.code, self.evidence, self.due = outcome, code, evidence, next_at

    @event("Settled")
    def settle(self, channel: str, minor: int, currency: str, evidence: str) -> None:
        self.status, self.settled, self.evidence = "settled", minor, evidence


def _library(refunds: int) -> float:
    """Return how many events a second the library loads and folds, from its own SQLite store."""
    with tempfile.TemporaryDirectory() as name:
        environment = {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": f"{name}/library.db"}
        app = Application[Any](env=environment)
        ids = []
        at = datetime(2026, 11, 22).isoformat()  # noqa: DTZ001  # only its length counts
        for number in range(refunds):
            paid = Paid("shop-eu", f"20261122190741010007{number:015d}", 1233, "EUR", f"refund-{number:012d}", "orders")
            paid.submit(1, "ab" * 32, "SANDBOX_5Y@https://open-de-global.alipay.com", "antom 1.0.0", at)
            for channel in ("reply", "inquiry"):
                paid.inquire(channel, "pending", "The refund is being processed.", "REFUND_IN_PROCESS", "ab" * 32, at)
            paid.settle("notification", 1233, "EUR", "ab" * 32)
            app.save(paid)
            ids.append(paid.id)
        begun = time.process_time()
        for id in ids:
            app.repository.get(id)
        took = time.process_time() - begun
        app.close()
        return refunds * EACH / took


def _seconds(function: Callable[[], object]) -> tuple[float, float]:
    """Return the processor time of a call, and how much of it was the kernel's."""
    before = os.times()
    function()
    after = os.times()
    kernel = after.system - before.system
    return after.user - before.user + kernel, kernel


def _read(path: Path) -> None:
    with open_snapshot(path) as snapshot:
        for statement in _READ:
            cursor = snapshot.connection.execute(statement)
            while cursor.fetchmany(BATCH):
                pass


def _verify(path: Path, vkey: str, deep: bool) -> None:
    given = Given("the signer's own checkpoint", path.with_name("note").read_bytes())
    with read_store(path, deep=deep) as source, without_collector():
        verdict = verify(source, Verifier.from_vkey(vkey), [given])
    assert verdict.clean, verdict.findings
    assert verdict.signed == verdict.events


def _child(path: Path, vkey: str, what: str) -> dict[str, float]:
    """Measure one of them in a process of its own."""
    work = {"read": lambda: _read(path), "verify": lambda: _verify(path, vkey, False),
            "deep": lambda: _verify(path, vkey, True)}  # fmt: skip
    before = _peak()
    seconds, kernel = _seconds(work[what])
    return {"seconds": seconds, "kernel": kernel, "megabytes": (_peak() - before) / 1024}


def _peak() -> int:
    """Return the peak resident set in kilobytes; `getrusage` would begin with that of the process that started this."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def _measured(path: Path, what: str, times: int) -> dict[str, float]:
    runs = []
    for _ in range(times):
        command = [sys.executable, __file__, "--child", str(path), new_key().verifier().vkey, what]
        runs.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    return min(runs, key=lambda run: run["seconds"])


def _make(path: Path, events: int) -> None:
    made = Made(path)
    for first in range(0, events // EACH, GROUP):
        made.write(list(lives(GROUP, first)))
    path.with_name("note").write_bytes(made.close())


def main(quick: bool) -> dict[str, object]:
    """Measure reading, checking, and the library, in turns."""
    events = QUICK if quick else EVENTS
    figures: dict[str, object] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as name:
        for count in (QUICK, events) if not quick else (QUICK,):
            folder = Path(name, str(count))
            folder.mkdir()
            _make(folder / "refunds.db", count)
            times = 3 if count == QUICK else 1
            runs = {what: _measured(folder / "refunds.db", what, times) for what in ("read", "verify", "deep")}
            rate = {what: count / run["seconds"] for what, run in runs.items()}
            figures |= {
                f"{count:,} events: read (events/s)": round(rate["read"]),
                f"{count:,} events: verified (events/s)": round(rate["verify"]),
                f"{count:,} events: share of the kernel": round(
                    runs["verify"]["kernel"] / runs["verify"]["seconds"], 2
                ),
                f"{count:,} events: verified with --deep (events/s)": round(rate["deep"]),
                f"{count:,} events: verified / read, in time": round(rate["read"] / rate["verify"], 2),
                f"{count:,} events: memory (MB)": round(runs["verify"]["megabytes"]),
            }
            (folder / "refunds.db").unlink()
            if count == QUICK:
                library = _library(2_000)
                figures["the library's aggregates, loaded (events/s)"] = round(library)
                figures["verified / loaded with the library, in speed"] = round(rate["verify"] / library, 1)
    return figures


if __name__ == "__main__":
    if "--child" in sys.argv:
        print(json.dumps(_child(Path(sys.argv[2]), sys.argv[3], sys.argv[4])))
    else:
        for name, figure in main("--quick" in sys.argv).items():
            print(f"{name:64} {figure}")
