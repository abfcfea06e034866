"""Anchors: the four built-in ones on real files, repositories and servers, and how all of them are served."""

import asyncio
import logging
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from refundry.audit.signing import anchors as anchors_module
from refundry.audit.signing.anchors import Anchors, open_anchors, read_notes, timestamp_request
from refundry.audit.signing.signed_notes import Checkpoint, Key, sign_note
from refundry.errors import ConfigError
from refundry.plugin_host import hookimpl, load_plugins
from refundry.plugin_host.interfaces import Anchor, AnchorPlugin
from refundry.ports import Ports
from tests.core.audit.child import settings

PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x05" * 32)
LOG = Key("refundry/test", PRIVATE.public_key().public_bytes_raw(), PRIVATE.sign)


def note(size: int) -> bytes:
    return sign_note(Checkpoint(LOG.name, size, bytes([size]) * 32).text, LOG)


def opened(place: Path, *tables: dict[str, Any], plugins: tuple[AnchorPlugin, ...] = ()) -> Anchors:
    """Open anchors as `[[audit.anchors]]` in a configuration in `place` would, without a wait between checkpoints."""
    found = tuple({"every": 0} | table for table in tables)
    return open_anchors(settings(place / "refunds.db", anchors=found), plugins, Ports())


async def published(anchors: Anchors, *sizes: int) -> None:
    for size in sizes:
        anchors.publish(note(size))
    await anchors.close()


@attrs.frozen
class Kept:
    """An anchor that keeps what it receives, or raises."""

    taken: list[bytes]
    error: Exception | None = None

    async def publish(self, checkpoint: bytes) -> None:
        self.taken.append(checkpoint)
        if self.error is not None:
            raise self.error


@attrs.frozen
class NoSettings:
    pass


def plugin(name: str, anchor: Anchor) -> AnchorPlugin:
    return AnchorPlugin(name, NoSettings, lambda *_: anchor)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 (it has no event)
            await asyncio.sleep(0.01)


# --- the file ---------------------------------------------------------------------------------------------------------


async def test_the_file_has_every_checkpoint_in_order(tmp_path: Path) -> None:
    """Each is appended; existing content is not touched, and an incomplete end is left out."""
    table = {"anchor": "file", "path": "anchor.txt"}
    for size in (1, 2):
        await published(opened(tmp_path, table), size)
    for length in range(1, len(note(3)) - 1):
        with (tmp_path / "anchor.txt").open("wb") as file:
            file.write(b"\n" + note(1) + b"\n" + note(2) + b"\n" + note(3)[:length])
        await published(opened(tmp_path, table), 4)

        assert [note(1), note(2), note(4)] == read_notes((tmp_path / "anchor.txt").read_bytes()), length


# --- git --------------------------------------------------------------------------------------------------------------


def git(repository: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(repository), *arguments], check=True, capture_output=True, text=True).stdout


async def test_git_has_a_commit_for_each_checkpoint_and_nothing_else_is_touched(tmp_path: Path) -> None:
    """Its own branch grows by one commit each, in the clone and in the remote that it is pushed to."""
    far, near = tmp_path / "far.git", tmp_path / "near"
    git(tmp_path, "init", "-q", "--bare", str(far))
    git(tmp_path, "init", "-q", str(near))
    git(near, "remote", "add", "far", str(far))
    (near / "work").write_text("mine")
    table = {"anchor": "git", "repository": "near", "branch": "checkpoints", "push": "far"}
    for size in (1, 2, 2):
        await published(opened(tmp_path, table), size)
    commits = git(far, "rev-list", "--reverse", "checkpoints").split()

    assert [note(1), note(2)] == [git(far, "show", f"{commit}:checkpoint").encode() for commit in commits]
    assert ["refundry/test: 2 events"] == git(near, "log", "-1", "--format=%s", "checkpoints").splitlines()
    assert "?? work\n" == git(near, "status", "--porcelain")


async def test_an_error_of_git_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A directory that is not a repository is an error of the anchor, in git's words."""
    (tmp_path / "plain").mkdir()
    with caplog.at_level(logging.WARNING, "refundry"):
        await published(opened(tmp_path, {"anchor": "git", "repository": "plain"}), 1)

    assert "the anchor 'git' failed to keep a checkpoint: git hash-object: " in caplog.text


# --- servers ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def serving(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """Serve one handler on loopback, and yield its URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_the_platform_receives_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It receives the unchanged note by POST, with the header that the configuration references."""
    monkeypatch.setenv("TOKEN", "Bearer canary")
    got: list[tuple[str, str, str | None, bytes]] = []

    async def take(request: web.Request) -> web.Response:
        got.append((request.method, request.path, request.headers.get("Authorization"), await request.read()))
        return web.Response(status=204)

    async with serving(take) as url:
        table = {"anchor": "callback", "url": f"{url}/anchors", "authorization": "env:TOKEN"}
        await published(opened(tmp_path, table), 1)

    assert [("POST", "/anchors", "Bearer canary", note(1))] == got


