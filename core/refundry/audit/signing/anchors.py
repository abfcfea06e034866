"""Anchors: places outside the operator's control that keep signed checkpoints, so that no one can replace them later.

The rule of this module: an anchor receives the newest checkpoint, at most once per `every` seconds and once more at the
end. A failure is logged, and the anchor receives the next checkpoint; it never delays the log, the signer or the other
anchors.

Four anchors are built in: `file`, `git`, `callback` and `rfc3161`. Plugins add others with the hook
`refundry_audit_anchors`.
"""

import asyncio
import hashlib
import logging
import math
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs

from refundry.audit.signing.settings import AuditSettings
from refundry.audit.signing.signed_notes import BadNote, Checkpoint, read_note
from refundry.config import read_reference, read_settings
from refundry.errors import ConfigError, Invalid
from refundry.outbound.transport import HttpTransport
from refundry.plugin_host.interfaces import Anchor, AnchorPlugin
from refundry.ports import Ports
from refundry.provider import Answer, HttpUrl, Request, Secret

__all__ = ["BUILT_IN", "Anchors", "open_anchors", "read_notes"]

EVERY: Final = 60.0
"""Seconds between two checkpoints for an anchor, unless `every` is set."""
_TIMEOUT: Final = 30.0
_GRACE: Final = 5.0
"""How many seconds a closing process waits for its anchors to keep the last checkpoint."""
_log = logging.getLogger("refundry")


class AnchorFailed(Exception):
    """An anchor could not keep a checkpoint."""


# --- publishing -------------------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class _Follower:
    name: str
    anchor: Anchor
    every: float
    wake: asyncio.Event = attrs.field(factory=asyncio.Event)
    newest: bytes | None = None
    given: bytes | None = None
    stopping: asyncio.Event = attrs.field(factory=asyncio.Event)

    async def run(self) -> None:
        """Publish the newest checkpoint whenever there is one, until stopped."""
        while not (self.stopping.is_set() and self.given == self.newest):
            await self.wake.wait()
            self.wake.clear()
            if self.newest is not None and self.newest != self.given:
                await self._give(self.newest)
                if self.stopping.is_set():
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.every):
                        await self.stopping.wait()

    async def _give(self, checkpoint: bytes) -> None:
        try:
            async with asyncio.timeout(_TIMEOUT):
                await self.anchor.publish(checkpoint)
        except Exception as error:  # whatever an anchor raises must not stop the others
            _log.warning("the anchor %r failed to keep a checkpoint: %s", self.name, str(error) or type(error).__name__)
        else:
            self.given = checkpoint


class Anchors:
    """All anchors of a store, each served by its own task."""

    def __init__(self, anchors: Sequence[tuple[str, Anchor, float]]) -> None:
        self._followers = [_Follower(name, anchor, every) for name, anchor, every in anchors]
        self._tasks: list[asyncio.Task[None]] = []

    def publish(self, checkpoint: bytes) -> None:
        """Publish a new checkpoint to all anchors; return at once."""
        for follower in self._followers:
            follower.newest = checkpoint
            follower.wake.set()
        if not self._tasks:
            self._tasks = [asyncio.create_task(follower.run()) for follower in self._followers]

    async def close(self) -> None:
        """Publish the last checkpoint to all anchors, and wait a moment for them."""
        for follower in self._followers:
            follower.stopping.set()
            follower.wake.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_GRACE)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)


def open_anchors(settings: AuditSettings, plugins: Sequence[AnchorPlugin], ports: Ports) -> Anchors:
    """Open the anchors that `[audit]` names; raise `ConfigError` with the key that is wrong."""
    known = {plugin.name: plugin for plugin in (*BUILT_IN, *plugins)}
    return Anchors(
        [
            _open(table, f"audit.anchors[{number}]", known, settings.base, ports)
            for number, table in enumerate(settings.anchors)
        ]
    )


def _open(
    table: Mapping[str, Any], where: str, known: Mapping[str, AnchorPlugin], base: Path, ports: Ports
) -> tuple[str, Anchor, float]:
    name, every = table["anchor"], table.get("every", EVERY)
    if name not in known:
        raise ConfigError(f"{where}.anchor", f"there is no anchor {name!r}; available: {', '.join(sorted(known))}")
    if isinstance(every, bool) or not isinstance(every, int | float) or not math.isfinite(every) or every < 0:
        raise ConfigError(f"{where}.every", "must be a number of seconds, zero or more")
    own = {key: value for key, value in table.items() if key not in ("anchor", "every")}
    values = read_settings(known[name].settings, own, where, base, keys=True)
    try:
        return name, known[name].build(values, base, ports), float(every)
    except Invalid as error:
        raise ConfigError(f"{where}.{error.field}", error.rule) from None


