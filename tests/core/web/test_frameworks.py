"""Notifications in other web frameworks: the applications that the docs show, served and posted to over real HTTP."""

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import pytest
import uvicorn

from refundry.provider import MAX_BYTES
from refundry.refund import Status
from refundry.testing.simulator.faults import Plan
from refundry.testing.simulator.ledger import State
from refundry.testing.simulator.messages import Draft, SignatureFlaw
from tests.core.shop import Shop, open_shop
from tests.core.test_docs import ROOT, SYBIL

PATH = "/notifications/shop"


@pytest.fixture(scope="module")
def shown() -> Mapping[str, Any]:
    """Run the Python of the page, as a module of its own: Django looks its views up by the module's name."""
    module = ModuleType("refundry_docs_notifications")
    sys.modules[module.__name__] = module
    for example in SYBIL.parse(ROOT / "docs" / "howto" / "notifications.md").examples():
        exec(compile(str(example.parsed), "notifications.md", "exec"), vars(module))
    return vars(module)


@asynccontextmanager
async def served(application: Any) -> AsyncIterator[str]:
    server = uvicorn.Server(uvicorn.Config(application, port=0, lifespan="on", log_level="warning", ws="none"))
    task = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(10):
            while not server.started:  # noqa: ASYNC110  # uvicorn has no event for it
                await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


async def notice(shop: Shop, **plan: Any) -> tuple[dict[str, str], bytes]:
    refund = shop.antom.ledger.refunds["R1"]
    draft = Draft(operation="notification", path=PATH, code="SUCCESS", refund=refund, state=State.SUCCESS)
    message = await shop.antom._write(draft, Plan(**plan))
    return dict(message.headers), message.body


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fast", "application"])
async def test_the_applications_of_the_docs_take_notifications(
    name: str, shown: Mapping[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forged, strange and oversized ones are refused; a genuine one settles the refund and gets the exact answer."""
    monkeypatch.chdir(tmp_path)
    async with (
        open_shop(tmp_path, mode="async", async_delay=None, terms={"notification_freshness": 3e8}) as shop,
        served(shown[name]) as url,
        aiohttp.ClientSession() as session,
    ):
        await shop.request("R1")

        async def post(headers: dict[str, str], body: bytes, path: str = PATH) -> tuple[int, bytes]:
            async with session.post(url + path, data=body, headers=headers) as answered:
                return answered.status, await answered.read()

        headers, body = await notice(shop)
        forged = await post(*await notice(shop, flaw=SignatureFlaw.WRONG_KEY))
        elsewhere = await post(headers, body, "/notifications/missing")
        large = await post(headers, body + b" " * MAX_BYTES)
        before = await shop.gateway.get("R1")
        genuine = await post(headers, body)
        after = await shop.gateway.get("R1")

    assert [401, 404] == [forged[0], elsewhere[0]]
    assert large[0] in (400, 413)  # Django refuses it itself
    assert (Status.PENDING, Status.SETTLED) == (before.status, after.status)
    assert (200, True) == (genuine[0], b'"resultCode":"SUCCESS"' in genuine[1])
