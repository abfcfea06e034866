"""Whole refunds through a gateway, checked against the simulator's ledger under every fault.

The rule of this module: in the end the log and the provider's ledger agree, money moved at most once, and every
unresolved refund is flagged for review. What a fault must lead to follows from the plugin's terms.
"""

import asyncio
from typing import Any, Final, assert_never

from refundry.inputs import Operator
from refundry.provider import Code, CodeClass, OutcomeKind, Resend, SameId
from refundry.refund import Inquired, Refund, Status
from refundry.testing.contract.base import NotApplicable, check, fail, require
from refundry.testing.contract.environment import Environment, Stuck, Subject
from refundry.testing.simulator.faults import CORRUPTIONS

QUICK: Final[dict[str, Any]] = {"mode": "async", "async_delay": "0.2"}


async def consistent(env: Environment, refund: Refund, what: str) -> Refund:
    """Process a refund to its end and require that it agrees with the ledger."""
    try:
        refund = await env.finish(refund)
    except Stuck as error:
        fail(f"{what}: {error}")
    entry = await env.control.refund(refund.refund_request_id)
    moved = 0 if entry is None else entry["moved"]
    require(moved <= 1, f"{what}: it was paid {moved} times")
    if entry is not None:
        require(len(entry["bodies"]) <= 1, f"{what}: it was sent again with other bytes")
    match refund.status:
        case Status.SETTLED:
            require(moved == 1, f"{what}: it is settled although no money moved")
        case Status.FAILED:
            require(moved == 0, f"{what}: it failed although the money moved")
            in_process = entry is not None and entry["status"] == "PROCESSING"
            require(not in_process, f"{what}: it failed although the provider is still processing it")
        case Status.REQUESTED | Status.SUBMITTED | Status.PENDING | Status.UNKNOWN:
            pass
        case _:
            assert_never(refund.status)
    return refund


async def paid(env: Environment, refund: Refund, what: str) -> Refund:
    """Process a refund to its end and require that it was paid and is settled."""
    refund = await consistent(env, refund, what)
    reasons = "; ".join(review.message for review in refund.review)
    why = reasons or (refund.failure and refund.failure.code) or "no reason given"
    require(refund.status is Status.SETTLED, f"{what}: it ended as {refund.status} ({why})")
    return refund


async def paid_or_reviewed(env: Environment, refund: Refund, what: str, allowed: bool) -> Refund:
    """Require that a refund is paid if the terms allow what that takes, and otherwise that it is flagged for review."""
    if allowed:
        return await paid(env, refund, what)
    refund = await consistent(env, refund, what)
    called = refund.status is Status.SETTLED or await env.waits(refund)
    require(called, f"{what}: it ended as {refund.status}, but the terms require a manual review")
    return refund


async def once_only(env: Environment, refund: Refund) -> None:
    """Require that a refund in process was not sent again unless an inquiry did not find it."""
    history = [item.event for item in await env.gateway.history(refund.id)]
    not_found = any(isinstance(event, Inquired) and event.outcome is OutcomeKind.NOT_FOUND for event in history)
    require(refund.attempts == 1 or not_found, f"it was sent {refund.attempts} times")


def asks_by_our_id(env: Environment) -> bool:
    """Return whether a refund can be inquired by our id after its answer was lost."""
    return "refund_request_id" in env.account.terms.inquire_by


def may_resend(env: Environment, kind: Resend = Resend.AFTER_NOT_FOUND) -> bool:
    """Return whether the terms allow a resend of the same id after this type of answer."""
    return asks_by_our_id(env) and kind in env.account.terms.resend_after


# --- without faults ---------------------------------------------------------------------------------------------------


@check("settles", "A refund that the provider pays immediately is settled, with one request and one payment.")
async def settles(subject: Subject) -> None:
    """Request one refund."""
    async with subject.environment() as env:
        refund = await paid(env, await env.request(), "without any fault")
        require(refund.attempts == 1, f"it was sent {refund.attempts} times")
        require(refund.settled_amount == refund.amount, f"it settled with {refund.settled_amount}")


@check("settles-later", "A refund in process is not settled before the money moved, and is settled afterwards.")
async def settles_later(subject: Subject) -> None:
    """Request a refund that the provider completes later, on command, so that a slow machine changes nothing."""
    async with subject.environment(mode="async", async_delay="never") as env:
        refund = await _followed_up(env, await env.request())
        entry = await env.control.refund(refund.refund_request_id)
        moved = entry and entry["moved"]
        require(moved or not refund.final, f"it was {refund.status} while the provider was processing it")
        if not moved:
            await env.control.call("POST", f"refunds/{refund.refund_request_id}", {"status": "SUCCESS"})
        refund = await paid(env, refund, "a refund that completes later")
        await once_only(env, refund)


