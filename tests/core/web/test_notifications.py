"""Notifications over real HTTP: what is believed, what is refused, and with which status."""

import asyncio
import gzip
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest
from aiohttp import web
from yarl import URL

from refundry.errors import StoreError
from refundry.provider import MAX_BYTES
from refundry.refund import Status
from refundry.testing.simulator.faults import Plan
from refundry.testing.simulator.ledger import State
from refundry.testing.simulator.messages import Draft, SignatureFlaw
from refundry.web import init_app
from tests.core.shop import Shop, open_shop

PATH = "/notifications/shop"


@attrs.frozen
class Site:
    """A shop whose application listens, and what is needed to post to it."""

    shop: Shop
    url: str
    session: aiohttp.ClientSession

    async def message(self, path: str = PATH, id: str = "R1", **plan: Any) -> tuple[dict[str, str], bytes]:
        """Return the headers and the body of the notification that the simulator would post to this path."""
        refund = self.shop.antom.ledger.refunds[id]
        response = Draft(operation="notification", path=path, code="SUCCESS", refund=refund, state=State.SUCCESS)
        written = await self.shop.antom._write(response, Plan(**plan))
        return dict(written.headers), written.body

    async def post(self, headers: dict[str, str], body: Any, path: str = PATH) -> tuple[int, bytes]:
        async with self.session.post(self.url + path, data=body, headers=headers) as answer:
            return answer.status, await answer.read()

    async def status(self) -> Status:
        return (await self.shop.gateway.get("R1")).status


