"""The base of providers that receive JSON by POST, and sign every message in its headers.

The rule of this module: a message decides nothing before its raw bytes are verified for this account. What is signed,
every field and every meaning remain the plugin's own.
"""

import re
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, Final, TypeVar

import attrs
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from refundry.errors import Forged
from refundry.provider import messages, signatures, validation
from refundry.provider.interface import Acknowledgement, Answer, Notification, RefundInstruction, VerifiedNotification
from refundry.provider.outcomes import Outcome
from refundry.provider.signed import AccountSettings, SignedProvider
from refundry.provider.strict_json import Unreadable, read_object

# A time in either usual format, and nothing that could shift the border between the time and what is signed after it.
_TIME: Final = re.compile(r"[0-9A-Za-z:+.-]{1,40}", re.ASCII)
_Message = TypeVar("_Message", bound=messages.Message)
S = TypeVar("S", bound=AccountSettings)


@attrs.frozen(slots=True)
class SignedJsonProvider(SignedProvider[S]):
    """One account at such a provider: the base of a `Provider` and `NotificationHandler`."""

    client_header: ClassVar[str]
    """The header that names the client; an answer may leave it out, a notification may not."""
    signature_header: ClassVar[str] = "signature"
    answer_time_header: ClassVar[str] = "response-time"
    notification_time_header: ClassVar[str] = "request-time"
    signed_headers: ClassVar[tuple[str, ...]] = ()
    """The further headers that are signed."""
    acknowledgement: ClassVar[Acknowledgement]
    """The answer to every notification that is kept."""

    @property
    @abstractmethod
    def client(self) -> str:
        """Return the account's client id at the provider."""

    @property
    def identity(self) -> str:
        """Return the client and the host: a refund is known only to the client that sent it."""
        return f"{self.client} at {self.settings.base_url}"

    @property
    def signing_key(self) -> str | None:
        """Return the provider's name for the merchant's key, if it has one."""
        return self.settings.signing_key

    # --- answers ------------------------------------------------------------------------------------------------------

    def verified(self, operation: str, answer: Answer) -> bytes:
        """Return the body of an answer; raise `Forged` unless the provider signed it for this client and path."""
        self._verify("POST", operation, answer, self.answer_time_header)
        return answer.body

    def _verify(self, method: str, path: str, message: Answer | Notification, time_header: str) -> bytes:
        """Return what the provider signed of a raw message for this client; raise `Forged` if it did not.

        A missing header is refused.
        """
        wanted = (self.client_header, self.signature_header, time_header, *self.signed_headers)
        found = validation.once(message.headers, wanted)
        if found.get(self.client_header, self.client) != self.client:
            raise Forged("it names another client")
        time = validation.required_header(found, time_header, _TIME)
        content = self.content(method, path, time, found, message.body)
        self.verify(self._public_key, found.get(self.signature_header), content)
        return content

    @abstractmethod
    def content(self, method: str, path: str, time: str, headers: Mapping[str, str], body: bytes) -> bytes:
        """Return what the signature of a received message must cover; raise `Forged` if a part of it is missing."""

    @abstractmethod
    def verify(self, key: RSAPublicKey, signature: str | None, content: bytes) -> None:
        """Raise `Forged` unless the value of the signature header is the signature of the content."""

    # --- notifications ------------------------------------------------------------------------------------------------

    def parse_notification(self, notification: Notification) -> VerifiedNotification:
        """Return a notification that the provider signed; raise `Forged` or `Unreadable` for any other.

        Assumed, if the provider's documents do not state which path is signed: the one that it was given.
        """
        if notification.header(self.client_header) is None:
            raise Forged(f"no {self.client_header} header, or more than one")
        signed = signatures.verify_either_path(
            notification,
            self.settings.notify_url,
            lambda path: self._verify(notification.method, path, notification, self.notification_time_header),
        )
        refund_request_id, read = self.read_notification(notification.body)
        return VerifiedNotification(
            refund_request_id=refund_request_id,
            at=validation.moment(notification.header(self.notification_time_header)),
            read=read,
            acknowledgement=self.acknowledgement,
            signed=signed,
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
