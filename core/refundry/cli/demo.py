"""`refundry demo`: the whole thing on loopback, with everything that goes wrong going wrong.

The rule of this module: nothing is staged. Each account is at a simulator in a process of its own, the worker is a
process that is killed with SIGKILL, and the verdict compares our events with the simulators' books, which know nothing
of us.
"""

import asyncio
import csv
import json
import random
import signal
import socket
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final

import aiohttp
import attrs
from rich.console import Console
from rich.table import Table

from refundry.config import Account, open_accounts, read_config
from refundry.errors import ConfigError, Invalid, RefundryError
from refundry.gateway import Gateway
from refundry.inputs import Operator
from refundry.money import Money
from refundry.plugin_host import load_plugins
from refundry.plugin_host.interfaces import SimulatorPlugin
from refundry.provider import Breaker, Code, CodeClass, ProviderPlugin, RefundInstruction
from refundry.refund import FINAL, Status

KILLS: Final = 5
EACH: Final = 1
"""How many refunds of each account meet each fault."""
TOO_LONG: Final = 300.0
"""Seconds after which the demo gives up and says so."""

FAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "the request is lost": {"fault": "drop_request", "operation": "refund"},
    "the answer is lost": {"fault": "drop_response", "operation": "refund"},
    "the answer never comes": {"fault": "drop_response", "operation": "refund", "how": "hang"},
    "the answer comes late": {"fault": "delay", "operation": "refund", "seconds": "1.5"},
    "the work is done late": {"fault": "delay", "operation": "refund", "seconds": "2.5", "late": True},
    "the request arrives twice": {"fault": "duplicate", "operation": "refund"},
    "the notification overtakes the reply": {"fault": "reorder", "operation": "refund", "hold": "0.5"},
    "an HTML page": {"fault": "corrupt", "operation": "refund", "kind": "html"},
    "half a JSON": {"fault": "corrupt", "operation": "refund", "kind": "half_json"},
    "ten megabytes": {"fault": "corrupt", "operation": "refund", "kind": "huge"},
    "ten thousand brackets": {"fault": "corrupt", "operation": "refund", "kind": "brackets"},
    "duplicate keys": {"fault": "corrupt", "operation": "refund", "kind": "duplicate_keys"},
    "HTTP 500": {"fault": "corrupt", "operation": "refund", "kind": "http_500"},
    "a redirect": {"fault": "corrupt", "operation": "refund", "kind": "redirect"},
    "signed with another key": {"fault": "bad_signature", "operation": "refund"},
    "not signed": {"fault": "bad_signature", "operation": "refund", "how": "unsigned"},
    "another amount": {"fault": "wrong_amount", "operation": "refund", "more": 100},
    "another currency": {"fault": "wrong_currency", "operation": "refund"},
    "another refund's answer": {"fault": "other_refund", "operation": "refund"},
    "the inquiry's answer is lost": {"fault": "drop_response", "operation": "inquiry"},
    "the notification comes twice": {"fault": "duplicate", "operation": "notification"},
    "the notification is badly signed": {"fault": "bad_signature", "operation": "notification"},
}
CODES: Final[Mapping[str, tuple[tuple[CodeClass, ...], Mapping[str, Any]]]] = {
    "a code: not known, nothing done": ((CodeClass.INDETERMINATE, CodeClass.RETRY), {}),
    "a code: call again": ((CodeClass.RETRY,), {}),
    "a code: trouble there, yet done": (
        (CodeClass.FAILED_UNCONFIRMED, CodeClass.RETRY, CodeClass.INDETERMINATE),
        {"work": "do"},
    ),
    "a code: refused, and a new refund is needed": ((CodeClass.FAILED_NEW_ID,), {}),
    "a code: refused": ((CodeClass.FAILED,), {}),
}
"""The provider's own codes, chosen by what they mean: the first class that it has a code of."""
_BLOCKS: Final = "a code: the account is blocked until a person mends it"
_CURRENCIES: Final = ("EUR", "CAD", "CNY", "USD")

_TERMS: Final = """
[accounts.{name}.terms]
timeout = 2
first_inquiry = 0.5
inquiry_intervals = [0.5, 1, 2]
not_found_interval = 0.5
not_found_tries = 3
resend_delay = 0.5
requests_per_second = 40
"""


@attrs.frozen
class _Account:
    name: str
    simulator: str
    url: str
    currency: str = ""


