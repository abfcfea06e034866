"""A plugin that raises anything, or never returns, harms only its own account."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from pathlib import Path

import attrs
import pytest

from refundry.gateway import Gateway
from refundry.gateway.request import RefundRequest
from refundry.gateway.worker import Worker
from refundry.outbound.signing import AT_ONCE
from refundry.plugin_host.containment import PluginBug
from refundry.provider import Answer, Outcome, OutcomeKind, ProviderCall, RefundInstruction, Request
from refundry.refund import Inquired, Refund, Status
from refundry_antom.provider import AntomProvider
from tests.core.shop import TERMS, Shop, open_shop, write_config

RAISED = (StopIteration, SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit, ZeroDivisionError)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as opened:
        yield opened


def _change_call(monkeypatch: pytest.MonkeyPatch, change: Callable[[ProviderCall], ProviderCall]) -> None:
    """Change the calls for refunds whose id begins with `X`."""
    compose = AntomProvider.refund

    def changed(self: AntomProvider, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        call = compose(self, instruction, at)
        return change(call) if instruction.refund_request_id.startswith("X") else call

    monkeypatch.setattr(AntomProvider, "refund", changed)


async def _outcomes(gateway: Gateway, refund: Refund) -> list[OutcomeKind]:
    return [item.event.outcome for item in await gateway.history(refund.id) if isinstance(item.event, Inquired)]


@pytest.mark.parametrize("error", RAISED)
async def test_whatever_sign_raises_the_call_was_not_sent(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """An exception of any type while signing is recorded as "not sent", and the next refund is signed."""

    def sign() -> Request:
        raise error

    _change_call(monkeypatch, lambda call: attrs.evolve(call, sign=sign))

    broken = [await shop.request(f"X{number}", payment=f"P{number}") for number in range(AT_ONCE + 1)]
    other = await shop.request("R1", payment="P9")

    for refund in broken:
        assert [OutcomeKind.NOT_SENT] == await _outcomes(shop.gateway, refund)
    assert other.status is Status.SETTLED


@pytest.mark.parametrize("error", RAISED)
async def test_whatever_read_raises_the_outcome_is_unknown(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """An exception of any type while an answer is read leaves the refund in flight, to be inquired about."""

    def read(answer: Answer) -> Outcome:
        raise error

    _change_call(monkeypatch, lambda call: attrs.evolve(call, read=read))

    refund = await shop.request("X1")

    assert [OutcomeKind.UNKNOWN] == await _outcomes(shop.gateway, refund)
    assert refund.in_flight


@pytest.mark.parametrize("error", RAISED)
async def test_whatever_composing_raises_the_worker_continues(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """A refund whose call cannot be composed is flagged for review, and the worker processes the next one."""

    def fail(call: ProviderCall) -> ProviderCall:
        raise error

    _change_call(monkeypatch, fail)
    with pytest.raises((PluginBug, ZeroDivisionError)):
        await shop.request("X0")
    await shop.request("X1", payment="P1", submit=False)
    await shop.request("R1", payment="P2", submit=False)

    await Worker(shop.gateway, lease=0).run(until_idle=True)

    assert (await shop.gateway.get("X1")).review
    assert (await shop.gateway.get("R1")).status is Status.SETTLED


# --- signatures that never return -------------------------------------------------------------------------------------


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Keep every signature of `X...` from returning until the event is set."""
    released = threading.Event()

    def hang(call: ProviderCall) -> ProviderCall:
        def sign() -> Request:
            released.wait()
            return call.sign()

        return attrs.evolve(call, sign=sign)

    _change_call(monkeypatch, hang)
    yield released
    released.set()


@attrs.frozen
class Pair:
    """A gateway with the accounts `slow`, whose calls may take 50 milliseconds, and `shop`."""

    gateway: Gateway

    async def request(self, account: str, id: str) -> Refund:
        return await self.gateway.request(
            RefundRequest(account=account, payment=id, amount="1.00", currency="EUR", refund_request_id=id)
        )


@pytest.fixture
async def pair(shop: Shop, tmp_path: Path) -> AsyncIterator[Pair]:
    place = tmp_path / "pair"
    place.mkdir()
    config = write_config(place, {"slow": shop.antom.url, "shop": shop.antom.url}, TERMS | {"timeout": 0.05})
    slow, section, rest = config.read_text("utf-8").partition("[accounts.shop.terms]")
    config.write_text(slow + section + rest.replace("timeout = 0.05", "timeout = 60"), "utf-8")
    async with Gateway.open(config, ports=shop.gateway.ports) as gateway:
        yield Pair(gateway)


def _signs(thread: threading.Thread) -> bool:
    return thread.name == "refundry-sign"


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110  # threads have no event for it
            await asyncio.sleep(0)


async def test_a_signature_that_hangs_is_given_up(pair: Pair, hanging: threading.Event) -> None:
    """A signature has the time that a call has; then the call counts as not sent, because no byte was."""
    refund = await pair.request("slow", "X1")

    assert [OutcomeKind.NOT_SENT] == await _outcomes(pair.gateway, refund)
    assert not refund.in_flight


async def test_signatures_that_hang_delay_no_other_account(pair: Pair, hanging: threading.Event) -> None:
    """However many signatures of one account hang, another account's are made, and no more threads are lost."""
    stuck = [asyncio.create_task(pair.request("slow", f"X{number}")) for number in range(3 * AT_ONCE)]
    await _until(lambda: sum(map(_signs, threading.enumerate())) >= AT_ONCE)

    other = await pair.request("shop", "R1")

    assert other.status is Status.SETTLED
    for refund in await asyncio.gather(*stuck):
        assert [OutcomeKind.NOT_SENT] == await _outcomes(pair.gateway, refund)
    assert sum(map(_signs, threading.enumerate())) <= 2 * AT_ONCE


async def test_an_account_whose_signatures_hung_continues(
    pair: Pair, hanging: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While all its signatures hang, the account's calls are refused at once; when they return, it signs again."""
    await asyncio.gather(*(pair.request("slow", f"X{number}") for number in range(AT_ONCE)))
    refused = await pair.request("slow", "X8")
    hanging.set()
    await _until(lambda: not any(lane.running for lane in pair.gateway._caller._signers._lanes.values()))
    # Signing has its time again, on however slow a machine.
    slow = pair.gateway.account("slow")
    patient = attrs.evolve(slow, terms=attrs.evolve(slow.terms, timeout=60))
    monkeypatch.setattr(pair.gateway, "accounts", {"slow": patient})

    settled = await pair.request("slow", "X9")

    event = (await pair.gateway.history(refused.id))[-1].event
    assert isinstance(event, Inquired)
    assert "earlier signatures" in (event.cause or "")
    assert settled.status is Status.SETTLED
