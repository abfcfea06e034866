"""The rate of an account, on a clock that only a test moves."""

import asyncio
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, cast

import attrs
import pytest

from refundry.config import Account
from refundry.outbound.pacing import UNLIMITED, Pacing
from refundry.provider import Terms


@attrs.frozen
class _Account:
    terms: Terms


def _pacing(rate: float | None) -> Pacing:
    account = cast(Account, _Account(Terms(requests_per_second=rate)))
    return Pacing(MappingProxyType({"shop": account}))


@pytest.fixture
async def move(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Replace the time of the event loop, and its sleep by one that moves it."""
    at = [1000.0]

    def move(seconds: float) -> None:
        at[0] += seconds

    async def sleep(seconds: float) -> None:
        move(seconds)

    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: at[0])
    monkeypatch.setattr("refundry.outbound.pacing.asyncio.sleep", sleep)
    return move


async def test_an_account_begins_as_many_calls_as_its_rate_allows(move: Callable[[float], None]) -> None:
    """A second's worth may begin at once, further calls as time passes, and unused time does not add up."""
    pacing = _pacing(5)

    assert 5 == pacing.admits("shop")
    for _ in range(5):
        await pacing.wait("shop")
    assert 0 == pacing.admits("shop")
    move(0.5)
    assert 2 == pacing.admits("shop")
    move(99)
    assert 5 == pacing.admits("shop")


@pytest.mark.parametrize("rate", [0.5, 5.0])
async def test_waiting_calls_keep_to_the_rate(move: Callable[[float], None], rate: float) -> None:
    """Calls that wait begin one after the other, as far apart as the rate demands."""
    pacing, loop = _pacing(rate), asyncio.get_running_loop()
    for _ in range(max(1, int(rate))):
        await pacing.wait("shop")
    began = []

    for _ in range(4):
        await pacing.wait("shop")
        began.append(loop.time() - 1000)

    assert began == pytest.approx([(n + 1) / rate for n in range(4)])


async def test_a_call_that_was_drawn_does_not_wait(move: Callable[[float], None]) -> None:
    """A turn that was taken in advance is used by the next call, and counts once."""
    pacing, loop = _pacing(2), asyncio.get_running_loop()
    for _ in range(3):
        pacing.draw("shop")

    for _ in range(3):
        await pacing.wait("shop")

    assert 1000 == loop.time()
    await pacing.wait("shop")
    assert 1001 == loop.time()


async def test_a_call_that_is_canceled_gives_its_turn_back(
    move: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next call does not wait for one that never began."""
    pacing = _pacing(1)
    await pacing.wait("shop")

    async def canceled(seconds: float) -> Any:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr("refundry.outbound.pacing.asyncio.sleep", canceled)
        with pytest.raises(asyncio.CancelledError):
            await pacing.wait("shop")

    move(1)
    assert 1 == pacing.admits("shop")


async def test_an_account_without_a_rate_never_waits(move: Callable[[float], None]) -> None:
    """Without `requests_per_second` every call begins at once."""
    pacing = _pacing(None)
    pacing.draw("shop")
    await pacing.wait("shop")

    assert UNLIMITED == pacing.admits("shop")
