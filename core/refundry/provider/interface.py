"""What the gateway asks of a provider: the one file a plugin author reads first.

The rule of this module, and of every plugin: no I/O, no clock, no randomness, no store. A provider is a translator. It
turns a refund into an `ProviderCall` (what to send, and how to read the answer) and a notification into a
`VerifiedNotification`; the gateway does the sending, the waiting and the remembering. Whatever an answer says, reading
it ends in one of the outcomes below; an exception from a reader is a defect of the plugin and counts as `Unknown`.

To add a provider: write a class with the members of `Provider` (and `parse_notification` of `NotificationHandler` if
the provider sends notifications), describe it with a `ProviderPlugin`, and return that from the `refundry_providers`
hook.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

import attrs

from refundry.money import Money
from refundry.provider.codes import Code
from refundry.provider.outcomes import Outcome, Resend

Headers = Sequence[tuple[str, str]]


@attrs.frozen(slots=True)
class RefundInstruction:
    """One refund, as a provider needs to know it. Equal orders must give equal bytes, for ever."""

    refund_request_id: str
    """Our id of the refund at the provider: one for life, whatever is repeated."""
    payment: str
    """The provider's own id of the payment; `merchant:NUMBER` names it by the merchant's order number."""
    amount: Money
    reason: str | None = None
    provider_refund_id: str | None = None
    """The provider's id of the refund, once it told us."""
    details: Mapping[str, Any] | None = None
    """Further fields of the request under the provider's own names, as the platform gave them: JSON values."""
    sent: bytes | None = None
    """The body of the first attempt. A resend is these bytes and no others."""


@attrs.frozen(slots=True)
class Request:
    """An HTTP request, signed and ready to leave. Tokens may be in its query and its headers: neither is shown."""

    method: str
    url: str = attrs.field(repr=lambda url: repr(url.partition("?")[0]))
    headers: Headers = attrs.field(repr=lambda headers: f"<{', '.join(name for name, _ in headers)}>")
    body: bytes = attrs.field(repr=lambda body: f"<{len(body)} bytes>")


@attrs.frozen(slots=True)
class Answer:
    """An HTTP answer, exactly as it came: the bytes are what was signed."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        """Give the value of a header, whatever the case of its name; `None` if it is absent or stands twice."""
        return _one_header(self.headers, name)


@attrs.frozen(slots=True)
class Notification:
    """What a provider posted to us, exactly as it came. `path` includes the query."""

    method: str
    path: str
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        """Give the value of a header, whatever the case of its name; `None` if it is absent or stands twice."""
        return _one_header(self.headers, name)


def _one_header(headers: Headers, name: str) -> str | None:
    wanted = name.lower()
    found = [value for key, value in headers if key.lower() == wanted]
    return found[0] if len(found) == 1 else None


@attrs.frozen(slots=True)
class Acknowledgement:
    """The exact answer to a notification, sent once what was heard is durable."""

    status: int
    headers: Headers
    body: bytes


@attrs.frozen(slots=True)
class ProviderCall:
    """One call to the provider.

    `sign` builds the signed request; it needs the private key and may take a millisecond, so the gateway runs it in a
    thread. `read` turns the answer into an outcome and needs no private key, so an audit can read again.
    """

    body: bytes
    """The bytes that will leave: their digest is in the log before they do."""
    sign: Callable[[], Request]
    read: Callable[[Answer], Outcome]
    key_version: str | None = None
    """Which of our keys signs, as the provider counts them."""


@attrs.frozen(slots=True)
class VerifiedNotification:
    """A notification that is the provider's own: which refund it names, and what it says of it."""

    refund_request_id: str | None
    """None for a notification that speaks of no refund: it is acknowledged, so that it stops, and not kept."""
    at: datetime | None
    """When the provider says it sent it, if it says so; the core judges freshness by it."""
    read: Callable[[RefundInstruction], Outcome]
    """Compare with the order and say what it means."""
    acknowledgement: Acknowledgement


