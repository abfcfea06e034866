"""Whole refunds, through a gateway and against the simulator's books, with everything that goes wrong on the way.

The rule of this module: in the end our log and the provider's books say the same, money moved at most once, and what we
could not find out has called a person. What must come of a fault follows from the plugin's terms.
"""

import asyncio
from typing import Any, Final

from refundry.provider import Code, CodeClass, Resend
from refundry.refund import Inquired, Refund, Status
from refundry.testing.contract.base import NotApplicable, broken, check, demand
from refundry.testing.contract.environment import Stage, Stuck, Subject
from refundry.testing.simulator.faults import CORRUPTIONS

QUICK: Final[dict[str, Any]] = {"mode": "async", "async_delay": "0.2"}


async def honest(stage: Stage, refund: Refund, what: str) -> Refund:
    """Drive a refund to its end and demand that it and the books say the same."""
    try:
        refund = await stage.finish(refund)
    except Stuck as error:
        broken(f"{what}: {error}")
    book = await stage.control.entry(refund.refund_request_id)
    moved = 0 if book is None else book["moved"]
    demand(moved <= 1, f"{what}: it was paid {moved} times")
    if book is not None:
        demand(len(book["bodies"]) <= 1, f"{what}: it was sent again with other bytes")
    if refund.status is Status.SETTLED:
        demand(moved == 1, f"{what}: it is settled here, and no money moved")
    if refund.status is Status.FAILED:
        demand(moved == 0, f"{what}: it failed here, and the money moved")
        demand(
            book is None or book["status"] != "PROCESSING", f"{what}: it failed here, and the provider is at work on it"
        )
    return refund


async def paid(stage: Stage, refund: Refund, what: str) -> Refund:
    """Drive a refund to its end and demand that it was paid and is settled."""
    refund = await honest(stage, refund, what)
    why = refund.review or (refund.failure and refund.failure.code) or "nothing is said why"
    demand(refund.status is Status.SETTLED, f"{what}: it ended as {refund.status} ({why})")
    return refund


async def paid_or_person(stage: Stage, refund: Refund, what: str, allowed: bool) -> Refund:
    """Demand that it is paid where the terms allow what that takes, and that a person is called otherwise."""
    if allowed:
        return await paid(stage, refund, what)
    refund = await honest(stage, refund, what)
    called = refund.status is Status.SETTLED or await stage.waits(refund)
    demand(called, f"{what}: it ended as {refund.status}, and the terms allow nothing but to call a person")
    return refund


async def once_only(stage: Stage, refund: Refund) -> None:
    """Demand that a refund that the provider works on was not sent again, unless an inquiry did not find it."""
    history = [item.event for item in await stage.gateway.history(refund.id)]
    not_found = any(isinstance(event, Inquired) and event.outcome == "not_found" for event in history)
    demand(refund.attempts == 1 or not_found, f"it was sent {refund.attempts} times")


def asks_by_our_id(stage: Stage) -> bool:
    """Say whether the provider can be asked about a refund whose answer was lost."""
    return "refund_request_id" in stage.account.terms.inquire_by


def may_resend(stage: Stage, kind: Resend = Resend.AFTER_NOT_FOUND) -> bool:
    """Say whether the terms let the same id leave again after this kind of answer."""
    return asks_by_our_id(stage) and kind in stage.account.terms.resend_after


# --- as it should be --------------------------------------------------------------------------------------------------


@check("settles", "A refund that the provider pays at once is settled, with one request and one payment.")
async def settles(subject: Subject) -> None:
    """Refund once."""
    async with subject.stage() as stage:
        refund = await paid(stage, await stage.request(), "without any fault")
        demand(refund.attempts == 1, f"it was sent {refund.attempts} times")
        demand(refund.settled_amount == refund.amount, f"it settled with {refund.settled_amount}")


@check("settles-later", "A refund that the provider works on is not settled before the money moved, and is afterwards.")
async def settles_later(subject: Subject) -> None:
    """Refund while the provider takes its time."""
    async with subject.stage(**QUICK) as stage:
        refund = await stage.request()
        book = await stage.control.entry(refund.refund_request_id)
        early = refund.final and not (book and book["moved"])
        demand(not early, f"it was {refund.status} while the provider was at work")
        refund = await paid(stage, refund, "a refund that takes a while")
        await once_only(stage, refund)


