"""Reconciliation: Refundry's records compared with a provider's report.

The rule of this module: it compares and reports, and changes nothing that was recorded. The whole report is read before
the first finding; a refund that does not match is flagged for review, with the row of the report as evidence.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from pathlib import Path
from typing import Final

import attrs

from refundry.batch.report import Line, read_report, zone_of
from refundry.errors import UnknownRefund
from refundry.gateway import Gateway
from refundry.inputs import Operator
from refundry.money import Money
from refundry.provider import ReportFormat, ReviewReason
from refundry.refund import RaisedReview, Refund, Status

__all__ = [
    "Finding",
    "FindingKind",
    "Period",
    "Progress",
    "reconcile",
]

_PAGE: Final = 500

Progress = Callable[[str, int, int | None], None]


class FindingKind(StrEnum):
    """How the report and Refundry's ledger compare for one refund."""

    MATCHED = "matched"
    MISSING_IN_REPORT = "missing_in_report"
    """It is settled in Refundry, and the report does not list it."""
    MISSING_IN_LEDGER = "missing_in_ledger"
    """The report lists it, and Refundry does not know it."""
    MISMATCHED = "mismatched"
    """Both have it, with different facts."""


@attrs.frozen
class Finding:
    """One comparison of the report with Refundry's ledger."""

    kind: FindingKind
    refund_request_id: str
    text: str = ""
    """What does not match, in a sentence."""
    refund_id: str | None = None
    line: int | None = None
    reasons: tuple[RaisedReview, ...] = ()
    """The differences for which the refund is flagged for review."""


@attrs.frozen
class Period:
    """When a refund must have settled to be expected in the report: from `start` until before `end`, if given.

    A time without an offset is in the time zone of the report.
    """

    start: datetime | None = None
    end: datetime | None = None

    def has(self, at: datetime) -> bool:
        """Return True if a time is in the period."""
        return (self.start is None or at >= self.start) and (self.end is None or at < self.end)

    def in_zone(self, zone: tzinfo) -> "Period":
        """Return the period with an offset in both times."""
        return Period(*(at and (at if at.tzinfo else at.replace(tzinfo=zone)) for at in (self.start, self.end)))


# --- comparing --------------------------------------------------------------------------------------------------------


async def reconcile(
    gateway: Gateway,
    account: str,
    path: Path,
    kind: ReportFormat,
    *,
    by: str,
    period: Period = Period(),
    dry_run: bool = False,
    progress: Progress | None = None,
) -> AsyncIterator[Finding]:
    """Compare a report with the refunds of an account, and flag each refund that does not match for review.

    Raises `Invalid` before the first finding if the report cannot be read. With `dry_run` no refund is flagged.
    """
    provider = gateway.account(account).provider
    total = sum(1 for _ in read_report(path, kind, provider.exponent))
    why = f"reconciliation with {path.name}, SHA-256 {_digest(path)}"
    report_progress = progress or (lambda *_: None)
    period = period.in_zone(zone_of(kind.utc_offset))
    seen: set[str] = set()
    for count, line in enumerate(read_report(path, kind, provider.exponent), 1):
        refund = await _find(gateway, account, line.refund_request_id)
        finding = _compare(line, refund, twice=line.refund_request_id in seen)
        if not line.reversal:
            seen.add(line.refund_request_id)
        if finding.refund_id is not None and finding.reasons and not dry_run:
            await gateway.flag_for_review(
                finding.refund_id, finding.reasons, Operator(by=by, why=why), evidence=line.text.encode()
            )
        report_progress("comparing", count, total)
        yield finding
    async for finding in _missing_in_report(gateway, account, seen, period):
        if finding.refund_id is not None and not dry_run:
            await gateway.flag_for_review(finding.refund_id, finding.reasons, Operator(by=by, why=why))
        yield finding


async def _find(gateway: Gateway, account: str, request_id: str) -> Refund | None:
    try:
        found = await gateway.journal.find(account, request_id)
        return None if found is None else await gateway.get(found)
    except UnknownRefund:
        return None


def _compare(line: Line, refund: Refund | None, *, twice: bool) -> Finding:
    if refund is None:
        what = "the return of a refund" if line.reversal else "a refund"
        text = f"the report has {what} of {_shown(line.amount)} that is not in Refundry"
        return Finding(FindingKind.MISSING_IN_LEDGER, line.refund_request_id, text, None, line.number)
    reasons = tuple(_differences(line, refund, twice))
    text = "; ".join(reason.message for reason in reasons)
    kind = FindingKind.MISMATCHED if reasons else FindingKind.MATCHED
    return Finding(kind, line.refund_request_id, text, refund.id, line.number, reasons)


def _differences(line: Line, refund: Refund, twice: bool) -> Iterator[RaisedReview]:
    if line.reversal:
        text = f"the report states that {_shown(line.amount)} of it came back; Refundry says {refund.status}"
        yield RaisedReview(ReviewReason.RECONCILIATION_REVERSED, text)
        return
    if twice:
        yield RaisedReview(ReviewReason.RECONCILIATION_DUPLICATE, "the report lists it more than once")
    if line.settled != (refund.status is Status.SETTLED):
        text = f"the report says {'refunded' if line.settled else 'not refunded'}; Refundry says {refund.status}"
        yield RaisedReview(ReviewReason.RECONCILIATION_STATUS, text)
    if line.amount != refund.amount:
        text = f"the report says {_shown(line.amount)}; Refundry says {_shown(refund.amount)}"
        yield RaisedReview(ReviewReason.RECONCILIATION_AMOUNT, text)
    ours = refund.provider_refund_id
    if None not in (ours, line.provider_refund_id) and ours != line.provider_refund_id:
        text = f"the report gives the provider's refund id {line.provider_refund_id!r}; Refundry has {ours!r}"
        yield RaisedReview(ReviewReason.RECONCILIATION_REFUND_ID, text)


async def _missing_in_report(gateway: Gateway, account: str, seen: set[str], period: Period) -> AsyncIterator[Finding]:
    after = ""
    while rows := await gateway.list(account=account, status=Status.SETTLED, after=after, limit=_PAGE):
        after = rows[-1].id
        for row in rows:
            if row.refund_request_id in seen:
                continue
            refund = await gateway.get(row.id)
            if period.has(_settled_at(refund)):
                text = f"it is settled in Refundry with {_shown(refund.amount)}, and the report does not list it"
                reasons = (RaisedReview(ReviewReason.RECONCILIATION_MISSING, text),)
                yield Finding(FindingKind.MISSING_IN_REPORT, row.refund_request_id, text, row.id, reasons=reasons)


def _settled_at(refund: Refund) -> datetime:
    """Return when the provider settled the refund; if it did not state that, when the refund was last updated."""
    try:
        at = datetime.fromisoformat(refund.settled_at or "")
    except ValueError:
        return refund.updated_at
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _shown(amount: Money) -> str:
    return f"{amount} {amount.currency}"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