async def _followed_up(env: Environment, refund: Refund) -> Refund:
    """Process a refund until it was inquired or sent again, is final, or needs an operator."""
    while not refund.final and refund.attempts + refund.inquiries < 2 and not await env.waits(refund):
        await asyncio.sleep(0.02)
        refund = await env.gateway.advance(refund.id)
    return refund


@check(
    "fails-later",
    "A refund that fails later at the provider ends as failed or is flagged for review.",
)
async def fails_later(subject: Subject) -> None:
    """Request a refund that fails later."""
    async with subject.environment(**QUICK, async_result="FAIL") as env:
        refund = await consistent(env, await env.request(), "a refund that fails later")
        require(refund.status is not Status.SETTLED, "a failed refund is settled")


@check("independent-refunds", "Concurrent refunds of one payment and of several are each paid once.")
async def independent_refunds(subject: Subject) -> None:
    """Request eight refunds concurrently, two per payment with equal amounts."""
    async with subject.environment() as env:
        payments = [env.instruction(1 + number // 2).payment for number in range(8)]
        asked = [env.request(number, payment=payment) for number, payment in enumerate(payments)]
        refunds = await asyncio.gather(*asked)
        await asyncio.gather(*(paid(env, refund, "one of eight refunds") for refund in refunds))


# --- lost messages ----------------------------------------------------------------------------------------------------


@check("response-lost", "A refund whose response is lost after it was paid is paid once, and an inquiry finds out.")
async def answer_lost(subject: Subject) -> None:
    """Drop the response by closing the connection, and by hanging."""
    async with subject.environment(terms={"timeout": 0.4}) as env:
        for number, how in enumerate(("close", "hang")):
            await env.control.fault("drop_response", "refund", how=how)
            refund = await env.request(number)
            what = f"the response was lost ({how})"
            refund = await paid_or_reviewed(env, refund, what, asks_by_our_id(env))
            require(refund.attempts == 1, f"{what}: it was sent again although the provider had accepted it")


@check(
    "request-lost",
    "A refund whose request is lost is sent again with the same id if the terms allow it, or flagged for review.",
)
async def request_lost(subject: Subject) -> None:
    """Drop the request before the provider processes it."""
    async with subject.environment() as env:
        await env.control.fault("drop_request", "refund")
        refund = await env.request()
        refund = await paid_or_reviewed(env, refund, "the request was lost", may_resend(env))
        if not may_resend(env):
            require(refund.attempts == 1, "it was sent again although the terms do not allow it")


@check("inquiry-lost", "An inquiry whose answer is lost or corrupt is repeated.")
async def inquiry_lost(subject: Subject) -> None:
    """Drop the response to the refund, then break three inquiries."""
    async with subject.environment() as env:
        await env.control.fault("drop_response", "refund")
        lost: tuple[tuple[str, dict[str, Any]], ...] = (
            ("drop_response", {}),
            ("corrupt", {"kind": "half_json"}),
            ("drop_request", {}),
        )
        for skip, (fault, fields) in enumerate(lost):
            await env.control.fault(fault, "inquiry", skip=skip, **fields)
        await paid_or_reviewed(env, await env.request(), "three inquiries were lost", asks_by_our_id(env))


@check("done-late", "A refund that the provider completes after the timeout is paid once.")
async def done_late(subject: Subject) -> None:
    """Delay processing beyond the timeout, while the gateway inquires and may resend."""
    async with subject.environment(terms={"timeout": 0.2}) as env:
        await env.control.fault("delay", "refund", seconds="0.8", late=True)
        refund = await env.request()
        refund = await consistent(env, refund, "it was processed late")
        await asyncio.sleep(1.0)  # the provider processes it now, whatever was decided
        entry = await env.control.refund(refund.refund_request_id)
        moved = 0 if entry is None else entry["moved"]
        require(moved == 1, f"it was processed late: it was paid {moved} times")
        require(refund.status is not Status.FAILED, "it was processed late: it failed although the money moved")


FAULTS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    *(("corrupt", {"kind": kind}) for kind in CORRUPTIONS),
    *(("bad_signature", {"how": how}) for how in ("wrong_key", "flipped_bit", "unsigned")),
    ("compress", {}),
    ("wrong_amount", {"more": 100}),
    ("wrong_currency", {}),
    ("other_refund", {}),
    ("drop_response", {}),
    ("drop_request", {}),
    ("duplicate", {}),
)


@check("consistent-under-every-fault", "Whatever is wrong with an answer, in the end the log and the ledger agree.")
async def under_every_fault(subject: Subject) -> None:
    """Apply each fault to one refund, in the answers to its submission and to its inquiry."""
    for options in ({}, QUICK):
        async with subject.environment(**options) as env:
            refunds = []
            for number, (fault, fields) in enumerate(FAULTS):
                request_id = env.instruction(number).refund_request_id
                for operation in ("refund", "inquiry"):
                    await env.control.fault(fault, operation, refund_request_id=request_id, **fields)
                refunds.append((fault, env.request(number)))
            requested = await asyncio.gather(*(request for _, request in refunds))
            labels = [f"{fault} {fields}" for fault, fields in FAULTS]
            await asyncio.gather(*map(consistent, [env] * len(labels), requested, labels))
            require(
                not (await env.control.call("GET", "ledger"))["faults"].get("redirect followed"),
                "followed a redirect",
            )
        subject = _fresh_subject(subject)


def _fresh_subject(subject: Subject) -> Subject:
    """Return the subject with an empty directory."""
    directory = subject.directory / "again"
    directory.mkdir()
    return Subject(subject.plugin, subject.simulator, directory, subject.keys)


# --- codes ------------------------------------------------------------------------------------------------------------


def row_of(subject: Subject, *meanings: CodeClass, same_id: str | None = None) -> Code:
    """Return a row of the refund's table of one of these classes."""
    for row in subject.plugin.codes["refund"].values():
        if row.meaning in meanings and same_id in (None, row.same_id):
            return row
    raise NotApplicable(f"no code of the refund is {' or '.join(meanings)}")


async def _answer_with(env: Environment, row: Code, **fields: Any) -> None:
    await env.control.fault("answer", "refund", code=row.code, status=row.status, **fields)


@check("same-id-resent", "After a code that asks for a retry, the same id and bytes are sent again and paid once.")
async def same_id_resent(subject: Subject) -> None:
    """Answer with a retry code, once without processing the refund and once after processing it."""
    row = row_of(subject, CodeClass.RETRY, same_id=SameId.AFTER_BACKOFF)
    async with subject.environment() as env:
        for number, work in enumerate(("skip", "do")):
            await _answer_with(env, row, work=work)
            refund = await paid(env, await env.request(number), f"{row.code}, work {work}")
            require(refund.attempts == 2, f"after {row.code} it was sent {refund.attempts} times, not twice")


@check(
    "pending-never-resent", "After a pending answer nothing is sent again, even if an inquiry does not find the refund."
)
async def pending_never_resent(subject: Subject) -> None:
    """Answer that the refund is pending, without processing it."""
    row = row_of(subject, CodeClass.PENDING)
    async with subject.environment() as env:
        await _answer_with(env, row)
        refund = await consistent(env, await env.request(), f"{row.code} without processing it")
        require(refund.attempts == 1, "it was sent again although the provider had accepted it")
        require(await env.waits(refund), f"it ended as {refund.status} and was not flagged for review")


@check("definite-failure-ends-it", "A definitive refusal ends the refund with its code, and nothing is sent again.")
async def definite_failure(subject: Subject) -> None:
    """Refuse definitively."""
    row = row_of(subject, CodeClass.FAILED, CodeClass.FAILED_NEW_ID)
    async with subject.environment() as env:
        await _answer_with(env, row)
        refund = await consistent(env, await env.request(), row.code)
        require(refund.status is Status.FAILED, f"after {row.code} it is {refund.status}")
        require(refund.attempts == 1, f"after {row.code} it was sent again")
        require(refund.failure is not None and refund.failure.code == row.code, "the failure lacks the code")


@check(
    "unconfirmed-failure-inquired", "A refusal that may hide a payment is inquired about, and settled if it was paid."
)
async def unconfirmed_failure(subject: Subject) -> None:
    """Answer that the refund failed after processing it."""
    row = row_of(subject, CodeClass.FAILED_UNCONFIRMED)
    async with subject.environment() as env:
        await _answer_with(env, row, work="do")
        refund = await paid_or_reviewed(
            env, await env.request(), f"{row.code} after processing it", asks_by_our_id(env)
        )
        require(refund.attempts == 1, f"after {row.code} it was sent again")


@check(
    "blocked-then-resumed",
    "A refund that a configuration error blocks is put on hold, and paid once after it is fixed.",
)
async def blocked_then_resumed(subject: Subject) -> None:
    """Block an account, verify that nothing more is sent, and resume it."""
    row = row_of(subject, CodeClass.MISCONFIGURED)
    async with subject.environment() as env:
        await _answer_with(env, row)
        refund = await env.request()
        require(await env.waits(refund), f"after {row.code} it is not on hold")
        waiting = await env.request(2)
        require(waiting.attempts == 0, f"after {row.code} another refund of the account was sent")
        await env.gateway.resume_account("contract", Operator(by="contract", why="fixed"))
        for one in (refund, waiting):
            await paid(env, await env.gateway.get(one.id), f"resumed after {row.code}")
