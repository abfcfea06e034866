"""The interface between the gateway and a provider: the first file that a plugin author reads.

The rule of this module, and of every plugin: no I/O, no clock, no randomness, no store. A provider is a translator. It
turns a refund into a `ProviderCall` (what to send, and how to read the answer) and a notification into a
`VerifiedNotification`. The gateway sends, waits and records. Reading an answer always ends in one of the outcomes in
`refundry.provider.outcomes`; an exception from a reader is a bug in the plugin, and the gateway treats it as `Unknown`.

To add a provider:

1. Write a class with the members of `Provider`, and with `parse_notification` of `NotificationHandler` if the provider
   sends notifications.
2. Describe it with a `ProviderPlugin`.
3. Return that from the `refundry_providers` hook.

Amounts are `Money`: an integer of minor units with its currency and number of decimals. Times are aware `datetime`s.
Durations are seconds.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, NoReturn, Protocol, runtime_checkable

import attrs

from refundry.money import Money
from refundry.provider.codes import Code
from refundry.provider.outcomes import Outcome, OutcomeKind, Resend

Headers = Sequence[tuple[str, str]]


@attrs.frozen(slots=True)
class RefundInstruction:
    """One refund, as a provider needs to know it. Equal instructions must always produce equal bytes."""

    refund_request_id: str
    """The id of the refund at the provider. It never changes, and every attempt sends the same one."""
    payment: str
    """The provider's id of the payment, or `merchant:NUMBER` with the merchant's order number."""
    amount: Money
    reason: str | None = None
    """A text for the provider and, with some providers, for the buyer."""
    provider_refund_id: str | None = None
    """The provider's id of the refund, once it is known."""
    details: Mapping[str, Any] | None = None
    """Further fields of the request under the provider's own names, as the platform supplied them: JSON values."""
    sent: bytes | None = None
    """The body of the first attempt. A resend must have exactly these bytes."""


@attrs.frozen(slots=True)
class Request:
    """A signed HTTP request. Its query and its headers may contain tokens, so its repr shows neither."""

    method: str
    url: str = attrs.field(repr=lambda url: repr(url.partition("?")[0]))
    headers: Headers = attrs.field(repr=lambda headers: f"<{', '.join(name for name, _ in headers)}>")
    body: bytes = attrs.field(repr=lambda body: f"<{len(body)} bytes>")


@attrs.frozen(slots=True)
class Answer:
    """An HTTP response, exactly as it arrived: the provider signed these bytes."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the value of a header, by its name in any case, or `None` if it is absent or appears twice."""
        return _one_header(self.headers, name)