# --- an append-only file ----------------------------------------------------------------------------------------------

_NOTE: Final = re.compile(rb"(?m)^[^\n]+\n[0-9]+\n[A-Za-z0-9+/=]+\n\n(?:\xe2\x80\x94 [^\n]+\n)+")
_SIGNATURES: Final = (64, 72)
"""The length in bytes of a log's signature, and of a witness's."""


def read_notes(content: bytes) -> list[bytes]:
    """Return the checkpoints in a file of the `file` anchor, without any that a power failure left incomplete."""
    return [raw for raw in _NOTE.findall(content) if _is_complete(raw)]


def _is_complete(raw: bytes) -> bool:
    try:
        return all(len(signature.data) in _SIGNATURES for signature in read_note(raw).signatures)
    except BadNote:
        return False


@attrs.frozen
class FileSettings:
    """`path`: a file on another disk or machine, preferably append-only."""

    path: str


@attrs.frozen
class FileAnchor:
    """Appends each checkpoint to a file."""

    path: Path

    async def publish(self, checkpoint: bytes) -> None:
        """Append it durably."""
        await asyncio.to_thread(self._append, b"\n" + checkpoint)

    def _append(self, content: bytes) -> None:
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            if os.write(handle, content) != len(content):
                raise AnchorFailed(f"{self.path} was written only in part")
            os.fsync(handle)
        finally:
            os.close(handle)


# --- a git commit -----------------------------------------------------------------------------------------------------

_REF: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*", re.ASCII)


@attrs.frozen
class GitSettings:
    """`repository`: a clone, bare or not; `branch`: where to commit; `push`: the remote to push the branch to."""

    repository: str
    branch: str = "refundry-checkpoints"
    push: str | None = None


@attrs.frozen
class GitAnchor:
    """Commits each checkpoint as the file `checkpoint` on its own branch, without touching a working tree."""

    repository: Path
    branch: str
    push: str | None

    async def publish(self, checkpoint: bytes) -> None:
        """Add a commit to the branch, and push the branch if `push` is set."""
        ref = f"refs/heads/{self.branch}"
        blob = await self._git("hash-object", "-w", "--stdin", stdin=checkpoint)
        tree = await self._git("mktree", stdin=f"100644 blob {blob}\tcheckpoint\n".encode())
        old = await self._git("for-each-ref", "--format=%(objectname) %(tree)", ref)
        before, _, committed = old.partition(" ")
        if committed != tree:
            found = Checkpoint.from_text(read_note(checkpoint).text)
            message = f"{found.origin}: {found.size} events\n".encode()
            parents = ("-p", before) if before else ()
            commit = await self._git("commit-tree", tree, *parents, stdin=message)
            # Fails if another process committed first; its commit stays, and the next checkpoint follows it.
            await self._git("update-ref", ref, commit, before or "0" * len(commit))
        if self.push is not None:
            await self._git("push", "--quiet", self.push, f"{ref}:{ref}")

    async def _git(self, *arguments: str, stdin: bytes = b"") -> str:
        process = await asyncio.create_subprocess_exec(
            "git", "-C", str(self.repository), "-c", "user.name=refundry", "-c", "user.email=refundry@localhost",
            *arguments,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=os.environ | {"GIT_TERMINAL_PROMPT": "0"},
        )  # fmt: skip
        try:
            out, err = await process.communicate(stdin)
        except BaseException:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        if process.returncode:
            raise AnchorFailed(f"git {arguments[0]}: {err.decode(errors='replace').strip()}")
        return out.decode().strip()


def _git_anchor(settings: GitSettings, base: Path, ports: Ports) -> GitAnchor:
    for field in ("branch", "push"):
        name = getattr(settings, field)
        if name is not None and (_REF.fullmatch(name) is None or ".." in name):
            raise Invalid(field, "must be a plain git name")
    repository = base / settings.repository
    if not repository.is_dir():
        raise Invalid("repository", f"the directory {repository} does not exist")
    return GitAnchor(repository, settings.branch, settings.push)


# --- a callback to the platform ---------------------------------------------------------------------------------------


@attrs.frozen
class CallbackSettings:
    """`url`: where to POST checkpoints; `authorization`: a file or env:NAME with the value of that header."""

    url: HttpUrl
    authorization: str | None = None


