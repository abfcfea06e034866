"""Workers process what is due, and forget nothing that they cannot process."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest

from refundry.gateway.worker import Worker
from refundry.inputs import Operator
from refundry.provider import ProviderCall, RefundInstruction, ReviewReason
from refundry.refund import Inquired, RaisedReview, Status
from refundry.testing.simulator.ledger import State
from refundry_antom.provider import AntomProvider
from tests.core.shop import Shop, open_shop


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as opened:
        yield opened


@pytest.fixture
def bug(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Make the plugin fail on the refund R1, until `undo` fixes it."""
    compose = AntomProvider.refund

    def fail(self: AntomProvider, instruction: RefundInstruction, at: datetime) -> ProviderCall:
        if instruction.refund_request_id == "R1":
            raise KeyError("a secret that the plugin knows")
        return compose(self, instruction, at)

    monkeypatch.setattr(AntomProvider, "refund", fail)
    return monkeypatch


async def _work(shop: Shop) -> Worker:
    worker = Worker(shop.gateway, lease=0)
    await worker.run(until_idle=True)
    return worker


@pytest.mark.usefixtures("bug")
async def test_a_refund_that_cannot_be_processed_needs_review(shop: Shop) -> None:
    """A refund that fails repeatedly is flagged for review, without the text of the error, and holds up no other."""
    await shop.request("R1", submit=False)
    await shop.request("R2", payment="P2", submit=False)

    worker = await _work(shop)

    stuck, other = await shop.gateway.get("R1"), await shop.gateway.get("R2")
    assert worker.stuck == [stuck.id]
    assert [ReviewReason.WORKER_GAVE_UP] == [review.code for review in stuck.review]
    assert [stuck.id] == [row.id for row in await shop.gateway.list(review=True)]
    assert other.status is Status.SETTLED


@pytest.mark.usefixtures("bug")
async def test_a_worker_that_gives_up_flags_a_refund_once(shop: Shop) -> None:
    """Further workers that fail in the same way record nothing more."""
    await shop.request("R1", submit=False)

    for _ in range(3):
        await _work(shop)

    notes = [item.event for item in await shop.gateway.history("R1")][1:]
    assert [ReviewReason.WORKER_GAVE_UP] == [note.code for note in notes if isinstance(note, Inquired)]
    assert len(notes) == 1


async def test_a_refund_continues_when_the_bug_is_fixed(shop: Shop, bug: pytest.MonkeyPatch) -> None:
    """The next worker after the fix completes the refund, and it needs no review any more."""
    await shop.request("R1", submit=False)
    await _work(shop)
    bug.undo()

    await _work(shop)

    refund = await shop.gateway.get("R1")
    assert (refund.status, refund.review) == (Status.SETTLED, ())


async def test_the_same_worker_continues_when_an_operator_resumes(shop: Shop, bug: pytest.MonkeyPatch) -> None:
    """After a fix and a resume no restart is needed: the worker that gave up on the refund takes it again."""
    asked = await shop.request("R1", submit=False)
    worker = await _work(shop)
    bug.undo()
    await shop.gateway.resume(asked.id, Operator(by="ada", why="fixed"))

    await worker.run(until_idle=True)

    assert (await shop.gateway.get("R1")).status is Status.SETTLED
    assert worker.stuck == []


async def test_a_final_refund_is_not_flagged(shop: Shop) -> None:
    """A refund that became final while a worker failed on it is not flagged: nothing about it is open."""
    ended = await shop.request("R1")

    after = await shop.gateway.flag_for_review(
        ended.id, [RaisedReview(ReviewReason.WORKER_GAVE_UP, "a worker gave up")], Operator(by="refundry", why="a bug")
    )

    assert after == ended


async def test_a_resolved_refund_hides_no_refund_that_waits(tmp_path: Path, bug: pytest.MonkeyPatch) -> None:
    """A worker that gave up on a refund, which an operator then resolved, still waits for the others."""
    async with open_shop(tmp_path, mode="async", async_delay=None) as shop:
        asked = await shop.request("R1", submit=False)
        worker = await _work(shop)
        bug.undo()
        flagged = await shop.gateway.get(asked.id)
        await shop.gateway.resolve(
            asked.id, Operator(by="ada", why="not needed"), settled=False, version=flagged.version, offline=True
        )
        await shop.request("R2", payment="P2")

        working = asyncio.create_task(worker.run(until_idle=True))
        await asyncio.sleep(0.2)
        ended_early = working.done()
        shop.antom.ledger.finish(shop.antom.ledger.refunds["R2"], State.SUCCESS, shop.clock())
        shop.clock.move(60)
        await working

        assert not ended_early
        assert (await shop.gateway.get("R2")).status is Status.SETTLED