@check(
    "fails-later",
    "A refund that fails at the provider after a while ends as failed, or calls a person.",
)
async def fails_later(subject: Subject) -> None:
    """Refund with a provider whose asynchronous refunds fail."""
    async with subject.stage(**QUICK, async_result="FAIL") as stage:
        refund = await honest(stage, await stage.request(), "a refund that fails later")
        demand(refund.status is not Status.SETTLED, "a refund that failed is settled here")


@check("other-ids-other-refunds", "Refunds of one payment and of several are each paid once, beside each other.")
async def beside_each_other(subject: Subject) -> None:
    """Refund eight times at once, two of them of one payment and equal amounts."""
    async with subject.stage() as stage:
        payments = [stage.instruction(1 + number // 2).payment for number in range(8)]
        asked = [stage.request(number, payment=payment) for number, payment in enumerate(payments)]
        refunds = await asyncio.gather(*asked)
        await asyncio.gather(*(paid(stage, refund, "one of eight refunds") for refund in refunds))


# --- lost ways --------------------------------------------------------------------------------------------------------


@check("answer-lost", "Where the answer is lost after the work was done, it is paid once, and found out by asking.")
async def answer_lost(subject: Subject) -> None:
    """Lose the answer by a closed connection, and by silence."""
    async with subject.stage(terms={"timeout": 0.4}) as stage:
        for number, how in enumerate(("close", "hang")):
            await stage.control.fault("drop_response", "refund", how=how)
            refund = await stage.request(number)
            what = f"the answer was lost ({how})"
            refund = await paid_or_person(stage, refund, what, asks_by_our_id(stage))
            demand(refund.attempts == 1, f"{what}: it was sent again although the provider has it")


@check(
    "request-lost",
    "Where the request is lost, the same id is sent again if the terms allow it, or a person is called.",
)
async def request_lost(subject: Subject) -> None:
    """Lose the request before the provider did anything."""
    async with subject.stage() as stage:
        await stage.control.fault("drop_request", "refund")
        refund = await stage.request()
        refund = await paid_or_person(stage, refund, "the request was lost", may_resend(stage))
        if not may_resend(stage):
            demand(refund.attempts == 1, "it was sent again, which the terms do not allow")


@check("inquiry-lost", "Where an answer to an inquiry is lost or spoilt, it is asked again.")
async def inquiry_lost(subject: Subject) -> None:
    """Lose the answer to the refund, and then spoil three inquiries."""
    async with subject.stage() as stage:
        await stage.control.fault("drop_response", "refund")
        spoilt: tuple[tuple[str, dict[str, Any]], ...] = (
            ("drop_response", {}),
            ("corrupt", {"kind": "half_json"}),
            ("drop_request", {}),
        )
        for skip, (fault, fields) in enumerate(spoilt):
            await stage.control.fault(fault, "inquiry", skip=skip, **fields)
        await paid_or_person(stage, await stage.request(), "three inquiries were lost", asks_by_our_id(stage))


@check("done-late", "Where the provider does the work after we stopped waiting, it is paid once.")
async def done_late(subject: Subject) -> None:
    """Let the work begin only after our timeout, while we ask and may send again."""
    async with subject.stage(terms={"timeout": 0.2}) as stage:
        await stage.control.fault("delay", "refund", seconds="0.8", late=True)
        refund = await stage.request()
        refund = await honest(stage, refund, "the work was done late")
        await asyncio.sleep(1.0)  # the late work comes now, whatever was decided
        book = await stage.control.entry(refund.refund_request_id)
        moved = 0 if book is None else book["moved"]
        demand(moved == 1, f"the work was done late: it was paid {moved} times")
        demand(refund.status is not Status.FAILED, "the work was done late: it failed here, and the money moved")


FAULTS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    *(("corrupt", {"kind": kind}) for kind in CORRUPTIONS),
    *(("bad_signature", {"how": how}) for how in ("wrong_key", "flipped_bit", "unsigned")),
    ("wrong_amount", {"more": 100}),
    ("wrong_currency", {}),
    ("other_refund", {}),
    ("drop_response", {}),
    ("drop_request", {}),
    ("duplicate", {}),
)


@check("honest-under-every-fault", "Whatever is wrong with an answer, in the end our log and the books agree.")
async def under_every_fault(subject: Subject) -> None:
    """Let each fault meet one refund, once in the answer to the refund and once in that to the inquiry."""
    for options in ({}, QUICK):
        async with subject.stage(**options) as stage:
            refunds = []
            for number, (fault, fields) in enumerate(FAULTS):
                request_id = stage.instruction(number).refund_request_id
                for operation in ("refund", "inquiry"):
                    await stage.control.fault(fault, operation, refund_request_id=request_id, **fields)
                refunds.append((fault, stage.request(number)))
            requested = await asyncio.gather(*(request for _, request in refunds))
            labels = [f"{fault} {fields}" for fault, fields in FAULTS]
            await asyncio.gather(*map(honest, [stage] * len(labels), requested, labels))
            demand(
                not (await stage.control.call("GET", "books"))["faults"].get("redirect followed"), "followed a redirect"
            )
        subject = _next_door(subject)


def _next_door(subject: Subject) -> Subject:
    """Give a subject with an empty directory."""
    directory = subject.directory / "again"
    directory.mkdir()
    return Subject(subject.plugin, subject.simulator, directory, subject.keys)


# --- codes ------------------------------------------------------------------------------------------------------------


def row_of(subject: Subject, *meanings: CodeClass, same_id: str | None = None) -> Code:
    """Give a row of the refund's table of one of these classes."""
    for row in subject.plugin.codes["refund"].values():
        if row.meaning in meanings and same_id in (None, row.same_id):
            return row
    raise NotApplicable(f"no code of the refund is {' or '.join(meanings)}")


async def _told(stage: Stage, row: Code, **fields: Any) -> None:
    await stage.control.fault("answer", "refund", code=row.code, status=row.status, **fields)


@check("same-id-resent", "After a code that asks to call again, the same id and bytes are sent again, and paid once.")
async def same_id_resent(subject: Subject) -> None:
    """Tell it to call again, once when nothing was done and once although it was."""
    row = row_of(subject, CodeClass.SAME, same_id="back-off")
    async with subject.stage() as stage:
        for number, work in enumerate(("skip", "do")):
            await _told(stage, row, work=work)
            refund = await paid(stage, await stage.request(number), f"{row.code}, work {work}")
            demand(refund.attempts == 2, f"after {row.code} it was sent {refund.attempts} times in all, not twice")


@check("pending-never-resent", "After an answer that it is in process nothing is sent again, even if it is not found.")
async def pending_never_resent(subject: Subject) -> None:
    """Say that it is in process, and do nothing."""
    row = row_of(subject, CodeClass.PENDING)
    async with subject.stage() as stage:
        await _told(stage, row)
        refund = await honest(stage, await stage.request(), f"{row.code} although nothing was done")
        demand(refund.attempts == 1, "it was sent again although the provider said that it works on it")
        demand(await stage.waits(refund), f"it ended as {refund.status} and called no person")


@check("definite-failure-ends-it", "A definite refusal ends the refund, with the code, and nothing is sent again.")
async def definite_failure(subject: Subject) -> None:
    """Refuse for good."""
    row = row_of(subject, CodeClass.FAIL, CodeClass.FAIL_NEW)
    async with subject.stage() as stage:
        await _told(stage, row)
        refund = await honest(stage, await stage.request(), row.code)
        demand(refund.status is Status.FAILED, f"after {row.code} it is {refund.status}")
        demand(refund.attempts == 1, f"after {row.code} it was sent again")
        demand(
            refund.failure is not None and refund.failure.code == row.code, "it does not say with which code it failed"
        )


@check("doubtful-failure-asked-about", "A refusal that may hide a payment is asked about, and settled if it was paid.")
async def doubtful_failure(subject: Subject) -> None:
    """Say that it failed although it was done."""
    row = row_of(subject, CodeClass.FAIL_CHECK)
    async with subject.stage() as stage:
        await _told(stage, row, work="do")
        refund = await paid_or_person(
            stage, await stage.request(), f"{row.code} although it is done", asks_by_our_id(stage)
        )
        demand(refund.attempts == 1, f"after {row.code} it was sent again")


@check("blocked-then-resumed", "What our configuration blocks waits for a person and is paid once when it was mended.")
async def blocked_then_resumed(subject: Subject) -> None:
    """Block an account, look that nothing more leaves, and resume it."""
    row = row_of(subject, CodeClass.CONF)
    async with subject.stage() as stage:
        await _told(stage, row)
        refund = await stage.request()
        demand(await stage.waits(refund), f"after {row.code} it goes on by itself")
        waiting = await stage.request(2)
        demand(waiting.attempts == 0, f"after {row.code} another refund of the account was sent")
        await stage.gateway.resume_account("contract", by="contract", why="mended")
        for one in (refund, waiting):
            await paid(stage, await stage.gateway.get(one.id), f"resumed after {row.code}")
