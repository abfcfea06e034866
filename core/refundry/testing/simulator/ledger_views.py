"""The ledger of a simulated provider, as JSON for programs and as a table for people.

The rule of this module: it shows what the ledger holds and changes nothing.
"""

from collections.abc import Sequence
from typing import Any, Final

import attrs

from refundry.money import Money
from refundry.testing.simulator.ledger import Ledger, Payment, Refund


def _money(amount: Money) -> dict[str, str]:
    return {"value": str(amount), "currency": amount.currency}


def _minor(payment: Payment, minor: int) -> str:
    sign = "-" if minor < 0 else ""
    return sign + str(attrs.evolve(payment.amount, minor=abs(minor)))


def refund_as_json(refund: Refund, moved: int) -> dict[str, Any]:
    """Return one refund as JSON values; `moved` is how often its money moved."""
    return {
        "refund_request_id": refund.refund_request_id,
        "refund_id": refund.refund_id,
        "payment": refund.payment,
        "amount": _money(refund.amount),
        "status": refund.state.value,
        "reason": str(refund.reason),
        "requested": refund.requested,
        "moved": moved,
        "bodies": dict(refund.bodies),
        "notifications": {"sent": refund.notifications_sent, "acknowledged": refund.notifications_acknowledged},
    }


def as_json(ledger: Ledger) -> dict[str, Any]:
    """Return the ledger as JSON values."""
    moved = ledger.moved()
    return {
        "payments": [
            {
                "id": payment.id,
                "amount": _money(payment.amount),
                "status": payment.status,
                "refundable": _minor(payment, payment.refundable),
                "balance": None if payment.balance is None else _minor(payment, payment.balance),
            }
            for payment in ledger.payments.values()
        ],
        "refunds": [refund_as_json(refund, moved[refund.key]) for refund in ledger.refunds.values()],
        "movements": [
            {
                "refund_request_id": movement.refund_request_id,
                "payment": movement.payment,
                "amount": _money(movement.amount),
                "at": movement.at.isoformat(timespec="seconds"),
            }
            for movement in ledger.movements
        ],
        "faults": dict(ledger.fired),
    }


_COLUMNS: Final = (
    "refund_request_id",
    "refund_id",
    "payment",
    "amount",
    "status",
    "requested",
    "bodies",
    "moved",
    "notified",
)


def as_text(ledger: Ledger) -> str:
    """Return the ledger as a table for people."""
    moved = ledger.moved()
    rows = [
        (
            refund.refund_request_id,
            refund.refund_id,
            refund.payment,
            f"{refund.amount} {refund.amount.currency}",
            f"{refund.state.value} ({refund.reason})",
            str(refund.requested),
            str(len(refund.bodies)),
            str(moved[refund.key]),
            f"{refund.notifications_acknowledged}/{refund.notifications_sent}",
        )
        for refund in ledger.refunds.values()
    ]
    faults = ", ".join(f"{name} {count}" for name, count in sorted(ledger.fired.items())) or "none"
    return f"{_table(_COLUMNS, rows)}\nmovements of money: {len(ledger.movements)}\nfaults that happened: {faults}\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]
    ]
    return "\n".join(lines)
