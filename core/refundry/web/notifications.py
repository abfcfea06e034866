"""Providers' notifications over HTTP, for `refundry serve` and for every aiohttp application.

The rule of this package: raw bytes first, bounded in size and time; nothing is acknowledged before it is durable.
"""

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from aiohttp import web

from refundry.errors import ConfigError, Forged, Invalid, RefundryError, StoreError
from refundry.gateway import Gateway
from refundry.gateway.status import read_status
from refundry.logs import log
from refundry.provider import MAX_BYTES, Acknowledgement, Notification, Unreadable

__all__ = ["GATEWAY", "answer", "init_app", "unknown_paths"]

GATEWAY: Final = web.AppKey("refundry.gateway", Gateway)
_READ_SECONDS: Final = 10.0
_WATCH_SECONDS: Final = 10.0
_SHOWN: Final = 200
"""At most so many characters of what a sender wrote are logged."""


def init_app(app: web.Application, gateway: Gateway) -> web.Application:
    """Add `POST /notifications/<account>` and `GET /health` to an application; return the application."""
    app[GATEWAY] = gateway
    app.router.add_post("/notifications/{account}", _notified)
    app.router.add_get("/health", _healthy)
    app.cleanup_ctx.append(_watched)
    return app


async def _watched(app: web.Application) -> AsyncIterator[None]:
    app[GATEWAY].catch_up()
    watching = asyncio.create_task(_watch(app[GATEWAY]))
    yield
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)


async def _watch(gateway: Gateway) -> None:
    """Report outages of accounts, even if no worker runs."""
    while True:
        await asyncio.sleep(_WATCH_SECONDS)
        with suppress(StoreError):
            await gateway.monitor.check(sorted(gateway.accounts))


async def _healthy(request: web.Request) -> web.Response:
    gateway = request.app[GATEWAY]
    try:
        await gateway.journal.check_writable(gateway.ports.now())
        status = await read_status(gateway)
    except RefundryError as error:
        return web.json_response({"status": str(error)}, status=503)
    checkpointer = gateway.checkpointer
    # An operator has to look at a log that is not signed; refunds continue.
    unsigned = {} if checkpointer is None or checkpointer.problem is None else {"audit": checkpointer.problem}
    # Codes and names only: the answer may be public, and messages may quote a provider.
    return web.json_response(
        {
            "status": "ok",
            **unsigned,
            "accounts": {health.account: health.state for health in status.accounts},
            "workers": sum(not status.is_silent(worker) for worker in status.workers),
            "observers": dict(status.store.observers),
            "problems": [{"code": problem.code, "account": problem.account} for problem in status.problems],
        }
    )


async def answer(
    gateway: Gateway,
    account: str,
    method: str,
    path: str,
    headers: Iterable[tuple[str, str]],
    body: bytes | AsyncIterable[bytes],
    source: str | None = None,
) -> Acknowledgement:
    """Process a notification and return the exact response: the one call for every web framework.

    `path` is the path and query that the provider posted to; `body` is the raw bytes, or yields them in pieces, with
    limits of `MAX_BYTES` and ten seconds. `source` is the sender's address, for the log. Status 200 means that the
    notification is durable. Every rejection has a status of its own and a line in the log, and a provider that receives
    503 sends the notification again.
    """
    given = tuple(headers)
    try:
        raw = await _bounded(body)
        return await gateway.receive_notification(account, Notification(method, path, given, raw))
    except Forged as error:
        status, text, why = 401, "not signed by the provider", str(error)
    except Unreadable as error:
        status, text, why = 400, "not readable", str(error)
    except ConfigError as error:
        # The account's keys cannot be used: the provider sends it again until they can.
        status, text, why = 503, "not recorded", str(error)
    except Invalid as error:
        status, text, why = 404, "no such account", str(error)
    except _TooLarge:
        status, text, why = 413, f"larger than {MAX_BYTES} bytes", "too large"
    except TimeoutError:
        status, text, why = 408, "too slow", "too slow"
    except RefundryError as error:
        # The provider sends it again, so nothing is lost.
        log(logging.ERROR, "notification not recorded", account=account, path=path, error=error)
        return _refusal(503, "not recorded")
    _log_refusal(status, method, path, source, given, why, account)
    return _refusal(status, text)


def _log_refusal(
    status: int, method: str, path: str, source: str | None, headers: Iterable[tuple[str, str]], reason: str,
    account: str | None = None,
) -> None:  # fmt: skip
    forwarded = next((value[:_SHOWN] for name, value in headers if name.lower() == "x-forwarded-for"), None)
    log(
        logging.WARNING, "notification refused", status=status, method=method, path=path[:_SHOWN],
        account=None if account is None else account[:_SHOWN], source=source, forwarded_for=forwarded,
        reason=reason[:_SHOWN],
    )  # fmt: skip


@web.middleware
async def unknown_paths(request: web.Request, handler: Callable[[web.Request], Awaitable[Any]]) -> Any:
    """Report requests for paths that do not exist in the log: a proxy may have changed the path of a notification."""
    try:
        return await handler(request)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        _log_refusal(
            error.status, request.method, request.raw_path, request.remote, request.headers.items(), error.reason
        )
        raise


def _refusal(status: int, text: str) -> Acknowledgement:
    return Acknowledgement(status, (("content-type", "text/plain; charset=utf-8"),), f"{text}\n".encode())


async def _notified(request: web.Request) -> web.Response:
    account, pieces = request.match_info["account"], request.content.iter_any()
    response = await answer(
        request.app[GATEWAY], account, request.method, request.raw_path, request.headers.items(), pieces,
        source=request.remote,
    )  # fmt: skip
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