@attrs.frozen
class CallbackAnchor:
    """Posts each checkpoint; any status other than 2xx is a failure, redirects included."""

    url: str
    authorization: Secret | None

    async def publish(self, checkpoint: bytes) -> None:
        """Post it, and wait for the answer."""
        headers = [("Content-Type", "text/plain; charset=utf-8")]
        if self.authorization is not None:
            headers.append(("Authorization", self.authorization.reveal().decode("latin-1").strip()))
        await _post(self.url, tuple(headers), checkpoint)


def _callback_anchor(settings: CallbackSettings, base: Path, ports: Ports) -> CallbackAnchor:
    named = settings.authorization
    secret = None if named is None else Secret(read_reference(named, "authorization", base))
    return CallbackAnchor(settings.url, secret)


async def _post(url: str, headers: tuple[tuple[str, str], ...], body: bytes) -> Answer:
    async with HttpTransport() as transport:
        answer = await transport.send(Request("POST", url, headers, body), _TIMEOUT)
    if not isinstance(answer, Answer):
        raise AnchorFailed(answer.cause)
    if not 200 <= answer.status < 300:
        raise AnchorFailed(f"the answer had status {answer.status}")
    return answer


# --- an RFC 3161 timestamp --------------------------------------------------------------------------------------------

_SHA256: Final = bytes.fromhex("300d06096086480165030402010500")
"""The identifier of the algorithm in DER."""


@attrs.frozen
class TimestampSettings:
    """`url`: a timestamping authority; `directory`: where to keep requests and answers."""

    url: HttpUrl
    directory: str


@attrs.frozen
class TimestampAnchor:
    """Obtains a timestamp for each checkpoint, and keeps `SIZE.checkpoint`, `SIZE.tsq` and `SIZE.tsr`.

    Verify them with `openssl ts -verify -data SIZE.checkpoint -in SIZE.tsr -CAfile CA.pem`.
    """

    url: str
    directory: Path
    ports: Ports

    async def publish(self, checkpoint: bytes) -> None:
        """Request a timestamp, and keep the answer if it is a timestamp of these bytes."""
        nonce = self.ports.random(8)
        digest = hashlib.sha256(checkpoint).digest()
        request = timestamp_request(digest, nonce)
        answer = await _post(self.url, (("Content-Type", "application/timestamp-query"),), request)
        if not _is_granted(answer.body) or digest not in answer.body or _number(nonce) not in answer.body:
            raise AnchorFailed("the answer is not a timestamp of this checkpoint")
        name = str(Checkpoint.from_text(read_note(checkpoint).text).size)
        await asyncio.to_thread(self._keep, name, checkpoint, request, answer.body)

    def _keep(self, name: str, checkpoint: bytes, request: bytes, answer: bytes) -> None:
        self.directory.mkdir(exist_ok=True)
        for suffix, content in ((".checkpoint", checkpoint), (".tsq", request), (".tsr", answer)):
            (self.directory / (name + suffix)).write_bytes(content)


def timestamp_request(digest: bytes, nonce: bytes) -> bytes:
    """Return a TimeStampReq in DER that also requests the authority's certificate (RFC 3161, section 2.4.1)."""
    imprint = _der(0x30, _SHA256 + _der(0x04, digest))
    return _der(0x30, _der(0x02, b"\x01") + imprint + _der(0x02, _number(nonce)) + _der(0x01, b"\xff"))


def _number(nonce: bytes) -> bytes:
    value = int.from_bytes(nonce, "big")
    return value.to_bytes(value.bit_length() // 8 + 1, "big")


def _der(tag: int, content: bytes) -> bytes:
    # Everything in a request is shorter than 128 bytes.
    return bytes((tag, len(content))) + content


def _is_granted(answer: bytes) -> bool:
    """Return whether a TimeStampResp begins with the status 0 or 1 (section 2.4.2)."""
    found = re.match(rb"\x30(?:[\x00-\x7f]|\x81.|\x82..|\x83...)\x30[\x00-\x7f]\x02\x01[\x00\x01]", answer, re.DOTALL)
    return found is not None


BUILT_IN: Final = (
    AnchorPlugin("file", FileSettings, lambda settings, base, ports: FileAnchor(base / settings.path)),
    AnchorPlugin("git", GitSettings, _git_anchor),
    AnchorPlugin("callback", CallbackSettings, _callback_anchor),
    AnchorPlugin(
        "rfc3161",
        TimestampSettings,
        lambda settings, base, ports: TimestampAnchor(settings.url, base / settings.directory, ports),
    ),
)
"""The built-in anchors."""
