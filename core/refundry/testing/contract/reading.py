"""Reading answers in checks, and altering them as an attacker without the key could.

The rule of this module: a reader that raises, or returns anything but an outcome, violates the contract.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs

from refundry.provider import (
    OUTCOMES,
    Answer,
    DefinitiveFailure,
    NotFound,
    Outcome,
    Provider,
    RefundInstruction,
    Resend,
    Succeeded,
    Unknown,
)
from refundry.testing.contract.base import Violation, fail, require
from refundry.testing.contract.environment import MINOR, Environment, Sample, Subject

_TRANSPORTS_OWN: Final = frozenset({"date", "server", "content-length", "connection", "transfer-encoding"})
TABLES: Final = {"refund": "refund", "inquiry": "inquire"}
"""The operations of a simulator, with the names under which a plugin declares them."""
OPERATIONS: Final = tuple(TABLES)


def read(sample: Sample, answer: Answer | None = None, what: str = "an answer") -> Outcome:
    """Read an answer; a reader that raises or returns anything but an outcome violates the contract."""
    try:
        outcome = sample.read(answer)
    except Exception as error:
        raise Violation(f"the reader raised {type(error).__name__} on {what} to {sample.operation}") from error
    if not isinstance(outcome, OUTCOMES):
        fail(f"the reader returned a {type(outcome).__name__} for {what} to {sample.operation}")
    return outcome


def not_trusted(sample: Sample, what: str, answer: Answer | None = None) -> None:
    """Require that an answer leads to an inquiry and to nothing else."""
    outcome = read(sample, answer, what)
    require(isinstance(outcome, Unknown), f"{what} to {sample.operation} was read as {shown(outcome)}, not as Unknown")
    again = isinstance(outcome, Unknown) and outcome.resend is Resend.SAME
    require(not again, f"after {what} to {sample.operation} the refund would be sent again without an inquiry")


def unchanged_or_not_trusted(sample: Sample, what: str, answer: Answer | None = None) -> None:
    """Require that an answer is read like the genuine one or not trusted."""
    outcome = read(sample, answer, what)
    same = outcome == read(sample)
    require(same or isinstance(outcome, Unknown), f"{what} to {sample.operation} was read as {shown(outcome)}")


def ends_nothing(sample: Sample, what: str) -> None:
    """Require that an answer neither ends the refund nor is read as "not found"."""
    outcome = read(sample, None, what)
    ended = isinstance(outcome, Succeeded | DefinitiveFailure | NotFound)
    require(not ended, f"{what} to {sample.operation} was read as {shown(outcome)}")


def shown(outcome: Outcome) -> str:
    """Return the name of an outcome with its code."""
    code = getattr(outcome, "code", None)
    return type(outcome).__name__ + (f" ({code})" if code else "")


def genuine(sample: Sample) -> Answer:
    """Return the answer; a missing one violates the contract."""
    return sample.answer if sample.answer is not None else fail(f"no answer to {sample.operation} arrived")


async def with_fault(env: Environment, fault: str, number: int, **fields: Any) -> Sequence[Sample]:
    """Send a refund and an inquiry about it, with a fault in each answer."""
    asked = env.instruction(number)
    samples = []
    for operation in OPERATIONS:
        await env.control.fault(fault, operation, **fields)
        samples.append(await env.send(operation, asked))
    await env.control.clear_faults()
    return samples


async def first_answer(
    env: Environment, operation: str, asked: RefundInstruction, fault: str | None = None, **fields: Any
) -> Sample:
    """Return the first answer to a call about a fresh instruction, with a fault if one is named.

    For an inquiry the refund is sent first. Some providers report less about a repeated refund than about the first.
    """
    if operation == "inquiry":
        await env.send("refund", asked)
    if fault is not None:
        await env.control.fault(fault, operation, **fields)
    return await env.send(operation, asked)


# --- altering and searching messages ----------------------------------------------------------------------------------


def flipped(answer: Any, position: int) -> Any:
    """Return a message with one bit of one byte of its body flipped."""
    body = bytearray(answer.body)
    body[position] ^= 1 << (position % 7)
    return attrs.evolve(answer, body=bytes(body))


def with_other_headers(message: Any) -> Iterator[Any]:
    """Yield a message with each of its headers removed, duplicated and changed."""
    for index, (name, value) in enumerate(message.headers):
        if name.lower() not in _TRANSPORTS_OWN:
            before, after = tuple(message.headers[:index]), tuple(message.headers[index + 1 :])
            others = ((), ((name, value), (name, value)), ((name, value + "0"),), ((name, ""),), ((name, "\udcff"),))
            for instead in others:
                yield attrs.evolve(message, headers=before + instead + after)


def neighbors(subject: Subject, env: Environment) -> Iterator[tuple[str, Provider]]:
    """Yield providers like the account's own, each with one identifying setting changed."""
    caught: list[Any] = []
    build = subject.plugin.build

    def catch(settings: Any, terms: Any) -> Provider:
        caught.append(settings)
        return build(settings, terms)

    watched = attrs.evolve(subject, plugin=attrs.evolve(subject.plugin, build=catch))
    own = watched.account(env.control.url, notify_url=env.receiver.url)
    settings = caught[-1]
    for field in attrs.fields(type(settings)):
        value = getattr(settings, field.name)
        if type(value) is str and len(value) >= 4:
            other = value[:-1] + ("1" if value[-1] != "1" else "2")
            try:
                neighbor = build(attrs.evolve(settings, **{field.alias or field.name: other}), own.terms)
            except Exception:  # noqa: S112 - a setting that must keep its value
                continue
            if neighbor.identity != own.provider.identity:
                yield value, neighbor


def holds(message: Any, value: str) -> bool:
    """Return whether a message contains a value."""
    return value.encode() in message.body or any(value in header for _, header in message.headers)


def holds_amount(message: Any) -> bool:
    """Return whether a message contains the usual amount, in minor units or as a decimal."""
    return any(re.search(rb"(?<![0-9.])" + re.escape(text) + rb"(?![0-9.])", message.body) for text in amount_texts())


def contains_word(message: Any, word: bytes) -> bool:
    """Return whether a body contains a whole word; a signature contains any three letters now and then."""
    return re.search(rb"(?<![0-9A-Za-z+/])" + re.escape(word) + rb"(?![0-9A-Za-z+/=])", message.body) is not None


def amount_texts(minor: int = MINOR) -> tuple[bytes, ...]:
    """Return the ways to write an amount: in minor units, and with two or three decimals."""
    digits = str(minor)
    return digits.encode(), f"{digits[:-2]}.{digits[-2:]}".encode(), f"{digits[:-3]}.{digits[-3:]}".encode()
