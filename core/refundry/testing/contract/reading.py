"""Reading an answer as a check reads it, and spoiling one as nobody who can sign would.

The rule of this module: a reader that raises has broken the contract; so has one that gives what is no outcome.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import attrs

from refundry.provider import (
    Answer,
    Blocked,
    DefinitiveFailure,
    Informational,
    NotFound,
    Outcome,
    Pending,
    Provider,
    RefundInstruction,
    Resend,
    Succeeded,
    Unknown,
)
from refundry.testing.contract.base import Broken, broken, demand
from refundry.testing.contract.environment import MINOR, Sample, Stage, Subject

_OUTCOMES: Final = (Succeeded, Pending, DefinitiveFailure, NotFound, Unknown, Blocked, Informational)
_TRANSPORTS_OWN: Final = frozenset({"date", "server", "content-length", "connection", "transfer-encoding"})
OPERATIONS: Final = ("refund", "inquiry")


def read(sample: Sample, answer: Answer | None = None, what: str = "an answer") -> Outcome:
    """Read an answer; it is a breach if the reader raises, or gives what is no outcome."""
    try:
        outcome = sample.read(answer)
    except Exception as error:
        raise Broken(f"the reader raised {type(error).__name__} on {what} to {sample.operation}") from error
    if not isinstance(outcome, _OUTCOMES):
        broken(f"the reader gave a {type(outcome).__name__} for {what} to {sample.operation}")
    return outcome


def unbelieved(sample: Sample, what: str, answer: Answer | None = None) -> None:
    """Demand that nothing follows from an answer but to ask again."""
    outcome = read(sample, answer, what)
    demand(isinstance(outcome, Unknown), f"{what} to {sample.operation} was read as {shown(outcome)}, not as Unknown")
    again = isinstance(outcome, Unknown) and outcome.resend is Resend.SAME
    demand(not again, f"after {what} to {sample.operation} the refund would be sent again without asking first")


def unmoved(sample: Sample, what: str, answer: Answer | None = None) -> None:
    """Demand that an answer is read as the genuine one, or not believed: a change must not change its meaning."""
    outcome = read(sample, answer, what)
    same = outcome == read(sample)
    demand(same or isinstance(outcome, Unknown), f"{what} to {sample.operation} was read as {shown(outcome)}")


def ends_nothing(sample: Sample, what: str) -> None:
    """Demand that an answer does not end the refund, and does not say that it is not there."""
    outcome = read(sample, None, what)
    ended = isinstance(outcome, Succeeded | DefinitiveFailure | NotFound)
    demand(not ended, f"{what} to {sample.operation} was read as {shown(outcome)}")


def shown(outcome: Outcome) -> str:
    """Name an outcome with its code."""
    code = getattr(outcome, "code", None)
    return type(outcome).__name__ + (f" ({code})" if code else "")


def genuine(sample: Sample) -> Answer:
    """Give the answer, which must have come."""
    return sample.answer if sample.answer is not None else broken(f"no answer to {sample.operation} came")


async def spoilt(stage: Stage, fault: str, number: int, **fields: Any) -> Sequence[Sample]:
    """Ask for a refund and then about it, each answer with a fault."""
    asked = stage.instruction(number)
    samples = []
    for operation in OPERATIONS:
        await stage.control.fault(fault, operation, **fields)
        samples.append(await stage.ask(operation, asked))
    await stage.control.well()
    return samples


async def first_answer(
    stage: Stage, operation: str, asked: RefundInstruction, fault: str | None = None, **fields: Any
) -> Sample:
    """Give the first answer to a call about an order that nobody has sent yet, with a fault if one is named.

    Where it is an inquiry the refund is sent before. Some providers say of a repeated refund less than of the first.
    """
    if operation == "inquiry":
        await stage.ask("refund", asked)
    if fault is not None:
        await stage.control.fault(fault, operation, **fields)
    return await stage.ask(operation, asked)


# --- spoiling and searching messages ----------------------------------------------------------------------------------


def flipped(answer: Any, position: int) -> Any:
    """Give a message with one bit of one byte of its body flipped."""
    body = bytearray(answer.body)
    body[position] ^= 1 << (position % 7)
    return attrs.evolve(answer, body=bytes(body))


def with_other_headers(message: Any) -> Iterator[Any]:
    """Give a message with each of its headers left out, doubled and changed."""
    for index, (name, value) in enumerate(message.headers):
        if name.lower() not in _TRANSPORTS_OWN:
            before, after = tuple(message.headers[:index]), tuple(message.headers[index + 1 :])
            others = ((), ((name, value), (name, value)), ((name, value + "0"),), ((name, ""),), ((name, "\udcff"),))
            for instead in others:
                yield attrs.evolve(message, headers=before + instead + after)


def neighbours(subject: Subject, stage: Stage) -> Iterator[tuple[str, Provider]]:
    """Give providers like the account's own, each with one text of its settings changed that says who it is."""
    caught: list[Any] = []
    build = subject.plugin.build

    def catch(settings: Any, terms: Any) -> Provider:
        caught.append(settings)
        return build(settings, terms)

    watched = attrs.evolve(subject, plugin=attrs.evolve(subject.plugin, build=catch))
    own = watched.account(stage.control.url, notify_url=stage.box.url)
    settings = caught[-1]
    for field in attrs.fields(type(settings)):
        value = getattr(settings, field.name)
        if type(value) is str and len(value) >= 4:
            other = value[:-1] + ("1" if value[-1] != "1" else "2")
            try:
                stranger = build(attrs.evolve(settings, **{field.alias or field.name: other}), own.terms)
            except Exception:  # noqa: S112 - a text that cannot be otherwise
                continue
            if stranger.identity != own.provider.identity:
                yield value, stranger


def holds(message: Any, value: str) -> bool:
    """Say whether a text stands in a message."""
    return value.encode() in message.body or any(value in header for _, header in message.headers)


def holds_amount(message: Any) -> bool:
    """Say whether a message holds the usual amount, in minor units or as a decimal."""
    return any(re.search(rb"(?<![0-9.])" + re.escape(text) + rb"(?![0-9.])", message.body) for text in amount_texts())


def amount_texts(minor: int = MINOR) -> tuple[bytes, ...]:
    """Give the ways in which an amount can be written: as minor units, and with two or three decimals."""
    digits = str(minor)
    return digits.encode(), f"{digits[:-2]}.{digits[-2:]}".encode(), f"{digits[:-3]}.{digits[-3:]}".encode()
