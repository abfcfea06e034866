"""An operator's decision: asked, current, and never silently against what the provider reported."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from refundry.errors import Invalid, Stale
from refundry.inputs import Operator
from refundry.provider import ReviewReason
from refundry.refund import Channel, Failed, Inquired, Refund, Settled, Status
from refundry.testing.simulator.ledger import State
from tests.core.shop import Shop, open_shop

ANN = Operator(by="ann", why="looked into the dashboard")


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as opened:
        yield opened


@pytest.fixture
async def slow_shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """A provider that has every refund in process until a test ends it."""
    async with open_shop(tmp_path, mode="async", async_delay=None) as opened:
        yield opened


async def lost(shop: Shop, fault: str = "drop_response") -> Refund:
    shop.antom.fault(fault, operation="refund")
    return await shop.request()


async def decide(shop: Shop, seen: Refund, *, settled: bool, **more: Any) -> Refund:
    return await shop.gateway.resolve(seen.id, ANN, settled=settled, version=seen.version, **more)


async def last(shop: Shop) -> Any:
    return (await shop.gateway.history("R1"))[-1].event


def flags(refund: Refund) -> list[ReviewReason]:
    return [review.code for review in refund.review]


async def test_the_provider_is_asked_first(shop: Shop) -> None:
    """The refund was paid and the answer lost: the inquiry settles it, and the decision that it failed is refused."""
    refund = await lost(shop)

    with pytest.raises(Invalid, match="against_evidence: the provider reported that the refund is settled"):
        await decide(shop, refund, settled=False)

    after = await shop.gateway.get(refund.id)
    assert (Status.SETTLED, ()) == (after.status, after.review)
    assert Channel.INQUIRY is (await last(shop)).channel


async def test_what_the_provider_confirms_is_not_decided_again(shop: Shop) -> None:
    """If the inquiry ends the refund as the operator would, the provider's report stays and no decision is recorded."""
    refund = await lost(shop)
    settled = await decide(shop, refund, settled=True)

    assert Status.SETTLED is settled.status
    assert settled.provider_refund_id is not None
    assert Channel.INQUIRY is (await last(shop)).channel


async def test_a_decision_from_an_old_screen_is_refused(shop: Shop) -> None:
    """A version that is not the current one is refused before the provider is asked."""
    seen = await lost(shop)
    settled = await shop.gateway.inquire(seen.id)

    with pytest.raises(Stale, match="is at version 4, not 3"):
        await decide(shop, seen, settled=False, against_evidence=True)
    assert settled == await shop.gateway.get(seen.id)


async def test_an_undecided_refund_is_decided(shop: Shop) -> None:
    """If the provider has no record of the refund, the decision is recorded: asked, and against nothing."""
    refund = await lost(shop, "drop_request")
    failed = await decide(shop, refund, settled=False)
    event = await last(shop)

    assert (Status.FAILED, ()) == (failed.status, failed.review)
    assert isinstance(event, Failed)
    assert ("ann", False, False) == (event.by, event.offline, event.against_evidence)


async def test_a_provider_that_cannot_be_asked(shop: Shop) -> None:
    """Without an answer nothing is decided, unless the operator decides offline, which is recorded."""
    refund = await lost(shop, "drop_request")
    shop.antom.fault("drop_response", operation="inquiry", times=None)

    with pytest.raises(Invalid, match="offline: the provider did not answer"):
        await decide(shop, refund, settled=False)
    shop.antom.clear_faults()
    seen = await shop.gateway.get(refund.id)
    await decide(shop, seen, settled=False, offline=True)

    event = await last(shop)
    assert (Failed, True) == (type(event), event.offline)


async def test_an_unsigned_answer_is_not_an_answer(shop: Shop) -> None:
    """An inquiry that is answered by something that the provider did not sign does not count as asked."""
    refund = await lost(shop)
    shop.antom.fault("corrupt", kind="html", operation="inquiry", times=None)

    with pytest.raises(Invalid, match="offline: the provider did not answer"):
        await decide(shop, refund, settled=False)


@pytest.mark.parametrize("settled", [True, False])
async def test_a_decision_against_the_providers_word(shop: Shop, settled: bool) -> None:
    """Only on purpose; it is marked in the log, and stays flagged until an operator has reviewed it."""
    if settled:
        shop.antom.fault("answer", code="RISK_REJECT", operation="refund")
    refund = await shop.request()
    assert refund.final

    with pytest.raises(Invalid, match="against_evidence"):
        await decide(shop, refund, settled=settled, offline=True)
    decided = await decide(shop, refund, settled=settled, offline=True, against_evidence=True)
    event = await last(shop)
    reviewed = await shop.gateway.resume(refund.id, Operator(by="bob", why="agreed"))

    assert (Settled if settled else Failed, True) == (type(event), event.against_evidence)
    assert [ReviewReason.DECIDED_AGAINST_EVIDENCE] == flags(decided)
    assert ((), decided.status) == (reviewed.review, reviewed.status)


async def test_a_refund_that_the_provider_processes_has_not_failed(slow_shop: Shop) -> None:
    """A pending refund may pay: that it failed is a decision against the provider's word, that it settled is not."""
    refund = await slow_shop.request()
    with pytest.raises(Invalid, match="against_evidence: the provider reported that the refund is pending"):
        await decide(slow_shop, refund, settled=False)

    seen = await slow_shop.gateway.get(refund.id)
    settled = await decide(slow_shop, seen, settled=True)
    assert (Status.SETTLED, ()) == (settled.status, settled.review)


async def test_a_decision_is_corrected_by_another(slow_shop: Shop) -> None:
    """What counts is the provider's word, not an earlier decision."""
    refund = await lost(slow_shop, "drop_request")
    failed = await decide(slow_shop, refund, settled=False)
    settled = await decide(slow_shop, failed, settled=True)

    assert (Status.SETTLED, ()) == (settled.status, settled.review)


async def test_a_settlement_while_the_provider_is_asked(slow_shop: Shop) -> None:
    """What another process records while the provider is asked counts as well."""
    refund = await lost(slow_shop)
    slow_shop.antom.ledger.finish(slow_shop.antom.ledger.refunds["R1"], State.SUCCESS, slow_shop.clock())
    async with slow_shop.reopened() as other:
        await other.inquire(refund.id)

    with pytest.raises(Stale):
        await decide(slow_shop, refund, settled=False)
    seen = await slow_shop.gateway.get(refund.id)
    assert isinstance(await last(slow_shop), Settled | Inquired)
    with pytest.raises(Invalid, match="against_evidence"):
        await decide(slow_shop, seen, settled=False)
