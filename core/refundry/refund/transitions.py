"""Every move that a refund can make, as one table."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from refundry.errors import RefundryError


class Status(StrEnum):
    """Where a refund stands."""

    REQUESTED = "requested"
    SUBMITTED = "submitted"
    PENDING = "pending"
    UNKNOWN = "unknown"
    SETTLED = "settled"
    FAILED = "failed"


FINAL: Final = frozenset({Status.SETTLED, Status.FAILED})


TRANSITIONS: Final[Mapping[tuple[Status, str], Status]] = {
    (Status.REQUESTED, "submitted"): Status.SUBMITTED,
    (Status.REQUESTED, "settled"): Status.SETTLED,
    (Status.REQUESTED, "failed"): Status.FAILED,
    (Status.REQUESTED, "inquired"): Status.REQUESTED,
    (Status.REQUESTED, "inquired pending"): Status.PENDING,
    (Status.SUBMITTED, "settled"): Status.SETTLED,
    (Status.SUBMITTED, "failed"): Status.FAILED,
    (Status.SUBMITTED, "inquired"): Status.UNKNOWN,
    (Status.SUBMITTED, "inquired pending"): Status.PENDING,
    (Status.SUBMITTED, "inquired not_sent"): Status.REQUESTED,
    (Status.PENDING, "settled"): Status.SETTLED,
    (Status.PENDING, "failed"): Status.FAILED,
    (Status.PENDING, "inquired"): Status.PENDING,
    (Status.UNKNOWN, "submitted"): Status.SUBMITTED,
    (Status.UNKNOWN, "settled"): Status.SETTLED,
    (Status.UNKNOWN, "failed"): Status.FAILED,
    (Status.UNKNOWN, "inquired"): Status.UNKNOWN,
    (Status.UNKNOWN, "inquired pending"): Status.PENDING,
    (Status.SETTLED, "inquired"): Status.SETTLED,
    (Status.SETTLED, "settled by a person"): Status.SETTLED,
    (Status.SETTLED, "failed by a person"): Status.FAILED,
    (Status.FAILED, "inquired"): Status.FAILED,
    (Status.FAILED, "settled by a person"): Status.SETTLED,
    (Status.FAILED, "failed by a person"): Status.FAILED,
}
"""Every move there is. A pair that is not here cannot happen; an event that asks for it is refused."""


class IllegalEvent(RefundryError):
    """An event does not follow from the state before it: the log, or the code that wrote it, is wrong."""
