"""The fields of stored events that an audit reads, and how it reads them.

The rule of this module: it reads less than the codec and shares no code with it; what it does not need, it skips.
"""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, cast

import msgspec

__all__ = [
    "Read", "StoredFailed", "StoredInquired", "StoredRequested", "StoredSettled", "StoredSubmitted", "named_by",
    "read", "read_any",
]  # fmt: skip


class StoredAmount(msgspec.Struct, gc=False):
    minor: int
    currency: str
    exponent: int


class StoredRequested(msgspec.Struct, gc=False):
    """A request for a refund."""

    at: datetime
    account: str
    payment: str
    amount: StoredAmount
    refund_request_id: str
    payment_total: StoredAmount | None = None
    retry_of: str | None = None
    private: str | None = None
    possible_sender: str | None = None
    inquire_at: datetime | None = None
    corrects_total: bool = False


class StoredSubmitted(msgspec.Struct, gc=False):
    """An attempt."""

    at: datetime
    attempt: int
    digest: str
    next_at: datetime
    private: str | None = None


class StoredRaised(msgspec.Struct, gc=False):
    code: str
    message: str


class StoredInquired(msgspec.Struct, gc=False):
    """New information about a refund."""

    at: datetime
    channel: str
    outcome: str
    next_step: str
    next_at: datetime | None = None
    scope: str | None = None
    review: tuple[StoredRaised, ...] = ()
    evidence: str | None = None
    private: str | None = None
    apart: tuple[str, ...] = ()
    by: str | None = None
    why: str | None = None
    payment_alias: str | None = None


class StoredSettled(msgspec.Struct, gc=False):
    """A refund that is done, or was decided to be."""

    at: datetime
    channel: str
    amount: StoredAmount
    evidence: str | None = None
    private: str | None = None
    apart: tuple[str, ...] = ()
    by: str | None = None
    why: str | None = None
    payment_alias: str | None = None
    against_evidence: bool = False


class StoredFailed(msgspec.Struct, gc=False):
    """A refund that will never be paid, or was decided to be so."""

    at: datetime
    channel: str
    evidence: str | None = None
    private: str | None = None
    apart: tuple[str, ...] = ()
    by: str | None = None
    why: str | None = None
    against_evidence: bool = False


Read = StoredRequested | StoredSubmitted | StoredInquired | StoredSettled | StoredFailed
_KINDS: Final[Mapping[str, type[Any]]] = {
    "requested": StoredRequested,
    "submitted": StoredSubmitted,
    "inquired": StoredInquired,
    "settled": StoredSettled,
    "failed": StoredFailed,
}
read: Final[Mapping[str, Callable[[bytes], Any]]] = {
    topic: msgspec.json.Decoder(kind).decode for topic, kind in _KINDS.items()
}
"""Decoders by topic, which raise `msgspec.DecodeError` for bytes that are not an event."""


def read_any(topic: str, state: bytes) -> Read | None:
    """Read an event even if half of a surrogate pair keeps it from being UTF-8; return None if it is not an event."""
    try:
        return cast("Read", read[topic](state))
    except (KeyError, TypeError, msgspec.ValidationError):
        return None
    except msgspec.DecodeError:
        try:
            return cast("Read", msgspec.convert(json.loads(state), _KINDS[topic]))
        except (ValueError, RecursionError):
            return None


def named_by(event: Any) -> list[str]:
    """Return the digests that an event names."""
    names = (getattr(event, name, None) for name in ("digest", "evidence", "private"))
    return [name for name in names if name is not None]
