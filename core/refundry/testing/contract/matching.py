"""Matching: an answer counts only for exactly this refund, payment, amount and currency.

The rule of this module: every answer is signed by the provider; only its content differs. Whether an answer contains a
value is decided by its bytes, because not every provider echoes everything.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import attrs

from refundry.provider import (
    Blocked,
    DefinitiveFailure,
    NotFound,
    OutcomeKind,
    Succeeded,
)
from refundry.testing.contract.base import NotApplicable, check, require
from refundry.testing.contract.environment import MINOR, Environment, Sample, Subject
from refundry.testing.contract.reading import (
    OPERATIONS,
    TABLES,
    amount_texts,
    contains_word,
    first_answer,
    genuine,
    holds,
    holds_amount,
    read,
    shown,
)


@check("other-refund-not-trusted", "A genuine answer about another refund, even of the same amount, ends nothing.")
async def other_refund(subject: Subject) -> None:
    """Answer about another refund that differs in everything, in payment and ids, and in ids only."""
    async with subject.environment() as env:
        for number, operation in enumerate(OPERATIONS):
            for more, (same_payment, same_amount) in enumerate(((False, False), (False, True), (True, True))):
                await _answered_about_another(env, operation, 10 * number + more, same_payment, same_amount)


async def _answered_about_another(
    env: Environment, operation: str, number: int, same_payment: bool, same_amount: bool
) -> None:
    other = env.instruction(100 + number, MINOR if same_amount else MINOR + 100)
    changes: dict[str, Any] = {"payment": other.payment} if same_payment else {}
    own, plain = env.instruction(200 + number, **changes), env.instruction(300 + number, **changes)
    before = await first_answer(env, operation, plain)
    # The simulator answers about the newest other refund that is complete.
    await env.send("refund", other)
    sample = await first_answer(env, operation, own, "other_refund")
    # An answer that contains nothing of what differs cannot be distinguished from the right one.
    verified = holds(genuine(before), plain.refund_request_id) or not same_amount
    if verified or (not same_payment and holds(genuine(before), plain.payment)):
        _not_about_ours(sample, before, "the answer about another refund")


def _not_about_ours(sample: Sample, plain: Sample, what: str) -> None:
    """Require that the answer is not trusted, unless it does not contain what was changed."""
    if _equally_silent(sample, plain):
        return
    outcome = read(sample, None, what)
    settled = isinstance(outcome, Succeeded) and outcome.amount == sample.instruction.amount
    ended = settled or isinstance(outcome, DefinitiveFailure | NotFound | Blocked)
    require(not ended, f"{what} to {sample.operation} was read as {shown(outcome)}")


def _equally_silent(sample: Sample, plain: Sample) -> bool:
    """Return whether neither of two answers contains an amount, and both have the same type of outcome."""
    return not any(holds_amount(genuine(one)) for one in (sample, plain)) and type(read(sample)) is type(read(plain))


@check("refund-named", "An answer that is declared to name its refund has another outcome for another refund.")
async def refund_named(subject: Subject) -> None:
    """Read answers of every class of code and in every state for another refund of the same payment and amount."""
    declared = subject.plugin.names_refund
    unknown = declared.keys() - TABLES.values()
    require(not unknown, f"names_refund has operations that do not exist: {', '.join(sorted(unknown))}")
    if not any(declared.values()):
        raise NotApplicable("no answer is declared to name its refund")
    slow: dict[str, Any] = {"mode": "async", "async_delay": "never"}
    for answers, options in ((_answers_by_code, {}), (_answers_by_state, slow)):
        async with subject.environment(**options) as env:
            for operation, table in TABLES.items():
                async for number, sample in answers(env, operation):
                    kind = read(sample).kind
                    if kind.decisive and kind in declared.get(table, frozenset()):
                        _names_refund(env, sample, kind, number)


def _names_refund(env: Environment, sample: Sample, kind: OutcomeKind, number: int) -> None:
    other = env.instruction(90_000 + number, payment=sample.instruction.payment)
    outcome = read(attrs.evolve(sample, call=env.compose(sample.operation, other)))
    what = f"an answer to {sample.operation} that is {kind}"
    require(outcome.kind is not kind, f"{what} does not name its refund: for another one it is {kind}, too")


async def _answers_by_code(env: Environment, operation: str) -> AsyncIterator[tuple[int, Sample]]:
    """Yield an answer without a fault, one about an unknown refund, and one of every class of code."""
    first = 1 if operation == "refund" else 5_000
    yield first, await first_answer(env, operation, env.instruction(first))
    yield first, await env.send("inquiry", env.instruction(first + 1_000))
    by_meaning = {row.meaning: row for row in env.subject.plugin.codes.get(TABLES[operation], {}).values()}
    for number, row in enumerate(by_meaning.values(), first + 1):
        fields = {"code": row.code, "status": row.status}
        yield number, await first_answer(env, operation, env.instruction(number), "answer", **fields)


async def _answers_by_state(env: Environment, operation: str) -> AsyncIterator[tuple[int, Sample]]:
    """Yield answers about refunds while they are processed, and once they are settled or failed."""
    for number, state in enumerate(("SUCCESS", "FAIL"), 1 if operation == "refund" else 5_000):
        asked = env.instruction(number)
        yield number, await first_answer(env, operation, asked)
        await env.control.call("POST", f"refunds/{asked.refund_request_id}", {"status": state})
        yield number, await env.send(operation, asked)


@check("amount-compared", "An answer with another amount does not settle the refund.")
async def amount_compared(subject: Subject) -> None:
    """Report one minor unit more, a hundred times as much, and a hundred minor units less."""
    async with subject.environment() as env:
        for operation in OPERATIONS:
            if not await _reports_totals(env, operation):
                for number, more in enumerate((1, 99 * MINOR)):
                    what, wrong = f"an answer with {more} more", amount_texts(MINOR + more)
                    await _wrong_money(env, operation, number, "wrong_amount", what, wrong, more=more)
            for number, (own, less) in enumerate(zip(amount_texts(), amount_texts(MINOR - 100), strict=True), 10):
                fields = {"find": own.decode(), "replace": less.decode()}
                await _wrong_money(env, operation, number, "rewrite", "an answer with 100 less", (less,), **fields)


async def _reports_totals(env: Environment, operation: str) -> bool:
    """Return whether an answer reports the total of all refunds of a payment instead of this refund."""
    first = env.instruction(1_000)
    await env.send("refund", first)
    second = await first_answer(env, operation, env.instruction(1_001 + (operation == "refund"), payment=first.payment))
    return any(contains_word(genuine(second), text) for sums in (2, 3) for text in amount_texts(sums * MINOR))


@check("currency-compared", "An answer with another currency does not settle the refund.")
async def currency_compared(subject: Subject) -> None:
    """Report the same number in another currency."""
    async with subject.environment() as env:
        currency = "USD" if env.instruction().amount.currency != "USD" else "EUR"
        fields: dict[str, Any] = {"wrong": (currency.encode(),), "currency": currency}
        for operation in OPERATIONS:
            await _wrong_money(env, operation, 1, "wrong_currency", "an answer in another currency", **fields)


async def _wrong_money(
    env: Environment, operation: str, number: int, fault: str, what: str, wrong: Sequence[bytes], **fields: Any
) -> None:
    asked = env.instruction(number + (500 if operation == "inquiry" else 0))
    sample = await first_answer(env, operation, asked, fault, **fields)
    if any(contains_word(genuine(sample), word) for word in wrong):
        _not_settled(sample, what)


def _not_settled(sample: Sample, what: str) -> None:
    outcome = read(sample, None, what)
    settled = isinstance(outcome, Succeeded) and outcome.amount == sample.instruction.amount
    require(not settled, f"{what} to {sample.operation} settled the refund")
    ended = isinstance(outcome, DefinitiveFailure | NotFound)
    require(not ended, f"{what} to {sample.operation} was read as {shown(outcome)}")


@check("malformed-amounts-not-trusted", "An amount in any form but the provider's own does not settle the refund.")
async def malformed_amounts(subject: Subject) -> None:
    """Write the amount with signs, spaces, exponents, other digits, and as another type."""
    async with subject.environment() as env:
        examined = 0
        for operation in OPERATIONS:
            plain = await first_answer(env, operation, env.instruction(1_000 + examined))
            text = next((text.decode() for text in amount_texts() if text in genuine(plain).body), None)
            if text is None or not isinstance(read(plain), Succeeded):
                continue
            for find, replace in _malformed_forms(text, genuine(plain).body):
                examined += 1
                asked = env.instruction(examined)
                sample = await first_answer(env, operation, asked, "rewrite", find=find, replace=replace)
                outcome = read(sample, None, f"an amount written {replace!r}")
                ended = isinstance(outcome, Succeeded | DefinitiveFailure | NotFound)
                require(not ended, f"an amount written {replace} was read as {shown(outcome)}")
        if not examined:
            raise NotApplicable("no settling answer contains an amount in digits")


def _malformed_forms(text: str, body: bytes) -> Iterator[tuple[str, str]]:
    wide = "".join(chr(ord(digit) + 0xFEE0) if digit.isdigit() else digit for digit in text)
    malformed = (
        f"-{text}",
        f"+{text}",
        f" {text}",
        f"{text}e0",
        f"{text}_0",
        f"0{text}",
        wide,
        f"{text}0",
        f"{text}.5",
        "",
    )
    quoted = f'"{text}"'
    for other in malformed:
        yield (quoted, f'"{other}"') if quoted.encode() in body else (text, other)
    if quoted.encode() in body:
        for other in (text, f"{text}e0", "null", "true", "[]", "{}"):
            yield quoted, other