async def run_demo(directory: str | None, *, refunds: int, seed: int, as_json: bool) -> int:
    """Run the demo in an empty directory (a new one by default), show what happens and give the exit status.

    It is 0 if the books agree and 5 if they do not. Raises `ConfigError` for a directory that cannot be used and
    `RefundryError` if a process of the demo fails.
    """
    place = Path(directory or tempfile.mkdtemp(prefix="refundry-demo-")).absolute()
    _check_place(place)
    out = Console(stderr=as_json, highlight=False)
    demo = _Demo(place, refunds, seed, out)
    try:
        async with asyncio.timeout(TOO_LONG):
            verdict = await demo.run()
    except TimeoutError:
        raise RefundryError(f"the demo did not end within {TOO_LONG:g} seconds; its files are in {place}") from None
    if as_json:
        print(json.dumps(verdict, ensure_ascii=False))
    else:
        demo.show(verdict)
    return 0 if verdict["agree"] else 5


def _check_place(place: Path) -> None:
    try:
        place.mkdir(parents=True, exist_ok=True)
        if any(place.iterdir()):
            raise ConfigError("DIRECTORY", f"{place} is not empty; give a new one")
        (place / "refundry.toml").touch()
    except OSError as error:
        raise ConfigError("DIRECTORY", f"{place} cannot be used: {error.strerror or type(error).__name__}") from None


