"""The only outgoing I/O: one signed request, one bounded answer.

The rule of this module: it sends exactly what it is given, once. It follows no redirect, uses no proxy of the
environment, retries nothing and decompresses nothing; bytes and time are limited. `NotSent` means
that no byte was sent.
"""

import asyncio
from functools import cache
from types import TracebackType
from typing import Final, Protocol, Self

import aiohttp
import attrs

from refundry.provider import MAX_BYTES, Answer, NotSent, Request

__all__ = ["HttpTransport", "NoAnswer", "Transport"]


@attrs.frozen(slots=True)
class NoAnswer:
    """The request was sent, or may have been, and no complete answer arrived: the outcome is unknown."""

    cause: str
    partial: Answer | None = None
    """The part of the answer that arrived, kept as evidence."""


class Transport(Protocol):
    """What the gateway needs to reach a provider."""

    async def send(self, request: Request, timeout: float) -> Answer | NoAnswer | NotSent:
        """Send one request and wait at most `timeout` seconds in total; raise only if canceled."""


# Raised before the request is written: name resolution, connecting, TLS, waiting for a connection.
_BEFORE_THE_FIRST_BYTE: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
_MAX_HEADER: Final = 16 * 1024


@cache
def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=seconds, sock_connect=seconds)


class HttpTransport:
    """HTTP on aiohttp, with one pool of connections."""

    def __init__(self, connections: int = 100) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, limit_per_host=0),
            trust_env=False,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity", "User-Agent": "refundry"},
            max_line_size=_MAX_HEADER,
            max_field_size=_MAX_HEADER,
        )
        # aiohttp would retry GET, PUT and DELETE automatically if a kept connection turns out to be closed.
        self._session._retry_connection = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._session.close()

    async def send(self, request: Request, timeout: float) -> Answer | NoAnswer | NotSent:
        """Send one request and wait at most `timeout` seconds in total; raise only if canceled."""
        try:
            return await self._send(request, timeout)
        except _BEFORE_THE_FIRST_BYTE as error:
            return NotSent(f"no connection: {type(error).__name__}")
        except TimeoutError:
            return NoAnswer(f"no answer within {timeout:g} seconds")
        except (aiohttp.ClientError, OSError, ValueError, asyncio.IncompleteReadError) as error:
            return NoAnswer(f"the answer broke off: {type(error).__name__}")

    async def _send(self, request: Request, timeout: float) -> Answer | NoAnswer:
        async with self._session.request(
            request.method,
            request.url,
            data=request.body,
            headers=dict(request.headers),
            allow_redirects=False,
            timeout=_timeout(timeout),
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
