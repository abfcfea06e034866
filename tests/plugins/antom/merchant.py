"""A small merchant for tests of the simulator: it signs, posts and verifies, without the plugin's translator."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import attrs
from aiohttp import web

from refundry.errors import Forged
from refundry.provider.signatures import load_private_key, load_public_key
from refundry.testing.simulator.settings import Keys
from refundry_antom.signing import content, sign, verify
from refundry_antom.simulator import CLIENT_ID

PATH = "/ams/sandbox/api/v1/payments/"
TIME = "2026-11-22T04:15:16+00:00"
ACKNOWLEDGED = b'{"result":{"resultCode":"SUCCESS","resultStatus":"S","resultMessage":"success"}}'


@attrs.frozen
class Reply:
    """One answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes
    genuine: bool

    @property
    def data(self) -> dict[str, Any]:
        return dict(json.loads(self.body))

    @property
    def result(self) -> str:
        result = self.data["result"]
        return f"{result['resultCode']} {result['resultStatus']}"


class Merchant:
    """The client of one simulator."""

    def __init__(self, url: str, keys: Keys, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session
        self._private = load_private_key(keys.merchant.read_bytes(), "merchant")
        self._public = load_public_key(keys.provider_public.read_bytes(), "provider")

    async def refund(self, id: str = "R1", value: str = "100", **more: Any) -> Reply:
        data = {"refundRequestId": id, "paymentId": "P1", "refundAmount": {"currency": "EUR", "value": value}}
        return await self.post("refund", data | more)

    async def inquire(self, id: str = "R1") -> Reply:
        return await self.post("inquiryRefund", {"refundRequestId": id})

    async def post(self, operation: str, data: Any, *, path: str | None = None, **headers: str) -> Reply:
        target = path or PATH + operation
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        signature = sign(self._private, content("POST", target, CLIENT_ID, TIME, body))
        given = {"client-id": CLIENT_ID, "request-time": TIME, "content-type": "application/json"}
        return await self.send("POST", target, body, {**given, "signature": signature, **headers})

    async def send(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> Reply:
        async with self.session.request(
            method, self.url + target, data=body, headers=headers, allow_redirects=False
        ) as answer:
            raw, names = await answer.read(), {key.decode(): value.decode() for key, value in answer.raw_headers}
            return Reply(answer.status, names, raw, self.genuine(target, names, raw, "response-time"))

    def genuine(self, target: str, headers: dict[str, str], body: bytes, time: str) -> bool:
        given = {key.lower(): value for key, value in headers.items()}
        try:
            signed = content("POST", target, given.get("client-id", ""), given[time.lower()], body)
            verify(self._public, given.get("signature"), signed)
        except (Forged, KeyError):
            return False
        return True

    async def control(self, method: str, path: str, data: Any = None) -> tuple[int, Any]:
        body = data if isinstance(data, bytes | None) else json.dumps(data).encode()
        async with self.session.request(method, f"{self.url}/control/{path}", data=body) as answer:
            return answer.status, await answer.json(content_type=None)

    async def fault(self, name: str, **fields: Any) -> None:
        status, content = await self.control("POST", "faults", {"fault": name, **fields})
        assert status == 200, content


class Letterbox:
    """Takes notifications and remembers them; answers with `answers` first and the acknowledgement afterwards."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[tuple[int, bytes]] = []
        self._arrived = asyncio.Event()

    async def take(self, request: web.BaseRequest) -> web.Response:
        self.got.append((request.raw_path, dict(request.headers), await request.read()))
        self._arrived.set()
        status, body = self.answers.pop(0) if self.answers else (200, ACKNOWLEDGED)
        headers = {"location": self.url} if status == 307 else {}
        return web.Response(status=status, body=body, headers=headers, content_type="application/json")

    async def wait_for(self, count: int) -> list[dict[str, Any]]:
        async with asyncio.timeout(10):
            while len(self.got) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return [json.loads(body) for _, _, body in self.got]


@asynccontextmanager
async def letterbox() -> AsyncIterator[Letterbox]:
    box = Letterbox()
    runner = web.ServerRunner(web.Server(box.take), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    box.url = f"http://127.0.0.1:{runner.addresses[0][1]}/notifications/shop?from=antom"
    try:
        yield box
    finally:
        await runner.cleanup()
