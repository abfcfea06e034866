"""The course of the demo: the naive loop first, then Refundry with killed workers, then the audit.

The rule of this module: it acts as a platform and an operator would, through the command line and the gateway, and
announces everything that it breaks as its own doing.
"""

import asyncio
import json
import signal
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Final

import attrs
from rich.console import Console

from refundry.cli.demo.faults import LATEST, RETRIED, plan_faults
from refundry.cli.demo.ledgers import Comparison, compare
from refundry.cli.demo.naive import ControlRun, run_naive_loop
from refundry.cli.demo.processes import CommandLine
from refundry.cli.demo.providers import DemoRefund, Simulators, new_refunds, open_simulators, write_csv
from refundry.cli.demo.report import audit_lines, print_report
from refundry.cli.exit_status import ExitStatus
from refundry.errors import ConfigError, Invalid, RefundryError
from refundry.formatting import counted
from refundry.gateway import Gateway, RefundRequest
from refundry.inputs import Operator
from refundry.journal import Row
from refundry.refund import FINAL, Status

__all__ = ["run_demo"]

KILLS: Final = 5
TOO_LONG: Final = 300.0
"""Seconds after which the demo gives up with an error."""
_POLL: Final = 0.1


async def run_demo(directory: str | None, *, refunds: int, seed: int, as_json: bool) -> ExitStatus:
    """Run the demo in an empty directory (by default a new one), show what happens and return the exit status.

    Raises `ConfigError` for a directory that cannot be used, and `RefundryError` if a process of the demo fails.
    """
    place = Path(directory or tempfile.mkdtemp(prefix="refundry-demo-")).absolute()
    _check_place(place)
    out = Console(stderr=as_json, highlight=False, markup=False, emoji=False)
    try:
        async with asyncio.timeout(TOO_LONG):
            verdict, comparison, control = await _Demo(place, refunds, seed, out).run()
    except TimeoutError:
        raise RefundryError(f"the demo did not end within {TOO_LONG:g} seconds; its files are in {place}") from None
    if as_json:
        print(json.dumps(verdict, ensure_ascii=False))
    else:
        print_report(out, verdict, comparison.accounts, control)
    return ExitStatus.DONE if verdict["agree"] else ExitStatus.DIFFERENCE


def _check_place(place: Path) -> None:
    try:
        place.mkdir(parents=True, exist_ok=True)
        if any(place.iterdir()):
            raise ConfigError("DIRECTORY", f"{place} is not empty; name a new directory")
        (place / "refundry.toml").touch()
    except OSError as error:
        raise ConfigError("DIRECTORY", f"cannot use {place}: {error.strerror or type(error).__name__}") from None


