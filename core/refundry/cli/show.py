"""How one refund is shown, as JSON for programs or as text for people.

The rule of this module: it shows what is recorded, and what the installed version would do or read differently now.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, assert_never

from refundry import views
from refundry.audit.replay.reinterpretation import reading_as_json, reading_in_words
from refundry.cli.base import console, new_table, print_json, print_table
from refundry.formatting import moment, plain
from refundry.gateway.queries import Reader
from refundry.journal import Recorded
from refundry.provider import ReviewReason
from refundry.refund import Note, Refund
from refundry.refund.policy import Done, Inquire, ManualReview, Step, Submit

__all__ = ["show_refund"]

_REVIEWS: Final = frozenset(map(str, ReviewReason))


async def show_refund(reader: Reader, refund: Refund, as_json: bool, history: Sequence[Recorded] | None = None) -> None:
    """Print a refund with its history, by default all of it."""
    history = history or await reader.history(refund.id)
    step = await reader.next_step(refund) if refund.account in reader.accounts else None
    shown = views.refund_as_json(refund, history, step)
    readings = await reader.readings(history)
    if as_json:
        print_json(
            shown
            | {"readings": [reading_as_json(reading) for reading in readings if not reading.wording]}
            | {"wording": [reading_as_json(reading) for reading in readings if reading.wording]}
        )
        return
    out = console()
    for line in [*_summary(refund), *_next(refund, step, shown["next"])]:
        out.print(plain(line))
    table = new_table(("position", "at", "event", "details"))
    for event in shown["events"]:
        table.add_row(str(event["position"]), event["at"], event["event"], views.event_in_words(event))
    print_table(table)
    for reading in readings:
        differs = "worded" if reading.wording else "read"
        place = f"position {reading.recorded.position}"
        out.print(f"would be {differs} differently now: {place}, {reading_in_words(reading)}")


def _summary(refund: Refund) -> list[str]:
    version = f" (version {refund.version})"
    lines = [
        f"{refund.refund_request_id}  {refund.amount} {refund.amount.currency} of payment {refund.payment}"
        f" at {refund.account} ({refund.provider})",
        f"{refund.status}" + (f" at {_in_utc(refund.settled_at)}" if refund.settled_at else "") + version,
    ]
    if refund.failure is not None:
        lines.append(f"{refund.failure.code}: {refund.failure.cause} {refund.failure.advice}")
    if refund.settlement_amount is not None:
        rate = "" if refund.quote is None else f", {refund.quote.pair} at {refund.quote.price}"
        lines.append(f"settlement amount: {refund.settlement_amount} {refund.settlement_amount.currency}{rate}")
    if refund.provider_message is not None:
        lines.append(f'{refund.provider}: "{refund.provider_message}"')
    lines += [f"needs review since {moment(review.since)}: {review.message}" for review in refund.review]
    return lines + [line for note in refund.notes for line in _note(refund, note)]


def _note(refund: Refund, note: Note) -> list[str]:
    if note.code not in _REVIEWS:
        return [f"{note.code or 'informational'}: {note.cause}"]
    # What raised a review that is still open was printed as such.
    still_open = any(review.code == note.code for review in refund.review)
    return [] if still_open else [f"flagged at {moment(note.at)}, and reviewed since: {note.cause}"]


def _next(refund: Refund, step: Step | None, shown: Mapping[str, Any] | None) -> list[str]:
    match step:
        case ManualReview():
            # A reason that was printed above is not repeated.
            listed = any(review.code is step.reason for review in refund.review)
            return ["on hold: needs an operator" if listed else f"on hold: {step.message}"]
        case Submit() | Inquire() | Done() | None:
            return [] if shown is None else [f"next: {shown['step']} at {shown['at']}"]
        case _:
            assert_never(step)


def _in_utc(settled_at: str) -> str:
    """Return the provider's time in UTC, with its own words if they differ; unreadable ones as they are."""
    try:
        at = datetime.fromisoformat(settled_at)
    except ValueError:
        return settled_at
    if at.tzinfo is None:
        return settled_at
    utc = moment(at)
    return f"{utc} (at the provider: {settled_at})" if at.utcoffset() else utc
