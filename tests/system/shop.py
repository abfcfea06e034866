"""A shop for the system tests: simulated providers on loopback, one store, and the judge that compares both records."""

import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs

from refundry.gateway import Gateway
from refundry.gateway.request import RefundRequest
from refundry.journal import Row
from refundry.journal.stores import create_store
from refundry.refund import Status, fold
from refundry.testing.simulator.settings import Keys
from refundry_antom.simulator import PLUGIN, AntomSettings, AntomSimulator
from tests.ports import free_port

MODES: Final[Mapping[str, Mapping[str, Any]]] = {
    "now": {"mode": "sync", "notify_sync": True},
    "later": {"mode": "async", "async_delay": 0.15},
}
"""The accounts, by name, with how their provider behaves."""
TERMS: Final = """
[accounts.{name}.terms]
timeout = 1
first_inquiry = 0.2
inquiry_intervals = [0.2, 0.4]
not_found_interval = 0.2
not_found_tries = 2
resend_delay = 0.2
max_attempts = 100
"""
FINAL: Final = (Status.SETTLED, Status.FAILED)


@attrs.frozen
class RefundInstruction:
    """A refund that the platform wants."""

    account: str
    id: str
    cents: int
    submit: bool = False

    @property
    def request(self) -> RefundRequest:
        """What `Gateway.request` takes."""
        return RefundRequest(
            account=self.account,
            payment=f"PAY-{self.id}",
            amount=f"{self.cents // 100}.{self.cents % 100:02d}",
            currency="EUR",
            refund_request_id=self.id,
        )


def instructions(
    prefix: str, count: int, dice: random.Random, accounts: Sequence[str] = tuple(MODES)
) -> list[RefundInstruction]:
    """Make orders, some of which make the first attempt at once."""
    return [
        RefundInstruction(
            accounts[number % len(accounts)], f"{prefix}-{number:05d}", dice.randint(1, 99_999), number % 3 > 0
        )
        for number in range(count)
    ]


@attrs.frozen
class Shop:
    """One configuration, and the providers behind it."""

    directory: Path
    providers: Mapping[str, AntomSimulator]
    port: int
    """Where the providers send their notifications."""

    @property
    def config(self) -> Path:
        return self.directory / "refundry.toml"

    def fault(self, name: str, **fields: Any) -> None:
        """Inject a fault at every provider."""
        for provider in self.providers.values():
            provider.fault(name, **fields)

    def clear_faults(self) -> None:
        for provider in self.providers.values():
            provider.clear_faults()


@asynccontextmanager
async def open_shop(
    directory: Path, keys: Keys, *, accounts: Sequence[str] = tuple(MODES), seed: int = 0
) -> AsyncIterator[Shop]:
    """Start the providers and write the configuration; stop them at the end."""
    port, sections = free_port(), ['store = "sqlite:///refunds.db"\n']
    async with AsyncExitStack() as stack:
        providers = {}
        for name in accounts:
            # Repeated after 0.6 s, and again after 3 s.
            settings = AntomSettings(keys=keys, time_scale=0.005, seed=seed, **MODES[name])
            providers[name] = await stack.enter_async_context(AntomSimulator(settings))
            notify = f"http://127.0.0.1:{port}/notifications/{name}"
            sections.append(PLUGIN.account_section(name, providers[name].url, keys.directory, notify))
            sections.append(TERMS.format(name=name))
        shop = Shop(directory, providers, port)
        shop.config.write_text("\n".join(sections), "utf-8")
        create_store(directory / "refunds.db")
        yield shop


def seed_of_this_run() -> int:
    """Return the seed: the one that is asked for, always the same in CI unless it is a campaign, else a new one."""
    asked = os.environ.get("REFUNDRY_SEED")
    if asked is not None:
        return int(asked)
    fixed = "CI" in os.environ and "REFUNDRY_KILLS" not in os.environ
    return 1122 if fixed else random.SystemRandom().randrange(1_000_000)


# --- the judge --------------------------------------------------------------------------------------------------------


async def all_rows(gateway: Gateway) -> list[Row]:
    """Return the index row of every refund."""
    rows: list[Row] = []
    while page := await gateway.list(after=rows[-1].id if rows else ""):
        rows += page
    return rows


async def judge(shop: Shop, gateway: Gateway, acknowledged: Sequence[RefundInstruction]) -> list[str]:
    """Compare Refundry's log with the providers' ledgers, which are independent of it; return every difference."""
    rows = await all_rows(gateway)
    moved = {name: provider.ledger.moved() for name, provider in shop.providers.items()}
    wrong = []
    for row in rows:
        wrong += await _judge_one(shop, gateway, row, moved[row.account][row.refund_request_id])
    ours = {(row.account, row.refund_request_id): row for row in rows}
    for instruction in acknowledged:
        kept = ours.get((instruction.account, instruction.id))
        if kept is None or kept.amount.minor != instruction.cents:
            wrong.append(f"{instruction.id}: acknowledged, and the store has {kept}")
    for name, provider in shop.providers.items():
        wrong += _judge_sums(name, provider, [row for row in rows if row.account == name])
        wrong += [f"{id}: known to {name} and not here" for id in provider.ledger.refunds if (name, id) not in ours]
        if provider.ledger.fired["redirect followed"]:
            wrong.append(f"{name}: a redirect was followed")
    wrong += [f"index: {finding}" async for finding in gateway.journal.compare_index()]
    wrong += [f"unmatched: {unmatched}" for unmatched in await gateway.journal.unmatched()]
    return wrong


async def _judge_one(shop: Shop, gateway: Gateway, row: Row, moved: int) -> list[str]:
    history = await gateway.history(row.id)
    refund = fold(row.id, [item.event for item in history])
    topics = Counter(item.event.topic for item in history)
    there = shop.providers[row.account].ledger.refunds.get(row.refund_request_id)
    checks = {
        f"moved {moved} times": moved <= 1,
        f"is {row.status} here and moved {moved} times there": moved == (row.status is Status.SETTLED),
        f"has not ended: {row.status}, {row.review}, next {refund.next_step}": row.status in FINAL,
        f"needs review: {row.review}": not row.review,
        "has gaps in its versions": [item.version for item in history] == list(range(1, len(history) + 1)),
        f"was requested {topics['requested']} times": topics["requested"] == 1,
        "settled with another amount": refund.settled_amount in (None, refund.amount),
        f"arrived more often than it was submitted: {topics['submitted']}": there is None
        or there.requested <= topics["submitted"],
        "was sent again with other bytes": there is None or len(there.bodies) == 1,
        "has another amount there": there is None or there.amount == row.amount,
    }
    return [f"{row.refund_request_id} {text}" for text, holds in checks.items() if not holds]


def _judge_sums(name: str, provider: AntomSimulator, rows: Sequence[Row]) -> list[str]:
    settled = sum(row.amount.minor for row in rows if row.status is Status.SETTLED)
    moved = sum(movement.amount.minor for movement in provider.ledger.movements)
    return [] if settled == moved else [f"{name}: {settled} cents settled here, {moved} moved there"]
