"""Limits: what a provider does not accept is refused before anything is stored, and what the terms allow is accepted.

The rule of this module: an error names the wrong field; the simulator decides whether a limit is right.
"""

import re
from typing import Any, Final

from refundry.errors import Invalid
from refundry.money import Money
from refundry.provider import RefundInstruction
from refundry.testing.contract.base import Violation, check, fail, require
from refundry.testing.contract.environment import ACCOUNT, Environment, Subject

_UNUSUAL: Final = (
    "",
    " ",
    "a b",
    "a/b",
    "a\n",
    "\x00",
    "\uff21\uff11",
    "\u0663",
    "é",
    "a" * 10_000,
    "\udcff",
    "%s",
    "../..",
    "a\u202eb",
)


@check(
    "too-long-refused",
    "What the terms do not allow is refused with the name of the field, and nothing is stored or sent.",
)
async def too_long(subject: Subject) -> None:
    """Request refunds whose id, payment or reason is one character too long."""
    async with subject.environment() as env:
        terms, good = env.account.terms, env.instruction()
        await _refused(
            env, "refund_request_id", refund_request_id=_stretched(good.refund_request_id, terms.id_length + 1)
        )
        await _refused(env, "payment", payment=_stretched(good.payment, terms.payment_length + 1))
        await _refused(env, "reason", reason="x" * (terms.reason_length + 1))
        for text in _UNUSUAL:
            if not _accepts(env, text):
                await _refused(env, "refund_request_id", refund_request_id=text)
        require(not await env.gateway.list(), "a refused refund is in the store")
        require(not (await env.control.call("GET", "ledger"))["refunds"], "a refused refund was sent")


def _stretched(text: str, length: int) -> str:
    return (text * (length // len(text) + 1))[:length]


def _accepts(env: Environment, text: str) -> bool:
    if re.fullmatch(f"[{env.account.terms.id_characters}]+", text, re.ASCII) is None:
        return False
    try:
        env.provider.check(env.instruction(refund_request_id=text))
    except Invalid:
        return False
    return True


async def _refused(env: Environment, field: str, **changes: Any) -> None:
    try:
        await env.request(**changes)
    except Invalid as error:
        require(error.field == field, f"the error about {field} names {error.field}: {error.rule}")
        require(bool(error.rule), f"the error about {field} does not state the rule")
    else:
        fail(f"a {field} that violates the terms was accepted")


@check(
    "longest-allowed-accepted",
    "What is exactly as long as the terms allow is accepted by Refundry and by the simulator.",
)
async def as_long_as_allowed(subject: Subject) -> None:
    """Request refunds with the longest id, payment and reason."""
    async with subject.environment() as env:
        terms = env.account.terms
        longest: tuple[dict[str, Any], ...] = (
            {"refund_request_id": _stretched(env.instruction(1).refund_request_id, terms.id_length)},
            {"payment": _stretched(env.instruction(2).payment, terms.payment_length)},
            {"reason": "x" * terms.reason_length},
            {"reason": None},
        )
        for number, changes in enumerate(longest, 1):
            asked = env.instruction(number, **changes)
            what = next(iter(changes))
            try:
                env.provider.check(asked)
            except Invalid as error:
                fail(f"{what}: the terms allow it, but the provider refuses it: {error}")
            await env.send("refund", asked)
            entry = await env.control.refund(asked.refund_request_id)
            require(bool(entry and entry["moved"]), f"{what}: the terms allow it, but the simulator does not accept it")


@check("checks-raise-invalid-only", "Checking an unusual instruction raises `Invalid` or nothing.")
async def invalid_only(subject: Subject) -> None:
    """Check instructions with unusual values."""
    account = subject.account()
    good = RefundInstruction("A1", "20261122000000000001", Money(100, "EUR", 2))
    unusual: list[dict[str, Any]] = [{"payment": text} for text in _UNUSUAL] + [
        {"refund_request_id": text} for text in _UNUSUAL
    ]
    unusual += [{"reason": text} for text in _UNUSUAL]
    unusual += [{"amount": Money(0, "EUR", 2)}, {"amount": Money(10**40, "JPY", 0)}, {"amount": Money(5, "XXX", 9)}]
    unusual += [{"details": value} for value in ({}, {"": ""}, {"x": {"y": [1, None, True]}}, {"\udcff": "x"})]
    unusual += [{"payment": f"merchant:{text}"} for text in _UNUSUAL]
    for changes in unusual:
        fields = {"refund_request_id": good.refund_request_id, "payment": good.payment, "amount": good.amount}
        try:
            account.provider.check(RefundInstruction(**fields | changes))  # type: ignore[arg-type]  # deliberately unusual
        except Invalid as error:
            require(bool(error.field and error.rule), "the error names no field or no rule")
            require(not any(ord(mark) < 32 for mark in str(error)), "the error contains control characters")
        except Exception as error:
            raise Violation(f"check raised {type(error).__name__} for an unusual {next(iter(changes))}") from error
    require(ACCOUNT == account.name, "the account has another name")
