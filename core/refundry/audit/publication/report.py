"""Reports for people: a table for spreadsheets, and a page with a timeline of each refund.

The rule of this module: text from a provider or a customer may be hostile. No cell becomes a formula, no text becomes
markup, and the page loads nothing and runs nothing. A report proves nothing: `audit export` and `audit prove` do.
"""

import csv
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any, Final, TextIO

import attrs

from refundry import formatting, views
from refundry.audit.publication.export import Part
from refundry.errors import Invalid, StoreError
from refundry.formatting import moment
from refundry.journal import Recorded
from refundry.journal.codec import decode, private_digest
from refundry.journal.log_source import StoreSource
from refundry.refund import Failed, Refund, Settled, fold

__all__ = ["KINDS", "report", "safe_cell"]

PAGE_REFUNDS: Final = 2_000
"""The most refunds on one page; browsers do not display more of them well."""

_COLUMNS: Final = (
    "position", "at", "refund", "account", "provider", "refund_request_id", "payment", "amount", "currency", "version",
    "event", "channel", "outcome", "code", "cause", "review", "provider_refund_id", "settled_at", "reason", "by",
    "why", "offline", "against_evidence", "plugin", "evidence",
)  # fmt: skip
_FORMULA: Final = re.compile("(^|;)([ \u3000]*[=+@\t\r\uff1d\uff0b\uff0d\uff20-])")
"""How a formula begins, also in full width, and after a semicolon, which separates columns in many countries."""


@attrs.frozen
class History:
    """A refund and everything that happened to it."""

    refund: Refund
    events: Sequence[Recorded]


def report(source: StoreSource, place: Path, part: Part = Part()) -> int:
    """Write a report to a new file, in the format of its suffix; return the number of refunds.

    Raises `Invalid` for an unknown suffix, a file that already exists, and too many refunds for a page.
    """
    write = KINDS.get(place.suffix.lower())
    if write is None:
        raise Invalid("FILE", f"must end with {' or '.join(KINDS)}")
    with _new_file(place) as out:
        return write(out, _histories(source, part))


@contextmanager
def _new_file(place: Path) -> Iterator[TextIO]:
    """Open a file that receives its name only when it is complete."""
    if place.exists() or place.is_symlink():
        raise Invalid("FILE", f"{place} already exists and is not overwritten")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{place.name}.", dir=place.absolute().parent)
    except OSError as error:
        raise Invalid("FILE", f"cannot be created: {error.strerror}") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace", newline="") as out:
            yield out
        # Unlike renaming, linking never replaces a file that was created in the meantime.
        os.link(name, place)
    except OSError as error:
        raise StoreError(f"report: cannot be written: {error.strerror}; nothing was left behind") from error
    finally:
        with suppress(OSError):
            Path(name).unlink()


def _histories(source: StoreSource, part: Part) -> Iterator[History]:
    for refund_id in source.refund_ids(part.account, part.payment, part.refund):
        events = [
            Recorded(position, refund_id, version, decode(topic, state, position, _private(source, state)))
            for position, version, topic, state in source.events_of(refund_id)
        ]
        if events and any(_within(each.event.at, part) for each in events):
            yield History(fold(refund_id, [each.event for each in events]), events)


def _private(source: StoreSource, state: bytes) -> bytes | None:
    digest = private_digest(state)
    if digest is None:
        return None
    content, erased = source.content(digest)
    return None if erased is not None else content


def _within(at: datetime, part: Part) -> bool:
    return (part.since is None or at >= part.since) and (part.until is None or at < part.until)


# --- the table --------------------------------------------------------------------------------------------------------


def safe_cell(text: str) -> str:
    """Return a text that spreadsheets do not interpret as a formula."""
    return _FORMULA.sub(r"\1'\2", text)


def _write_csv(out: TextIO, histories: Iterator[History]) -> int:
    """Write one line for each event."""
    table, count = csv.writer(out), 0
    table.writerow(_COLUMNS)
    for history in histories:
        count += 1
        for recorded in history.events:
            table.writerow([safe_cell(formatting.plain(cell)) for cell in _cells(history.refund, recorded)])
    return count


def _cells(refund: Refund, recorded: Recorded) -> Iterator[str]:
    shown = views.event_as_json(recorded)
    known = {
        "refund": refund.id,
        "account": refund.account,
        "provider": refund.provider,
        "refund_request_id": refund.refund_request_id,
        "payment": refund.payment,
        "amount": str(refund.amount),
        "currency": refund.amount.currency,
    }
    for column in _COLUMNS:
        value = known.get(column, shown.get(column))
        yield "" if value is None else str(value)


# --- the page ---------------------------------------------------------------------------------------------------------

