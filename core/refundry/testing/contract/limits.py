"""What a provider does not take is refused before anything is stored, and what the terms allow is taken.

The rule of this module: an error names the field that is wrong; the simulator says whether a limit is the right one.
"""

from typing import Any, Final

from refundry.errors import Invalid
from refundry.money import Money
from refundry.provider import RefundInstruction
from refundry.testing.contract.base import Broken, broken, check, demand
from refundry.testing.contract.environment import ACCOUNT, Stage, Subject

_ODD: Final = (
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


@check("too-long-is-refused", "What the terms do not allow is refused by its field, and nothing is stored or sent.")
async def too_long(subject: Subject) -> None:
    """Ask for refunds with an id, a payment and a reason of one character too many."""
    async with subject.stage() as stage:
        terms, good = stage.account.terms, stage.instruction()
        await _refused(
            stage, "refund_request_id", refund_request_id=_stretched(good.refund_request_id, terms.id_length + 1)
        )
        await _refused(stage, "payment", payment=_stretched(good.payment, terms.payment_length + 1))
        await _refused(stage, "reason", reason="x" * (terms.reason_length + 1))
        for text in _ODD:
            if text and not _takes(stage, text):
                await _refused(stage, "refund_request_id", refund_request_id=text)
        demand(not await stage.gateway.list(), "something that was refused is in the store")
        demand(not (await stage.control.call("GET", "books"))["refunds"], "something that was refused was sent")


def _stretched(text: str, length: int) -> str:
    return (text * (length // len(text) + 1))[:length]


def _takes(stage: Stage, text: str) -> bool:
    try:
        stage.provider.check(stage.instruction(refund_request_id=text))
    except Invalid:
        return False
    return True


async def _refused(stage: Stage, field: str, **changes: Any) -> None:
    try:
        await stage.request(**changes)
    except Invalid as error:
        demand(error.field == field, f"the error about {field} names {error.field}: {error.rule}")
        demand(bool(error.rule), f"the error about {field} does not say the rule")
    else:
        broken(f"a {field} that breaks the terms was taken")


@check("as-long-as-allowed", "What is exactly as long as the terms allow is taken, here and by the simulator.")
async def as_long_as_allowed(subject: Subject) -> None:
    """Refund with the longest id, payment and reason."""
    async with subject.stage() as stage:
        terms = stage.account.terms
        longest: tuple[dict[str, Any], ...] = (
            {"refund_request_id": _stretched(stage.instruction(1).refund_request_id, terms.id_length)},
            {"payment": _stretched(stage.instruction(2).payment, terms.payment_length)},
            {"reason": "x" * terms.reason_length},
            {"reason": None},
        )
        for number, changes in enumerate(longest, 1):
            asked = stage.instruction(number, **changes)
            what = next(iter(changes))
            try:
                stage.provider.check(asked)
            except Invalid as error:
                broken(f"{what}: the terms allow it, and the provider says {error}")
            await stage.ask("refund", asked)
            book = await stage.control.entry(asked.refund_request_id)
            demand(bool(book and book["moved"]), f"{what}: the terms allow it, and the simulator does not take it")


@check("checks-raise-invalid-only", "Checking an odd order raises `Invalid` or nothing, and never anything else.")
async def invalid_only(subject: Subject) -> None:
    """Check orders that nobody would place."""
    account = subject.account()
    good = RefundInstruction("A1", "20261122000000000001", Money(100, "EUR", 2))
    odd: list[dict[str, Any]] = [{"payment": text} for text in _ODD] + [{"refund_request_id": text} for text in _ODD]
    odd += [{"reason": text} for text in _ODD]
    odd += [{"amount": Money(0, "EUR", 2)}, {"amount": Money(10**40, "JPY", 0)}, {"amount": Money(5, "XXX", 9)}]
    odd += [{"details": value} for value in ({}, {"": ""}, {"x": {"y": [1, None, True]}}, {"\udcff": "x"})]
    odd += [{"payment": f"merchant:{text}"} for text in _ODD]
    for changes in odd:
        fields = {"refund_request_id": good.refund_request_id, "payment": good.payment, "amount": good.amount}
        try:
            account.provider.check(RefundInstruction(**fields | changes))  # type: ignore[arg-type]  # odd on purpose
        except Invalid as error:
            demand(bool(error.field and error.rule), "the error names no field or no rule")
            demand(not any(ord(mark) < 32 for mark in str(error)), "the error holds control characters")
        except Exception as error:
            raise Broken(f"check raised {type(error).__name__} for an odd {next(iter(changes))}") from error
    demand(ACCOUNT == account.name, "the account has another name")
