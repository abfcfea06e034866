"""Every move that a refund can make, as one table."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from refundry.errors import RefundryError


class Status(StrEnum):
    """How far a refund has come."""

    REQUESTED = "requested"
    SUBMITTED = "submitted"
    PENDING = "pending"
    UNKNOWN = "unknown"
    SETTLED = "settled"
    FAILED = "failed"


class Trigger(StrEnum):
    """What can move a refund: an event, narrowed where its content decides the move."""

    SUBMITTED = "submitted"
    SETTLED = "settled"
    SETTLED_BY_OPERATOR = "settled by an operator"
    FAILED = "failed"
    FAILED_BY_OPERATOR = "failed by an operator"
    INQUIRED = "inquired"
    INQUIRED_PENDING = "inquired pending"
    INQUIRED_NOT_SENT = "inquired not_sent"


FINAL: Final = frozenset({Status.SETTLED, Status.FAILED})


TRANSITIONS: Final[Mapping[tuple[Status, Trigger], Status]] = {
    (Status.REQUESTED, Trigger.SUBMITTED): Status.SUBMITTED,
    (Status.REQUESTED, Trigger.SETTLED): Status.SETTLED,
    (Status.REQUESTED, Trigger.FAILED): Status.FAILED,
    (Status.REQUESTED, Trigger.INQUIRED): Status.REQUESTED,
    (Status.REQUESTED, Trigger.INQUIRED_PENDING): Status.PENDING,
    (Status.SUBMITTED, Trigger.SETTLED): Status.SETTLED,
    (Status.SUBMITTED, Trigger.FAILED): Status.FAILED,
    (Status.SUBMITTED, Trigger.INQUIRED): Status.UNKNOWN,
    (Status.SUBMITTED, Trigger.INQUIRED_PENDING): Status.PENDING,
    (Status.SUBMITTED, Trigger.INQUIRED_NOT_SENT): Status.REQUESTED,
    (Status.PENDING, Trigger.SETTLED): Status.SETTLED,
    (Status.PENDING, Trigger.FAILED): Status.FAILED,
    (Status.PENDING, Trigger.INQUIRED): Status.PENDING,
    (Status.UNKNOWN, Trigger.SUBMITTED): Status.SUBMITTED,
    (Status.UNKNOWN, Trigger.SETTLED): Status.SETTLED,
    (Status.UNKNOWN, Trigger.FAILED): Status.FAILED,
    (Status.UNKNOWN, Trigger.INQUIRED): Status.UNKNOWN,
    (Status.UNKNOWN, Trigger.INQUIRED_PENDING): Status.PENDING,
    (Status.SETTLED, Trigger.INQUIRED): Status.SETTLED,
    (Status.SETTLED, Trigger.SETTLED_BY_OPERATOR): Status.SETTLED,
    (Status.SETTLED, Trigger.FAILED_BY_OPERATOR): Status.FAILED,
    (Status.FAILED, Trigger.INQUIRED): Status.FAILED,
    (Status.FAILED, Trigger.SETTLED_BY_OPERATOR): Status.SETTLED,
    (Status.FAILED, Trigger.FAILED_BY_OPERATOR): Status.FAILED,
}
"""Every possible move. A pair that is not in the table cannot happen; an event that asks for it is rejected."""


class IllegalEvent(RefundryError):
    """An event does not follow from the state before it: the log, or the code that wrote it, is wrong."""
