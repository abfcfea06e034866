"""What a provider's simulator has to be able to say and hear: the interface between neutral books and wire messages.

The rule of this module: a `Wire` translates and signs and nothing else: no sockets, no clock, no books.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Protocol

import attrs

from refundry.errors import Invalid
from refundry.money import Money
from refundry.testing.simulator.ledger import Ask, Payment, Refund, State

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
    refunded: Money | None = None
    """How much of the payment has been refunded so far, with this refund if it is done."""
    payment: Payment | None = None
    """The payment in question, if it is in the books."""
    moved: bool = False
    """It answers the request that moved the money: the first one, not its repeats."""
    ask: Ask | None = None
    """The request that it answers; a wire may hear requests of a class of its own, with what the answer depends on."""


@attrs.frozen
class Message:
    """Something written and signed, ready to leave. A notification has no use for `status`."""

    status: int
    headers: Headers
    body: bytes


class Wire(Protocol):
    """One provider's messages."""

    provider: str

    @property
    def notice_intervals(self) -> Sequence[float]:
        """Give the seconds before each try of a notification; with the last one it ends."""

    def parse_notification(self, call: Call) -> Ask | Said:
        """Check and read a request; give what is said to one that is refused at the gate."""

    def recorded(self, code: str) -> bool:
        """Say whether a refusal with this code is remembered against the refund's id."""

    def body(self, said: Said, at: datetime) -> bytes:
        """Write the message."""

    def sign_message(self, said: Said, body: bytes, at: datetime, flaw: Flaw | None) -> tuple[Headers, bytes]:
        """Sign it; give the headers and the final body. Runs in a thread."""

    def notifies(self, state: State) -> bool:
        """Say whether the merchant is told of a refund that ended so."""

    def acknowledged(self, status: int, body: bytes) -> bool:
        """Say whether this answer ends the repeats of a notification."""


# --- what wires check and spoil alike ---------------------------------------------------------------------------------

_ID: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def string(data: Mapping[str, Any], field: str, longest: int, *, needed: bool = False) -> str | None:
    """Give a text of a message; `Invalid` if it is another thing, empty or too long, or is needed and not there."""
    value = data.get(field)
    if value is None and not needed:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= longest:
        raise Invalid(field, f"must be a String of 1 to {longest} characters")
    return value


def identifier(data: Mapping[str, Any], field: str, longest: int, *, needed: bool = False) -> str | None:
    """Give an id of a message.

    Assumed: all but letters, digits, _ and - are the "special characters" that Antom does not take and does not name;
    AlphaPay says nothing.
    """
    value = string(data, field, longest, needed=needed)
    if value is not None and _ID.fullmatch(value) is None:
        raise Invalid(field, "special characters are not supported")
    return value


def spoilt(header: str, flaw: Flaw | None) -> str:
    """Give a header that ends in `signature=...` as the flaw has it."""
    if flaw is not Flaw.FLIPPED_BIT:
        return header
    head, equals, value = header.rpartition("signature=")
    return f"{head}{equals}{'B' if value[0] == 'A' else 'A'}{value[1:]}"
