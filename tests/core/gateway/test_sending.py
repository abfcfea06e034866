"""What keeps an attempt from leaving between its record and its first byte, with a real store and a real exchange."""

import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from refundry.errors import Invalid
from refundry.gateway import Gateway
from refundry.gateway.request import RefundRequest
from refundry.inputs import Operator
from refundry.outbound.transport import Delivery
from refundry.ports import Ports
from refundry.provider import OutcomeKind, Request, ReviewReason
from refundry.refund import Channel, Inquired, Refund, Status, Submitted
from refundry.refund.policy import Submit
from refundry_alphapay.simulator import PLUGIN as ALPHAPAY
from refundry_alphapay.simulator import AlphaPaySettings, AlphaPaySimulator
from refundry_antom.provider import AntomProvider
from refundry_antom.simulator import AntomSimulator
from tests.core.shop import TERMS, Clock, keys, open_shop, simulator, write_config
from tests.ports import free_port

TIMEOUT = 5.0

ADA = Operator("ada", "not in the dashboard")


class Ticks:
    """A monotonic clock that only moves when a test moves it."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def __call__(self) -> float:
        return self.at


@attrs.define
class Pausing:
    """A gateway whose clocks move when a step is done, as if the process had been stopped there for that long."""

    clock: Clock
    ticks: Ticks
    antom: AntomSimulator
    gateway: Gateway | None = None
    step: str = ""
    wall: float = 0.0
    monotonic: float = 0.0

    def done(self, step: str) -> None:
        if step == self.step:
            self.clock.move(self.wall)
            self.ticks.at += self.monotonic

    async def request(self, id: str, step: str, wall: float, monotonic: float) -> Refund:
        assert self.gateway is not None
        self.step, self.wall, self.monotonic = step, wall, monotonic
        request = RefundRequest(account="shop", payment=id, amount="12.33", currency="EUR", refund_request_id=id)
        return await self.gateway.request(request)


@pytest.fixture
async def paused(tmp_path: Path) -> AsyncIterator[Pausing]:
    clock = Clock()
    async with simulator(clock) as antom:
        pausing = Pausing(clock, Ticks(), antom)
        config = write_config(tmp_path, {"shop": antom.url}, TERMS | {"timeout": TIMEOUT})
        ports = Ports(now=clock, monotonic=pausing.ticks, step=pausing.done)
        async with Gateway.open(config, ports=ports) as pausing.gateway:
            yield pausing


async def _last(gateway: Gateway, refund: Refund) -> Any:
    return (await gateway.history(refund.id))[-1].event


# --- too old ----------------------------------------------------------------------------------------------------------

BEFORE = ("refund composed", "attempt recorded", "request signed")
"""The steps between the time of an attempt and its first byte."""


async def test_an_attempt_that_is_too_old_is_never_sent(paused: Pausing) -> None:
    """Once either clock has moved by the timeout since the time of the attempt, no byte of it is sent."""
    assert paused.gateway is not None
    for step in BEFORE:
        for wall, monotonic in ((TIMEOUT, 0), (0, TIMEOUT), (86_400, 0), (-86_400, TIMEOUT), (TIMEOUT, TIMEOUT)):
            case = f"{step[:6]}-{wall:.0f}-{monotonic:.0f}".replace(" ", "_")
            refund = await paused.request(case, step, wall, monotonic)
            event = await _last(paused.gateway, refund)

            assert {} == paused.antom.ledger.refunds, case
            assert isinstance(event, Inquired)
            assert OutcomeKind.NOT_SENT is event.outcome
            assert "signing" not in (event.cause or ""), "the clock moved, no signature took too long"
            assert (Status.REQUESTED, False, 1) == (refund.status, refund.in_flight, refund.attempts)
            assert isinstance(await paused.gateway.next_step(refund), Submit)


async def test_an_attempt_that_is_still_in_time_is_sent(paused: Pausing) -> None:
    """Less than the timeout keeps nothing back, and neither does a clock that is set back."""
    for step in BEFORE:
        for wall, monotonic in ((TIMEOUT - 0.5, 0), (0, TIMEOUT - 0.5), (-86_400, 0)):
            case = f"{step[:6]}-{wall:.0f}-{monotonic:.0f}".replace(" ", "_")
            assert Status.SETTLED is (await paused.request(case, step, wall, monotonic)).status, case


async def test_an_attempt_that_was_not_sent_in_time_is_made_again(paused: Pausing) -> None:
    """The next attempt has the same id and bytes, a time of its own, and pays once."""
    assert paused.gateway is not None
    refund = await paused.request("R1", "attempt recorded", TIMEOUT, 0)
    paused.step = ""
    paused.clock.move(60)
    refund = await paused.gateway.advance(refund.id)

    attempts = [item.event for item in await paused.gateway.history(refund.id) if isinstance(item.event, Submitted)]
    assert (Status.SETTLED, 1, 2) == (refund.status, len(paused.antom.ledger.movements), refund.attempts)
    assert 1 == len({event.digest for event in attempts})


# --- decided meanwhile ------------------------------------------------------------------------------------------------


async def test_what_was_decided_before_the_first_byte_keeps_an_attempt_back(tmp_path: Path) -> None:
    """If an operator decides between the record and the first byte, nothing is sent and the decision stays."""
    async with open_shop(tmp_path) as shop:
        plain = shop.gateway._caller._transport

        class Slow:
            async def send(self, request: Request, timeout: float, delivery: Delivery) -> Any:
                (row,) = await shop.gateway.list()
                async with shop.reopened() as other:
                    await other.resolve(row.id, ADA, settled=False, version=row.version, offline=True)
                return await plain.send(request, timeout, delivery)

        shop.gateway._caller._transport = Slow()
        refund = await shop.request()

        assert {} == shop.antom.ledger.refunds
        assert (Status.FAILED, "ada", ()) == (refund.status, refund.failed_by, refund.review)


async def test_the_version_is_compared_after_the_connection_is_open(tmp_path: Path) -> None:
    """The comparison is the last step before the first byte: the time that connecting takes lies before it."""
    async with open_shop(tmp_path) as shop:
        plain = shop.gateway._caller._transport

        class SlowToConnect:
            async def send(self, request: Request, timeout: float, delivery: Delivery) -> Any:
                async def check() -> str | None:
                    (row,) = await shop.gateway.list()
                    async with shop.reopened() as other:
                        await other.resolve(row.id, ADA, settled=False, version=row.version, offline=True)
                    return await delivery.last_check()

                return await plain.send(request, timeout, attrs.evolve(delivery, last_check=check))

        shop.gateway._caller._transport = SlowToConnect()
        refund = await shop.request()

        assert {} == shop.antom.ledger.refunds
        assert Status.FAILED is refund.status


# --- through a proxy --------------------------------------------------------------------------------------------------


async def test_an_account_is_called_through_its_proxy(tmp_path: Path) -> None:
    """Every call of an account with a proxy goes through it: nothing is sent if the proxy is gone."""
    async with open_shop(tmp_path) as shop:
        config = tmp_path / "proxy.toml"
        text = shop.config.read_text("utf-8")
        config.write_text(
            text.replace('provider = "antom"', f'provider = "antom"\nproxy = "http://127.0.0.1:{free_port()}"'), "utf-8"
        )
        async with shop.reopened(config) as gateway:
            refund = await gateway.request(
                RefundRequest(account="shop", payment="P1", amount="12.33", currency="EUR", refund_request_id="R1")
            )
            assert OutcomeKind.NOT_SENT is (await _last(gateway, refund)).outcome
        assert {} == shop.antom.ledger.refunds


# --- another provider -------------------------------------------------------------------------------------------------


async def test_a_refund_is_not_taken_to_another_provider(tmp_path: Path) -> None:
    """When an account moves to another plugin, its refunds are flagged, and the other provider gets no call."""
    async with open_shop(tmp_path) as shop, AlphaPaySimulator(AlphaPaySettings(keys=keys())) as alphapay:
        shop.antom.fault("drop_response", operation="refund")
        sent, unsent = await shop.request("R1"), await shop.request("R2", submit=False)
        moved = tmp_path / "moved.toml"
        section = ALPHAPAY.account_section("shop", alphapay.url, keys().directory, None)
        moved.write_text(f'store = "sqlite:///refunds.db"\n{section}', "utf-8")
        shop.clock.move(60)
        async with shop.reopened(moved) as gateway:
            for refund in (sent, unsent):
                after = await gateway.advance(refund.id)
                assert Channel.OPERATOR is (await _last(gateway, refund)).channel
                assert [ReviewReason.DIFFERENT_PROVIDER] == [review.code for review in after.review]
                assert after == await gateway.advance(refund.id)
                with pytest.raises(Invalid, match="requested from antom"):
                    await gateway.inquire(refund.id)
        assert {} == alphapay.ledger.refunds

        for refund in (sent, unsent):
            await shop.gateway.resume(refund.id, Operator("ada", "the account is restored"))
            assert Status.SETTLED is (await shop.later(refund, 5)).status
        assert ["R1", "R2"] == [movement.refund_request_id for movement in shop.antom.ledger.movements]


# --- signing ----------------------------------------------------------------------------------------------------------


async def test_a_signature_that_takes_too_long_sends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signing has the time of the call and no more: a signature that comes later is of no use."""
    released = threading.Event()
    signed = AntomProvider.signed

    def hangs(*arguments: Any) -> Request:
        released.wait(30)
        return signed(*arguments)

    async with open_shop(tmp_path, terms={"timeout": 0.05}) as shop:
        monkeypatch.setattr(AntomProvider, "signed", hangs)
        try:
            refund = await shop.request()
        finally:
            released.set()

        assert {} == shop.antom.ledger.refunds
        assert OutcomeKind.NOT_SENT is (await _last(shop.gateway, refund)).outcome
        assert Status.REQUESTED is refund.status
