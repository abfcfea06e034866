"""The interface between the neutral ledger and one provider's messages: what a simulator must read and write.

The rule of this module: a `Wire` translates and signs and nothing else: no sockets, no clock, no ledger.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Protocol

import attrs

from refundry.errors import Invalid
from refundry.money import Money
from refundry.testing.simulator.ledger import ParsedRequest, Payment, Refund, State

Headers = Sequence[tuple[str, str]]


class SignatureFlaw(StrEnum):
    """How a fault breaks a signature."""

    WRONG_KEY = "wrong_key"
    FLIPPED_BIT = "flipped_bit"
    UNSIGNED = "unsigned"
    NO_TIME = "no_time"


class Refusal(StrEnum):
    """Why a request is refused before it is processed; each provider has its own code for each."""

    PATH = "path"
    METHOD = "method"
    MEDIA_TYPE = "media type"
    CLIENT = "client"
    SIGNATURE = "signature"
    FIELDS = "fields"


@attrs.frozen
class Call:
    """An HTTP request as it arrived; `path` is the path it was sent to with its query, header names are lower-case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@attrs.frozen(kw_only=True)
class Draft:
    """A response or a notification before it is written and signed."""

    operation: str
    """`refund`, `inquiry` or `notification`; empty when the request could not be attributed to one."""
    path: str
    """The path that is signed: of the request, or of the notification's address."""
    code: str
    """A `Verdict`, a `Refusal`, or the provider's own code."""
    client: str | None = None
    """The client id to sign for, if it is not the account's own."""
    status: str | None = None
    """The result status to write instead of the code's own."""
    refund: Refund | None = None
    amount: Money | None = None
    """The amount to write instead of the refund's own."""
    state: State | None = None
    """The state to write instead of the refund's own."""
    refunded: Money | None = None
    """How much of the payment has been refunded so far, with this refund if it is done."""
    payment: Payment | None = None
    """The payment in question, if it is in the ledger."""
    moved: bool = False
    """It answers the request that moved the money: the first one, not a repeat."""
    request: ParsedRequest | None = None
    """The request that it answers; a provider may add the fields on which its answers depend in a subclass."""


@attrs.frozen
class Message:
    """A written and signed message. A notification has no use for `status`."""

    status: int
    headers: Headers
    body: bytes


class Wire(Protocol):
    """One provider's messages."""

    provider: str
    settings: Any
    """The simulator's settings, which it replaces when a control call changes them."""

    @property
    def notification_intervals(self) -> Sequence[float]:
        """Return the seconds to wait before each attempt to deliver a notification."""

    def parse_request(self, call: Call) -> ParsedRequest | Draft:
        """Return a request, or the answer to one that is refused before it is processed."""

    def remembers(self, code: str) -> bool:
        """Return whether a refusal with this code is remembered for the refund's id."""

    def body(self, draft: Draft, at: datetime) -> bytes:
        """Return the written message."""

    def sign(self, draft: Draft, body: bytes, at: datetime, flaw: SignatureFlaw | None) -> tuple[Headers, bytes]:
        """Return the headers and the final body of a signed message. Runs in a thread."""

    def notifies(self, state: State) -> bool:
        """Return whether the provider notifies the merchant of this final state."""

    def is_acknowledgement(self, status: int, body: bytes) -> bool:
        """Return whether this response acknowledges a notification, which ends its repeats."""


# --- what the providers share ---------------------------------------------------------------------------------

_ID: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def string(data: Mapping[str, Any], field: str, longest: int, *, needed: bool = False) -> str | None:
    """Return a string field; raise `Invalid` if it is not a string, is empty or too long, or is needed and missing."""
    value = data.get(field)
    if value is None and not needed:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= longest:
        raise Invalid(field, f"must be a String of 1 to {longest} characters")
    return value


def identifier(data: Mapping[str, Any], field: str, longest: int, *, needed: bool = False) -> str | None:
    """Return an id field; raise `Invalid` unless it has only letters, digits, _ and -.

    Assumed: all others are the "special characters" that Antom does not accept and does not name.
    """
    value = string(data, field, longest, needed=needed)
    if value is not None and _ID.fullmatch(value) is None:
        raise Invalid(field, "special characters are not supported")
    return value


def with_flaw(header: str, flaw: SignatureFlaw | None) -> str:
    """Return a signature, or a header that ends in `signature=...`, with the flaw."""
    if flaw is not SignatureFlaw.FLIPPED_BIT:
        return header
    head, equals, value = header.rpartition("signature=")
    return f"{head}{equals}{'B' if value[0] == 'A' else 'A'}{value[1:]}"
