"""The simulated providers of the demo, their accounts, and the refunds to make.

The rule of this module: everything that the seed decides about refunds is decided here, before anything is sent.
"""

import asyncio
import csv
import socket
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Any, Final

import aiohttp
import attrs

from refundry.cli.demo.processes import CommandLine
from refundry.config import Account, open_accounts, read_config
from refundry.errors import Invalid, RefundryError
from refundry.money import Money
from refundry.plugin_host import load_plugins
from refundry.plugin_host.interfaces import SimulatorPlugin
from refundry.provider import RefundInstruction

__all__ = ["DemoAccount", "DemoRefund", "Simulators", "new_refunds", "open_simulators", "write_csv"]

LATE: Final = 0.4
"""Seconds until a simulated provider finishes an asynchronous refund."""
_CURRENCIES: Final = ("EUR", "CAD", "CNY", "USD")
_OPTIONS: Final = {"async_delay": f"{LATE}", "time_scale": "0.005", "notify_sync": "true"}
_TERMS: Final = """
[accounts.{name}.terms]
timeout = 2
first_inquiry = 0.5
inquiry_intervals = [0.5, 1, 2]
not_found_interval = 0.5
not_found_tries = 3
resend_delay = 0.5
escalate_after = 15
requests_per_second = 40
"""


@attrs.frozen
class DemoAccount:
    """An account at a simulated provider."""

    name: str
    url: str
    opened: Account
    currency: str


@attrs.frozen
class DemoRefund:
    """One refund to make: each is of a payment of its own."""

    account: DemoAccount
    refund_request_id: str
    payment: str
    amount: Money


@attrs.frozen
class Simulators:
    """The running simulators, by their control APIs."""

    accounts: Sequence[DemoAccount]
    notifications_port: int
    """Where the service for notifications is to listen."""

    async def inject(self, rules: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Add fault rules to the simulator of each account."""
        async with aiohttp.ClientSession() as session:
            for account in self.accounts:
                for rule in rules[account.name]:
                    await _control(session, "POST", f"{account.url}/control/faults", rule)

    async def reset(self) -> None:
        """Make every simulator forget its refunds and its faults."""
        async with aiohttp.ClientSession() as session:
            for account in self.accounts:
                await _control(session, "POST", f"{account.url}/control/reset", {})

    async def ledgers(self) -> Mapping[str, Any]:
        """Return the ledger of each account's simulator."""
        async with aiohttp.ClientSession() as session:
            return {
                account.name: await _control(session, "GET", f"{account.url}/control/ledger", None)
                for account in self.accounts
            }


async def _control(session: aiohttp.ClientSession, method: str, url: str, body: Any) -> Any:
    async with session.request(method, url, json=body) as response:
        if response.status != 200:
            raise RefundryError(f"the simulator refused {method} {url}: {await response.text()}")
        return await response.json()


async def open_simulators(stack: AsyncExitStack, command: CommandLine) -> Simulators:
    """Start two simulators of every provider, one synchronous and one asynchronous, and write the configuration."""
    port = _free_port()
    plugins = load_plugins()
    simulators = sorted(plugins.simulators().items())
    directory = command.config.parent
    await asyncio.gather(
        *(asyncio.to_thread(plugin.make_keys, directory / f"keys-{name}") for name, plugin in simulators)
    )
    starting = [
        _start(stack, command, name, plugin, mode, port) for name, plugin in simulators for mode in ("sync", "async")
    ]
    started = await asyncio.gather(*starting)
    sections = [section for _, _, section in started]
    command.config.write_text("\n".join(['store = "sqlite:///refunds.db"\n', *sections]), "utf-8")
    opened = open_accounts(read_config(command.config), plugins)
    accounts = [DemoAccount(name, url, opened[name], _currency(opened[name])) for name, url, _ in started]
    return Simulators(accounts, port)


async def _start(
    stack: AsyncExitStack, command: CommandLine, provider: str, plugin: SimulatorPlugin, mode: str, port: int
) -> tuple[str, str, str]:
    """Start one simulator; return the account's name, the simulator's URL and the section of the configuration."""
    name, keys = f"{provider}-{mode}", command.config.parent / f"keys-{provider}"
    options = [part for item in (_OPTIONS | {"mode": mode}).items() for part in ("--option", "=".join(item))]
    arguments = ("simulate", provider, "--port", "0", "--keys", str(keys), "--json", *options)
    process = await stack.enter_async_context(command.started(name, *arguments))
    url = str((await command.first_line(name, process))["url"])
    notify = f"http://127.0.0.1:{port}/notifications/{name}"
    return name, url, plugin.account_section(name, url, keys, notify) + _TERMS.format(name=name)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _currency(account: Account) -> str:
    """Return the first of the demo's currencies that the provider accepts."""
    for currency in _CURRENCIES:
        try:
            amount = Money(100, currency, account.provider.exponent(currency))
            account.provider.check(RefundInstruction("DEMO", "PAY", amount))
        except Invalid:
            continue
        return currency
    raise RefundryError(f"{account.plugin.name} accepts none of {', '.join(_CURRENCIES)}")


def new_refunds(accounts: Sequence[DemoAccount], count: int, random: Random) -> Sequence[DemoRefund]:
    """Return the refunds to make, spread evenly over the accounts."""
    return [
        DemoRefund(
            account=(account := accounts[number % len(accounts)]),
            refund_request_id=f"DEMO-{number:05d}",
            payment=f"PAY-{number:05d}",
            amount=Money(random.randint(1, 99_999), account.currency, 2),
        )
        for number in range(count)
    ]


def write_csv(path: Path, refunds: Sequence[DemoRefund]) -> None:
    """Write the file that `refundry import` reads."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["account", "payment", "amount", "currency", "id", "reason", "payment_total"])
        for refund in refunds:
            total = attrs.evolve(refund.amount, minor=refund.amount.minor + 100_000)
            words = (refund.account.name, refund.payment, refund.amount, refund.amount.currency)
            rows.writerow([*words, refund.refund_request_id, "demo", total])
