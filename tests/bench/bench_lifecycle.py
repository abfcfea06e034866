"""The complete durable life of a refund, compared with a bare loop that signs, posts, reads and verifies.

The bare loop stores nothing. Both talk to the same simulator in another process, with 64 refunds at once, in turns
within one run. The bare loop is measured with signing in the event loop and in threads; the faster of the two counts.
"""

import asyncio
import base64
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from urllib.parse import quote_plus, unquote_plus

import aiohttp
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from refundry.gateway import Gateway
from refundry.gateway.request import RefundRequest
from refundry.money import Money
from refundry.outbound.transport import HttpTransport
from refundry.provider import Answer, RefundInstruction, Succeeded
from refundry.refund import Status
from tests.bench.samples import machine
from tests.bench.stand import Stand, stand

AT_ONCE = 64


class BareLoop:
    """A loop that no one should run: it records nothing and checks only the signature of an answer."""

    def __init__(self, there: Stand, threads: ThreadPoolExecutor | None) -> None:
        private = serialization.load_pem_private_key((there.keys / "merchant.pem").read_bytes(), None)
        public = serialization.load_pem_public_key((there.keys / "provider.pub.pem").read_bytes())
        assert isinstance(private, rsa.RSAPrivateKey)
        assert isinstance(public, rsa.RSAPublicKey)
        self._private, self._public, self._threads = private, public, threads
        self._url, self._client_id = there.url, there.client_id
        self._path = "/ams/sandbox/api/v1/payments/refund"

    def _sign(self, content: bytes) -> str:
        return quote_plus(base64.b64encode(self._private.sign(content, padding.PKCS1v15(), hashes.SHA256())))

    async def refund(self, session: aiohttp.ClientSession, id: str) -> None:
        amount = {"currency": "EUR", "value": "1233"}
        body = json.dumps({"refundRequestId": id, "paymentId": f"P-{id}", "refundAmount": amount}).encode()
        at = "2026-11-22T09:30:00+00:00"
        content = f"POST {self._path}\n{self._client_id}.{at}.".encode() + body
        if self._threads is None:
            signature = self._sign(content)
        else:
            signature = await asyncio.get_running_loop().run_in_executor(self._threads, self._sign, content)
        headers = {
            "signature": f"algorithm=RSA256, keyVersion=1, signature={signature}",
            "client-id": self._client_id,
            "request-time": at,
            "content-type": "application/json; charset=UTF-8",
        }
        async with session.post(self._url + self._path, data=body, headers=headers) as response:
            answer = await response.read()
            signature = response.headers["signature"].partition("signature=")[2]
            signed = f"POST {self._path}\n{self._client_id}.{response.headers['response-time']}.".encode() + answer
            self._public.verify(base64.b64decode(unquote_plus(signature)), signed, padding.PKCS1v15(), hashes.SHA256())
            assert json.loads(answer)["result"]["resultStatus"] == "S"


async def at_once(count: int, one: Callable[[int], Awaitable[None]]) -> float:
    """Run `count` of them, 64 at a time, and return the rate per second."""
    numbers = iter(range(count))

    async def lane() -> None:
        for number in numbers:
            await one(number)

    began = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(AT_ONCE)))
    return count / (time.perf_counter() - began)


LOOP, THREADS, CALL, DURABLE = (
    "bare, signing in the event loop",
    "bare, signing in threads",
    "bare, with Refundry's plugin and transport",
    "durable",
)


async def _numbered(way: Callable[[str], Awaitable[None]], mark: str, number: int) -> None:
    await way(f"{mark}-{number}")


async def _turns(there: Stand, count: int, turns: int) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {LOOP: [], THREADS: [], CALL: [], DURABLE: []}
    with ThreadPoolExecutor(2) as threads:
        async with (
            Gateway.open(there.config, create=True) as gateway,
            HttpTransport() as transport,
            aiohttp.ClientSession() as session,
        ):
            in_loop, in_threads = BareLoop(there, None), BareLoop(there, threads)
            provider = gateway.account("shop").sender()

            async def exchanged(id: str) -> None:
                instruction = RefundInstruction(id, f"P-{id}", Money(1233, "EUR", 2))
                call = provider.refund(instruction, gateway.ports.now())
                request = await asyncio.get_running_loop().run_in_executor(threads, call.sign)
                answer = await transport.send(request, 20)
                assert isinstance(answer, Answer)
                assert isinstance(call.read(answer), Succeeded)

            async def durable(id: str) -> None:
                refund = await gateway.request(
                    RefundRequest(
                        account="shop", payment=f"P-{id}", amount="12.33", currency="EUR", refund_request_id=id
                    )
                )
                assert refund.status is Status.SETTLED, refund

            ways: dict[str, Callable[[str], Awaitable[None]]] = {
                LOOP: partial(in_loop.refund, session),
                THREADS: partial(in_threads.refund, session),
                CALL: exchanged,
                DURABLE: durable,
            }
            for turn in range(turns):
                for name, way in ways.items():
                    rates[name].append(await at_once(count, partial(_numbered, way, f"{len(name)}-{turn}")))
    return rates


def _ratios(rates: dict[str, list[float]]) -> dict[str, object]:
    # The first turn warms connections and caches up, and does not count.
    counted = {name: values[1:] for name, values in rates.items()}
    turns = list(zip(*(counted[name] for name in (LOOP, THREADS, CALL, DURABLE)), strict=True))
    return {
        "refunds per second": {name: round(statistics.median(values)) for name, values in counted.items()},
        "durable / the faster bare loop (median of the turns)": round(
            statistics.median(durable / max(loop, threads) for loop, threads, _, durable in turns), 3
        ),
        "durable / the same calls with Refundry's plugin and transport, not stored": round(
            statistics.median(durable / call for _, _, call, durable in turns), 3
        ),
    }


def main(quick: bool) -> dict[str, object]:
    """Measure; the figures by what they say."""
    figures: dict[str, object] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as directory, stand(Path(directory)) as there:
        figures |= _ratios(asyncio.run(_turns(there, 500 if quick else 3000, 3 if quick else 8)))
    return figures


if __name__ == "__main__":
    for name, figure in main("--quick" in sys.argv).items():
        print(f"{name:64} {figure}")