class _Demo:
    def __init__(self, place: Path, count: int, seed: int, out: Console) -> None:
        self._place = place
        self._count = count
        self._random = Random(seed)  # chooses amounts and faults, guards nothing
        self._out = out
        self._command = CommandLine(place / "refundry.toml", place / "logs")
        self._kills = 0
        self._decisions = 0

    async def run(self) -> tuple[dict[str, Any], Comparison, ControlRun]:
        """Run everything; return the verdict as JSON values, and what it is made of."""
        async with AsyncExitStack() as stack:
            simulators = await open_simulators(stack, self._command)
            names = [account.name for account in simulators.accounts]
            self._say(f"Simulated providers, each in a process of its own: {', '.join(names)}", "bold")
            refunds = new_refunds(simulators.accounts, self._count, self._random)
            write_csv(self._place / "refunds.csv", refunds)
            ids = {name: [each.refund_request_id for each in refunds if each.account.name == name] for name in names}
            plugins = {account.name: account.opened.plugin for account in simulators.accounts}
            planned = plan_faults(plugins, ids, self._random)
            faults = f"{counted(len(planned.met), 'fault')} of {len(planned.counts)} types"
            self._say(f"{counted(len(refunds), 'refund')}; injected by the demo: {faults}. Files: {self._place}")

            self._say("A naive retry loop, for comparison", "bold")
            await simulators.inject(planned.rules)
            control = await run_naive_loop(simulators, refunds, planned.met)
            twice = counted(len(control.paid_twice), "payment")
            self._say(f"  {counted(control.calls, 'call')}; {twice} refunded more than once")

            self._say("Refundry, with the same refunds and the same faults", "bold")
            await simulators.reset()
            await simulators.inject(planned.rules)
            comparison, injected = await self._refundry(stack, simulators, refunds)
        self._say("Audit", "bold")
        audit = await self._audit()
        verdict = {
            "directory": str(self._place),
            "refunds": len(refunds),
            "faults_planned": dict(planned.counts),
            "faults_injected": dict(injected),
            "kills": self._kills,
            "operator_decisions": self._decisions,
            "requested_again": comparison.requested_again,
            "accounts": {name: tally.as_json() for name, tally in comparison.accounts.items()},
            "wrong": dict(comparison.wrong),
            "naive": control.as_json(),
            "audit": audit,
            "agree": comparison.agrees and all(audit.values()),
        }
        return verdict, comparison, control

    async def _refundry(
        self, stack: AsyncExitStack, simulators: Simulators, refunds: Sequence[DemoRefund]
    ) -> tuple[Comparison, Counter[str]]:
        await self._command.run("init", "init")
        await self._command.run("import", "import", str(self._place / "refunds.csv"))
        port = str(simulators.notifications_port)
        serve = await stack.enter_async_context(self._command.started("serve", "serve", "--port", port, "--json"))
        # One provider never repeats a notification, so nothing is refunded before the service listens.
        await self._command.first_line("serve", serve)
        async with Gateway.open(self._command.config) as gateway:
            await self._process(gateway, simulators)
            ledgers = await simulators.ledgers()
            rows = await self._rows(gateway)
        injected: Counter[str] = Counter()
        for ledger in ledgers.values():
            injected.update(ledger["faults"])
        return compare(refunds, rows, ledgers), injected

    # --- processing ---------------------------------------------------------------------------------------------------

    async def _process(self, gateway: Gateway, simulators: Simulators) -> None:
        """Run a worker, kill it, run another; do the operator's part in between; end when nothing is left to do."""
        while True:
            async with self._command.started("work", "work", "--until-idle", "--json") as worker:
                await self._watch(gateway, worker)
            if worker.returncode not in (0, -signal.SIGKILL):
                raise self._command.failure("work", f"the worker ended with status {worker.returncode}")
            if worker.returncode == 0 and not (await self._fix(gateway) or await self._decide(gateway, simulators)):
                return

    async def _watch(self, gateway: Gateway, worker: asyncio.subprocess.Process) -> None:
        """Show the progress until the worker ends; kill it when the next share of the refunds is final."""
        ended = asyncio.create_task(worker.wait())
        shown = -1
        while not ended.done():
            counts = Counter([row.status for row in await self._rows(gateway)])
            final = counts[Status.SETTLED] + counts[Status.FAILED]
            if final != shown and final >= shown + self._count // 10:
                shown = final
                self._say("  " + ", ".join(f"{counts[status]} {status}" for status in Status if counts[status]))
            if self._kills < KILLS and final >= self._count * (self._kills + 1) // (KILLS + 2):
                worker.kill()
                self._kills += 1
                self._say(
                    f"  injected by the demo: SIGKILL to worker {worker.pid}; the next one continues from the log"
                )
                await ended
            await asyncio.wait([ended], timeout=_POLL)

    async def _rows(self, gateway: Gateway) -> Sequence[Row]:
        return await gateway.list(limit=2 * self._count)

    async def _fix(self, gateway: Gateway) -> bool:
        """Resume blocked accounts, as an operator does after a fix; return whether there are any."""
        blocked = [name for name in gateway.accounts if await gateway.journal.blocked(name)]
        for name in blocked:
            self._say(f"  account {name} is blocked by a configuration fault; the demo fixes and resumes it")
            await gateway.resume_account(name, Operator(by="demo", why="the configuration is fixed"))
        return bool(blocked)

    async def _decide(self, gateway: Gateway, simulators: Simulators) -> bool:
        """Decide refunds on hold as an operator does who asks the provider; return whether there are any."""
        rows = await gateway.list(review=True, limit=2 * self._count)
        on_hold = [row for row in rows if row.status not in FINAL]
        if on_hold:
            # "No record of it" means something only once a request can no longer be processed late.
            newest = max(row.updated_at for row in on_hold)
            await asyncio.sleep(max(0.0, LATEST + 1 - (datetime.now(UTC) - newest).total_seconds()))
        ledgers = await simulators.ledgers() if on_hold else {}
        for row in on_hold:
            await self._decide_one(gateway, row, ledgers[row.account])
        if on_hold:
            self._say(f"  {counted(len(on_hold), 'refund')} on hold: the demo's operator asks the provider and decides")
        self._decisions += len(on_hold)
        return bool(on_hold)

    async def _decide_one(self, gateway: Gateway, row: Row, ledger: Mapping[str, Any]) -> None:
        refund = await gateway.get(row.id)
        if refund.blocked is not None:
            await gateway.resume(row.id, Operator(by="demo", why="the cause is fixed"))
            return
        known = [item for item in ledger["refunds"] if item["refund_request_id"] == row.refund_request_id]
        settled = any(item["moved"] for item in known)
        found = "it was paid" if settled else "it was refused" if known else "the provider has no record of it"
        # The demo knows what the provider did, and injects faults into the answers.
        await gateway.resolve(
            row.id, Operator(by="demo", why=found), settled=settled, version=refund.version, offline=True,
            against_evidence=True,
        )  # fmt: skip
        if not known:
            # The customer is still owed the money: a new refund, with a new id, that names the one it replaces.
            again = RefundRequest(
                account=refund.account,
                payment=refund.payment,
                amount=refund.amount,
                refund_request_id=f"{refund.refund_request_id}{RETRIED}",
                retry_of=refund.refund_request_id,
                by="demo",
            )
            try:
                await gateway.request(again, submit=False)
            except Invalid as error:
                if error.field != "retry_of":
                    raise
                # No answer of this provider confirms that a refund failed, so it is a refund of its own.
                await gateway.request(attrs.evolve(again, retry_of=None), submit=False)

    # --- the audit ----------------------------------------------------------------------------------------------------

    async def _audit(self) -> dict[str, bool]:
        """Verify and replay the log; change one byte of a copy, and check that this is detected."""
        copy = self._place / "copy.db"
        await asyncio.to_thread(_change_one_byte, self._place / "refunds.db", copy)
        signer = str(self._place / "refunds.db.audit")
        verified, replayed, tampered = await asyncio.gather(
            self._audited("verify"), self._audited("replay"), self._audited("verify", str(copy), "--directory", signer)
        )
        findings = json.loads(tampered[1])["findings"]
        audit = {"intact": verified[0], "replay_matches": replayed[0], "tampering_found": not tampered[0]}
        for line in audit_lines(audit):
            self._say(line)
        for finding in findings[:1]:
            self._say(f"    {finding['where']}: {finding['text']}")
        return audit

    async def _audited(self, *arguments: str) -> tuple[bool, bytes]:
        """Run an audit; return whether it found nothing, and its output."""
        expected = (ExitStatus.DONE, ExitStatus.DIFFERENCE)
        status, out = await self._command.run("audit", "audit", *arguments, "--json", expected=expected)
        return status == ExitStatus.DONE, out

    def _say(self, text: str, style: str = "") -> None:
        self._out.print(text, style=style or None, soft_wrap=True)


def _change_one_byte(store: Path, copy: Path) -> None:
    """Copy a store, and change one digit of the first amount in the copy."""
    with closing(sqlite3.connect(store)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        rowid, state = target.execute("SELECT min(rowid), state FROM stored_events").fetchone()
        head, name, tail = bytes(state).partition(b'"minor":')
        digit = b"2" if tail[:1] == b"1" else b"1"
        target.execute("UPDATE stored_events SET state=? WHERE rowid=?", (head + name + digit + tail[1:], rowid))
        target.commit()
