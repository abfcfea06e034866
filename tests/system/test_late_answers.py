"""An intermediary on a kept-alive connection that repeats a genuine, signed answer when the next call arrives."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from refundry.gateway import Gateway
from refundry.gateway.request import RefundRequest
from refundry.plugin_host.interfaces import SimulatorPlugin
from refundry.refund import Status
from refundry_alipay.simulator import PLUGIN as ALIPAY
from refundry_alphapay.simulator import PLUGIN as ALPHAPAY
from refundry_antom.simulator import PLUGIN as ANTOM


class Intermediary:
    """Forwards each request; before that, repeats on its connection what it answered there last."""

    def __init__(self, upstream: str) -> None:
        self._upstream = urlsplit(upstream)
        self.repeated = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        last = b""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = await _message(reader)
                self.repeated += bool(last)
                writer.write(last)
                await writer.drain()
                last = await self._forward(request)
                writer.write(last)
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    async def _forward(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
        try:
            writer.write(request)
            answer = await _message(reader)
        finally:
            writer.close()
            await writer.wait_closed()
        # An intermediary keeps its connections open, whatever the server behind it does.
        return answer.replace(b"Connection: close\r\n", b"")


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    return head + await reader.readexactly(length)


@asynccontextmanager
async def behind_an_intermediary(directory: Path, plugin: SimulatorPlugin) -> AsyncIterator[tuple[Gateway, str]]:
    """Open a gateway that reaches the simulator of `plugin` through an intermediary; yield it and the simulator."""
    plugin.make_keys(directory)
    async with plugin.run("127.0.0.1", 0, directory, {}) as running:
        server = await asyncio.start_server(Intermediary(running.url).serve, "127.0.0.1", 0)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            section = plugin.account_section("shop", url, directory, None)
            config = directory / "refundry.toml"
            config.write_text(
                f'store = "sqlite:///refunds.db"\n{section}\n[accounts.shop.terms]\ntimeout = 3\n', "utf-8"
            )
            async with Gateway.open(config, create=True) as gateway:
                yield gateway, running.url


@pytest.mark.slow(seconds=1)
@pytest.mark.parametrize(
    ("plugin", "faults"),
    [
        (ALIPAY, {"R2": {"fault": "drop_request"}}),
        (ANTOM, {"R1": {"fault": "answer", "code": "MERCHANT_BALANCE_NOT_ENOUGH"}}),
        (ALPHAPAY, {"R2": {"fault": "drop_request"}}),
    ],
    ids=["alipay", "antom", "alphapay"],
)
async def test_a_late_answer_to_another_call_decides_nothing(
    tmp_path: Path, plugin: SimulatorPlugin, faults: dict[str, dict[str, Any]]
) -> None:
    """What a genuine answer says about the first refund of a payment is never taken for the second."""
    async with behind_an_intermediary(tmp_path, plugin) as (gateway, simulator), aiohttp.ClientSession() as control:
        for id, fault in faults.items():
            injected = {**fault, "operation": "refund", "refund_request_id": id}
            async with control.post(f"{simulator}/control/faults", json=injected) as answer:
                assert 200 == answer.status, await answer.text()
        statuses, paid = [], []
        for id in ("R1", "R2"):
            refund = await gateway.request(
                RefundRequest(
                    account="shop",
                    payment="2026112222001425241030000001",
                    amount="6.00",
                    currency="CNY",
                    refund_request_id=id,
                )
            )
            statuses.append(refund.status)
            async with control.get(f"{simulator}/control/refunds/{id}") as answer:
                paid.append(answer.status == 200 and json.loads(await answer.text())["status"] == "SUCCESS")

    assert [status in (Status.SETTLED, Status.PENDING) for status in statuses] == paid
    assert not any(status is Status.FAILED and moved for status, moved in zip(statuses, paid, strict=True))
