"""Providers' notifications over HTTP, for `refundry serve` and for every aiohttp application.

The rule of this package: raw bytes first, bounded in size and time; nothing is acknowledged before it is durable.
"""

import asyncio
import logging
from collections.abc import AsyncIterable, Iterable
from typing import Final

from aiohttp import web

from refundry.errors import Forged, Invalid, RefundryError
from refundry.gateway import Gateway
from refundry.provider import MAX_BYTES, Acknowledgement, Notification, Unreadable

__all__ = ["GATEWAY", "answer", "init_app"]

GATEWAY: Final = web.AppKey("refundry.gateway", Gateway)
_READ_SECONDS: Final = 10.0
_log = logging.getLogger("refundry")


def init_app(app: web.Application, gateway: Gateway) -> web.Application:
    """Add `POST /notifications/<account>` and `GET /health` to an application; return the application."""
    app[GATEWAY] = gateway
    app.router.add_post("/notifications/{account}", _notified)
    app.router.add_get("/health", _healthy)
    app.on_startup.append(_started)
    return app


async def _started(app: web.Application) -> None:
    app[GATEWAY].catch_up()


async def _healthy(request: web.Request) -> web.Response:
    try:
        # Releases no lease, but shows whether the store can be written to.
        await request.app[GATEWAY].journal.release("health")
    except RefundryError as error:
        return web.json_response({"status": str(error)}, status=503)
    checkpointer = request.app[GATEWAY].checkpointer
    # An operator has to look at a log that is not signed; refunds continue.
    problem = {} if checkpointer is None or checkpointer.problem is None else {"audit": checkpointer.problem}
    return web.json_response({"status": "ok", **problem})


async def answer(
    gateway: Gateway,
    account: str,
    method: str,
    path: str,
    headers: Iterable[tuple[str, str]],
    body: bytes | AsyncIterable[bytes],
) -> Acknowledgement:
    """Process a notification and return the exact response: the one call for every web framework.

    `path` is the path and query that the provider posted to; `body` is the raw bytes, or yields them in pieces, with
    limits of `MAX_BYTES` and ten seconds. Status 200 means that the notification is durable. Every rejection has a
    status of its own, and a provider that receives 503 sends the notification again.
    """
    try:
        raw = await _bounded(body)
        return await gateway.receive_notification(account, Notification(method, path, tuple(headers), raw))
    except Forged as error:
        _log.warning("notification rejected: %s %s for account %s: %s", method, path, account, error)
        return _refusal(401, "not signed by the provider")
    except Unreadable:
        return _refusal(400, "not readable")
    except Invalid:
        return _refusal(404, "no such account")
    except _TooLarge:
        return _refusal(413, f"larger than {MAX_BYTES} bytes")
    except TimeoutError:
        return _refusal(408, "too slow")
    except RefundryError:
        # The provider sends it again, so nothing is lost.
        _log.exception("a notification could not be recorded")
        return _refusal(503, "not recorded")


def _refusal(status: int, text: str) -> Acknowledgement:
    return Acknowledgement(status, (("content-type", "text/plain; charset=utf-8"),), f"{text}\n".encode())


async def _notified(request: web.Request) -> web.Response:
    account, pieces = request.match_info["account"], request.content.iter_any()
    response = await answer(
        request.app[GATEWAY], account, request.method, request.raw_path, request.headers.items(), pieces
    )
    return web.Response(status=response.status, body=response.body, headers=dict(response.headers))


class _TooLarge(Exception):
    """A body of more than `MAX_BYTES`."""


async def _bounded(body: bytes | AsyncIterable[bytes]) -> bytes:
    if not isinstance(body, bytes):
        async with asyncio.timeout(_READ_SECONDS):
            body = await _joined(body)
    if len(body) > MAX_BYTES:
        raise _TooLarge
    return body


async def _joined(pieces: AsyncIterable[bytes]) -> bytes:
    body = bytearray()
    async for piece in pieces:
        body += piece
        if len(body) > MAX_BYTES:
            raise _TooLarge
    return bytes(body)
