"""The server of `refundry serve` among clients that are slow, silent or broken."""

import asyncio
import errno
import json
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from refundry.web.listener import listening
from tests.core.shop import open_shop

HALF = b"POST /notifications/shop HTTP/1.1\r\nhost: x\r\n"


@asynccontextmanager
async def listener(tmp_path: Path, limit: int = 100, request_seconds: float = 60) -> AsyncIterator[str]:
    """Yield the URL of a server for a shop."""
    async with (
        open_shop(tmp_path) as shop,
        listening(shop.gateway, "127.0.0.1", 0, limit=limit, request_seconds=request_seconds) as url,
    ):
        yield url


@asynccontextmanager
async def sent(url: str, content: bytes = HALF) -> AsyncIterator[asyncio.StreamReader]:
    """Open a connection, send this, by default half of a request, and yield what reads the answer."""
    at = urlsplit(url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    writer.write(content)
    try:
        yield reader
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def health(url: str) -> str:
    """Return the status that the server reports."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/health") as answer:
        status: str = json.loads(await answer.read())["status"]
        return status


async def test_at_the_limit_the_oldest_waiting_connection_makes_room(tmp_path: Path) -> None:
    """Half-sent requests that fill the server keep out no other client: the oldest is closed, the newest stay open."""
    async with listener(tmp_path, limit=5) as url, AsyncExitStack() as stack:
        waiting = [await stack.enter_async_context(sent(url)) for _ in range(5)]
        answered = [await health(url) for _ in range(2)]
        closed = await asyncio.wait_for(waiting[0].read(), 10)

        assert ["ok", "ok"] == answered
        assert b"" == closed
        assert not waiting[4].at_eof()


async def test_a_half_sent_request_is_closed_after_a_while(tmp_path: Path) -> None:
    """A connection that does not complete the head of its request in time is closed without an answer."""
    async with listener(tmp_path, request_seconds=0.05) as url, sent(url) as reader:
        assert b"" == await asyncio.wait_for(reader.read(), 10)


async def test_a_malformed_request_is_one_line_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is answered with 400, and logged without a traceback."""
    malformed = b"POST / HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n"
    async with listener(tmp_path) as url, sent(url, malformed) as reader:
        answer = await reader.readline()

    (record,) = (record for record in caplog.records if record.name == "refundry.http")
    assert b"400" in answer
    assert (logging.WARNING, None) == (record.levelno, record.exc_info)
    assert record.getMessage().startswith("malformed HTTP request: ")


async def test_exhausted_descriptors_are_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Accepting that fails for want of file descriptors is one line in the log, however often asyncio reports it."""
    async with listener(tmp_path):
        report = {"message": "accept", "exception": OSError(errno.EMFILE, "too many"), "socket": object()}
        for _ in range(100):
            asyncio.get_running_loop().call_exception_handler(report)

    assert ["ERROR"] == [record.levelname for record in caplog.records if record.name in ("refundry", "asyncio")]
