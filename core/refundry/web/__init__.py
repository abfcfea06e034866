"""Providers' notifications over HTTP, for `refundry serve` and for every aiohttp application.

The rule of this package: raw bytes first, bounded in size and time; nothing is acknowledged before it is durable.
"""

import asyncio
import logging
from typing import Final

from aiohttp import web

from refundry.errors import Forged, Invalid, RefundryError
from refundry.gateway import Gateway
from refundry.provider import MAX_BYTES, Notification, Unreadable

GATEWAY: Final = web.AppKey("refundry.gateway", Gateway)
_READ_SECONDS: Final = 10.0
_log = logging.getLogger("refundry")


def init_app(app: web.Application, gateway: Gateway) -> web.Application:
    """Add `POST /notifications/<account>` and `GET /health` to an application, and give it back."""
    app[GATEWAY] = gateway
    app.router.add_post("/notifications/{account}", _notified)
    app.router.add_get("/health", _healthy)
    return app


async def _healthy(request: web.Request) -> web.Response:
    try:
        # Gives back nothing of nobody, and so says whether the store can be written to.
        await request.app[GATEWAY].journal.release("health")
    except RefundryError as error:
        return web.json_response({"status": str(error)}, status=503)
    return web.json_response({"status": "ok"})


async def _notified(request: web.Request) -> web.Response:
    body = await _bounded_body(request)
    headers = tuple((name, value) for name, value in request.headers.items())
    notification = Notification(request.method, request.raw_path, headers, body)
    try:
        done = await request.app[GATEWAY].hear(request.match_info["account"], notification)
    except Forged as error:
        _log.warning("a notification for %s was refused: %s", request.match_info["account"], error)
        raise web.HTTPUnauthorized(text="not signed by the provider\n") from None
    except Unreadable:
        raise web.HTTPBadRequest(text="not readable\n") from None
    except Invalid:
        raise web.HTTPNotFound(text="no such account\n") from None
    except RefundryError:
        # The provider sends it again; what it said is not lost by our silence.
        _log.exception("a notification could not be recorded")
        raise web.HTTPServiceUnavailable(text="not recorded\n") from None
    return web.Response(status=done.status, body=done.body, headers=dict(done.headers))


async def _bounded_body(request: web.Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(_READ_SECONDS):
            async for chunk in request.content.iter_chunked(MAX_BYTES):
                body += chunk
                if len(body) > MAX_BYTES:
                    raise web.HTTPRequestEntityTooLarge(max_size=MAX_BYTES, actual_size=len(body))
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="too slow\n") from None
    return bytes(body)
