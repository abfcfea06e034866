"""`refundry serve` with few file descriptors, among more half-sent requests than it may open."""

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest

from tests.core.shop import write_config
from tests.system.command import started


@pytest.mark.slow(seconds=3)
async def test_half_sent_requests_keep_out_no_client(tmp_path: Path) -> None:
    """With 256 descriptors and 1,000 half-sent requests, health is answered, and the log stays short."""
    config = write_config(tmp_path, {"shop": "http://127.0.0.1:1"})
    async with started(config, "serve", "--port", "0", "--json", files=256) as process:
        assert process.stdout is not None
        url = json.loads(await process.stdout.readline())["url"]
        port = int(url.rpartition(":")[2])
        opened = []
        for _ in range(1_000):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /notifications/shop HTTP/1.1\r\n")
            opened.append(writer)
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10)) as session,
            session.get(f"{url}/health") as answer,
        ):
            status = (await answer.json())["status"]
        for writer in opened:
            writer.close()
        process.terminate()
        _, err = await process.communicate()

    assert "ok" == status
    assert len(err) < 1_000