@pytest.mark.parametrize("status", [200, 302, 307, 404, 500])
async def test_only_2xx_is_a_success_and_no_redirect_is_followed(
    tmp_path: Path, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Any other status is a failure that is logged; the request is made once."""
    paths: list[str] = []

    async def take(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    async with serving(take) as url:
        await published(opened(tmp_path, {"anchor": "callback", "url": url}), 1)

    assert ["/"] == paths
    assert (status != 200) == (f"the answer had status {status}" in caplog.text)


# --- timestamps -------------------------------------------------------------------------------------------------------

TSA = """
[tsa]
default_tsa = own
[own]
serial = {place}/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ess_cert_id_alg = sha256
"""


def make_authority(place: Path) -> None:
    """Create a timestamping authority with openssl."""
    (place / "tsa.cnf").write_text(TSA.format(place=place))
    (place / "serial").write_text("01\n")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=tsa", "-addext", "extendedKeyUsage=critical,timeStamping",
         "-keyout", "tsa.key", "-out", "tsa.pem"],
        cwd=place, check=True, capture_output=True,
    )  # fmt: skip


def stamp(place: Path, request: bytes) -> bytes:
    """Answer a request as the authority does."""
    (place / "request").write_bytes(request)
    subprocess.run(
        ["openssl", "ts", "-reply", "-config", "tsa.cnf", "-queryfile", "request", "-signer", "tsa.pem",
         "-inkey", "tsa.key", "-out", "reply"],
        cwd=place, check=True, capture_output=True,
    )  # fmt: skip
    return (place / "reply").read_bytes()


def verified(stamps: Path, *what: str) -> bool:
    verify = ["openssl", "ts", "-verify", "-in", "7.tsr", "-CAfile", "../tsa.pem", *what]
    return subprocess.run(verify, cwd=stamps, capture_output=True).returncode == 0


async def test_openssl_verifies_the_timestamp(tmp_path: Path) -> None:
    """A real authority answers the request, and what is kept verifies for the checkpoint and for no other bytes."""
    make_authority(tmp_path)

    async def answer(request: web.Request) -> web.Response:
        assert request.content_type == "application/timestamp-query"
        return web.Response(body=stamp(tmp_path, await request.read()), content_type="application/timestamp-reply")

    async with serving(answer) as url:
        await published(opened(tmp_path, {"anchor": "rfc3161", "url": url, "directory": "stamps"}), 7)
    stamps = tmp_path / "stamps"
    (stamps / "other").write_bytes(note(8))
    done = [verified(stamps, "-data", data) for data in ("7.checkpoint", "other")]

    assert note(7) == (stamps / "7.checkpoint").read_bytes()
    assert [True, False] == done
    assert verified(stamps, "-queryfile", "7.tsq")


@pytest.mark.parametrize("first", [0x00, 0x01, 0x7F, 0x80, 0xFF])
def test_openssl_reads_the_request(tmp_path: Path, first: int) -> None:
    """The nonce is a non-negative number, whatever its first byte."""
    nonce = bytes([first]) + b"\x01" * 7
    (tmp_path / "request").write_bytes(timestamp_request(b"\x11" * 32, nonce))
    query = ["openssl", "ts", "-query", "-in", "request", "-text"]
    printed = subprocess.run(query, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    number = int.from_bytes(nonce, "big")

    assert "Hash Algorithm: sha256" in printed
    assert "Certificate required: yes" in printed
    assert f"Nonce: 0x{number:016X}" in printed or f"Nonce: 0x{number:014X}" in printed


@pytest.mark.parametrize("body", [b"", b"no timestamp", b"\x30\x03\x02\x01\x00", "replayed"])
async def test_an_answer_that_is_not_a_timestamp_of_this_checkpoint_is_not_kept(
    tmp_path: Path, body: bytes | str, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even a valid timestamp of another checkpoint is kept."""
    make_authority(tmp_path)
    old = stamp(tmp_path, timestamp_request(b"\x11" * 32, b"12345678"))

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=old if isinstance(body, str) else body)

    async with serving(answer) as url:
        await published(opened(tmp_path, {"anchor": "rfc3161", "url": url, "directory": "stamps"}), 7)

    assert not (tmp_path / "stamps").exists()
    assert "not a timestamp of this checkpoint" in caplog.text


# --- serving anchors --------------------------------------------------------------------------------------------------


