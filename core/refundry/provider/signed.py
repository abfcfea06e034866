"""The base of providers that sign with RSA keys: the settings of an account, and the way from a call to its outcome.

The rule of this module: an answer decides nothing before its raw bytes are verified. What is sent, what is signed,
every field and every meaning remain the plugin's own.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import ClassVar, Generic, TypeVar

import attrs
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from refundry.provider import messages, signatures, validation
from refundry.provider.interface import (
    Answer,
    HttpUrl,
    ProviderCall,
    PublicKeyPem,
    RefundInstruction,
    Request,
    Secret,
    Terms,
)
from refundry.provider.outcomes import Outcome, Unknown

_Message = TypeVar("_Message", bound=messages.Message)


@attrs.frozen(slots=True, kw_only=True)
class AccountSettings:
    """The keys that an account has at every provider; a plugin adds its own."""

    base_url: HttpUrl
    """The host that the provider's documents give, without a path."""
    provider_public_key: PublicKeyPem = attrs.field(repr=False)
    """The provider's public key, which verifies answers and notifications."""
    private_key: Secret | None = None
    """The merchant's private key; `None` if the log is only read, as in an audit."""
    notify_url: str | None = None
    """Where the provider should post notifications."""

    @property
    def signing_key(self) -> str | None:
        """Return the provider's name for the merchant's key, if it has one."""
        return None

    def check(self, provider: str, example_host: str, max_notify_url: int) -> None:
        """Raise `Invalid` with the setting that is wrong."""
        validation.check_host("base_url", self.base_url, example_host)
        if self.notify_url is not None:
            validation.check_address("notify_url", self.notify_url, max_notify_url, provider)


@attrs.frozen(slots=True, kw_only=True)
class VersionedKeySettings(AccountSettings):
    """The keys of an account at a provider that numbers keys."""

    key_version: int = 1
    """The version of the merchant's key at the provider."""
    provider_key_version: int | None = None
    """The only version of the provider's key to accept; any version if it is not set (the key decides)."""

    @property
    def signing_key(self) -> str:
        """Return the version of the merchant's key."""
        return str(self.key_version)

    def check(self, provider: str, example_host: str, max_notify_url: int) -> None:
        """Raise `Invalid` with the setting that is wrong."""
        AccountSettings.check(self, provider, example_host, max_notify_url)
        validation.check_version("key_version", self.key_version)
        validation.check_version("provider_key_version", self.provider_key_version)


S = TypeVar("S")


@attrs.frozen(slots=True)
class SignedProvider(ABC, Generic[S]):
    """One account at such a provider: the base of a `Provider`.

    An operation is named as the provider names it: by a path, or by a method.
    """

    settings: S
    terms: Terms
    _private_key: RSAPrivateKey | None = attrs.field(repr=False, eq=False)
    _public_key: RSAPublicKey = attrs.field(repr=False, eq=False)

    name: ClassVar[str]
    """The provider's name in causes and advice."""

    # --- what is sent -------------------------------------------------------------------------------------------------

    def body(self, instruction: RefundInstruction) -> bytes:
        """Return the body that was already sent, or that of a first request; equal instructions give equal bytes."""
        return self.encode(self.refund_request(instruction)) if instruction.sent is None else instruction.sent

    @abstractmethod
    def refund_request(self, instruction: RefundInstruction) -> messages.Message:
        """Return the message that requests the refund."""

    def encode(self, message: messages.Message) -> bytes:
        """Return the body of a request; equal messages give equal bytes."""
        return messages.encode(message)

    def call(
        self, operation: str, body: bytes, at: datetime, kind: type[_Message], read: Callable[[_Message], Outcome]
    ) -> ProviderCall:
        """Return a call of one operation, whose verified answer is a message of `kind`."""
        return ProviderCall(
            body=body,
            sign=partial(self.signed, operation, body, at.astimezone(UTC)),
            read=partial(self._read, operation, kind, read),
            key_version=self.signing_key,
        )

    @property
    @abstractmethod
    def signing_key(self) -> str | None:
        """Return the provider's name for the merchant's key, if it has one."""

    @abstractmethod
    def signed(self, operation: str, body: bytes, at: datetime) -> Request:
        """Return the signed request."""

    def private_key(self) -> RSAPrivateKey:
        """Return the merchant's key; raise `Invalid` if the account has none."""
        return signatures.require_private_key(self._private_key)

    # --- what is received ---------------------------------------------------------------------------------------------

    def _read(
        self, operation: str, kind: type[_Message], read: Callable[[_Message], Outcome], answer: Answer
    ) -> Outcome:
        return signatures.read_verified(
            answer,
            partial(self.verified, operation),
            lambda content: read(self.decode(kind, content)),
            partial(self.distrusted, operation, answer),
        )

    @abstractmethod
    def verified(self, operation: str, answer: Answer) -> bytes:
        """Return what the provider signed of an answer; raise `Forged` or `Unreadable` if that is nothing."""

    def decode(self, kind: type[_Message], content: bytes) -> _Message:
        """Return the message that verified content is; raise `Unreadable` if it is another."""
        return messages.decode(kind, content)

    def distrusted(self, operation: str, answer: Answer, error: Exception) -> Unknown:
        """Return the outcome of an answer that the provider did not sign."""
        return signatures.distrusted(error, self.name)
