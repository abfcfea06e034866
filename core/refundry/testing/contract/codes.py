"""The tables of codes, told by the simulator: each code is read as its class says, and no other is believed.

The rule of this module: a row whose code is its status stands for every code with that status.
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
    Scope,
    Succeeded,
    Unknown,
)
from refundry.testing.contract.base import NotApplicable, check, demand
from refundry.testing.contract.environment import Sample, Stage, Subject
from refundry.testing.contract.reading import ends_nothing, first_answer, read, shown, unbelieved

_TABLES: Final = {"refund": "refund", "inquiry": "inquire"}


@check("codes-as-classified", "Every code of the tables, told by the simulator, is read as its class says.")
async def codes_as_classified(subject: Subject) -> None:
    """Let the simulator answer with each code, with its documented status."""
    async with subject.stage() as stage:
        for operation, table in _TABLES.items():
            for number, row in enumerate(subject.plugin.codes[table].values()):
                outcome = read(await answered_with(stage, operation, number, row.code, row.status))
                wrong = unfit(row, outcome)
                demand(wrong is None, f"{table} {row.code} is {row.meaning} and was read as {shown(outcome)}: {wrong}")


def unfit(row: Code, outcome: Outcome) -> str | None:
    """Say why an outcome does not fit the class of the code that it was read from; None if it does."""
    wrong: str | None = _UNFIT[row.meaning](row, outcome)
    return wrong


def _of(*kinds: type) -> Any:
    def look(row: Code, outcome: Outcome) -> str | None:
        return None if isinstance(outcome, kinds) else f"must be {' or '.join(kind.__name__ for kind in kinds)}"

    return look


def _unknown(row: Code, outcome: Outcome) -> str | None:
    if not isinstance(outcome, Unknown):
        return "must be Unknown"
    at_once = row.same_id == "back-off"
    if at_once != (outcome.resend is Resend.SAME):
        return f"same_id is {row.same_id!r}, and resend is {outcome.resend}"
    if row.same_id == "never" and row.meaning is not CodeClass.UNCHANGED and outcome.resend is not Resend.NEVER:
        return f"same_id is 'never', and resend is {outcome.resend}"
    return None


def _failed(row: Code, outcome: Outcome) -> str | None:
    if not isinstance(outcome, DefinitiveFailure):
        return "must be Failed"
    said = outcome.code == row.code and bool(outcome.cause) and bool(outcome.advice)
    return None if said else "must say the code, a cause and an advice"


def _doubtful(row: Code, outcome: Outcome) -> str | None:
    wrong = _unknown(row, outcome)
    if wrong is None and isinstance(outcome, Unknown) and outcome.review is None:
        return "must call for attention"
    return wrong


def _blocked(row: Code, outcome: Outcome) -> str | None:
    scope = getattr(outcome, "scope", None)
    if not isinstance(outcome, Blocked | Unknown) or scope != Scope(row.breaker):
        return f"must be Blocked, and {row.breaker} must wait"
    return None


_UNFIT: Final = {
    CodeClass.OK: _of(Succeeded, Pending, Unknown, DefinitiveFailure),
    CodeClass.PENDING: _of(Pending),
    CodeClass.SAME: _unknown,
    CodeClass.INQUIRE: _unknown,
    CodeClass.FAIL: _failed,
    CodeClass.FAIL_NEW: _failed,
    CodeClass.FAIL_CHECK: _doubtful,
    CodeClass.CONF: _blocked,
    CodeClass.BUG: _blocked,
    CodeClass.NOT_FOUND: _of(NotFound, Unknown),
    CodeClass.UNCHANGED: _unknown,
}


@check("unlisted-codes-unknown", "A code that is not in the table is Unknown, even where it resembles one that is.")
async def unlisted_codes(subject: Subject) -> None:
    """Let the simulator answer with invented codes and every status that the table has."""
    async with subject.stage() as stage:
        number = 0
        for operation, table in _TABLES.items():
            codes = subject.plugin.codes[table]
            for name, status in _unlisted(codes):
                number += 1
                work = "do" if operation == "refund" else "skip"
                sample = await answered_with(stage, operation, number, name, status, state="SUCCESS", work=work)
                _unlisted_is_unknown(sample, codes, name, status)


def _unlisted(codes: Any) -> Iterator[tuple[str, str]]:
    statuses = sorted({row.status for row in codes.values()})
    alike = {row.meaning: row for row in codes.values()}.values()
    names = ["NOBODY_KNOWS_THIS", *(name for row in alike for name in (f"{row.code}X", row.code[:-1], f"X{row.code}"))]
    for name in names:
        if len(name) > 1 and name not in codes:
            for status in statuses:
                yield name[:64], status


def _unlisted_is_unknown(sample: Sample, codes: Any, name: str, status: str) -> None:
    outcome = read(sample)
    whole = codes.get(status)
    what = f"the unlisted {sample.operation} code {name} ({status})"
    if whole is not None and whole.status == status:
        # A row that is called as its status stands for every code with that status.
        wrong = unfit(whole, outcome)
        demand(wrong is None, f"{what} was read as {shown(outcome)}: {wrong}")
        return
    unbelieved(sample, what)


@check("code-and-status-agree", "A code that comes with the status of another one ends nothing.")
async def code_and_status(subject: Subject) -> None:
    """Let the simulator tell failures as successes and the other way round, although the refund is done."""
    async with subject.stage() as stage:
        looked = 0
        for operation, table in _TABLES.items():
            codes = subject.plugin.codes[table]
            by_status = {row.status: row for row in codes.values() if row.code != row.status}
            for row in {row.meaning: row for row in by_status.values()}.values():
                for status in by_status.keys() - {row.status}:
                    looked += 1
                    work = "do" if operation == "refund" else "skip"
                    sample = await answered_with(stage, operation, looked, row.code, status, state="SUCCESS", work=work)
                    ends_nothing(sample, f"{row.code} with status {status}")
        if not looked:
            raise NotApplicable("its codes have no status beside them")


@check("refusals-listed", "Whatever the simulator refuses by its books is a listed code, and nothing that moved money.")
async def refusals_listed(subject: Subject) -> None:
    """Refund too much, from an empty balance, a payment that failed, and one that nobody made."""
    codes = subject.plugin.codes["refund"]
    async with subject.stage(payments="declared") as stage:
        for number, asked in enumerate(await _refusable(stage), 1):
            outcome = read(await stage.ask("refund", asked))
            said = isinstance(outcome, DefinitiveFailure | Blocked | Unknown)
            demand(said, f"refusal {number} was read as {shown(outcome)}")
            code = getattr(outcome, "code", None)
            listed = code in codes or any(row.code == row.status for row in codes.values())
            demand(listed, f"the simulator refuses with a code that is not in the table ({code} in the outcome)")


async def _refusable(stage: Stage) -> Sequence[RefundInstruction]:
    """Declare payments that cannot be refunded, and give the orders."""
    declared = [
        {"balance": "0.00"},
        {"status": "FAIL"},
        {"status": "PROCESSING"},
        {"refundable_until": "2020-01-01T00:00:00+00:00"},
        {"amount": "1"},
    ]
    instructions = [stage.instruction(number) for number in range(1, len(declared) + 2)]
    for asked, more in zip(instructions, declared, strict=False):
        money = {"amount": str(asked.amount), "currency": asked.amount.currency}
        await stage.control.call("POST", "payments", {"id": asked.payment, **money, **more})
    return instructions


async def answered_with(stage: Stage, operation: str, number: int, code: str, status: str, **fields: Any) -> Sample:
    """Let the simulator answer one call about a refund of its own with a code."""
    asked = stage.instruction(number if operation == "refund" else 10_000 + number)
    return await first_answer(stage, operation, asked, "answer", code=code, status=status, **fields)
