"""The control run: what a platform without Refundry would write, under the same faults.

The rule of this module: it is a real client. It signs and reads with the providers' own plugins and pays through the
same simulators; only the loop around a call is naive. A lost response, a timeout, HTTP 4xx and 5xx, a body that is not
JSON and a result code that calls for another attempt are errors. After an error the call is made again with a new
request id, as an HTTP helper does that creates the id when it builds the request; what is still an error after three
calls is recorded as failed. Every other response is a success: signatures, amounts and ids are not compared.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, assert_never

import aiohttp
import attrs

from refundry.cli.demo.faults import LATEST
from refundry.cli.demo.providers import LATE, DemoRefund, Simulators
from refundry.money import Money
from refundry.provider import (
    Answer,
    Blocked,
    DefinitiveFailure,
    Informational,
    NotFound,
    Outcome,
    Pending,
    RefundInstruction,
    Succeeded,
    Unknown,
)

__all__ = ["Belief", "ControlRun", "run_naive_loop"]

CALLS: Final = 3
TIMEOUT: Final = 3.0
_AT_ONCE: Final = 8
_PATIENCE: Final = 20.0


class Belief(StrEnum):
    """What the naive loop records about a refund."""

    PAID = "paid"
    FAILED = "failed"


@attrs.frozen
class ControlRun:
    """What the naive loop believes, compared with the ledgers of the simulators."""

    refunds: int
    calls: int
    paid_twice: Sequence[str]
    """The payments that were refunded more than once."""
    paid_twice_after: Mapping[str, int]
    """How many of them met which fault."""
    overpaid: Mapping[str, int]
    """How much was refunded beyond the requested amount: minor units by currency."""
    paid_but_recorded_as_failed: Sequence[str]
    recorded_as_paid_but_not: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        overpaid = [{"value": str(Money(minor, name, 2)), "currency": name} for name, minor in self.overpaid.items()]
        return attrs.asdict(self) | {"overpaid": overpaid}


async def run_naive_loop(simulators: Simulators, refunds: Sequence[DemoRefund], met: Mapping[str, str]) -> ControlRun:
    """Make every refund with the naive loop, and compare what it believes with the ledgers; `met` names the faults."""
    calls: Counter[str] = Counter()
    limit = asyncio.Semaphore(_AT_ONCE)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT)) as session:

        async def limited(refund: DemoRefund) -> Belief:
            async with limit:
                return await _refund(session, refund, calls)

        beliefs = await asyncio.gather(*map(limited, refunds))
    ledgers = await _settled_ledgers(simulators)
    run = _compare(dict(zip([refund.payment for refund in refunds], beliefs, strict=True)), refunds, ledgers, calls)
    names = {refund.payment: met.get(refund.refund_request_id, "no fault") for refund in refunds}
    return attrs.evolve(run, paid_twice_after=dict(Counter(names[payment] for payment in run.paid_twice)))


async def _refund(session: aiohttp.ClientSession, refund: DemoRefund, calls: Counter[str]) -> Belief:
    """Refund a payment the naive way: call, and call again on any error."""
    for attempt in range(CALLS):
        request_id = f"{refund.refund_request_id}-{attempt + 1}" if attempt else refund.refund_request_id
        calls[refund.payment] += 1
        try:
            outcome = await _call(session, refund, request_id)
        except (aiohttp.ClientError, OSError, ValueError, RecursionError):  # a timeout is an OSError
            continue
        match outcome:
            case DefinitiveFailure():
                return Belief.FAILED
            case Succeeded() | Pending() | Unknown(code=None):
                return Belief.PAID
            case Unknown() | NotFound() | Blocked() | Informational():
                continue
            case _:
                assert_never(outcome)
    return Belief.FAILED


async def _call(session: aiohttp.ClientSession, refund: DemoRefund, request_id: str) -> Outcome:
    """Make one call and return what the plugin reads in the response; raise whatever goes wrong on the way."""
    instruction = RefundInstruction(request_id, refund.payment, refund.amount)
    call = refund.account.opened.provider.refund(instruction, datetime.now(UTC))
    request = call.sign()
    headers = dict(request.headers)
    async with session.request(request.method, request.url, data=request.body, headers=headers) as response:
        response.raise_for_status()
        body = await response.read()
        json.loads(body)
        return call.read(Answer(response.status, tuple(response.headers.items()), body))


async def _settled_ledgers(simulators: Simulators) -> Mapping[str, Any]:
    """Return the ledgers once the simulators have finished everything that they received."""
    await asyncio.sleep(LATEST - TIMEOUT + LATE)
    async with asyncio.timeout(_PATIENCE):
        while True:
            ledgers = await simulators.ledgers()
            if all(item["status"] != "PROCESSING" for ledger in ledgers.values() for item in ledger["refunds"]):
                return ledgers
            await asyncio.sleep(0.2)


def _compare(
    beliefs: Mapping[str, Belief], refunds: Sequence[DemoRefund], ledgers: Mapping[str, Any], calls: Counter[str]
) -> ControlRun:
    moved: Counter[str] = Counter()
    minor: Counter[str] = Counter()
    for ledger in ledgers.values():
        for movement in ledger["movements"]:
            amount = Money.parse(movement["amount"]["value"], movement["amount"]["currency"])
            moved[movement["payment"]] += 1
            minor[movement["payment"]] += amount.minor
    overpaid: Counter[str] = Counter()
    for refund in refunds:
        overpaid[refund.amount.currency] += max(0, minor[refund.payment] - refund.amount.minor)
    return ControlRun(
        refunds=len(refunds),
        calls=calls.total(),
        paid_twice=[payment for payment in beliefs if moved[payment] > 1],
        paid_twice_after={},
        overpaid={currency: minor for currency, minor in sorted(overpaid.items()) if minor},
        paid_but_recorded_as_failed=[
            payment for payment, belief in beliefs.items() if belief is Belief.FAILED and moved[payment]
        ],
        recorded_as_paid_but_not=[
            payment for payment, belief in beliefs.items() if belief is Belief.PAID and not moved[payment]
        ],
    )
