"""The only outgoing I/O: one signed request, one bounded answer.

The rule of this module: it sends exactly what it is given, once. It follows no redirect, uses no proxy of the
environment, retries nothing and decompresses nothing; bytes and time are limited. `NotSent` means that no byte of the
request was sent.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Final, Protocol, Self

import aiohttp
import attrs
from yarl import URL

from refundry.provider import MAX_BYTES, Answer, NotSent, Request

__all__ = ["Delivery", "HttpTransport", "NoAnswer", "Transport"]


@attrs.frozen(slots=True)
class NoAnswer:
    """The request was sent, or may have been, and no complete answer arrived: the outcome is unknown."""

    cause: str
    partial: Answer | None = None
    """The part of the answer that arrived, kept as evidence."""


async def _nothing_to_check() -> str | None:
    return None


@attrs.frozen(slots=True, kw_only=True)
class Delivery:
    """How a request is to be delivered: what is not a part of it."""

    shared: bool = False
    """Whether the connection may have carried other calls before, and carry others after it. A late answer to another
    call can arrive on it, so every answer that decides something has to name its refund. If it is False, the connection
    must carry this call alone."""
    proxy: str | None = attrs.field(default=None, repr=False)
    """The URL of the HTTP proxy to use; None for a direct connection."""
    last_check: Callable[[], Awaitable[str | None]] = _nothing_to_check
    """Called once the connection is open, as the last step before the first byte. Returns why the request must not be
    sent any more; None if it may be."""


class Transport(Protocol):
    """What the gateway needs to reach a provider."""

    async def send(self, request: Request, timeout: float, delivery: Delivery) -> Answer | NoAnswer | NotSent:
        """Send one request and wait at most `timeout` seconds in total; raise only if canceled."""


_MAX_HEADER: Final = 16 * 1024
_URL: Final = re.compile(r"(?=[!-~]+\Z)https?://[^/?#@]+(?P<target>[/?][^#]*)?")
"""A URL without user and fragment, in printable ASCII: anything else would be written differently."""
_DIRECT: Final = Delivery()


class _Refused(Exception):
    """The last check refused the request."""


class _Polluted(Exception):
    """The connection holds bytes that cannot be the answer to a request that was not sent yet."""


class _Gate:
    """Lets the request out once the last check has passed, and remembers that it did."""

    def __init__(self, last_check: Callable[[], Awaitable[str | None]]) -> None:
        self._last_check = last_check
        self.opened = False

    async def open(self, connection: Any) -> None:
        """Raise unless the request may be sent now, on this connection."""
        reason = await self._last_check()
        if reason is not None:
            raise _Refused(reason)
        protocol = connection.protocol
        if protocol is None or protocol.should_close or not protocol.is_connected():
            raise _Polluted
        self.opened = True

    async def attach(self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """Put the gate before a request, as aiohttp's middleware."""
        assert isinstance(request, _GatedRequest)
        request.gate = self
        return await send(request)


class _GatedRequest(aiohttp.ClientRequest):
    """A request that passes its gate between the opening of the connection and the first byte."""

    gate: _Gate

    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        await self.gate.open(conn)
        return await super().send(conn)


class HttpTransport:
    """HTTP on aiohttp, with connections that carry one call and connections that are kept.

    There is no limit of connections, which the calls of one account could exhaust for all others: callers limit their
    calls.
    """

    def __init__(self) -> None:
        self._alone = _session(aiohttp.TCPConnector(limit=0, force_close=True))
        self._shared = _session(aiohttp.TCPConnector(limit=0))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._alone.close()
        await self._shared.close()

    async def send(self, request: Request, timeout: float, delivery: Delivery = _DIRECT) -> Answer | NoAnswer | NotSent:
        """Send one request and wait at most `timeout` seconds in total; raise only if canceled."""
        url = _as_signed(request.url)
        if url is None:
            return NotSent("the URL cannot be sent as it was signed: it is not a complete http or https URL in ASCII")
        if delivery.shared:
            try:
                return await self._attempt(self._shared, url, request, timeout, delivery)
            except _Polluted:
                # Nothing was sent. What arrived on that connection is lost with it.
                pass
        try:
            return await self._attempt(self._alone, url, request, timeout, delivery)
        except _Polluted:
            return NotSent("the connection was closed, or answered, before the request was sent")

    async def _attempt(
        self, session: aiohttp.ClientSession, url: URL, request: Request, timeout: float, delivery: Delivery
    ) -> Answer | NoAnswer | NotSent:
        gate = _Gate(delivery.last_check)
        try:
            return await _send_once(session, url, request, timeout, delivery.proxy, gate)
        except _Refused as refusal:
            return NotSent(str(refusal), withheld=True)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError, asyncio.IncompleteReadError) as error:
            if not gate.opened:
                return NotSent(f"no connection: {type(error).__name__}")
            if isinstance(error, TimeoutError):
                return NoAnswer(f"no answer within {timeout:.3g} seconds")
            return NoAnswer(f"the answer broke off: {type(error).__name__}")


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    session = aiohttp.ClientSession(
        connector=connector,
        request_class=_GatedRequest,
        trust_env=False,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity", "User-Agent": "refundry"},
        max_line_size=_MAX_HEADER,
        max_field_size=_MAX_HEADER,
    )
    # aiohttp would retry GET, PUT and DELETE automatically if a kept connection turns out to be closed.
    session._retry_connection = False
    return session


def _as_signed(text: str) -> URL | None:
    """Return the URL if aiohttp writes its path and query exactly so; None if not."""
    match = _URL.fullmatch(text)
    if match is None:
        return None
    try:
        url = URL(text, encoded=True)
        known = url.raw_host and url.port
    except ValueError:
        return None
    target = match["target"] or "/"
    return url if known and url.raw_path_qs == (target if target.startswith("/") else f"/{target}") else None


def _headers(request: Request) -> list[tuple[str, str]]:
    """Return all headers of a request. aiohttp keeps two of one name only if both are spelled alike."""
    spelled: dict[str, str] = {}
    return [(spelled.setdefault(name.lower(), name), value) for name, value in request.headers]


async def _send_once(
    session: aiohttp.ClientSession, url: URL, request: Request, timeout: float, proxy: str | None, gate: _Gate
) -> Answer | NoAnswer:
    async with session.request(
        request.method,
        url,
        # Without a body there are no headers about one.
        data=request.body or None,
        headers=_headers(request),
        allow_redirects=False,
        timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=timeout),
        proxy=proxy,
        middlewares=(gate.attach,),
    ) as response:
        body = bytearray()
        headers = tuple(response.headers.items())
        try:
            while chunk := await response.content.read(MAX_BYTES + 1 - len(body)):
                body += chunk
                if len(body) > MAX_BYTES:
                    response.close()
                    partial = Answer(response.status, headers, bytes(body[:MAX_BYTES]))
                    return NoAnswer(f"the answer is longer than {MAX_BYTES} bytes", partial)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            partial = Answer(response.status, headers, bytes(body))
            return NoAnswer(f"the answer broke off: {type(error).__name__}", partial)
        return Answer(response.status, headers, bytes(body))
