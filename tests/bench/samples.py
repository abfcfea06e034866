"""What the benchmarks of the journal are measured with: realistic events, and the machine they ran on."""

import hashlib
import os
import platform
import sqlite3
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from timeit import repeat

from refundry.journal import Write
from refundry.money import Money
from refundry.ports import Ports
from refundry.provider import OutcomeKind, Quote, Resend
from refundry.refund import Channel, Event, Failed, Inquired, NextStep, Requested, Settled, Submitted, fold

AT = datetime(2026, 11, 22, 11, 0, 0, 123456, tzinfo=UTC)
DIGEST = hashlib.sha256(b"body").hexdigest()
PORTS = Ports()

SUBMITTED = Submitted(
    at=AT,
    attempt=1,
    digest=DIGEST,
    sender="SANDBOX_5YBW7X2ZT@https://open-de-global.alipay.com",
    plugin="antom 1.0.0",
    next_at=AT + timedelta(seconds=10),
    key_version="1",
)
INQUIRED = Inquired(
    at=AT,
    channel=Channel.INQUIRY,
    outcome=OutcomeKind.PENDING,
    next_step=NextStep.INQUIRE,
    next_at=AT + timedelta(seconds=30),
    code="REFUND_IN_PROCESS",
    cause="The refund is being processed.",
    resend=Resend.NEVER,
    provider_refund_id="20261122194010800100188820239683321",
    evidence=DIGEST,
    sender=SUBMITTED.sender,
    plugin="antom 1.0.0",
)
SETTLED = Settled(
    at=AT,
    channel=Channel.NOTIFICATION,
    amount=Money(1233, "EUR", 2),
    provider_refund_id="20261122194010800100188820239683321",
    settled_at="2026-11-22T19:01:30+08:00",
    settlement_amount=Money(1301, "USD", 2),
    quote=Quote("EUR/USD", "1.0552", "q-1", "2026-11-22T00:00:00+08:00", "2026-11-23T00:00:00+08:00", "true"),
    details={"acquirerReferenceNo": "7788", "refundFunds": [{"method": "CARD", "amount": "1233"}]},
    evidence=DIGEST,
    plugin="antom 1.0.0",
)
FAILED = Failed(
    at=AT,
    channel=Channel.REPLY,
    code="REFUND_AMOUNT_EXCEED",
    cause="The refunds of this payment would exceed it.",
    advice="Ask for what is left of it, as a new refund.",
    evidence=DIGEST,
    plugin="antom 1.0.0",
)


def requested(number: int) -> Requested:
    """Return the first event of the refund with this number."""
    return Requested(
        at=AT,
        account="shop-eu",
        provider="antom",
        payment=f"20261122190741010007{number:015d}",
        amount=Money(1233, "EUR", 2),
        refund_request_id=f"refund-{number:012d}",
        by="orders",
        reason="two sizes too small",
        payment_total=Money(10_000, "EUR", 2),
    )


EVENTS: tuple[Event, ...] = (requested(1), SUBMITTED, INQUIRED, SETTLED, FAILED)
LIFE: tuple[Event, ...] = (requested(1), SUBMITTED, INQUIRED, INQUIRED, SETTLED)
"""Five events of one refund, as they follow from each other."""


def new_write(number: int, events: Sequence[Event] = ()) -> Write:
    """Return the write of a new refund with one piece of evidence."""
    whole = (requested(number), *events)
    body = f'{{"refundRequestId":"refund-{number:012d}","refundAmount":{{"currency":"EUR","value":"1233"}}}}'.encode()
    return Write(fold(PORTS.new_id(), whole), whole, {hashlib.sha256(body).hexdigest(): body})


def machine() -> str:
    """Name what the figures were measured on."""
    versions = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    return f"{os.cpu_count()} cores, {platform.machine()}, {versions}, {sys.platform}"


def micros(function: Callable[[], object], number: int, times: int = 7) -> float:
    """Return the microseconds of one call: the best of several runs, which is the least disturbed one."""
    return min(repeat(function, number=number, repeat=times)) / number * 1e6
