"""The base of providers that receive JSON by POST, and sign every message in its headers.

The rule of this module: a message decides nothing before its raw bytes are verified for this account. What is signed,
every field and every meaning remain the plugin's own.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import ClassVar, Final, Generic, TypeVar

import attrs
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from refundry.errors import Forged
from refundry.provider import messages, signatures, validation
from refundry.provider.interface import (
    Acknowledgement,
    Answer,
    HttpUrl,
    Notification,
    ProviderCall,
    PublicKeyPem,
    RefundInstruction,
    Request,
    Secret,
    Terms,
    VerifiedNotification,
)
from refundry.provider.outcomes import Outcome, Unknown
from refundry.provider.strict_json import Unreadable, read_object

# A time in either usual format, and nothing that could shift the border between the time and what is signed after it.
_TIME: Final = re.compile(r"[0-9A-Za-z:+.-]{1,40}", re.ASCII)
_Message = TypeVar("_Message", bound=messages.Message)


@attrs.frozen(slots=True, kw_only=True)
class AccountSettings:
    """The keys that every account has; a plugin adds its own."""

    base_url: HttpUrl
    """The host that the provider's documents give, without a path."""
    provider_public_key: PublicKeyPem = attrs.field(repr=False)
    """The provider's public key, which verifies answers and notifications."""
    private_key: Secret | None = None
    key_version: int = 1
    """The version of the merchant's key at the provider."""
    provider_key_version: int | None = None
    """The only version of the provider's key to accept; any version if it is not set (the key decides)."""
    notify_url: str | None = None
    """Where the provider should post notifications."""

    def check(self, provider: str, example_host: str, max_notify_url: int) -> None:
        """Raise `Invalid` with the setting that is wrong."""
        validation.check_host("base_url", self.base_url, example_host)
        validation.check_version("key_version", self.key_version)
        validation.check_version("provider_key_version", self.provider_key_version)
        if self.notify_url is not None:
            validation.check_address("notify_url", self.notify_url, max_notify_url, provider)


S = TypeVar("S", bound=AccountSettings)


@attrs.frozen(slots=True)
class SignedJsonProvider(ABC, Generic[S]):
    """One account at such a provider: the base of a `Provider` and `NotificationHandler`."""

    settings: S
    terms: Terms
    _private_key: RSAPrivateKey | None = attrs.field(repr=False, eq=False)
    _public_key: RSAPublicKey = attrs.field(repr=False, eq=False)

    name: ClassVar[str]
    """The provider's name in causes and advice."""
    client_header: ClassVar[str]
    """The header that names the client; an answer may leave it out, a notification may not."""
    signed_headers: ClassVar[tuple[str, ...]] = ()
    """The further headers that are signed."""
    acknowledgement: ClassVar[Acknowledgement]

    @property
    @abstractmethod
    def client(self) -> str:
        """Return the account's client id at the provider."""

    @property
    def identity(self) -> str:
        """Return the client and the host: a refund is known only to the client that sent it."""
        return f"{self.client} at {self.settings.base_url}"

    # --- calls --------------------------------------------------------------------------------------------------------

    def body(self, instruction: RefundInstruction) -> bytes:
        """Return the body that was already sent, or that of a first request; equal instructions give equal bytes."""
        return messages.encode(self.refund_request(instruction)) if instruction.sent is None else instruction.sent

    @abstractmethod
    def refund_request(self, instruction: RefundInstruction) -> messages.Message:
        """Return the message that requests the refund."""

    def call(
        self, path: str, body: bytes, at: datetime, kind: type[_Message], read: Callable[[_Message], Outcome]
    ) -> ProviderCall:
        """Return a call of one path, whose verified answer is a message of `kind`."""
        return ProviderCall(
            body=body,
            sign=partial(self.signed, path, body, at.astimezone(UTC)),
            read=partial(self._read, path, kind, read),
            key_version=str(self.settings.key_version),
        )

    @abstractmethod
    def signed(self, path: str, body: bytes, at: datetime) -> Request:
        """Return the signed request."""

    def private_key(self) -> RSAPrivateKey:
        """Return the merchant's key; raise `Invalid` if the account has none."""
        return signatures.require_private_key(self._private_key)

    # --- answers ------------------------------------------------------------------------------------------------------

    def _read(self, path: str, kind: type[_Message], read: Callable[[_Message], Outcome], answer: Answer) -> Outcome:
        return signatures.read_verified(
            answer,
            self.name,
            partial(self._verified, path),
            lambda body: read(messages.decode(kind, body)),
            partial(self.distrusted, answer),
        )

    def _verified(self, path: str, answer: Answer) -> bytes:
        self._verify("POST", path, answer, "response-time")
        return answer.body

    def _verify(self, method: str, path: str, message: Answer | Notification, time_header: str) -> None:
        """Raise `Forged` unless the provider signed the raw message for this client; a missing header is refused."""
        found = validation.once(message.headers, (self.client_header, "signature", time_header, *self.signed_headers))
        if found.get(self.client_header, self.client) != self.client:
            raise Forged("it names another client")
        time = validation.required_header(found, time_header, _TIME)
        self.verify(self._public_key, found, self.content(method, path, time, found, message.body))

    @abstractmethod
    def content(self, method: str, path: str, time: str, headers: Mapping[str, str], body: bytes) -> bytes:
        """Return what the signature of a received message must cover; raise `Forged` if a part of it is missing."""

    @abstractmethod
    def verify(self, key: RSAPublicKey, headers: Mapping[str, str], content: bytes) -> None:
        """Raise `Forged` unless the signature among the headers is that of the content."""

    @abstractmethod
    def distrusted(self, answer: Answer, error: Exception) -> Unknown:
        """Return the outcome of an answer that the provider did not sign."""

    # --- notifications ------------------------------------------------------------------------------------------------

    def parse_notification(self, notification: Notification) -> VerifiedNotification:
        """Return a notification that the provider signed; raise `Forged` or `Unreadable` for any other.

        Assumed, if the provider's documents do not state which path is signed: the one that it was given.
        """
        if notification.header(self.client_header) is None:
            raise Forged(f"no {self.client_header} header, or more than one")
        signatures.verify_either_path(
            notification,
            self.settings.notify_url,
            lambda path: self._verify(notification.method, path, notification, "request-time"),
        )
        refund_request_id, read = self.read_notification(notification.body)
        return VerifiedNotification(
            refund_request_id=refund_request_id,
            at=validation.moment(notification.header("request-time")),
            read=read,
            acknowledgement=self.acknowledgement,
        )

    @abstractmethod
    def read_notification(self, body: bytes) -> tuple[str, Callable[[RefundInstruction], Outcome]]:
        """Return the id of the refund that a verified body names, and the reader of its meaning."""


def claimed(kind: type[_Message], body: bytes, field: str = "result") -> _Message | None:
    """Return what an unverified answer claims in one of its fields, or `None` if it cannot be read."""
    try:
        return messages.read(kind, read_object(body).get(field))
    except Unreadable:
        return None