class _Demo:
    def __init__(self, place: Path, refunds: int, seed: int, out: Console) -> None:
        self._place = place
        self._count = refunds
        self._random = random.Random(seed)  # chooses which refund meets which fault, guards nothing
        self._out = out
        self._config = place / "refundry.toml"
        self._kills = 0
        self._decided = 0
        self._accounts: Sequence[_Account] = ()
        self._opened: Mapping[str, Account] = {}

    async def run(self) -> dict[str, Any]:
        async with AsyncExitStack() as stack:
            accounts = self._with_currencies(await self._providers(stack))
            self._accounts = accounts
            instructions = self._instructions(accounts)
            met = await self._plan_faults(accounts, instructions)
            self._say(f"{len(instructions)} refunds, {sum(met.values())} of them meet a fault; files in {self._place}")
            await self._run_to_end("import", str(self._place / "refunds.csv"))
            serve = await stack.enter_async_context(
                _process(self._command("serve", "--port", str(self._port), "--json"))
            )
            # One provider tells once and never again: nobody refunds before there is somebody to be told.
            await _first_line(serve, "the service for notifications")
            async with Gateway.open(self._config) as gateway:
                await self._process(gateway)
                ledger = {account.name: await _ledger(account.url) for account in accounts}
                verdict = await self._compare(gateway, instructions, ledger, met)
        verdict["audit"] = await self._audit()
        verdict["agree"] = verdict["agree"] and all(verdict["audit"].values())
        return verdict

    # --- setting up ---------------------------------------------------------------------------------------------------

    async def _providers(self, stack: AsyncExitStack) -> list[_Account]:
        """Start every simulator twice and write the configuration.

        One account of each settles at once, the other later.
        """
        self._port = _free_port()
        accounts, sections = [], ['store = "sqlite:///refunds.db"\n']
        for name, plugin in sorted(load_plugins().simulators().items()):
            for mode in ("sync", "async"):
                account, section = await self._provider(stack, name, plugin, mode)
                accounts.append(account)
                sections.append(section + _TERMS.format(name=account.name))
        self._config.write_text("\n".join(sections), "utf-8")
        return accounts

    async def _provider(
        self, stack: AsyncExitStack, name: str, plugin: SimulatorPlugin, mode: str
    ) -> tuple[_Account, str]:
        keys = self._place / f"keys-{name}"
        options = {"mode": mode, "async_delay": "0.4", "time_scale": "0.005", "notify_sync": "true"}
        arguments = [part for item in options.items() for part in ("--option", "=".join(item))]
        process = await stack.enter_async_context(
            _process(self._command("simulate", name, "--port", "0", "--keys", str(keys), "--json", *arguments))
        )
        url = (await _first_line(process, f"the simulator of {name}"))["url"]
        account = _Account(f"{name}-{mode}", name, url)
        notify = f"http://127.0.0.1:{self._port}/notifications/{account.name}"
        self._say(f"{account.name}: an account at a simulated provider, in process {process.pid} on {url}")
        return account, plugin.account_section(account.name, url, keys, notify)

    def _with_currencies(self, accounts: Sequence[_Account]) -> list[_Account]:
        """Give each account a currency that its provider takes."""
        self._opened = open_accounts(read_config(self._config), load_plugins())
        return [attrs.evolve(account, currency=_currency(self._opened[account.name])) for account in accounts]

    def _instructions(self, accounts: Sequence[_Account]) -> dict[str, tuple[_Account, int]]:
        """Write the CSV file; give for every id its account and its amount in cents."""
        instructions: dict[str, tuple[_Account, int]] = {}
        with (self._place / "refunds.csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["account", "payment", "amount", "currency", "id", "reason", "payment_total"])
            for number in range(self._count):
                account = accounts[number % len(accounts)]
                id, cents = f"DEMO-{number:05d}", self._random.randint(1, 99_999)
                payment, total = f"PAY-{number:05d}", f"{cents // 100 + 1000}.00"
                rows.writerow([account.name, payment, _decimal(cents), account.currency, id, "demo", total])
                instructions[id] = account, cents
        return instructions

    async def _plan_faults(
        self, accounts: Sequence[_Account], instructions: Mapping[str, tuple[_Account, int]]
    ) -> Counter[str]:
        met: Counter[str] = Counter()
        async with aiohttp.ClientSession() as session:
            for account in accounts:
                mine = [id for id, (owner, _) in instructions.items() if owner is account]
                self._random.shuffle(mine)
                # The one that blocks comes last in the file: what came before it shows the account at work.
                last = max(mine)
                mine.remove(last)
                faults, blocking = _faults_of(self._opened[account.name].plugin)
                for what, rule in faults.items():
                    for id in [mine.pop() for _ in range(EACH) if mine]:
                        await _control(session, account.url, dict(rule) | {"refund_request_id": id})
                        met[what] += 1
                if blocking is not None:
                    await _control(session, account.url, dict(blocking) | {"refund_request_id": last})
                    met[_BLOCKS] += 1
        return met

    # --- driving ------------------------------------------------------------------------------------------------------

    async def _process(self, gateway: Gateway) -> None:
        """Run the worker, kill it, run it again; mend what blocks an account; stop when nothing is left."""
        while True:
            async with _process(self._command("work", "--until-idle", "--json")) as worker:
                await self._watch(gateway, worker)
            if worker.returncode == 0 and not (await self._mend(gateway) or await self._decide(gateway)):
                return
            if worker.returncode not in (0, -signal.SIGKILL):
                raise RefundryError(f"the worker ended with status {worker.returncode}")

    async def _watch(self, gateway: Gateway, worker: asyncio.subprocess.Process) -> None:
        """Show how it goes until the worker ends; kill it when the next share of the refunds is done."""
        ended = asyncio.create_task(worker.wait())
        shown = -1
        while not ended.done():
            counts = await self._counts(gateway)
            final = counts[Status.SETTLED] + counts[Status.FAILED]
            if final != shown and final >= shown + self._count // 10:
                shown = final
                self._say("  " + ", ".join(f"{counts[status]} {status}" for status in Status if counts[status]))
            if self._kills < KILLS and final >= self._count * (self._kills + 1) // (KILLS + 2):
                worker.kill()
                self._kills += 1
                self._say(f"  SIGKILL to the worker in process {worker.pid}; a new one goes on from the log")
                await ended
            await asyncio.wait([ended], timeout=0.05)

    async def _counts(self, gateway: Gateway) -> Counter[Status]:
        return Counter([row.status for row in await gateway.list(limit=self._count + 1)])

    async def _mend(self, gateway: Gateway) -> bool:
        """Do what the person does whom the blocked accounts call; say whether there was any."""
        mended = False
        for name in gateway.accounts:
            if await gateway.journal.blocked(name):
                self._say(f"  {name} is blocked: something is wrong with it there; a person mends it, and resumes it")
                await self._run_to_end("resume", "--account", name, "--by", "demo", "--why", "what was wrong is mended")
                mended = True
        return mended

    async def _decide(self, gateway: Gateway) -> bool:
        """Do what the person does who is called to single refunds: mend what blocks one, or ask the provider."""
        rows = await gateway.list(review=True, limit=self._count + 1)
        waiting = [row for row in rows if row.due_at is None and row.status not in FINAL]
        urls = {account.name: account.url for account in self._accounts}
        ledger = {name: await _ledger(urls[name]) for name in {row.account for row in waiting}}
        for row in waiting:
            refund = await gateway.get(row.id)
            if refund.blocked is not None:
                await gateway.resume(row.id, Operator(by="demo", why="what was wrong is mended"))
                continue
            moved = any(item["refund_request_id"] == row.refund_request_id for item in ledger[row.account]["movements"])
            why = f"the provider, asked by a person, has {'paid it' if moved else 'not paid it and never will'}"
            await gateway.resolve(row.id, Operator(by="demo", why=why), settled=moved)
        if waiting:
            self._say(f"  {len(waiting)} refunds need a person, who asks the provider and decides")
        self._decided += len(waiting)
        return bool(waiting)

    # --- the verdict --------------------------------------------------------------------------------------------------

    async def _compare(
        self,
        gateway: Gateway,
        instructions: Mapping[str, tuple[_Account, int]],
        ledger: Mapping[str, Any],
        met: Counter[str],
    ) -> dict[str, Any]:
        theirs = {name: {item["refund_request_id"]: item for item in book["refunds"]} for name, book in ledger.items()}
        ours = await gateway.list(limit=self._count + 1)
        currencies = {account.name: account.currency for account in self._accounts}
        accounts = {name: _Tally.of_movements(book["movements"], currencies[name]) for name, book in ledger.items()}
        wrong: dict[str, list[str]] = {"paid twice": [], "lost": [], "still open": [], "not as the provider has it": []}
        for row in ours:
            tally, item = accounts[row.account], theirs[row.account].get(row.refund_request_id)
            moved = 0 if item is None else item["moved"]
            tally.add(row.status, row.amount.minor)
            if moved > 1:
                wrong["paid twice"].append(row.refund_request_id)
            if row.status not in (Status.SETTLED, Status.FAILED):
                wrong["still open"].append(row.refund_request_id)
            elif moved != (row.status is Status.SETTLED) or (item is not None and len(item["bodies"]) > 1):
                wrong["not as the provider has it"].append(row.refund_request_id)
        wrong["lost"] = sorted(set(instructions) - {row.refund_request_id for row in ours})
        happened = Counter[str]()
        for book in ledger.values():
            happened.update(book["faults"])
        return {
            "directory": str(self._place),
            "refunds": len(ours),
            "kills": self._kills,
            "decided by a person": self._decided,
            "accounts": {name: attrs.asdict(tally) for name, tally in accounts.items()},
            "wrong": wrong,
            "planned": dict(met),
            "faults": dict(happened),
            "agree": not any(wrong.values()) and all(tally.agrees for tally in accounts.values()),
        }

    # --- the audit ----------------------------------------------------------------------------------------------------

    async def _audit(self) -> dict[str, bool]:
        """Check the log and read it again; change one byte of a copy, and see whether that is found."""
        verified, _ = await self._audited("verify")
        replayed, _ = await self._audited("replay")
        copy = self._place / "copy.db"
        await asyncio.to_thread(_change_one_byte, self._place / "refunds.db", copy)
        unseen, out = await self._audited("verify", str(copy), "--directory", str(self._place / "refunds.db.audit"))
        if not unseen:
            first = json.loads(out)["findings"][0]
            self._say(f"one byte of a copy is changed, and found: {first['where']}: {first['text']}")
        return {
            "the log is intact": verified,
            "read again, it says the same": replayed,
            "one changed byte of a copy is found": not unseen,
        }

    async def _audited(self, *arguments: str) -> tuple[bool, bytes]:
        """Run an audit; say whether nothing was found, and give what it printed."""
        process = await asyncio.create_subprocess_exec(
            *self._command("audit", *arguments, "--json"), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        if process.returncode not in (0, 5):
            raise RefundryError(f"refundry audit {arguments[0]} ended with status {process.returncode}")
        return process.returncode == 0, out

    def show(self, verdict: Mapping[str, Any]) -> None:
        """Print the verdict as a table."""
        table = Table(title="our events beside the providers' books", title_justify="left", box=None, pad_edge=False)
        for column in ("account", "settled", "failed", "open", "settled here", "moved there", "moves"):
            table.add_column(column, justify="left" if column == "account" else "right", no_wrap=True)
        for name, tally in verdict["accounts"].items():
            sums = [f"{_decimal(tally[part])} {tally['currency']}" for part in ("settled_cents", "moved_cents")]
            counts = (str(tally[part]) for part in ("settled", "failed", "open"))
            table.add_row(name, *counts, *sums, str(tally["moves"]))
        self._out.print(table)
        faults = ", ".join(f"{name} {count}" for name, count in sorted(verdict["faults"].items()))
        self._out.print(f"faults that happened: {faults}; SIGKILLs: {verdict['kills']}")
        for what, ids in verdict["wrong"].items():
            self._out.print(f"{what}: {', '.join(ids) if ids else 'nothing'}")
        for what, holds in verdict["audit"].items():
            self._out.print(f"{what}: {'yes' if holds else 'NO'}")
        self._out.print("the books agree to the cent" if verdict["agree"] else "THE BOOKS DO NOT AGREE")
        self._out.print(f"look around: refundry --config {self._config} list")

    # --- processes ----------------------------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        self._out.print(text, soft_wrap=True)

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "refundry", "--config", str(self._config), *arguments]

    async def _run_to_end(self, *arguments: str) -> None:
        process = await asyncio.create_subprocess_exec(*self._command(*arguments), stdout=asyncio.subprocess.DEVNULL)
        if await process.wait():
            raise RefundryError(f"refundry {arguments[0]} ended with status {process.returncode}")


@attrs.define
class _Tally:
    currency: str
    settled: int = 0
    failed: int = 0
    open: int = 0
    settled_cents: int = 0
    moves: int = 0
    moved_cents: int = 0

    @classmethod
    def of_movements(cls, movements: Sequence[Mapping[str, Any]], currency: str) -> "_Tally":
        moved = (Money.parse(movement["amount"]["value"], movement["amount"]["currency"]) for movement in movements)
        return cls(currency=currency, moves=len(movements), moved_cents=sum(amount.minor for amount in moved))

    def add(self, status: Status, cents: int) -> None:
        self.settled += status is Status.SETTLED
        self.failed += status is Status.FAILED
        self.open += status not in (Status.SETTLED, Status.FAILED)
        self.settled_cents += cents if status is Status.SETTLED else 0

    @property
    def agrees(self) -> bool:
        return self.settled == self.moves and self.settled_cents == self.moved_cents


@asynccontextmanager
async def _process(command: Sequence[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a process, and end it at the end."""
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _change_one_byte(store: Path, copy: Path) -> None:
    """Copy a store, and change one digit of the first amount in it."""
    with closing(sqlite3.connect(store)) as there, closing(sqlite3.connect(copy)) as here:
        there.backup(here)
        rowid, state = here.execute("SELECT min(rowid), state FROM stored_events").fetchone()
        head, name, tail = bytes(state).partition(b'"minor":')
        digit = b"2" if tail[:1] == b"1" else b"1"
        here.execute("UPDATE stored_events SET state=? WHERE rowid=?", (head + name + digit + tail[1:], rowid))
        here.commit()


async def _first_line(process: asyncio.subprocess.Process, what: str) -> Any:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise RefundryError(f"{what} did not start")
    return json.loads(line)


async def _control(session: aiohttp.ClientSession, url: str, rule: Mapping[str, Any]) -> None:
    async with session.post(f"{url}/control/faults", json=rule) as response:
        if response.status != 200:
            raise RefundryError(f"the simulator refused a fault: {await response.text()}")


async def _ledger(url: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/control/ledger") as response:
        return await response.json()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _currency(account: Account) -> str:
    for currency in _CURRENCIES:
        try:
            amount = Money(100, currency, account.provider.exponent(currency))
            account.provider.check(RefundInstruction("DEMO", "PAY", amount))
        except Invalid:
            continue
        return currency
    raise RefundryError(f"{account.plugin.name} takes none of {', '.join(_CURRENCIES)}")


def _faults_of(plugin: ProviderPlugin) -> tuple[Mapping[str, Mapping[str, Any]], Mapping[str, Any] | None]:
    """Give the faults with the provider's own codes, and the one that blocks an account, if it has such a code."""
    codes = plugin.codes["refund"].values()
    chosen = {}
    for what, (classes, more) in CODES.items():
        by_class = {code.meaning: code for code in reversed(list(codes))}
        code = next((by_class[meaning] for meaning in classes if meaning in by_class), None)
        if code is not None:
            chosen[what] = {**_answer(code), **more}
    blocking = next(
        (code for code in codes if code.meaning is CodeClass.MISCONFIGURED and code.breaker == Breaker.ACCOUNT), None
    )
    return {**FAULTS, **chosen}, None if blocking is None else _answer(blocking)


def _answer(code: Code) -> dict[str, Any]:
    return {"fault": "answer", "operation": "refund", "code": code.code}


def _decimal(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"
