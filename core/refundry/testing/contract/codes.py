"""The code tables, exercised by the simulator: each code is read as classified, and no other code is trusted.

The rule of this module: a row whose code equals its status covers every code with that status.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from refundry.provider import (
    Blocked,
    Code,
    CodeClass,
    DefinitiveFailure,
    NotFound,
    Outcome,
    Pending,
    RefundInstruction,
    Resend,
    SameId,
    Scope,
    Succeeded,
    Unknown,
)
from refundry.testing.contract.base import NotApplicable, check, require
from refundry.testing.contract.environment import Environment, Sample, Subject
from refundry.testing.contract.reading import TABLES, ends_nothing, first_answer, not_trusted, read, shown


@check("codes-as-classified", "Every code of the tables is read as its class requires.")
async def codes_as_classified(subject: Subject) -> None:
    """Answer with each code and its documented status."""
    async with subject.environment() as env:
        for operation, table in TABLES.items():
            for number, row in enumerate(subject.plugin.codes[table].values()):
                outcome = read(await answered_with(env, operation, number, row.code, row.status))
                wrong = unfit(row, outcome)
                require(wrong is None, f"{table} {row.code} is {row.meaning} and was read as {shown(outcome)}: {wrong}")


def unfit(row: Code, outcome: Outcome) -> str | None:
    """Return why an outcome does not fit the class of its code, or None if it does."""
    wrong: str | None = _UNFIT[row.meaning](row, outcome)
    return wrong


def _of(*kinds: type) -> Any:
    def matches(row: Code, outcome: Outcome) -> str | None:
        return None if isinstance(outcome, kinds) else f"must be {' or '.join(kind.__name__ for kind in kinds)}"

    return matches


def _unknown(row: Code, outcome: Outcome) -> str | None:
    if not isinstance(outcome, Unknown):
        return "must be Unknown"
    at_once = row.same_id == SameId.AFTER_BACKOFF
    if at_once != (outcome.resend is Resend.SAME):
        return f"same_id is `{row.same_id}`, but resend is {outcome.resend}"
    if row.same_id == SameId.NEVER and row.meaning is not CodeClass.UNCHANGED and outcome.resend is not Resend.NEVER:
        return f"same_id is `never`, but resend is {outcome.resend}"
    return None


def _failed(row: Code, outcome: Outcome) -> str | None:
    if not isinstance(outcome, DefinitiveFailure):
        return "must be DefinitiveFailure"
    complete = outcome.code == row.code and bool(outcome.cause) and bool(outcome.advice)
    return None if complete else "must have the code, a cause and an advice"


def _unconfirmed(row: Code, outcome: Outcome) -> str | None:
    wrong = _unknown(row, outcome)
    if wrong is None and isinstance(outcome, Unknown) and outcome.review is None:
        return "must be flagged for review"
    return wrong


def _blocked(row: Code, outcome: Outcome) -> str | None:
    scope = getattr(outcome, "scope", None)
    if not isinstance(outcome, Blocked | Unknown) or scope != Scope(row.breaker):
        return f"must be Blocked and put the {row.breaker} on hold"
    return None


_UNFIT: Final = {
    CodeClass.SUCCESS: _of(Succeeded, Pending, Unknown, DefinitiveFailure),
    CodeClass.PENDING: _of(Pending),
    CodeClass.RETRY: _unknown,
    CodeClass.INDETERMINATE: _unknown,
    CodeClass.FAILED: _failed,
    CodeClass.FAILED_NEW_ID: _failed,
    CodeClass.FAILED_UNCONFIRMED: _unconfirmed,
    CodeClass.MISCONFIGURED: _blocked,
    CodeClass.BAD_REQUEST: _blocked,
    CodeClass.NOT_FOUND: _of(NotFound, Unknown),
    CodeClass.UNCHANGED: _unknown,
}


@check("unlisted-codes-unknown", "A code that is not in the table is Unknown, even if it resembles one that is.")
async def unlisted_codes(subject: Subject) -> None:
    """Answer with invented codes and every status of the table."""
    async with subject.environment() as env:
        number = 0
        for operation, table in TABLES.items():
            codes = subject.plugin.codes[table]
            for name, status in _unlisted(codes):
                number += 1
                work = "do" if operation == "refund" else "skip"
                sample = await answered_with(env, operation, number, name, status, state="SUCCESS", work=work)
                _unlisted_is_unknown(sample, codes, name, status)


def _unlisted(codes: Any) -> Iterator[tuple[str, str]]:
    statuses = sorted({row.status for row in codes.values()})
    alike = {row.meaning: row for row in codes.values()}.values()
    names = ["NOT_A_KNOWN_CODE", *(name for row in alike for name in (f"{row.code}X", row.code[:-1], f"X{row.code}"))]
    for name in names:
        if len(name) > 1 and name not in codes:
            for status in statuses:
                yield name[:64], status


def _unlisted_is_unknown(sample: Sample, codes: Any, name: str, status: str) -> None:
    outcome = read(sample)
    whole = codes.get(status)
    what = f"the unlisted {sample.operation} code {name} ({status})"
    if whole is not None and whole.status == status:
        # A row whose code equals its status covers every code with that status.
        wrong = unfit(whole, outcome)
        require(wrong is None, f"{what} was read as {shown(outcome)}: {wrong}")
        return
    not_trusted(sample, what)


@check("code-and-status-agree", "A code with the status of another code ends nothing.")
async def code_and_status(subject: Subject) -> None:
    """Report failures as successes and vice versa, although the refund was paid."""
    async with subject.environment() as env:
        examined = 0
        for operation, table in TABLES.items():
            codes = subject.plugin.codes[table]
            by_status = {row.status: row for row in codes.values() if row.code != row.status}
            for row in {row.meaning: row for row in by_status.values()}.values():
                for status in by_status.keys() - {row.status}:
                    examined += 1
                    work = "do" if operation == "refund" else "skip"
                    sample = await answered_with(env, operation, examined, row.code, status, state="SUCCESS", work=work)
                    ends_nothing(sample, f"{row.code} with status {status}")
        if not examined:
            raise NotApplicable("its codes have no separate status")


@check("refusals-listed", "Whatever the simulator refuses because of its ledger has a listed code and moved no money.")
async def refusals_listed(subject: Subject) -> None:
    """Refund too much, from an empty balance, a failed payment, and a payment that does not exist."""
    codes = subject.plugin.codes["refund"]
    async with subject.environment(payments="declared") as env:
        for number, asked in enumerate(await _refusable(env), 1):
            outcome = read(await env.send("refund", asked))
            complete = isinstance(outcome, DefinitiveFailure | Blocked | Unknown)
            require(complete, f"refusal {number} was read as {shown(outcome)}")
            code = getattr(outcome, "code", None)
            listed = code in codes or any(row.code == row.status for row in codes.values())
            require(listed, f"the simulator refused with a code that is not in the table ({code} in the outcome)")


async def _refusable(env: Environment) -> Sequence[RefundInstruction]:
    """Declare payments that cannot be refunded, and return the instructions."""
    declared = [
        {"balance": "0.00"},
        {"status": "FAIL"},
        {"status": "PROCESSING"},
        {"refundable_until": "2020-01-01T00:00:00+00:00"},
        {"amount": "1"},
    ]
    instructions = [env.instruction(number) for number in range(1, len(declared) + 2)]
    for asked, more in zip(instructions, declared, strict=False):
        money = {"amount": str(asked.amount), "currency": asked.amount.currency}
        await env.control.call("POST", "payments", {"id": asked.payment, **money, **more})
    return instructions


async def answered_with(env: Environment, operation: str, number: int, code: str, status: str, **fields: Any) -> Sample:
    """Return the answer to one call about a separate refund, with the given code."""
    asked = env.instruction(number if operation == "refund" else 10_000 + number)
    return await first_answer(env, operation, asked, "answer", code=code, status=status, **fields)
