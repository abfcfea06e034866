"""A refund that stays pending: the provider is asked again and again, and the log keeps what is new."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from refundry.audit.replay.replay import replay
from refundry.audit.verification.findings import Finding
from refundry.config import read_config
from refundry.gateway.worker import process
from refundry.plugin_host import load_plugins
from refundry.refund import Inquired, Refund, Status
from refundry.refund.policy import Inquire
from refundry.testing.simulator.ledger import State
from tests.core.shop import Shop, open_shop


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """A provider that keeps every refund pending until a test finishes it."""
    terms = {"inquiry_intervals": [600], "escalate_after": 90 * 86_400}
    async with open_shop(tmp_path, mode="async", async_delay=None, terms=terms) as opened:
        yield opened


async def _wait_for(shop: Shop, refund: Refund, inquiries: int) -> None:
    """Inquire so many times, each when the store hands the refund out."""
    journal, holder = shop.gateway.journal, "worker"
    for _ in range(inquiries):
        due = await journal.next_due(shop.clock())
        assert due is not None
        shop.clock.at = due
        assert {"shop": [refund.id]} == await journal.take_due(due, until=due, holder=holder, room={"shop": 9})
        await shop.gateway.advance(refund.id)


async def _inquired(shop: Shop, refund: Refund) -> Sequence[Inquired]:
    history = await shop.gateway.history(refund.id)
    return [item.event for item in history if isinstance(item.event, Inquired)]


def _findings(shop: Shop) -> list[object]:
    return [found for found in replay(read_config(shop.config), load_plugins()) if isinstance(found, Finding)]


async def test_repeated_answers_are_counted_and_not_recorded(shop: Shop) -> None:
    """The provider is asked 40 times; few events state how often, and the index and a replay agree with the log."""
    refund = await shop.request()

    await _wait_for(shop, refund, 40)

    postponed = await shop.gateway.journal.postponed(refund.id)
    events = await _inquired(shop, refund)
    assert len(events) < 15
    assert sum(1 + event.repeats for event in events[1:]) + (postponed.repeats if postponed else 0) == 40
    assert [] == [difference async for difference in shop.gateway.journal.compare_index()]
    assert [] == _findings(shop)


async def test_an_inquiry_that_was_put_off_is_not_made_earlier(shop: Shop) -> None:
    """After an answer that was only counted, neither `advance` nor `process` asks before the new time."""
    refund = await shop.request()
    while await shop.gateway.journal.postponed(refund.id) is None:
        await _wait_for(shop, refund, 1)
    postponed = await shop.gateway.journal.postponed(refund.id)
    assert postponed is not None

    step = await shop.gateway.next_step(await shop.gateway.get(refund.id))
    await shop.gateway.advance(refund.id)
    await process(shop.gateway, await shop.gateway.get(refund.id), 0.01)

    assert step == Inquire(postponed.until)
    assert postponed == await shop.gateway.journal.postponed(refund.id)


async def test_an_operator_s_inquiry_is_always_recorded(shop: Shop) -> None:
    """What an operator asks for is an event, with the number of answers that were counted before it."""
    refund = await shop.request()
    while await shop.gateway.journal.postponed(refund.id) is None:
        await _wait_for(shop, refund, 1)
    before = await _inquired(shop, refund)

    await shop.gateway.inquire(refund.id)

    assert [*(event.repeats for event in before), 1] == [event.repeats for event in await _inquired(shop, refund)]
    assert await shop.gateway.journal.postponed(refund.id) is None


async def test_without_working_data_the_log_states_what_is_next(shop: Shop) -> None:
    """After a rebuild of the index the refund is due as its newest event plans, and the next answer is interpreted."""
    refund = await shop.request()
    while await shop.gateway.journal.postponed(refund.id) is None:
        await _wait_for(shop, refund, 1)

    await shop.gateway.journal.rebuild_index()
    shop.antom.ledger.finish(shop.antom.ledger.refunds["R1"], State.SUCCESS, shop.clock())

    assert ["shop"] == list(await shop.gateway.journal.due_accounts(shop.clock()))
    assert (await shop.gateway.advance(refund.id)).status is Status.SETTLED
