"""A shop at a simulated AlphaPay: a gateway with an account there, and a clock that a test moves."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs

from refundry.gateway import Gateway
from refundry.gateway.request import RefundRequest
from refundry.ports import Ports
from refundry.refund import Refund
from refundry_alphapay.simulator import PLUGIN, AlphaPaySettings, AlphaPaySimulator
from tests.core.shop import Clock, keys

TERMS: Mapping[str, Any] = {
    "timeout": 2,
    "first_inquiry": 1,
    "inquiry_intervals": [1, 2],
    "not_found_interval": 1,
    "not_found_tries": 2,
}


@attrs.frozen
class Shop:
    """A gateway with the account `shop`, its simulator, and the clock of both."""

    gateway: Gateway
    alphapay: AlphaPaySimulator
    clock: Clock

    async def request(self, id: str = "R1", amount: str = "12.33", **more: Any) -> Refund:
        submit = more.pop("submit", True)
        given = {"account": "shop", "payment": "P1", "currency": "CAD"} | more
        return await self.gateway.request(RefundRequest(amount=amount, refund_request_id=id, **given), submit=submit)

    async def later(self, refund: Refund, seconds: float = 30, times: int = 1) -> Refund:
        """Advance the clock and process what is due then, several times."""
        for _ in range(times):
            self.clock.move(seconds)
            refund = await self.gateway.advance(refund.id)
        return refund

    @property
    def came(self) -> int:
        """Return how many refund requests reached the ledger."""
        return sum(refund.requested for refund in self.alphapay.ledger.refunds.values())

    @property
    def paid(self) -> int:
        """Return how often money moved."""
        return len(self.alphapay.ledger.movements)


@asynccontextmanager
async def open_shop(directory: Path, **settings: Any) -> AsyncIterator[Shop]:
    clock = Clock()
    simulated = AlphaPaySettings(keys=keys(), time_scale=0.0, **settings)
    async with AlphaPaySimulator(simulated, Ports(now=clock)) as alphapay:
        section = PLUGIN.account_section("shop", alphapay.url, keys().directory, None)
        terms = "".join(f"{key} = {value}\n" for key, value in TERMS.items())
        config = directory / "refundry.toml"
        config.write_text(f'store = "sqlite:///refunds.db"\n{section}[accounts.shop.terms]\n{terms}', "utf-8")
        async with Gateway.open(config, ports=Ports(now=clock, sleep=_yield), create=True) as gateway:
            yield Shop(gateway, alphapay, clock)


async def _yield(seconds: float) -> None:
    await asyncio.sleep(0)
