"""Fixtures of the simulator's tests: imported by name where they are used."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from refundry.ports import Ports
from refundry_alipay.simulator import AlipaySettings, AlipaySimulator
from refundry_alipay.simulator.keys import AlipayKeys, make_keys
from tests.plugins.alipay.merchant import Letterbox, Merchant, letterbox

Start = Callable[..., Any]


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> AlipayKeys:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
async def start(keys: AlipayKeys) -> AsyncIterator[Start]:
    """Start a simulator with settings; give it and its merchant."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())

        async def started(ports: Ports | None = None, **settings: Any) -> tuple[AlipaySimulator, Merchant]:
            given = {"notify_sync": True, "time_scale": 0.0001} | settings
            simulator = AlipaySimulator(AlipaySettings(keys=keys, **given), ports)
            await stack.enter_async_context(simulator)
            return simulator, Merchant(simulator.url, keys, session)

        yield started


@pytest.fixture
async def box() -> AsyncIterator[Letterbox]:
    async with letterbox() as open_box:
        yield open_box
