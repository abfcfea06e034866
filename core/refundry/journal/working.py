"""Working data: what the processes on one store share about accounts, workers and the store itself.

The rule of this module: values only. None of it is part of the log, and no decision about money reads it: without it a
few more calls are made, and a status is less precise.
"""

from collections.abc import Mapping
from datetime import datetime

import attrs

__all__ = ["AccountRecord", "Backlog", "StoreRecord", "WorkerRecord"]


@attrs.frozen(slots=True, kw_only=True)
class AccountRecord:
    """How the calls of one account went, in all processes. `refundry.gateway.account_health` has the rules."""

    account: str
    since: datetime | None = None
    """Since when the calls go as they do now: succeed, fail or stay unanswered."""
    last_success: datetime | None = None
    last_error_at: datetime | None = None
    last_error: str | None = None
    last_notification: datetime | None = None
    failing_since: datetime | None = None
    """The first failed call since the last success; None while calls succeed."""
    unanswered: int = 0
    """How many calls in a row were not answered by the provider, counted up to the number that makes it unreachable."""
    probe_at: datetime | None = None
    """Set while the provider is unreachable: when the next call, the probe, may be made. Taking the probe moves it
    behind the end of that call, so only one caller has it."""
    outage_since: datetime | None = None
    """Set from the alert about an outage to its end: since when no call succeeded although work was due."""
    paused_at: datetime | None = None
    paused_by: str | None = None
    paused_why: str | None = None


@attrs.frozen(slots=True, kw_only=True)
class WorkerRecord:
    """A worker that runs, or that was killed."""

    id: str
    host: str
    pid: int
    version: str
    started_at: datetime
    heartbeat_at: datetime
    in_progress: int = 0
    gave_up: int = 0
    """How many refunds it gave up on because of internal errors."""
    unknown_accounts: tuple[str, ...] = ()
    """Accounts with due refunds that its configuration does not have."""


@attrs.frozen(slots=True, kw_only=True)
class Backlog:
    """The open refunds of one account that workers process, and what keeps them from it."""

    account: str
    count: int = 0
    """Refunds that workers have to process, now or later; refunds on hold do not count."""
    next_due: datetime | None = None
    """When the first of them is or was due."""
    blocked_since: datetime | None = None
    """Since when a refund blocks the account; None if none does."""


@attrs.frozen(slots=True, kw_only=True)
class StoreRecord:
    """How much there is in a store, and how far the log was signed and delivered."""

    events: int
    refunds: int
    needs_review: int
    unmatched: int
    signed: int
    """How many events the last checkpoint covers."""
    signed_at: datetime | None
    observers: Mapping[str, int]
    """Events that are not delivered yet, by observer."""
