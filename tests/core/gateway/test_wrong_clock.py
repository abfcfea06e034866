"""Refunds that were recorded while the clock was a year ahead, after it was set right."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from refundry.gateway.worker import Worker
from refundry.inputs import Operator
from refundry.provider import OutcomeKind, Terms
from refundry.refund import Inquired, Refund, Status, Submitted
from refundry.refund.policy import Inquire, is_due, longest_wait
from tests.core.shop import Clock, Shop, open_shop

YEAR = 365 * 86_400.0


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """A shop whose clock is a year ahead until a test sets it right."""
    async with open_shop(tmp_path) as opened:
        opened.clock.move(YEAR)
        yield opened


async def work(shop: Shop, refund: Refund, rounds: int = 12) -> Refund:
    """Process what is due with one worker after the other, with time in between, until the refund is final."""
    for _ in range(rounds):
        worker = Worker(shop.gateway, lease=5)
        if await worker._take():
            await worker._finish()
        refund = await shop.gateway.get(refund.id)
        if refund.final:
            break
        shop.clock.move(10)
    return refund


async def test_a_refund_that_was_only_recorded_is_sent(shop: Shop) -> None:
    """It is due at once, and not in a year."""
    refund = await shop.request(submit=False)
    shop.clock.move(-YEAR)

    assert Status.SETTLED is (await work(shop, refund, 1)).status


async def test_a_lease_of_the_wrong_clock_keeps_nothing(shop: Shop) -> None:
    """A lease that ends in a year counts as ended."""
    refund = await shop.request(submit=False)
    journal, now = shop.gateway.journal, shop.clock()
    assert await journal.take_due(now, until=now.replace(year=now.year + 1), holder="gone", room={"shop": 1})
    shop.clock.move(-YEAR)

    assert Status.SETTLED is (await work(shop, refund, 1)).status


async def test_an_attempt_without_an_answer_is_followed_up(shop: Shop) -> None:
    """If the provider has it, the first inquiry settles it."""
    shop.antom.fault("drop_response", operation="refund")
    refund = await shop.request()
    shop.clock.move(-YEAR)

    assert Status.SETTLED is (await work(shop, refund, 1)).status


async def test_an_attempt_that_never_arrived_is_made_again(shop: Shop) -> None:
    """The time that "not found" needs begins with the first answer after the clock was set right."""
    shop.antom.fault("drop_request", operation="refund")
    refund = await shop.request()
    shop.clock.move(-YEAR)
    refund = await work(shop, refund)

    events = [item.event for item in await shop.gateway.history(refund.id)]
    inquiries = [event.outcome for event in events if isinstance(event, Inquired)]
    assert Status.SETTLED is refund.status
    assert [OutcomeKind.UNKNOWN, OutcomeKind.UNKNOWN, OutcomeKind.NOT_FOUND, OutcomeKind.NOT_FOUND] == inquiries
    first, second = (event for event in events if isinstance(event, Submitted))
    assert second.at < first.at
    assert 1 == len(shop.antom.ledger.movements)


async def test_an_inquiry_takes_effect(shop: Shop) -> None:
    """An operator's inquiry is recorded, although the attempt seems to lie in the future, and the plan follows it."""
    shop.antom.fault("drop_request", operation="refund")
    refund = await shop.request()
    shop.clock.move(-YEAR)
    after = await shop.gateway.inquire(refund.id)
    step = await shop.gateway.next_step(after)

    assert after.version == refund.version + 1
    assert isinstance(step, Inquire)
    assert 0 <= (step.at - shop.clock()).total_seconds() <= 60


async def test_resuming_takes_effect(shop: Shop) -> None:
    """A refund that was put on hold at the wrong time continues within seconds when an operator resumes it."""
    shop.antom.fault("answer", code="INVALID_SIGNATURE", operation="refund")
    refund = await shop.request()
    unsent = await shop.request("R2", submit=False)
    shop.clock.move(-YEAR)
    ada = Operator("ada", "the key is right now")
    resumed = [await shop.gateway.resume(one.id, ada) for one in (refund, unsent)]

    assert all(0 <= (one.next_at - shop.clock()).total_seconds() <= 6 for one in resumed if one.next_at is not None)
    assert [Status.SETTLED] * 2 == [(await work(shop, one)).status for one in resumed]


def test_what_is_due() -> None:
    """A time is due once it has come, or if it is further ahead than anything is planned."""
    terms = Terms()
    now, longest = Clock()(), longest_wait(terms)

    assert is_due(now, now, terms)
    assert not is_due(now + longest, now, terms)
    assert is_due(now + longest * 1.001, now, terms)
