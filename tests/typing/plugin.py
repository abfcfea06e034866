"""A plugin that uses the provider interface: checked by mypy and pyright, and never run."""

from collections.abc import Sequence
from datetime import datetime
from typing import assert_type

from refundry import ObservedEvent, Observer, observer
from refundry.plugin_host import hookimpl
from refundry.provider import (
    Acknowledgement,
    Answer,
    Notification,
    NotificationHandler,
    Outcome,
    Pending,
    Provider,
    ProviderCall,
    RefundInstruction,
    Request,
    Terms,
    VerifiedNotification,
)

__all__: list[str] = []


class Translator:
    """A provider that also receives notifications."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.identity = "acme"

    def exponent(self, currency: str) -> int:
        """Return the number of decimals."""
        return 2

    def check(self, instruction: RefundInstruction) -> None:
        """Accept every instruction."""

    def refund(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        """Return a call."""
        return ProviderCall(b"{}", lambda: Request("POST", "https://acme.example", (), b"{}"), self._read)

    def inquire(self, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        """Return a call."""
        return self.refund(instruction, at)

    def parse_notification(self, notification: Notification) -> VerifiedNotification:
        """Return a verified notification."""
        return VerifiedNotification("R1", None, lambda instruction: Pending(), Acknowledgement(200, (), b""), b"")

    def _read(self, answer: Answer) -> Outcome:
        assert_type(answer.body, bytes)
        return Pending()


@observer(name="ledger", start="beginning")
def ledger(events: Sequence[ObservedEvent]) -> None:
    """Receive events."""
    for event in events:
        assert_type(event.position, int)
        assert_type(event.refund_request_id, str)


class Watching:
    """A plugin that observes events."""

    @hookimpl
    def refundry_observers(self) -> list[Observer]:
        """Return the observer."""
        return [ledger]


def build(terms: Terms) -> tuple[Provider, NotificationHandler]:
    """Return the translator as both of the interfaces that it implements."""
    return Translator(terms), Translator(terms)