@attrs.frozen(slots=True, kw_only=True)
class Terms:
    """The provider's rules of the game as data, in seconds; the core enforces them. An account may override numbers."""

    timeout: float = 20.0
    """How long one call may take, in all."""
    first_inquiry: float = 10.0
    """How long after sending an inquiry says anything."""
    inquiry_intervals: tuple[float, ...] = (15.0, 30.0, 60.0, 300.0)
    """The waits between inquiries; the last one repeats."""
    not_found_interval: float = 15.0
    not_found_tries: int = 3
    """How many more times "not found" must be heard, that far apart, before it means "not placed"."""
    resend_after: frozenset[Resend] = frozenset({Resend.SAME, Resend.AFTER_NOT_FOUND})
    """After which kinds of answer the same id may be sent again by itself; empty where nothing is promised."""
    resend_delay: float = 5.0
    """The first back-off before a resend; it doubles up to five minutes."""
    replays_refusals: bool = True
    """A repeated id is answered with its first final answer, so a refusal that comes again after its cause was mended
    is final. False where the same id may pay once the cause is mended, however often it was refused before: there a
    refusal speaks for its own attempt, and "not found" does not confirm it for an earlier one without an answer."""
    max_attempts: int = 20
    """How often one refund leaves before a person is called; with the default delays that is more than an hour."""
    id_horizon: float | None = None
    """For how long the provider honours an id; nothing is resent after half of it. None: for ever."""
    inquire_by: tuple[str, ...] = ("refund_request_id", "provider_refund_id")
    """Which ids an inquiry can use."""
    escalate_after: float = 7 * 86_400.0
    """After how long without a final answer a person is called. Nothing is decided by it."""
    notification_freshness: float = 300.0
    """How old a notification may be to count as an answer; an older one ends nothing."""
    requests_per_second: float | None = None
    """How many calls the account may make; None: as many as there are."""
    id_length: int = 64
    id_characters: str = "A-Za-z0-9_-"
    """What a refund_request_id may hold, as the inside of a character class."""
    payment_length: int = 64
    """Of the number alone: `merchant:` before it does not count."""
    reason_length: int = 256


class Secret:
    """Bytes that are never shown: not by repr, str, format or an error."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """Give the bytes, to be used and not kept."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(...)"


class PublicKeyPem(bytes):
    """A setting that names a PEM file (a public key, a certificate) or `env:NAME`; the plugin gets its bytes."""


class HttpUrl(str):
    """A setting that must be an https address, or http to a loopback address, without a slash at its end."""

    __slots__ = ()


@runtime_checkable
class Provider(Protocol):
    """One account at one provider."""

    @property
    def identity(self) -> str:
        """Who asks, and where: client id and address. "Not found" counts only from the identity that sent."""

    @property
    def terms(self) -> Terms:
        """The rules for this account."""

    def exponent(self, currency: str) -> int:
        """Give the provider's number of decimals for a currency; `Invalid` if it cannot exist there."""

    def check(self, instruction: RefundInstruction) -> None:
        """Raise `Invalid`, naming the field and the rule, for an order the provider cannot take."""

    def refund(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        """Ask for the refund. `instruction.sent`, if set, is the body to send."""

    def inquire(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        """Ask what became of it."""


@runtime_checkable
class NotificationHandler(Protocol):
    """A provider that also sends notifications."""

    def parse_notification(self, notification: Notification) -> VerifiedNotification:
        """Verify the raw bytes and read them; `Forged` if they are not the provider's, `Unreadable` if not readable."""


@attrs.frozen(slots=True, kw_only=True)
class ReportFormat:
    """A report of the provider's as a CSV file: which rows are refunds, and in which column what stands.

    Spaces and tabs around a value do not count. Amounts may have a sign: what is refunded is its size.
    """

    name: str
    refund_request_id: str
    """The column with our id of the refund."""
    amount: str
    """The column with what was refunded, a decimal amount."""
    currency: str
    """The column with the currency; or the currency itself, where the report has no such column."""
    provider_refund_id: str | None = None
    """The column with the provider's id of the refund, if there is one."""
    refunds: Mapping[str, str] = attrs.field(factory=dict)
    """The value that a column has in the rows that are refunds; all rows are if nothing is named."""
    settled: Mapping[str, str] = attrs.field(factory=dict)
    """The value that a column has in the rows of refunds that are done; all are if nothing is named."""
    minor_units: bool = False
    """The amounts are whole minor units instead."""
    encoding: str = "utf-8"
    comment: str | None = None
    """Lines that begin with it are no rows."""
    end: str | None = None
    """The line after the last row."""
    source: str = ""
    """Where the provider documents it."""


@attrs.frozen(slots=True, kw_only=True)
class ProviderPlugin:
    """What the `refundry_providers` hook returns: one kind of provider."""

    name: str
    """The value of `provider` in refundry.toml."""
    version: str
    settings: type
    """An attrs class with the account's keys.

    Types may be str, int, bool, tuple[str, ...], HttpUrl, Secret, PublicKeyPem, each also with `| None`.
    """
    build: Callable[[Any, Terms], Provider]
    """Make the account's provider from its settings and terms; raise `Invalid` naming the key that is wrong.

    A setting of type `Secret | None` is None when the log is only read: reading must work without it.
    """
    codes: Mapping[str, Mapping[str, Code]]
    """For every operation (`refund`, `inquire`) its table of documented codes."""
    terms: Terms = Terms()
    reports: tuple[ReportFormat, ...] = ()
    """The reports that `refundry reconcile` reads without being told how."""
    notifications: bool = False
    """Whether what `build` makes is a `NotificationHandler` too; the contract compares."""
