"""Accounts whose keys are parsed when they are first needed, and accounts whose keys cannot be used.

The rule of this module: a key that is missing or broken takes its own account out of use, and no other.
"""

import threading
from collections.abc import Callable
from datetime import datetime
from typing import NoReturn

from refundry.errors import ConfigError
from refundry.provider import Notification, Provider, ProviderCall, RefundInstruction, Terms, VerifiedNotification

__all__ = ["Sender", "UnusableProvider"]


class Sender:
    """The provider of an account with its private key. Parsing the key takes long, so it is parsed once and late."""

    def __init__(self, build: Callable[[], Provider]) -> None:
        self._build = build
        self._lock = threading.Lock()
        self.ready: Provider | None = None
        """The provider, once its key was parsed."""
        self.error: ConfigError | None = None
        """What is wrong with the key, once that is known."""

    def __call__(self) -> Provider:
        """Return the provider; raise `ConfigError` if the key is missing or broken."""
        with self._lock:
            if self.ready is None and self.error is None:
                try:
                    self.ready = self._build()
                except ConfigError as error:
                    self.error = error
        if self.ready is None:
            assert self.error is not None
            raise ConfigError(self.error.field, self.error.rule)
        return self.ready


class UnusableProvider:
    """The provider of an account whose keys cannot be used: whatever needs it raises the reason."""

    def __init__(self, error: ConfigError, terms: Terms) -> None:
        self._error = error
        self.terms = terms

    def _refuse(self) -> NoReturn:
        raise ConfigError(self._error.field, self._error.rule)

    @property
    def identity(self) -> str:
        """Raise the reason."""
        self._refuse()

    def exponent(self, currency: str) -> int:
        """Raise the reason."""
        self._refuse()

    def check(self, instruction: RefundInstruction) -> None:
        """Raise the reason."""
        self._refuse()

    def refund(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        """Raise the reason."""
        self._refuse()

    def inquire(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        """Raise the reason."""
        self._refuse()

    def parse_notification(self, notification: Notification) -> VerifiedNotification:
        """Raise the reason."""
        self._refuse()
