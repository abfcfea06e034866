"""A small merchant for tests of the simulator: it signs, posts and verifies on its own, without the plugin."""

import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote, unquote

import aiohttp
import attrs
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from refundry.ports import Ports
from refundry.testing.simulator.settings import Keys
from refundry_alphapay.simulator import MERCHANT_CODE, AlphaPaySettings, AlphaPaySimulator
from tests.core.shop import keys
from tests.plugins.antom.merchant import Letterbox, letterbox

PATH = "/api/v2.0/payments/"
TIME = "2026-11-22T04:15:16+00:00"
NONCE = "b111bcf0dfb54d4e8bae68c293d85e2e"
Start = Callable[..., Any]


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
        self._private: Any = load_pem_private_key(keys.merchant.read_bytes(), None)
        self._public: Any = load_pem_public_key(keys.provider_public.read_bytes())

    async def refund(self, id: str = "R1", value: str = "100", **more: Any) -> Reply:
        refund = {"refundAmount": {"value": value, "currency": "CAD"}, **more}
        return await self.post("refund", {"paymentId": "P1", "refundRequestId": id, "refund": refund})

    async def inquire(self, id: str | None = "R1", refund_id: str | None = None) -> Reply:
        ids = {"refundRequestId": id, "refundId": refund_id}
        return await self.post("inquiryRefund", {name: value for name, value in ids.items() if value is not None})

    async def post(self, operation: str, data: Any, *, path: str | None = None, **headers: str) -> Reply:
        target = path or PATH + operation
        body = data if isinstance(data, bytes) else json.dumps(data).encode()
        given = {"Merchant-Code": MERCHANT_CODE, "Request-Time": TIME, "Nonce": NONCE}
        return await self.send("POST", target, body, {**given, "Signature": self.signature(target, body), **headers})

    def signature(self, target: str, body: bytes) -> str:
        signed = f"POST {target}\n{MERCHANT_CODE}.{TIME}.{NONCE}.".encode() + body
        raw = self._private.sign(signed, PKCS1v15(), hashes.SHA256())
        return f"algorithm=RS256,keyVersion=1,signature={quote(base64.b64encode(raw), safe='')}"

    async def send(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        async with self.session.request(method, self.url + target, data=body, headers=headers) as answer:
            raw, names = await answer.read(), {key.decode(): value.decode() for key, value in answer.raw_headers}
            return Reply(answer.status, names, raw, self.genuine(target, names, raw, "Response-Time"))

    def genuine(self, target: str, headers: Mapping[str, str], body: bytes, time: str) -> bool:
        """Verify as the official SDK does: the third part by comma, its second by `=`, and no other spelling."""
        try:
            _, value = headers["Signature"].split(",")[2].split("=")
            signed = f"POST {target}\n{MERCHANT_CODE}.{headers[time]}.{headers['Nonce']}.".encode() + body
            self._public.verify(base64.b64decode(unquote(value)), signed, PKCS1v15(), hashes.SHA256())
        except (InvalidSignature, KeyError):
            return False
        return True


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start a simulator with settings; give it and its merchant."""
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())

        async def started(ports: Ports | None = None, **settings: Any) -> tuple[AlphaPaySimulator, Merchant]:
            simulator = AlphaPaySimulator(AlphaPaySettings(keys=keys(), time_scale=0.0001, **settings), ports)
            await stack.enter_async_context(simulator)
            return simulator, Merchant(simulator.url, keys(), session)

        yield started


@pytest.fixture
async def box() -> AsyncIterator[Letterbox]:
    async with letterbox() as open_box:
        yield open_box
