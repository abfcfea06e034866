"""The transport over real sockets, with a peer that does as it likes."""

import asyncio
import gzip
import socket
import ssl
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from refundry.outbound.transport import Delivery, HttpTransport, NoAnswer
from refundry.provider import MAX_BYTES, Answer, NotSent, Request
from tests.ports import free_port

BODY = b'{"refundRequestId":"R1"}'
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
SHARED = Delivery(shared=True)
Behave = Callable[["Peer", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Peer:
    """A server that counts what reaches it and then behaves as the test says."""

    def __init__(self, behave: Behave) -> None:
        self.behave = behave
        self.requests: list[bytes] = []
        self.connections = 0
        self.accepted = asyncio.Event()
        self.gone = asyncio.Event()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/refund"

    async def receive(self, reader: asyncio.StreamReader) -> bool:
        """Read one request; say whether there was one."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = await reader.read(1)
            if not byte:
                return False
            head += byte
        body = len(BODY) if b"content-length" in head.lower() else 0
        self.requests.append(head + await reader.readexactly(body))
        return True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.accepted.set()
        try:
            await self.behave(self, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            self.gone.set()


@asynccontextmanager
async def peer(behave: Behave) -> AsyncIterator[Peer]:
    remote = Peer(behave)
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        await remote.serve(reader, writer)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    remote.port = server.sockets[0].getsockname()[1]
    try:
        yield remote
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def saying(answer: bytes) -> Behave:
    """Receive one request, answer it and close the connection."""

    async def behave(remote: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await remote.receive(reader):
            writer.write(answer)
            await writer.drain()

    return behave


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    async with HttpTransport() as open_transport:
        yield open_transport


def post(url: str, method: str = "POST") -> Request:
    return Request(method, url, (("content-type", "application/json"),), BODY)


async def send_to(transport: HttpTransport, answer: bytes, timeout: float = 5) -> Answer | NoAnswer | NotSent:
    """Send to a peer that gives this answer; whatever it was, exactly one request may have arrived."""
    async with peer(saying(answer)) as remote:
        reply = await transport.send(post(remote.url), timeout)

        assert 1 == len(remote.requests)
        return reply


# --- before the first byte --------------------------------------------------------------------------------------------


async def test_a_refused_connection_is_not_sent(transport: HttpTransport) -> None:
    """If nothing listens at the address, no byte was sent."""
    reply = await transport.send(post(f"http://127.0.0.1:{free_port()}/"), 5)

    assert isinstance(reply, NotSent)


async def test_a_name_that_does_not_resolve_is_not_sent(
    transport: HttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the name leads nowhere, no byte left."""

    def nowhere(*arguments: object, **more: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)

    reply = await transport.send(post("https://nowhere.invalid/"), 5)

    assert isinstance(reply, NotSent)


async def test_a_failed_tls_handshake_is_not_sent(transport: HttpTransport) -> None:
    """A peer that speaks no TLS gets no byte of the request."""
    async with peer(saying(OK)) as remote:

        async def garbage(remote: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(10)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await writer.drain()

        remote.behave = garbage
        reply = await transport.send(post(f"https://127.0.0.1:{remote.port}/"), 5)

        assert isinstance(reply, NotSent)
        assert [] == remote.requests


async def test_an_untrusted_certificate_means_not_sent(transport: HttpTransport) -> None:
    """A certificate of an unknown issuer ends the handshake before the request is written."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # Anonymous key exchange needs no certificate on the server's side, and every careful client refuses it.
    context.set_ciphers("ALL:aNULL:@SECLEVEL=0")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    served: list[bytes] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(await reader.read(100))
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        reply = await transport.send(post(f"https://127.0.0.1:{port}/"), 5)

    assert isinstance(reply, NotSent)
    assert [] == served


async def test_the_last_check_has_the_connection_and_the_last_word(transport: HttpTransport) -> None:
    """A request that the last check refuses is not sent, although the connection to the provider is open."""
    connected: list[int] = []

    async with peer(saying(OK)) as remote:

        async def refuse() -> str:
            await remote.accepted.wait()
            connected.append(remote.connections)
            return "too old"

        for shared in (True, False):
            reply = await transport.send(post(remote.url), 5, Delivery(shared=shared, last_check=refuse))
            assert NotSent("too old", withheld=True) == reply

    assert 2 == len(connected)
    assert [] == remote.requests


async def test_what_times_out_before_the_first_byte_is_not_sent(transport: HttpTransport) -> None:
    """The time can run out on the way to the first byte, and then nothing was sent."""

    async def forever() -> None:
        await asyncio.Event().wait()

    async with peer(saying(OK)) as remote:
        reply = await transport.send(post(remote.url), 0.05, Delivery(last_check=forever))

    assert isinstance(reply, NotSent)
    assert [] == remote.requests


async def test_an_answer_before_the_request_is_no_answer_to_it(transport: HttpTransport) -> None:
    """A peer that speaks before it was asked is not asked."""
    spoken = asyncio.Event()

    async def hasty(remote: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await writer.drain()
        spoken.set()
        await remote.receive(reader)

    async with peer(hasty) as remote:
        reply = await transport.send(post(remote.url), 5, Delivery(last_check=arrived(spoken)))

    assert isinstance(reply, NotSent)
    assert [] == remote.requests


# --- whose answer it is -----------------------------------------------------------------------------------------------


def arrived(written: asyncio.Event) -> Callable[[], Awaitable[None]]:
    """Return a last check that waits until what was written on this machine has reached the other end, too."""

    async def check() -> None:
        await written.wait()
        for _ in range(5):
            await asyncio.sleep(0)

    return check


async def test_a_call_alone_shares_its_connection_with_no_other(transport: HttpTransport) -> None:
    """Unless a connection may be shared, each call opens its own and asks the peer to close it."""

    async def patient(remote: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await remote.receive(reader):
            writer.write(OK)
            await writer.drain()

    async with peer(patient) as remote:
        for delivery in (SHARED, Delivery(), Delivery(), SHARED):
            assert isinstance(await transport.send(post(remote.url), 5, delivery), Answer)

    assert 3 == remote.connections
    closing = [b"connection: close" in request.lower() for request in remote.requests]
    assert [False, True, True, False] == closing


async def test_a_connection_with_pending_bytes_is_not_used_again(transport: HttpTransport) -> None:
    """What arrives on an idle connection answers nothing: the next call goes out on a new connection."""
    repeated = asyncio.Event()

    async def twice(remote: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await remote.receive(reader)
        late = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfirst"
        if remote.connections == 1:
            writer.write(late)
            await writer.drain()
            await ended.wait()
            writer.write(late)
            await writer.drain()
            repeated.set()
            await reader.read()
        else:
            writer.write(OK)
            await writer.drain()

    ended = asyncio.Event()
    async with peer(twice) as remote:
        first = await transport.send(post(remote.url), 5, SHARED)
        ended.set()
        second = await transport.send(post(remote.url), 5, Delivery(shared=True, last_check=arrived(repeated)))

    assert isinstance(first, Answer)
    assert isinstance(second, Answer)
    assert (b"first", b"{}") == (first.body, second.body)
    assert (2, 2) == (remote.connections, len(remote.requests))


# --- after the first byte ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
async def test_a_kept_connection_that_was_closed_is_no_answer(transport: HttpTransport, method: str) -> None:
    """A request on a kept connection that the peer closes meanwhile may have arrived: never "not sent", never again."""
    answered = asyncio.Event()

    async def once(remote: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await remote.receive(reader)
        writer.write(OK)
        await writer.drain()
        answered.set()
        await remote.receive(reader)  # and close the connection without an answer

    async with peer(once) as remote:
        assert isinstance(await transport.send(post(remote.url), 5, SHARED), Answer)
        await answered.wait()
        second = await transport.send(post(remote.url, method), 5, SHARED)

        assert isinstance(second, NoAnswer)
        assert 2 == len(remote.requests)
        assert 1 == remote.connections


async def test_a_kept_connection_whose_server_is_gone_is_never_sent_again(transport: HttpTransport) -> None:
    """When the peer hung up and listens no more, a request on the kept connection is not called "not sent"."""
    sent = asyncio.Event()

    async def once(remote: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await remote.receive(reader)
        writer.write(OK)
        await writer.drain()
        await remote.receive(reader)
        sent.set()

    server = Peer(once)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    assert isinstance(await transport.send(post(server.url), 5, SHARED), Answer)
    listening.close()
    reply = await transport.send(post(server.url, "PUT"), 5, SHARED)
    await sent.wait()

    assert isinstance(reply, NoAnswer)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x00\xff\xfe garbage \x1b[31m\r\n\r\n",
        b"HTTP/1.1 2OO OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000 + b"\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200_000 + b"\r\n{}",
    ],
    ids=["nothing", "ssh", "binary", "letters", "negative", "two lengths", "chunk", "long header", "many headers"],
)
async def test_what_is_not_http_is_no_answer(transport: HttpTransport, answer: bytes) -> None:
    """Whatever comes instead of an HTTP answer, the request may have been carried out."""
    assert isinstance(await send_to(transport, answer), NoAnswer)


async def test_half_a_body_is_no_answer_and_is_kept(transport: HttpTransport) -> None:
    """A body that breaks off is not an answer, and what came of it is evidence."""
    reply = await send_to(transport, b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"half":')

    assert isinstance(reply, NoAnswer)
    assert reply.partial is not None
    assert b'{"half":' == reply.partial.body


async def test_a_long_body_is_cut_off(transport: HttpTransport) -> None:
    """Of ten megabytes we keep what an answer may have, and never hold the rest."""
    huge = 10 * 1024 * 1024

    async def flood(remote: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await remote.receive(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % huge)
        for _ in range(huge // 65_536):
            writer.write(bytes(65_536))
            await writer.drain()

    async with peer(flood) as remote:
        tracemalloc.start()
        try:
            reply = await transport.send(post(remote.url), 10)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        await remote.gone.wait()

    assert isinstance(reply, NoAnswer)
    assert reply.partial is not None
    assert MAX_BYTES == len(reply.partial.body)
    assert peak < huge // 4


async def test_a_body_of_exactly_the_limit_is_an_answer(transport: HttpTransport) -> None:
    """The limit itself is allowed."""
    reply = await send_to(transport, b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % MAX_BYTES + b"x" * MAX_BYTES)

    assert isinstance(reply, Answer)
    assert MAX_BYTES == len(reply.body)


@pytest.mark.slow
@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n"], ids=["head", "body"])
async def test_an_answer_in_drops_ends_at_the_timeout(transport: HttpTransport, head: bytes) -> None:
    """The time is for the whole answer, not for each byte of it."""

    async def drip(remote: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await remote.receive(reader)
        writer.write(head)
        for byte in b"HTTP/1.1 200 OK" + b"x" * 9999:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.05)

    async with peer(drip) as remote:
        async with asyncio.timeout(20):
            reply = await transport.send(post(remote.url), 0.4)
        await remote.gone.wait()

    assert isinstance(reply, NoAnswer)


async def test_a_cancelled_request_lets_go_of_the_connection(transport: HttpTransport) -> None:
    """Who stops waiting hangs up, too."""
    received = asyncio.Event()

    async def silent(remote: Peer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await remote.receive(reader)
        received.set()
        await reader.read()  # ends when the other side hangs up

    async with peer(silent) as remote:
        task = asyncio.create_task(transport.send(post(remote.url), 60))
        await received.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(10):
            await remote.gone.wait()


# --- never more than was asked ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(transport: HttpTransport, status: int) -> None:
    """A redirect is an answer like any other: nothing is sent to where it points."""
    async with peer(saying(OK)) as elsewhere:
        location = elsewhere.url.encode()
        answer = b"HTTP/1.1 %d Moved\r\nlocation: %s\r\ncontent-length: 0\r\n\r\n" % (status, location)
        reply = await send_to(transport, answer)

        assert isinstance(reply, Answer)
        assert status == reply.status
        assert 0 == elsewhere.connections


@pytest.mark.parametrize("target", ["/g?a=%7C&b=%2C&c=x%2f%2Fy&d=%C3%A4+1", "/p//x/../y/./z", "/?a=|,'()*;:@"])
async def test_the_url_leaves_as_it_was_signed(transport: HttpTransport, target: str) -> None:
    """No character of a signed URL is written differently, and no path is resolved."""
    async with peer(saying(OK)) as remote:
        await transport.send(post(f"http://127.0.0.1:{remote.port}{target}"), 5)

    assert remote.requests[0].startswith(b"POST %s HTTP/1.1\r\n" % target.encode())


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/\r\nx: y", "http://127.0.0.1/a b", "http://127.0.0.1/ä", "http://127.0.0.1/?", "ftp://x/"]
)
async def test_a_url_that_could_not_leave_as_it_is_is_not_sent(transport: HttpTransport, url: str) -> None:
    """A URL that HTTP cannot carry as it is does not leave in another form, and cannot smuggle in a header."""
    assert isinstance(await transport.send(post(url), 5), NotSent)


async def test_a_header_that_a_request_has_twice_leaves_twice(transport: HttpTransport) -> None:
    """Of two headers of one name both are sent, in their order."""
    async with peer(saying(OK)) as remote:
        request = Request(
            "POST", remote.url, (("X-Trace", "a"), ("Content-Type", "text/plain"), ("x-trace", "b")), BODY
        )
        await transport.send(request, 5)

    lines = [line.lower() for line in remote.requests[0].split(b"\r\n")]
    assert [b"x-trace: a", b"x-trace: b"] == [line for line in lines if line.startswith(b"x-trace")]


async def test_a_get_has_no_headers_of_a_body(transport: HttpTransport) -> None:
    """A request without a body does not announce one, nor its type."""
    async with peer(saying(OK)) as remote:
        assert isinstance(await transport.send(Request("GET", remote.url, (), b""), 5), Answer)

    assert not any(name in remote.requests[0].lower() for name in (b"content-", b"transfer-encoding"))


async def test_a_named_proxy_is_used(transport: HttpTransport) -> None:
    """With a proxy the whole URL goes to the proxy, as it was signed, and nothing goes past it."""
    async with peer(saying(OK)) as proxy, peer(saying(OK)) as remote:
        via = Delivery(proxy=f"http://127.0.0.1:{proxy.port}")
        reply = await transport.send(post(f"{remote.url}?a=%7C"), 5, via)

    assert isinstance(reply, Answer)
    assert proxy.requests[0].startswith(b"POST %s?a=%%7C HTTP/1.1\r\n" % remote.url.encode())
    assert 0 == remote.connections


async def test_a_tunnel_shows_the_proxy_nothing_but_the_host(transport: HttpTransport) -> None:
    """A call to https goes through a tunnel: the proxy gets the host and its own password, and nothing of the call."""
    async with peer(saying(b"HTTP/1.1 200 OK\r\n\r\nno TLS")) as proxy:
        via = Delivery(proxy=f"http://ada:s3cret@127.0.0.1:{proxy.port}")
        reply = await transport.send(post("https://provider.example/refund?sign=abc"), 5, via)

    assert isinstance(reply, NotSent)
    (request,) = proxy.requests
    assert request.startswith(b"CONNECT provider.example:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic YWRhOnMzY3JldA==\r\n" in request
    assert b"sign=" not in request
    assert BODY not in request


@pytest.mark.parametrize("status", [403, 407, 502])
async def test_a_proxy_that_opens_no_tunnel_means_not_sent(transport: HttpTransport, status: int) -> None:
    """A proxy that refuses the tunnel to the provider gets no byte of the request."""
    async with peer(saying(b"HTTP/1.1 %d No\r\ncontent-length: 0\r\n\r\n" % status)) as proxy:
        via = Delivery(proxy=f"http://127.0.0.1:{proxy.port}")
        reply = await transport.send(post("https://provider.example/refund"), 5, via)

    assert isinstance(reply, NotSent)
    assert [b"CONNECT provider.example:443 HTTP/1.1"] == [request.split(b"\r\n")[0] for request in proxy.requests]


async def test_proxies_of_the_environment_are_ignored(
    monkeypatch: pytest.MonkeyPatch, transport: HttpTransport
) -> None:
    """No proxy is used because an environment variable names one."""
    async with peer(saying(OK)) as proxy, peer(saying(OK)) as remote:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        async with HttpTransport() as fresh:
            reply = [await one.send(post(remote.url), 5) for one in (transport, fresh)]

        assert all(isinstance(answer, Answer) for answer in reply)
        assert 0 == proxy.connections


async def test_a_packed_body_is_not_unpacked(transport: HttpTransport) -> None:
    """What was signed are the bytes as they came, so those are what we read."""
    packed = gzip.compress(b"{}" * 1000)
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed)
    reply = await send_to(transport, head + packed)

    assert isinstance(reply, Answer)
    assert packed == reply.body


async def test_headers_that_stand_twice_are_both_given(transport: HttpTransport) -> None:
    """Of two signatures neither is chosen."""
    head = b"HTTP/1.1 200 OK\r\nSignature: a\r\nsignature: b\r\nset-cookie: c=d\r\ncontent-length: 2\r\n\r\n{}"
    reply = await send_to(transport, head)

    assert isinstance(reply, Answer)
    assert ["a", "b"] == [value for name, value in reply.headers if name.lower() == "signature"]
    assert reply.header("SIGNATURE") is None


async def test_the_request_leaves_as_it_was_signed(transport: HttpTransport) -> None:
    """The body and the headers arrive as they were given, and no cookie comes back."""
    answer = b"HTTP/1.1 200 OK\r\nset-cookie: session=1\r\ncontent-length: 2\r\n\r\n{}"
    async with peer(saying(answer)) as remote:
        for _ in range(2):
            await transport.send(post(remote.url), 5)

        assert all(request.endswith(b"\r\n\r\n" + BODY) for request in remote.requests)
        assert not any(b"cookie" in request.lower() for request in remote.requests)
        assert all(b"Accept-Encoding: identity\r\n" in request for request in remote.requests)
