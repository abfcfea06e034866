"""The HTTP server of `refundry serve`: a client that is slow, silent or broken holds up no other.

The rule of this module: connections are limited in number and in the time that each may wait. At the limit, the one
that has waited longest for its request makes room for the next. What such clients do is one line in the log.
"""

import asyncio
import errno
import logging
import resource
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from refundry.gateway import Gateway
from refundry.web.notifications import init_app, unknown_paths

__all__ = ["listening"]

REQUEST_SECONDS: Final = 15.0
"""How long a connection may take to send the head of a request, and how long it may stay idle after an answer."""
_MOST: Final = 1_000
_BACKLOG: Final = 64
_RESERVED: Final = 64
"""File descriptors for everything else: the store, the calls to providers."""
_QUIET_SECONDS: Final = 60.0
_EXHAUSTED: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_log = logging.getLogger("refundry")
_http_log = logging.getLogger("refundry.http")

_Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def listening(
    gateway: Gateway, host: str, port: int, *, limit: int | None = None, request_seconds: float = REQUEST_SECONDS
) -> AsyncIterator[str]:
    """Listen for notifications until the block ends; yield the URL.

    `limit` is the highest number of connections, by default what the limit of file descriptors allows. Raises `OSError`
    or `UnicodeError` if it cannot listen there.
    """
    connections = _Connections(_allowed() if limit is None else limit)
    app = init_app(web.Application(middlewares=[connections.answering, unknown_paths]), gateway)
    # Signatures are over the bytes as they were received, so nothing is decompressed.
    runner = web.AppRunner(
        app, access_log=None, auto_decompress=False, keepalive_timeout=request_seconds, logger=_http_log
    )
    await runner.setup()
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(_Exhaustion())
    try:
        assert runner.server is not None
        connections.server = runner.server
        server = await loop.create_server(connections.accept, host, port, backlog=_BACKLOG)
        try:
            address = f"[{host}]" if ":" in host else host
            yield f"http://{address}:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
    finally:
        loop.set_exception_handler(before)
        await runner.cleanup()


def _allowed() -> int:
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(_BACKLOG, min(_MOST, descriptors - _BACKLOG - _RESERVED))


class _Connections:
    """The open connections, of which at most `limit` wait at the same time."""

    server: web.Server

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._answering: set[asyncio.Protocol] = set()
        self._closing: set[asyncio.Protocol] = set()

    def accept(self) -> asyncio.Protocol:
        """Return the protocol of a new connection; at the limit, close the one that has waited longest."""
        opened = self.server.connections
        self._closing.intersection_update(opened)
        if len(opened) - len(self._closing) >= self._limit:
            for connection in opened:
                if connection not in self._closing and connection not in self._answering:
                    self._closing.add(connection)
                    connection.force_close()
                    break
        return self.server()

    @web.middleware
    async def answering(self, request: web.Request, handler: _Next) -> web.StreamResponse:
        """Keep a connection open while its request is processed."""
        self._answering.add(request.protocol)
        try:
            return await handler(request)
        finally:
            self._answering.discard(request.protocol)


class _Exhaustion:
    """Reports once a minute that no more connections can be accepted; asyncio would report each with a traceback."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Handle what asyncio reports."""
        error = context.get("exception")
        if not ("socket" in context and isinstance(error, OSError) and error.errno in _EXHAUSTED):
            loop.default_exception_handler(context)
        elif loop.time() >= self._next:
            self._next = loop.time() + _QUIET_SECONDS
            _log.error("connections cannot be accepted: %s; raise the limit of open files", error.strerror)


def _in_one_line(record: logging.LogRecord) -> bool:
    """Replace the traceback of a malformed request with one line; keep every record."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg, record.args = "malformed HTTP request: %s", (type(error).__name__,)
        record.exc_info = record.exc_text = None
    return True


_http_log.addFilter(_in_one_line)
