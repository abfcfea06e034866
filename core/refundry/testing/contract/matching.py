"""What an answer is about: exactly this refund, this payment, this amount and this currency.

The rule of this module: every answer is signed by the provider; what differs is what it says. Whether an answer says a
thing at all is seen in its bytes, for not every provider echoes everything.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from refundry.provider import (
    Blocked,
    DefinitiveFailure,
    NotFound,
    Succeeded,
)
from refundry.testing.contract.base import NotApplicable, check, demand
from refundry.testing.contract.environment import MINOR, Sample, Stage, Subject
from refundry.testing.contract.reading import (
    OPERATIONS,
    amount_texts,
    first_answer,
    genuine,
    holds,
    holds_amount,
    read,
    shown,
)


@check("other-refund-not-believed", "The genuine answer about another refund, even over the same amount, ends nothing.")
async def other_refund(subject: Subject) -> None:
    """Let the simulator answer about another refund: all of it another, only the payment, and only the ids."""
    async with subject.stage() as stage:
        for number, operation in enumerate(OPERATIONS):
            for more, (same_payment, same_amount) in enumerate(((False, False), (False, True), (True, True))):
                await _answered_about_another(stage, operation, 10 * number + more, same_payment, same_amount)


async def _answered_about_another(
    stage: Stage, operation: str, number: int, same_payment: bool, same_amount: bool
) -> None:
    other = stage.instruction(100 + number, MINOR if same_amount else MINOR + 100)
    changes: dict[str, Any] = {"payment": other.payment} if same_payment else {}
    own, plain = stage.instruction(200 + number, **changes), stage.instruction(300 + number, **changes)
    before = await first_answer(stage, operation, plain)
    # The newest other refund that is done is the one that the simulator answers about.
    await stage.ask("refund", other)
    sample = await first_answer(stage, operation, own, "other_refund")
    # An answer that names nothing of what differs cannot be told from the right one.
    told = holds(genuine(before), plain.refund_request_id) or not same_amount
    if told or (not same_payment and holds(genuine(before), plain.payment)):
        _not_about_ours(sample, before, "the answer about another refund")


def _not_about_ours(sample: Sample, plain: Sample, what: str) -> None:
    """Demand that nothing is believed, or that the answer does not say what was changed."""
    if _same_words(sample, plain):
        return
    outcome = read(sample, None, what)
    settled = isinstance(outcome, Succeeded) and outcome.amount == sample.instruction.amount
    ended = settled or isinstance(outcome, DefinitiveFailure | NotFound | Blocked)
    demand(not ended, f"{what} to {sample.operation} was read as {shown(outcome)}")


def _same_words(sample: Sample, plain: Sample) -> bool:
    """Say whether two answers speak of the refund alike: neither holds an amount."""
    return not any(holds_amount(genuine(one)) for one in (sample, plain)) and type(read(sample)) is type(read(plain))


@check("amount-compared", "An answer that says another amount than was asked for does not settle the refund.")
async def amount_compared(subject: Subject) -> None:
    """Let the simulator tell more and less: one minor unit more, a hundred times as much, a hundred units less."""
    async with subject.stage() as stage:
        for operation in OPERATIONS:
            if not await _tells_sums(stage, operation):
                for number, more in enumerate((1, 99 * MINOR)):
                    what, wrong = f"an answer with {more} more", amount_texts(MINOR + more)
                    await _wrong_money(stage, operation, number, "wrong_amount", what, wrong, more=more)
            for number, (own, less) in enumerate(zip(amount_texts(), amount_texts(MINOR - 100), strict=True), 10):
                fields = {"find": own.decode(), "replace": less.decode()}
                await _wrong_money(stage, operation, number, "rewrite", "an answer with 100 less", (less,), **fields)


async def _tells_sums(stage: Stage, operation: str) -> bool:
    """Say whether an answer tells the sum of a payment's refunds, of which there may be others than this one."""
    first = stage.instruction(1_000)
    await stage.ask("refund", first)
    second = await first_answer(
        stage, operation, stage.instruction(1_001 + (operation == "refund"), payment=first.payment)
    )
    return any(text in genuine(second).body for sums in (2, 3) for text in amount_texts(sums * MINOR))


@check("currency-compared", "An answer that says another currency than was asked for does not settle the refund.")
async def currency_compared(subject: Subject) -> None:
    """Let the simulator tell the same number of another currency."""
    async with subject.stage() as stage:
        currency = "USD" if stage.instruction().amount.currency != "USD" else "EUR"
        fields: dict[str, Any] = {"wrong": (currency.encode(),), "currency": currency}
        for operation in OPERATIONS:
            await _wrong_money(stage, operation, 1, "wrong_currency", "an answer in another currency", **fields)


async def _wrong_money(
    stage: Stage, operation: str, number: int, fault: str, what: str, wrong: Sequence[bytes], **fields: Any
) -> None:
    asked = stage.instruction(number + (500 if operation == "inquiry" else 0))
    sample = await first_answer(stage, operation, asked, fault, **fields)
    if any(text in genuine(sample).body for text in wrong):
        _not_settled(sample, what)


def _not_settled(sample: Sample, what: str) -> None:
    outcome = read(sample, None, what)
    settled = isinstance(outcome, Succeeded) and outcome.amount == sample.instruction.amount
    demand(not settled, f"{what} to {sample.operation} settled the refund")
    ended = isinstance(outcome, DefinitiveFailure | NotFound)
    demand(not ended, f"{what} to {sample.operation} was read as {shown(outcome)}")


@check("odd-amounts-not-believed", "An amount in any form but the provider's own does not settle the refund.")
async def odd_amounts(subject: Subject) -> None:
    """Let the simulator write the amount with signs, spaces, exponents, other digits, and as another type."""
    async with subject.stage() as stage:
        looked = 0
        for operation in OPERATIONS:
            plain = await first_answer(stage, operation, stage.instruction(1_000 + looked))
            text = next((text.decode() for text in amount_texts() if text in genuine(plain).body), None)
            if text is None or not isinstance(read(plain), Succeeded):
                continue
            for find, replace in _odd_forms(text, genuine(plain).body):
                looked += 1
                asked = stage.instruction(looked)
                sample = await first_answer(stage, operation, asked, "rewrite", find=find, replace=replace)
                outcome = read(sample, None, f"an amount written {replace!r}")
                ended = isinstance(outcome, Succeeded | DefinitiveFailure | NotFound)
                demand(not ended, f"an amount written {replace} was read as {shown(outcome)}")
        if not looked:
            raise NotApplicable("no answer that settles holds an amount in digits")


def _odd_forms(text: str, body: bytes) -> Iterator[tuple[str, str]]:
    wide = "".join(chr(ord(digit) + 0xFEE0) if digit.isdigit() else digit for digit in text)
    odd = (f"-{text}", f"+{text}", f" {text}", f"{text}e0", f"{text}_0", f"0{text}", wide, f"{text}0", f"{text}.5", "")
    quoted = f'"{text}"'
    for other in odd:
        yield (quoted, f'"{other}"') if quoted.encode() in body else (text, other)
    if quoted.encode() in body:
        for other in (text, f"{text}e0", "null", "true", "[]", "{}"):
            yield quoted, other
