"""A shop for tests: a simulated Antom on loopback, a gateway with an account there, and a clock that a test moves."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import attrs

from refundry.gateway import Gateway
from refundry.gateway.request import RefundRequest
from refundry.journal.stores import create_store
from refundry.plugin_host import Observer, Plugins
from refundry.ports import Ports
from refundry.refund import Refund
from refundry.testing.simulator.settings import Keys, make_keys
from refundry_antom.simulator import PLUGIN, AntomSettings, AntomSimulator

TERMS = {
    "timeout": 5,
    "first_inquiry": 1,
    "inquiry_intervals": [1, 2],
    "not_found_interval": 1,
    "not_found_tries": 1,
    "resend_delay": 1,
}


class Clock:
    """A clock that only moves when a test moves it."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def move(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@cache
def keys() -> Keys:
    """Four key files, made once in a process."""
    return make_keys(Path(mkdtemp(prefix="refundry-keys-")))


def write_config(directory: Path, accounts: Mapping[str, str], terms: Mapping[str, Any] = TERMS, **more: Any) -> Path:
    """Write refundry.toml with accounts (name to address) of simulators with the keys of `keys()`."""
    sections = ['store = "sqlite:///refunds.db"\n']
    for name, url in accounts.items():
        sections.append(PLUGIN.account_section(name, url, keys().directory, more.get("notify_url")))
        sections.append(f"[accounts.{name}.terms]\n" + "".join(f"{key} = {value}\n" for key, value in terms.items()))
    path = directory / "refundry.toml"
    path.write_text("\n".join(sections), "utf-8")
    create_store(directory / "refunds.db")
    return path


@attrs.frozen
class Shop:
    """A gateway with the account `shop`, its simulator, and the clock of both."""

    gateway: Gateway
    antom: AntomSimulator
    clock: Clock
    config: Path

    async def request(self, id: str = "R1", amount: str = "12.33", **more: Any) -> Refund:
        submit = more.pop("submit", True)
        given = {"account": "shop", "payment": "P1", "currency": "EUR"} | more
        return await self.gateway.request(RefundRequest(amount=amount, refund_request_id=id, **given), submit=submit)

    async def later(self, refund: Refund, seconds: float = 30) -> Refund:
        """Advance the clock and process what is due then."""
        self.clock.move(seconds)
        return await self.gateway.advance(refund.id)

    @property
    def store(self) -> Path:
        return self.config.parent / "refunds.db"

    @asynccontextmanager
    async def reopened(self, config: Path | None = None, **more: Any) -> AsyncIterator[Gateway]:
        """Open one more gateway on the same store, as another process would."""
        async with Gateway.open(config or self.config, ports=self.gateway.ports, **more) as gateway:
            yield gateway


@asynccontextmanager
async def simulator(clock: Clock | None = None, **settings: Any) -> AsyncIterator[AntomSimulator]:
    ports = Ports() if clock is None else Ports(now=clock)
    async with AntomSimulator(AntomSettings(keys=keys(), time_scale=0.0, **settings), ports) as antom:
        yield antom


@asynccontextmanager
async def open_shop(
    directory: Path,
    *,
    plugins: Plugins | None = None,
    terms: Mapping[str, Any] | None = None,
    observers: Iterable[Observer] = (),
    **settings: Any,
) -> AsyncIterator[Shop]:
    clock = Clock()
    async with simulator(clock, **settings) as antom:
        config = write_config(directory, {"shop": antom.url}, TERMS | dict(terms or {}))
        ports = Ports(now=clock, sleep=_yield)
        async with Gateway.open(config, ports=ports, plugins=plugins, observers=observers) as gateway:
            yield Shop(gateway, antom, clock, config)


async def _yield(seconds: float) -> None:
    await asyncio.sleep(0)
