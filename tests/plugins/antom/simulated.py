"""Fixtures of the simulator's tests: imported by name where they are used."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from refundry.ports import Ports
from refundry.testing.simulator.settings import Keys, make_keys
from refundry_antom.simulator import AntomSettings, AntomSimulator
from tests.plugins.antom.merchant import Letterbox, Merchant, letterbox

Start = Callable[..., Any]


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
async def start(keys: Keys) -> AsyncIterator[Start]:
    """Start a simulator with settings; give it and its merchant."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())

        async def started(ports: Ports | None = None, **settings: Any) -> tuple[AntomSimulator, Merchant]:
            simulator = AntomSimulator(AntomSettings(keys=keys, time_scale=0.0001, **settings), ports)
            await stack.enter_async_context(simulator)
            return simulator, Merchant(simulator.url, keys, session)

        yield started


@pytest.fixture
async def box() -> AsyncIterator[Letterbox]:
    async with letterbox() as open_box:
        yield open_box