async def test_a_failing_anchor_does_not_affect_the_others_and_receives_the_next_checkpoint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each failure is logged; the others receive everything."""
    bad, good = Kept([], RuntimeError("broken")), Kept([])
    anchors = opened(
        tmp_path, {"anchor": "bad"}, {"anchor": "good"}, plugins=(plugin("bad", bad), plugin("good", good))
    )
    anchors.publish(note(1))
    await until(lambda: len(bad.taken) == len(good.taken) == 1)
    await published(anchors, 2)

    assert [note(1), note(2)] == bad.taken == good.taken
    assert 2 == caplog.text.count("the anchor 'bad' failed to keep a checkpoint: broken")


async def test_an_anchor_is_not_called_too_often_and_receives_the_last_checkpoint(tmp_path: Path) -> None:
    """The configured time passes between two checkpoints, except at the end."""
    kept = Kept([])
    anchors = opened(tmp_path, {"anchor": "kept", "every": 1000}, plugins=(plugin("kept", kept),))
    anchors.publish(note(1))
    await until(lambda: bool(kept.taken))
    for size in (2, 3, 4):
        anchors.publish(note(size))
        await asyncio.sleep(0.01)
    before = len(kept.taken)
    await anchors.close()

    assert 1 == before
    assert [note(1), note(4)] == kept.taken


async def test_a_hanging_anchor_does_not_prevent_closing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closing process waits a moment for it, and then exits."""
    monkeypatch.setattr(anchors_module, "_GRACE", 0.2)

    @attrs.frozen
    class Hanging:
        async def publish(self, checkpoint: bytes) -> None:
            await asyncio.sleep(1e6)

    async with asyncio.timeout(20):
        await published(opened(tmp_path, {"anchor": "hanging"}, plugins=(plugin("hanging", Hanging()),)), 1)


async def test_without_anchors_nothing_runs(tmp_path: Path) -> None:
    """Without a table there is no task."""
    before = len(asyncio.all_tasks())
    anchors = opened(tmp_path)
    anchors.publish(note(1))

    assert before == len(asyncio.all_tasks())
    await anchors.close()


def test_plugins_provide_anchors_and_signing_keys() -> None:
    """Both hooks return what a plugin provides, by name."""
    anchor = plugin("mine", Kept([]))

    class Mine:
        @hookimpl
        def refundry_audit_anchors(self) -> list[AnchorPlugin]:
            return [anchor]

        @hookimpl
        def refundry_audit_signer(self) -> list[Key]:
            return [LOG]

    plugins = load_plugins([], [Mine()])

    assert ([anchor], [LOG]) == (plugins.anchors(), plugins.signing_keys())


@pytest.mark.parametrize(
    ("table", "field"),
    [
        ({"anchor": "unknown"}, "anchor"),
        ({"anchor": "file"}, "path"),
        ({"anchor": "file", "path": 7}, "path"),
        ({"anchor": "file", "path": "x", "pth": "x"}, "pth"),
        ({"anchor": "file", "path": "x", "every": -1}, "every"),
        ({"anchor": "file", "path": "x", "every": True}, "every"),
        ({"anchor": "git", "repository": "nowhere"}, "repository"),
        ({"anchor": "git", "repository": ".", "branch": "--force"}, "branch"),
        ({"anchor": "git", "repository": ".", "push": "a..b"}, "push"),
        ({"anchor": "callback", "url": "http://platform.example/"}, "url"),
        ({"anchor": "callback", "url": "https://user@platform.example/"}, "url"),
        (
            {"anchor": "callback", "url": "https://platform.example/", "authorization": "env:NOT_SET_AT_ALL"},
            "authorization",
        ),
        ({"anchor": "rfc3161", "url": "ftp://tsa.example/", "directory": "x"}, "url"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, table: dict[str, Any], field: str) -> None:
    """The error names the key and the table that are wrong."""
    with pytest.raises(ConfigError) as caught:
        opened(tmp_path, {"anchor": "file", "path": "fine"}, table)

    assert f"audit.anchors[1].{field}" == caught.value.field


def test_opening_creates_nothing(tmp_path: Path) -> None:
    """A process that only opens anchors leaves no file behind."""
    opened(
        tmp_path,
        {"anchor": "file", "path": "anchor.txt"},
        {"anchor": "rfc3161", "url": "https://tsa.example/", "directory": "stamps"},
    )

    assert [] == os.listdir(tmp_path)


@pytest.mark.parametrize("start", [b"", b"log\n", b"log\n1\n"])
def test_a_long_line_is_read_in_linear_time(start: bytes) -> None:
    """A file of one long line has no checkpoint; a search from each of its positions would take an hour."""
    assert [] == read_notes(start + b"1" * 2_000_000)
