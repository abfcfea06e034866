"""A small merchant for tests of the simulator: it signs, sends and verifies on its own, without the plugin.

The rule of this module: it signs and verifies bytes, with `cryptography` alone.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode

import aiohttp
import attrs
from aiohttp import web
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from yarl import URL

from refundry_alipay.simulator import APP_ID
from refundry_alipay.simulator.keys import AlipayKeys
from refundry_alipay.simulator.requests import QUERY, REFUND

TIME = "2026-11-22 12:15:16"


@attrs.frozen
class Reply:
    """One answer as it came."""

    status: int
    kind: str
    body: bytes
    genuine: bool
    charset: str

    @property
    def whole(self) -> dict[str, Any]:
        return dict(json.loads(self.body.decode(self.charset)))

    @property
    def node(self) -> dict[str, Any]:
        return dict(next(iter(self.whole.values())))

    @property
    def result(self) -> str:
        node = self.node
        return f"{node['code']} {node['sub_code']}" if "sub_code" in node else str(node["code"])


class Merchant:
    """The client of one simulator."""

    def __init__(self, url: str, keys: AlipayKeys, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session
        self._private: Any = load_pem_private_key(keys.merchant.read_bytes(), None)
        self._public: Any = load_pem_public_key(keys.provider_public.read_bytes())

    async def refund(self, id: str | None = "R1", amount: Any = "1.00", **more: Any) -> Reply:
        data = {"refund_amount": amount, "trade_no": "P1"} | ({} if id is None else {"out_request_no": id})
        return await self.ask(REFUND, data | more)

    async def query(self, id: str = "R1", *options: str, **more: Any) -> Reply:
        data: dict[str, Any] = {"out_request_no": id, "trade_no": "P1"}
        return await self.ask(QUERY, data | ({"query_options": options} if options else {}) | more)

    async def ask(self, method: str, data: Any, verb: str = "POST", **params: str | None) -> Reply:
        biz_content = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
        return await self.send(self.signed({"method": method, "biz_content": biz_content, **params}), verb)

    def signed(self, params: Mapping[str, str | None]) -> dict[str, str]:
        """Add the common parameters and the signature; a parameter that is None is left out."""
        usual = {"app_id": APP_ID, "charset": "utf-8", "sign_type": "RSA2", "timestamp": TIME, "version": "1.0"}
        sent = {name: value for name, value in {**usual, **params}.items() if value is not None}
        if "sign" not in params:
            content = "&".join(f"{name}={sent[name]}" for name in sorted(sent))
            sent["sign"] = self.sign(content.encode(sent.get("charset", "utf-8")))
        return sent

    def sign(self, content: bytes) -> str:
        return base64.b64encode(self._private.sign(content, PKCS1v15(), hashes.SHA256())).decode()

    async def send(self, params: Mapping[str, str], verb: str = "POST", path: str = "/gateway.do") -> Reply:
        charset = params.get("charset", "utf-8")
        query = {name: value for name, value in params.items() if verb == "GET" or name != "biz_content"}
        data = urlencode({name: params[name] for name in params if name not in query}, encoding=charset)
        address = f"{self.url}{path}?{urlencode(query, encoding=charset)}"
        return await self.raw(verb, address, data.encode(), charset)

    async def raw(self, verb: str, address: str, data: bytes, charset: str = "utf-8") -> Reply:
        headers = {"content-type": f"application/x-www-form-urlencoded;charset={charset}"}
        async with self.session.request(
            verb, URL(address, encoded=True), data=data or None, headers=headers, allow_redirects=False
        ) as answer:
            body, kind = await answer.read(), answer.headers.get("content-type", "")
            return Reply(answer.status, kind, body, self.genuine(body), charset)

    def genuine(self, body: bytes) -> bool:
        """Return whether an answer's signature is that of everything from the first inner brace to `,"sign":"`."""
        node, found, rest = body.partition(b':{"')[2].rpartition(b',"sign":"')
        return bool(found) and self.fits(b'{"' + node, rest.partition(b'"')[0].decode())

    def genuine_form(self, body: bytes, charset: str = "utf-8") -> bool:
        form = dict(parse_qsl(body.decode(), keep_blank_values=True, encoding=charset))
        signature = form.pop("sign", "")
        form.pop("sign_type")
        return self.fits("&".join(f"{name}={form[name]}" for name in sorted(form)).encode(charset), signature)

    def fits(self, content: bytes, signature: str) -> bool:
        try:
            self._public.verify(base64.b64decode(signature), content, PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
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
        self.got: list[bytes] = []
        self.answers: list[tuple[int, bytes]] = []
        self._arrived = asyncio.Event()

    async def take(self, request: web.BaseRequest) -> web.Response:
        self.got.append(await request.read())
        self._arrived.set()
        status, body = self.answers.pop(0) if self.answers else (200, b"success")
        return web.Response(status=status, body=body, headers={"location": self.url} if status == 307 else {})

    async def wait_for(self, count: int, charset: str = "utf-8") -> list[dict[str, str]]:
        async with asyncio.timeout(10):
            while len(self.got) < count:
                self._arrived.clear()
                await self._arrived.wait()
        forms = (body.decode("latin-1") for body in self.got)
        return [dict(parse_qsl(form, keep_blank_values=True, encoding=charset)) for form in forms]


@asynccontextmanager
async def letterbox() -> AsyncIterator[Letterbox]:
    box = Letterbox()
    runner = web.ServerRunner(web.Server(box.take), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    box.url = f"http://127.0.0.1:{runner.addresses[0][1]}/notifications/shop"
    try:
        yield box
    finally:
        await runner.cleanup()
