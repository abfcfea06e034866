"""What a provider's simulator has to be able to say and hear: the interface between neutral books and wire messages.

The rule of this module: a `Wire` translates and signs and nothing else: no sockets, no clock, no books.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import attrs

from refundry.money import Money
from refundry.testing.books import Ask, Refund, State

Headers = Sequence[tuple[str, str]]


class Flaw(StrEnum):
    """How a signature can be wrong."""

    WRONG_KEY = "wrong_key"
    FLIPPED_BIT = "flipped_bit"
    UNSIGNED = "unsigned"
    NO_TIME = "no_time"


@attrs.frozen
class Call:
    """An HTTP request as it came; `path` is the path it was sent to with its query, header names are lower-case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@attrs.frozen(kw_only=True)
class Said:
    """What the provider says, before it is written."""

    operation: str
    """`refund`, `inquiry` or `notification`; empty when the request could not be attributed to one."""
    path: str
    """The path that is signed: of the request, or of the notification's address."""
    code: str
    """A `Verdict`, or the provider's own code."""
    client: str | None = None
    """The client id to sign for, if it is not the account's own."""
    status: str | None = None
    """The result status told instead of the code's own."""
    refund: Refund | None = None
    amount: Money | None = None
    """The amount told instead of the refund's own."""
    state: State | None = None
    """The state told instead of the refund's own."""


@attrs.frozen
class Message:
    """Something written and signed, ready to leave. A notification has no use for `status`."""

    status: int
    headers: Headers
    body: bytes


class Wire(Protocol):
    """One provider's messages."""

    provider: str

    def hear(self, call: Call) -> Ask | Said:
        """Check and read a request; give what is said to one that is refused at the gate."""

    def recorded(self, code: str) -> bool:
        """Say whether a refusal with this code is remembered against the refund's id."""

    def body(self, said: Said, at: datetime) -> bytes:
        """Write the message."""

    def seal(self, said: Said, body: bytes, at: datetime, flaw: Flaw | None) -> tuple[Headers, bytes]:
        """Sign it; give the headers and the final body. Runs in a thread."""

    def acknowledged(self, status: int, body: bytes) -> bool:
        """Say whether this answer ends the repeats of a notification."""