_HEAD: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="referrer" content="no-referrer">
<title>Refunds</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; color: #1b1f24; margin: 2rem auto; max-width: 64rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 2.5rem 0 .25rem; }
p { margin: .25rem 0; } .quiet { color: #57606a; } .look { color: #8a4600; font-weight: 600; }
table { border-collapse: collapse; margin-top: .5rem; width: 100%; font-size: 13px; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-top: 1px solid #d8dee4; }
td:first-child, th:first-child { width: 2rem; } td:nth-child(2), td:nth-child(3) { white-space: nowrap; }
td:last-child { overflow-wrap: anywhere; }
svg { width: 100%; height: auto; margin-top: .5rem; } svg text { font: 11px system-ui, sans-serif; }
@media print { section { break-inside: avoid; } }
</style>
</head>
<body>
<h1>Refunds</h1>
<p class="quiet">Times are in UTC. This page was written from a store for people to read. It proves nothing:
<code>refundry audit prove</code> exports a proof.</p>
"""
_TAIL: Final = "</body>\n</html>\n"
_COLORS: Final = {
    "Requested": "#57606a", "Submitted": "#0a58ca", "Settled": "#1a7f37", "Failed": "#b42318", "Inquired": "#9a6700",
}  # fmt: skip
_WIDTH: Final = 960
_EDGE: Final = 30
_GAP: Final = 26
"""The least distance between two events on the timeline, however close in time they are."""


def _write_html(out: TextIO, histories: Iterator[History]) -> int:
    """Write a page with one section for each refund."""
    out.write(_HEAD)
    count = 0
    for count, history in enumerate(histories, 1):
        if count > PAGE_REFUNDS:
            raise Invalid("FILE", f"a page has at most {PAGE_REFUNDS} refunds: select fewer, or write a table (.csv)")
        out.write("\n".join(_section(history)) + "\n")
    out.write(_TAIL)
    return count


def _section(history: History) -> Iterator[str]:
    refund = history.refund
    yield f"<section>\n<h2>{_text(refund.refund_request_id)}: {_text(f'{refund.amount} {refund.amount.currency}')}</h2>"
    place = f"payment {refund.payment} at {refund.account} ({refund.provider}); Refundry's ID {refund.id}"
    yield f"<p>{_text(str(refund.status))} &middot; {_text(place)}</p>"
    for review in refund.review:
        yield f'<p class="look">Needs review since {moment(review.since)}: {_text(review.message)}</p>'
    for recorded in history.events:
        event = recorded.event
        if isinstance(event, Settled | Failed) and event.against_evidence:
            text = f"{event.by} decided against what the provider reported: {event.why}"
            yield f'<p class="look">{moment(event.at)}: {_text(text)}</p>'
    yield _timeline(history.events)
    yield "<table><tr><th>#</th><th>at</th><th>event</th><th>details</th></tr>"
    for number, recorded in enumerate(history.events, 1):
        shown = views.event_as_json(recorded)
        cells = (str(number), shown["at"], _name(shown), views.event_in_words(shown))
        yield f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in cells)}</tr>"
    yield "</table>\n</section>"


def _text(text: str) -> str:
    return escape(formatting.plain(text))


def _name(shown: dict[str, Any]) -> str:
    return f"{shown['event']}: {shown['outcome']}" if "outcome" in shown else str(shown["event"])


def _timeline(events: Sequence[Recorded]) -> str:
    """Render the events as a timeline; events that are close together are drawn apart."""
    shown = [views.event_as_json(recorded) for recorded in events]
    places = _places([recorded.event.at.timestamp() for recorded in events])
    end = max(places[-1] + _EDGE, _WIDTH)
    parts = [
        f'<svg viewBox="0 0 {end:.0f} 74" role="img" aria-label="Timeline of the events">',
        f'<line x1="{_EDGE}" y1="34" x2="{places[-1]:.1f}" y2="34" stroke="#afb8c1" stroke-width="2"/>',
    ]
    for number, (x, event) in enumerate(zip(places, shown, strict=True), 1):
        color = _COLORS[event["event"]]
        title = f"{event['at']} {_name(event)}"
        parts.append(
            f'<g><title>{_text(title)}</title><circle cx="{x:.1f}" cy="34" r="11" fill="{color}"/>'
            f'<text x="{x:.1f}" y="38" text-anchor="middle" fill="#fff">{number}</text></g>'
        )
    first, last = (f"{events[index].event.at:%Y-%m-%d %H:%M:%S}" for index in (0, -1))
    parts.append(f'<text x="{_EDGE - 11}" y="66" fill="#57606a">{first}</text>')
    if len(events) > 1:
        parts.append(f'<text x="{end - _EDGE + 11:.0f}" y="66" text-anchor="end" fill="#57606a">{last}</text>')
    return "".join([*parts, "</svg>"])


def _places(times: Sequence[float]) -> list[float]:
    first = min(times)
    span = (max(times) - first) or 1.0
    places: list[float] = []
    for at in times:
        wanted = _EDGE + (at - first) / span * (_WIDTH - 2 * _EDGE)
        places.append(max(wanted, places[-1] + _GAP) if places else wanted)
    return places


KINDS: Final = {".csv": _write_csv, ".html": _write_html}
"""The writer of each report format, by the suffix of its file."""