@attrs.frozen(slots=True)
class Notification:
    """An HTTP request from a provider, exactly as it arrived. `path` includes the query."""

    method: str
    path: str
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the value of a header, by its name in any case, or `None` if it is absent or appears twice."""
        return _one_header(self.headers, name)


def _one_header(headers: Headers, name: str) -> str | None:
    wanted = name.lower()
    found = [value for key, value in headers if key.lower() == wanted]
    return found[0] if len(found) == 1 else None


@attrs.frozen(slots=True)
class Acknowledgement:
    """The exact HTTP response to a notification, sent once the notification is durable."""

    status: int
    headers: Headers
    body: bytes


@attrs.frozen(slots=True)
class ProviderCall:
    """One call to the provider.

    `sign` returns the signed request. It needs the private key and takes time, so the gateway runs it in a thread, for
    at most the account's `timeout`. `read` returns the outcome of an answer. It needs no private key, so that an audit
    can repeat it.
    """

    body: bytes
    """The bytes to send. Their digest is in the log before the first of them leaves."""
    sign: Callable[[], Request]
    read: Callable[[Answer], Outcome]
    key_version: str | None = None
    """The version or serial number of the signing key, as the provider names it."""


@attrs.frozen(slots=True)
class VerifiedNotification:
    """A notification with a valid signature: the refund that it names, and how to read it."""

    refund_request_id: str | None
    """`None` if the notification is not about a refund: the gateway acknowledges it, so that the provider stops sending
    it, and does not keep it."""
    at: datetime | None
    """When the provider sent it, if it states that; the gateway decides by it whether the notification is fresh."""
    read: Callable[[RefundInstruction], Outcome]
    """Compares the notification with the instruction and returns its outcome."""
    acknowledgement: Acknowledgement
    signed: bytes
    """What the signature covers. A copy with the same signed bytes is the same notification, whatever else in it
    differs, and is kept once."""


@attrs.frozen(slots=True, kw_only=True)
class Terms:
    """The provider's rules as data, durations in seconds. The core enforces them; an account may override numbers."""

    timeout: float = 20.0
    """How long one call may take in total."""
    first_inquiry: float = 10.0
    """How long after an attempt the first inquiry is meaningful."""
    inquiry_intervals: tuple[float, ...] = (15.0, 30.0, 60.0, 300.0)
    """The waits between inquiries; the last one repeats, and grows with the age of the refund."""
    max_inquiry_interval: float = 6 * 3600.0
    """How far the wait between inquiries grows: to a tenth of the refund's age, and not beyond this."""
    not_found_interval: float = 15.0
    not_found_tries: int = 3
    """How many more inquiries, `not_found_interval` apart, must answer "not found" before the refund counts as not
    received."""
    resend_after: frozenset[Resend] = frozenset({Resend.SAME, Resend.AFTER_NOT_FOUND})
    """The kinds of answer after which the same id may be sent again automatically. Empty if the provider does not
    promise that a repeated id pays once."""
    resend_delay: float = 5.0
    """The first back-off before a resend; it doubles up to five minutes."""
    replays_refusals: bool = True
    """Whether a repeated id receives its first final answer again, so that a refusal that is repeated after its cause
    was fixed is final. False if the same id may pay once the cause is fixed: a refusal is then about its own attempt
    only, and "not found" does not confirm it for an earlier attempt without an answer."""
    max_attempts: int = 20
    """How often a refund is sent before it is flagged for review; with the default delays, after more than an hour."""
    id_horizon: float | None = None
    """How long the provider remembers an id; nothing is resent after half of that. `None`: permanently."""
    inquire_by: tuple[str, ...] = ("refund_request_id", "provider_refund_id")
    """The ids that an inquiry can use."""
    escalate_after: float = 7 * 86_400.0
    """How long to wait for a final answer before the refund is flagged for review. It never decides an outcome."""
    notification_freshness: float = 300.0
    """How old a notification may be to decide an outcome; an older one only triggers an inquiry."""
    requests_per_second: float | None = None
    """How many calls the account may make per second; `None`: no limit."""
    id_length: int = 64
    id_characters: str = "A-Za-z0-9_-"
    """The characters of a refund_request_id, as the inside of a regular expression's character class."""
    payment_length: int = 64
    """The longest id of a payment, without `merchant:`."""
    reason_length: int = 256


