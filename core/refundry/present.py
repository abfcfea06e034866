"""How refunds, events and rows are shown: as JSON values for programs and as lines for people.

The rule of this module: nothing is left out and nothing is made up; what a provider wrote is shown without control
characters, for it may be hostile.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import attrs

from refundry import policy
from refundry.journal import Parked, Recorded, Row
from refundry.money import Money
from refundry.provider import Quote
from refundry.refund import Event, Refund

if TYPE_CHECKING:
    from refundry.asof import Total
    from refundry.audit.reread import Reading

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def money(amount: Money) -> dict[str, str]:
    """Show an amount as a decimal and a currency."""
    return {"value": str(amount), "currency": amount.currency}


def moment(at: datetime) -> str:
    """Show a moment in UTC, to the microsecond if it has any."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def plain(text: str) -> str:
    """Take out what could move a terminal's cursor or turn the reading direction."""
    return _CONTROL.sub("\ufffd", text)


def json_line(value: Any) -> str:
    """Write a value as JSON in one line, with what `plain` would take out escaped."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def kept(content: bytes) -> str:
    """Show kept bytes on a terminal: lines stay lines, and what is no text or could steer the terminal is escaped."""
    lines = content.decode("utf-8", "backslashreplace").split("\n")
    return "\n".join(_CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", line) for line in lines)


def _value(value: object) -> Any:
    if isinstance(value, Money):
        return money(value)
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, Quote):
        return attrs.asdict(value)
    return value


def event_as_json(recorded: Recorded) -> dict[str, Any]:
    """Show an event as it stands in the log, without the fields that it does not have."""
    event: Event = recorded.event
    shown = {"position": recorded.position, "version": recorded.version, "event": type(event).__name__}
    fields = {field.name: _value(getattr(event, field.name)) for field in attrs.fields(type(event))}
    return shown | {"at": fields.pop("at")} | {name: value for name, value in fields.items() if value is not None}


def refund_as_json(refund: Refund, history: Sequence[Recorded], step: policy.Step | None) -> dict[str, Any]:
    """Show a refund with its events."""
    at = getattr(step, "at", None)
    return {
        "id": refund.id,
        "account": refund.account,
        "provider": refund.provider,
        "payment": refund.payment,
        "amount": money(refund.amount),
        "refund_request_id": refund.refund_request_id,
        "status": str(refund.status),
        "attention": refund.attention,
        "provider_refund_id": refund.provider_refund_id,
        "settled_at": refund.settled_at,
        "failure": None if refund.failure is None else attrs.asdict(refund.failure),
        "attempts": refund.attempts,
        "next": None
        if step is None or isinstance(step, policy.Done)
        else {
            "step": step.name,
            "at": None if at is None else moment(at),
            "reason": step.reason if isinstance(step, policy.Person) else None,
        },
        "reason": refund.reason,
        "payment_total": None if refund.payment_total is None else money(refund.payment_total),
        "retry_of": refund.retry_of,
        "request_details": refund.request_details,
        "requested_by": refund.requested_by,
        "requested_at": moment(refund.requested_at),
        "settlement_amount": None if refund.settlement_amount is None else money(refund.settlement_amount),
        "quote": None if refund.quote is None else attrs.asdict(refund.quote),
        "details": refund.details,
        "notes": [
            {"at": moment(note.at), "code": note.code, "cause": note.cause, "details": note.details}
            for note in refund.notes
        ],
        "events": [event_as_json(item) for item in history],
    }


def reading_as_json(reading: "Reading") -> dict[str, Any]:
    """Show where a plugin reads an answer otherwise than it was recorded."""
    return {
        "position": reading.recorded.position,
        "version": reading.recorded.version,
        "field": reading.field,
        "then": _value(reading.then),
        "now": _value(reading.now),
        "plugin_then": reading.plugin_then,
        "plugin_now": reading.plugin_now,
        "sender": reading.sender,
    }


def reading_in_words(reading: "Reading") -> str:
    """Say in one line what was read then, and what is read now."""
    then, now = f"then {json_line(_value(reading.then))}", f"now {json_line(_value(reading.now))}"
    read = f"read by {reading.plugin_then} then, by {reading.plugin_now} now"
    other = "" if reading.sender is None else f"; it was asked as {reading.sender}, which the account is no more"
    return plain(f"{reading.field}: {then}, {now} ({read}{other})")


def total_as_json(total: "Total") -> dict[str, Any]:
    """Show what there is of an account and currency."""
    names = ("requested", "settled", "failed", "open")
    return {
        "account": total.account,
        "payment": total.payment,
        "currency": total.currency,
        "refunds": total.refunds,
        **{name: money(getattr(total, name)) for name in names},
    }


def row_as_json(row: Row) -> dict[str, Any]:
    """Show a row of the index."""
    return {
        "id": row.id,
        "account": row.account,
        "payment": row.payment,
        "amount": money(row.amount),
        "refund_request_id": row.refund_request_id,
        "status": str(row.status),
        "attention": row.attention,
        "due_at": None if row.due_at is None else moment(row.due_at),
        "requested_at": moment(row.requested_at),
        "updated_at": moment(row.updated_at),
    }


def row_in_words(row: Row) -> tuple[str, ...]:
    """Show a row of the index as the cells of a table."""
    amount, attention = f"{row.amount} {row.amount.currency}", plain(row.attention or "")
    return row.id, row.account, row.refund_request_id, row.payment, amount, str(row.status), attention


def event_in_words(shown: Mapping[str, Any]) -> str:
    """Say in one line what an event tells besides its name and time."""
    parts = []
    for name, value in shown.items():
        if name in ("position", "version", "event", "at"):
            continue
        parts.append(f"{name}={_in_words(value)}")
    return plain(" ".join(parts))


def _in_words(value: object) -> str:
    if not isinstance(value, Mapping | list | tuple):
        return str(value)
    if isinstance(value, Mapping) and value.keys() == {"value", "currency"}:
        return f"{value['value']} {value['currency']}"
    return json_line(value)


def parked_as_json(parked: Parked) -> dict[str, str]:
    """Show a notification about a refund that the store does not know."""
    return {
        "at": moment(parked.at),
        "account": parked.account,
        "refund_request_id": parked.refund_request_id,
        "evidence": parked.evidence,
    }