@asynccontextmanager
async def serving(shop: Shop) -> AsyncIterator[Site]:
    runner = web.AppRunner(init_app(web.Application(), shop.gateway), access_log=None, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession() as session:
            yield Site(shop, f"http://127.0.0.1:{runner.addresses[0][1]}", session)
    finally:
        await runner.cleanup()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A site that waits for a notification about the pending refund R1."""
    async with open_shop(tmp_path, mode="async", async_delay=None) as shop, serving(shop) as listening:
        await shop.request("R1")
        yield listening


async def test_a_genuine_notification_is_durable_and_acknowledged(site: Site) -> None:
    """It settles the refund and is answered with the provider's exact words; again, and nothing changes."""
    headers, body = await site.message()
    first, again = await site.post(headers, body), await site.post(headers, body)

    assert (200, True) == (first[0], b'"resultCode":"SUCCESS"' in first[1])
    assert first == again
    assert Status.SETTLED is await site.status()
    assert ["Requested", "Submitted", "Inquired", "Settled"] == [
        type(item.event).__name__ for item in await site.shop.gateway.history("R1")
    ]


async def test_the_query_is_part_of_what_was_signed(site: Site) -> None:
    """The path is verified as it came, with its query and its escapes."""
    path = f"{PATH}?from=antom&x=%2F"
    headers, body = await site.message(path)

    assert 401 == (await site.post(headers, body, f"{PATH}?from=antom&x=/"))[0]
    assert 401 == (await site.post(headers, body))[0]
    async with site.session.post(URL(site.url + path, encoded=True), data=body, headers=headers) as response:
        assert 200 == response.status


@pytest.mark.parametrize("flaw", list(SignatureFlaw))
async def test_a_forged_notification_is_refused(
    site: Site, flaw: SignatureFlaw, caplog: pytest.LogCaptureFixture
) -> None:
    """What the provider did not sign is answered 401, logged, and neither believed nor stored."""
    before = await site.shop.gateway.history("R1")
    status, body = await site.post(*await site.message(flaw=flaw))

    assert (401, b"not signed by the provider\n") == (status, body)
    assert before == await site.shop.gateway.history("R1")
    assert [] == await site.shop.gateway.journal.unmatched()
    line = "notification refused status=401 method=POST path=/notifications/shop account=shop source=127.0.0.1 reason="
    assert line in caplog.text


async def test_one_changed_byte_is_refused(site: Site) -> None:
    """The signature is over the raw bytes: not even a space may change."""
    headers, body = await site.message()

    assert 401 == (await site.post(headers, body.replace(b":", b": ", 1)))[0]
    assert Status.PENDING is await site.status()


@pytest.mark.parametrize("corrupt", ["half_json", "empty", "brackets", "duplicate_keys", "not_utf8"])
async def test_what_cannot_be_read_is_refused(site: Site, corrupt: str) -> None:
    """Signed nonsense is nonsense."""
    status, body = await site.post(*await site.message(corruptions=[corrupt], signed=True))

    assert (400, b"not readable\n") == (status, body)
    assert Status.PENDING is await site.status()


async def test_a_body_that_is_too_long_is_refused(site: Site) -> None:
    """More than an answer may have is not even read to its end."""
    headers, _ = await site.message()

    assert 413 == (await site.post(headers, b"x" * (MAX_BYTES + 1)))[0]
    assert 401 == (await site.post(headers, b"x" * MAX_BYTES))[0]


async def test_a_body_that_does_not_end_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is slow is answered 408, and holds nothing."""
    monkeypatch.setattr("refundry.web.notifications._READ_SECONDS", 0.2)

    port = int(re.findall(r":(\d+)$", site.url)[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n".encode())
    async with asyncio.timeout(10):
        line = await reader.readline()
    writer.close()

    assert line.startswith(b"HTTP/1.1 408 ")
    assert 200 == (await site.post(*await site.message()))[0]


async def test_a_packed_body_is_not_unpacked(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """What was signed are the bytes as they came; a bomb stays packed, and the log names the cause."""
    headers, body = await site.message()

    assert 401 == (await site.post(headers | {"Content-Encoding": "gzip"}, gzip.compress(body)))[0]
    assert "Content-Encoding: 'gzip'" in caplog.text


@pytest.mark.parametrize("path", ["/notifications/missing", "/notifications/", "/notifications/shop/x", "/"])
async def test_other_places_do_not_exist(site: Site, path: str) -> None:
    """An account that is not there and every other path are answered 404."""
    headers, body = await site.message(path)

    assert 404 == (await site.post(headers, body, path))[0]


async def test_every_refusal_is_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A refused notification leaves one line with status, path, source and reason, however it is refused."""
    headers, body = await site.message()
    statuses = [
        (await site.post(headers, body, path))[0]
        for path in ("/notifications/missing", "/notifications/shop?x=" + "y" * 500)
    ]
    statuses.append((await site.post(headers | {"X-Forwarded-For": "203.0.113.9"}, b" " * (MAX_BYTES + 1), PATH))[0])

    refused = [record.getMessage() for record in caplog.records if "notification refused" in record.getMessage()]
    assert [404, 401, 413] == statuses
    assert [f"status={status}" for status in statuses] == [line.split()[2] for line in refused]
    assert all(("source=127.0.0.1" in line and "path=/notifications/" in line) or 'path="' in line for line in refused)
    assert "there is no account 'missing'" in refused[0]
    assert max(map(len, refused)) < 700
    assert "forwarded_for=203.0.113.9" in refused[2]


async def test_what_could_not_be_stored_is_not_acknowledged(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the store fails, the provider receives 503, sends the notification again, and it is recorded then."""

    async def full(*arguments: Any) -> Any:
        raise StoreError("store: the disk is full")

    message = await site.message()
    with monkeypatch.context() as patched:
        patched.setattr(site.shop.gateway.journal, "save", full)
        refused = await site.post(*message)

    assert (503, b"not recorded\n") == refused
    assert Status.PENDING is await site.status()
    assert 200 == (await site.post(*message))[0]
    assert Status.SETTLED is await site.status()


async def test_the_simulator_is_satisfied(tmp_path: Path) -> None:
    """The simulated provider posts once and takes our answer as its acknowledgement."""
    async with open_shop(tmp_path, mode="async", async_delay=None) as shop, serving(shop) as site:
        shop.antom.change({"notify_url": f"{site.url}{PATH}"})
        refund = await shop.request("R1")
        shop.antom.finish("R1", State.SUCCESS)
        book = shop.antom.ledger.refunds["R1"]
        async with asyncio.timeout(20):
            await asyncio.gather(*shop.antom._tasks)

        assert Status.SETTLED is (await shop.gateway.get(refund.id)).status
        assert (1, 1) == (book.notifications_sent, book.notifications_acknowledged)


async def health(site: Site) -> tuple[int, Any]:
    async with site.session.get(f"{site.url}/health") as answer:
        return answer.status, await answer.json()


async def test_health_has_what_is_wrong(site: Site) -> None:
    """A monitor learns accounts, workers, observers and the codes of problems, and no text of a provider."""
    good = await health(site)
    site.shop.antom.fault("answer", code="ACCESS_DENIED", operation="refund", refund_request_id="R9")
    await site.shop.request("R9", payment="P9")
    blocked = await health(site)

    assert (200, {"status": "ok", "accounts": {"shop": "ok"}, "workers": 0, "observers": {}, "problems": []}) == good
    assert (200, {"shop": "blocked"}) == (blocked[0], blocked[1]["accounts"])
    assert [{"code": "blocked", "account": "shop"}, {"code": "needs_review", "account": None}] == blocked[1]["problems"]


async def test_health_writes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every question is answered only after something was written durably; a store that fails is not healthy."""
    written = []
    check = site.shop.gateway.journal.check_writable

    async def checked(now: datetime) -> None:
        await check(now)
        written.append(now)

    monkeypatch.setattr(site.shop.gateway.journal, "check_writable", checked)
    await health(site)
    await site.shop.gateway.journal.close()
    status, body = await health(site)

    assert [site.shop.clock.at] == written
    assert (503, True) == (status, body["status"].startswith("store: "))