class Secret:
    """Bytes that no repr, str, format or error shows."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = value

    def reveal(self) -> bytes:
        """Return the bytes, to be used and not kept."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(...)"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied: a pickle would show the bytes."""
        raise TypeError("a Secret cannot be pickled or copied")


class PublicKeyPem(bytes):
    """A setting that names a PEM file (a public key, a certificate) or `env:NAME`; the plugin receives its bytes."""


class HttpUrl(str):
    """A setting that must be an https URL, or an http URL of a loopback address, without a trailing slash."""

    __slots__ = ()


@runtime_checkable
class Provider(Protocol):
    """One account at one provider."""

    @property
    def identity(self) -> str:
        """The client id and the URL that it calls. "Not found" is conclusive only for the identity that sent."""

    @property
    def terms(self) -> Terms:
        """The terms of this account."""

    def exponent(self, currency: str) -> int:
        """Return the number of decimals of a currency at the provider; raise `Invalid` if it has no such currency."""

    def check(self, instruction: RefundInstruction) -> None:
        """Raise `Invalid`, with the field and the rule, if the provider cannot accept the instruction."""

    def refund(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        """Return the call that requests the refund now, which is `at`. Its body is `instruction.sent`, if set."""

    def inquire(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        """Return the call that inquires about the refund now, which is `at`."""


@runtime_checkable
class NotificationHandler(Protocol):
    """A provider that also sends notifications."""

    def parse_notification(self, notification: Notification) -> VerifiedNotification:
        """Return a notification whose raw bytes the provider signed.

        Raise `Forged` if the signature is missing or wrong, and `Unreadable` if the content cannot be read.
        """


@attrs.frozen(slots=True, kw_only=True)
class ReportFormat:
    """A provider's report as a CSV file: which rows are refunds, and which column contains what.

    Spaces and tabs around a value are ignored. Amounts may have a sign; the refunded amount is the absolute value.
    """

    name: str
    refund_request_id: str
    """The column with the refund_request_id."""
    amount: str
    """The column with the refunded amount, a decimal number."""
    currency: str
    """The column with the currency, or the currency itself if the report has no such column."""
    provider_refund_id: str | None = None
    """The column with the provider's id of the refund, if the report has one."""
    refunds: Mapping[str, str] = attrs.field(factory=dict)
    """Columns with the value that marks a row as a refund; empty if every row is one."""
    settled: Mapping[str, str] = attrs.field(factory=dict)
    """Columns with the value that marks a refund as done; empty if every refund in the report is."""
    reversals: Mapping[str, str] = attrs.field(factory=dict)
    """Columns with the value that marks a row as money of a refund that came back; empty if the report has none."""
    minor_units: bool = False
    """Whether the amounts are integers of minor units."""
    encoding: str = "utf-8"
    comment: str | None = None
    """The beginning of lines to skip."""
    end: str | None = None
    """The line that follows the last row."""
    utc_offset: str = "+00:00"
    """The provider's time zone, such as `+08:00`: its reports cover days in that zone."""
    source: str = ""
    """Where the provider documents the report."""


@attrs.frozen(slots=True, kw_only=True)
class ProviderPlugin:
    """One provider, as the `refundry_providers` hook returns it."""

    name: str
    """The value of `provider` in refundry.toml."""
    version: str
    settings: type
    """An attrs class with the account's keys.

    Types may be str, int, bool, tuple[str, ...], HttpUrl, Secret, PublicKeyPem, each also with `| None`.
    """
    build: Callable[[Any, Terms], Provider]
    """Returns the provider of an account from its settings and terms; raises `Invalid` with the key that is wrong.

    A setting of type `Secret | None` is `None` if the log is only read; reading must work without it.
    """
    codes: Mapping[str, Mapping[str, Code]]
    """The documented codes of each operation: `refund` and `inquire`."""
    terms: Terms = Terms()
    reports: tuple[ReportFormat, ...] = ()
    """The reports that `refundry reconcile` recognizes."""
    text_details: frozenset[str] = frozenset()
    """The further fields of a refund request that are texts, even if the text is JSON."""
    notifications: bool = False
    """Whether `build` returns a `NotificationHandler`; the contract checks it."""
    names_refund: Mapping[str, frozenset[OutcomeKind]] = MappingProxyType({})
    """For each operation (`refund` and `inquire`) the outcomes whose answers always name their refund: if such an
    answer is read for another refund, it has another outcome. Any other answer could be a late answer to another call;
    only its connection shows which call it answers. The contract checks it."""

    def shares_connections(self, operation: str) -> bool:
        """Return whether every answer that decides something names its refund, so that calls may share connections."""
        named = self.names_refund.get(operation, frozenset())
        return all(kind in named for kind in OutcomeKind if kind.decisive)
