"""What a provider states about a settlement, in one message or in several.

The rule of this module: pure. A newer value replaces an older one, and nothing that was stated before counts as new.
"""

from collections.abc import Mapping
from typing import Any, Final

import attrs

from refundry.money import Money
from refundry.provider import Quote


@attrs.frozen(slots=True, kw_only=True)
class SettlementFacts:
    """What one message states about a settlement; None for what it does not state."""

    settled_at: str | None = None
    """The time in ISO 8601, as the provider writes it, with its offset."""
    settlement_amount: Money | None = None
    quote: Quote | None = None
    details: Mapping[str, Any] | None = None
    """All further fields of the message, under the provider's own names: JSON values."""

    @property
    def names(self) -> frozenset[str]:
        """Return the names of what it states, those of further fields included."""
        return frozenset(key or name for name, key, _ in self._values())

    def adds_to(self, known: "tuple[SettlementFacts, ...]") -> bool:
        """Return whether it states a value that none of the known facts has."""
        return any(all(facts._value(name, key) != value for facts in known) for name, key, value in self._values())

    def over(self, older: "SettlementFacts") -> "SettlementFacts":
        """Return both together: the newer value of each field, and of each further field."""
        details = self.details if older.details is None else {**older.details, **(self.details or {})}
        return SettlementFacts(
            settled_at=self.settled_at or older.settled_at,
            settlement_amount=self.settlement_amount or older.settlement_amount,
            quote=self.quote or older.quote,
            details=details,
        )

    def or_none(self) -> "SettlementFacts | None":
        """Return None instead of facts without a value."""
        return self if self._values() else None

    def _values(self) -> "list[tuple[str, str | None, Any]]":
        whole = [(name, None, value) for name in _WHOLE if (value := getattr(self, name)) is not None]
        return [*whole, *(("details", key, value) for key, value in (self.details or {}).items())]

    def _value(self, name: str, key: str | None) -> Any:
        return getattr(self, name) if key is None else (self.details or {}).get(key)


_WHOLE: Final = ("settled_at", "settlement_amount", "quote")
