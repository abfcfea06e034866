"""The provider's messages as evidence: what came over the wire, readable for people and for programs.

The rule of this module: byte-exact. The body is kept as it came; the first line and the headers stand before it, as in
HTTP. The digest of these bytes is what an event names.
"""

import hashlib
from typing import Final

from refundry.provider import Answer, Headers, Notification


def digest_of(data: bytes) -> str:
    """Return the SHA-256 of the bytes in hex: the name under which they are stored."""
    return hashlib.sha256(data).hexdigest()


_INCOMPLETE: Final = " incomplete"


def keep_answer(answer: Answer, *, complete: bool = True) -> bytes:
    """Return an answer as the bytes to keep; an answer that broke off is marked as incomplete."""
    return _join(f"HTTP {answer.status}{'' if complete else _INCOMPLETE}", answer.headers, answer.body)


def is_complete(kept: bytes) -> bool:
    """Return whether a kept answer arrived completely; a plugin reads no other."""
    return not kept.partition(b"\n")[0].endswith(_INCOMPLETE.encode())


def read_answer(kept: bytes) -> Answer:
    """Read a kept answer."""
    first, headers, body = _split(kept)
    return Answer(int(first.removeprefix("HTTP ").removesuffix(_INCOMPLETE)), headers, body)


def keep_notification(notification: Notification) -> bytes:
    """Write a notification down."""
    return _join(f"{notification.method} {notification.path}", notification.headers, notification.body)


def read_notification(kept: bytes) -> Notification:
    """Read back a notification that was written down."""
    first, headers, body = _split(kept)
    method, _, path = first.partition(" ")
    return Notification(method, path, headers, body)


def _join(first: str, headers: Headers, body: bytes) -> bytes:
    lines = [first, *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\n".join(lines).encode("utf-8", "surrogateescape") + body


def _split(kept: bytes) -> tuple[str, Headers, bytes]:
    head, _, body = kept.partition(b"\n\n")
    first, *lines = head.decode("utf-8", "surrogateescape").split("\n")
    # A list inside: an audit reads millions of them.
    return first, tuple([(name, value) for name, value in [line.split(": ", 1) for line in lines]]), body
