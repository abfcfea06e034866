"""Refunds, events and rows as JSON values for programs and as lines for people.

The rule of this module: it omits nothing and adds nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from refundry.formatting import json_line, moment, money, plain
from refundry.journal import Recorded, Row, UnmatchedNotification
from refundry.money import Money
from refundry.provider import Quote
from refundry.refund import Event, RaisedReview, Refund, Review, SettlementFacts, policy

__all__ = [
    "as_json_value",
    "event_as_json",
    "event_in_words",
    "failure_as_json",
    "refund_as_json",
    "review_as_json",
    "row_as_json",
    "row_in_words",
    "unmatched_as_json",
]


def as_json_value(value: object) -> Any:
    """Return a field's value as a JSON value."""
    if isinstance(value, Money):
        return money(value)
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, Quote | RaisedReview):
        return attrs.asdict(value)
    if isinstance(value, SettlementFacts):
        facts = {name: as_json_value(getattr(value, name)) for name in attrs.fields_dict(SettlementFacts)}
        return {name: fact for name, fact in facts.items() if fact is not None}
    if isinstance(value, Mapping):
        return {name: as_json_value(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [as_json_value(item) for item in value]
    return value


def event_as_json(recorded: Recorded) -> dict[str, Any]:
    """Return an event of the log as a JSON object, without the fields that are empty."""
    event: Event = recorded.event
    shown = {"position": recorded.position, "version": recorded.version, "event": type(event).__name__}
    fields = {field.name: as_json_value(getattr(event, field.name)) for field in attrs.fields(type(event))}
    filled = {name: value for name, value in fields.items() if value not in (None, []) and value is not False}
    return shown | {"at": fields["at"]} | filled


def refund_as_json(refund: Refund, history: Sequence[Recorded], step: policy.Step | None) -> dict[str, Any]:
    """Return a refund with its events as a JSON object."""
    at = getattr(step, "at", None)
    return {
        "id": refund.id,
        "account": refund.account,
        "provider": refund.provider,
        "payment": refund.payment,
        "amount": money(refund.amount),
        "refund_request_id": refund.refund_request_id,
        "status": str(refund.status),
        "review": [review_as_json(review) for review in refund.review],
        "provider_refund_id": refund.provider_refund_id,
        "settled_at": refund.settled_at,
        "failure": failure_as_json(refund),
        "provider_message": refund.provider_message,
        "attempts": refund.attempts,
        "version": refund.version,
        "next": None
        if step is None or isinstance(step, policy.Done)
        else {
            "step": step.name,
            "at": None if at is None else moment(at),
            "reason": {"code": str(step.reason), "message": step.message}
            if isinstance(step, policy.ManualReview)
            else None,
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


def failure_as_json(refund: Refund) -> dict[str, Any] | None:
    """Return why a refund failed as a JSON object; None if it did not."""
    return None if refund.failure is None else attrs.asdict(refund.failure, recurse=False)


def review_as_json(review: Review) -> dict[str, str]:
    """Return an open reason for a review as a JSON value."""
    return {"code": str(review.code), "message": review.message, "since": moment(review.since)}


def row_as_json(row: Row, failed: Refund | None) -> dict[str, Any]:
    """Return a row of the index as a JSON object; `failed` is its refund if that failed."""
    return {
        "id": row.id,
        "account": row.account,
        "payment": row.payment,
        "amount": money(row.amount),
        "refund_request_id": row.refund_request_id,
        "status": str(row.status),
        "review": [review_as_json(review) for review in row.review],
        "failure": None if failed is None else failure_as_json(failed),
        "due_at": None if row.due_at is None else moment(row.due_at),
        "requested_at": moment(row.requested_at),
        "updated_at": moment(row.updated_at),
    }


def row_in_words(row: Row) -> tuple[str, ...]:
    """Return a row of the index as the cells of a table."""
    amount, review = f"{row.amount} {row.amount.currency}", plain("; ".join(review.message for review in row.review))
    return row.id, row.account, row.refund_request_id, row.payment, amount, str(row.status), review


def event_in_words(shown: Mapping[str, Any]) -> str:
    """Return the content of an event in one line, without its name and time."""
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


def unmatched_as_json(unmatched: UnmatchedNotification) -> dict[str, str]:
    """Return a notification that matches no refund as a JSON object."""
    return {
        "at": moment(unmatched.at),
        "account": unmatched.account,
        "refund_request_id": unmatched.refund_request_id,
        "evidence": unmatched.evidence,
    }
