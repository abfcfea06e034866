"""A refund that may have been sent before it was recorded, from a store that was lost: it is inquired about first."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest

from refundry.gateway import Gateway
from refundry.gateway.request import RefundRequest
from refundry.money import Money
from refundry.provider import OutcomeKind, ReviewReason
from refundry.refund import Channel, Inquired, NextStep, Refund, Requested, Settled, Status, apply, fold
from refundry.refund.policy import ManualReview, Submit, next_step
from refundry.testing.simulator.ledger import State
from tests.core.gateway.test_gateway import notice
from tests.core.shop import Shop, open_shop
from tests.core.strategies import ID, NOON, OWN, REQUESTED, TERMS, new_refund
from tests.plugins.alphapay import shop as alphapay


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as opened:
        yield opened


@asynccontextmanager
async def restored(shop: Shop) -> AsyncIterator[Gateway]:
    """Open a gateway on an empty store, as if the first one had been lost."""
    config = shop.config.with_name("restored.toml")
    config.write_text(shop.config.read_text("utf-8").replace("refunds.db", "restored.db"), "utf-8")
    async with shop.reopened(config, create=True) as gateway:
        yield gateway


async def asked_again(gateway: Gateway, *, may_have_been_sent: bool = False) -> Refund:
    return await gateway.request(
        RefundRequest(
            account="shop", payment="P1", amount=Money(1233, "EUR", 2), refund_request_id="R1",
            may_have_been_sent=may_have_been_sent,
        )
    )  # fmt: skip


async def test_what_was_paid_is_not_sent_again(shop: Shop) -> None:
    """The provider has paid it; requested again from an empty store, it settles by an inquiry."""
    await shop.request("R1")
    async with restored(shop) as gateway:
        refund = await asked_again(gateway, may_have_been_sent=True)
        before = refund
        shop.clock.move(30)
        refund = await gateway.advance(refund.id)

    assert (Status.UNKNOWN, 0, NextStep.INQUIRE) == (before.status, before.attempts, before.next_step)
    assert (Status.SETTLED, 0) == (refund.status, refund.attempts)
    assert 1 == shop.antom.ledger.refunds["R1"].requested


async def test_what_never_arrived_is_sent(shop: Shop) -> None:
    """If the provider answers "not found" as often as its terms require, the refund is sent under its id."""
    async with restored(shop) as gateway:
        refund = await asked_again(gateway, may_have_been_sent=True)
        assert {} == shop.antom.ledger.refunds
        for _ in range(6):
            shop.clock.move(30)
            refund = await gateway.advance(refund.id)

    assert (Status.SETTLED, 1) == (refund.status, refund.attempts)


async def test_an_early_not_found_does_not_count(shop: Shop) -> None:
    """Until a call that was sent at the same moment must have ended, "not found" proves nothing."""
    async with restored(shop) as gateway:
        refund = await asked_again(gateway, may_have_been_sent=True)
        refund = await gateway.inquire(refund.id)

    assert (0, NextStep.INQUIRE) == (refund.not_found, refund.next_step)


async def test_without_idempotency_an_operator_decides(tmp_path: Path) -> None:
    """AlphaPay's answers are inconclusive and a repeat may pay again: it is never sent, and needs an operator."""
    async with alphapay.open_shop(tmp_path, repeat="pay_again") as shop:
        refund = await shop.request(may_have_been_sent=True)
        refund = await shop.later(refund, times=4)

        assert (0, 0) == (refund.attempts, shop.came)
        assert [ReviewReason.UNDOCUMENTED_ANSWER] == [review.code for review in refund.review][:1]


def test_a_provider_that_forgets_ids_needs_an_operator() -> None:
    """When it was first sent is unknown, so the provider may have forgotten the id whatever the clock says."""
    terms = TERMS["forgets ids"]
    refund = fold(ID, [attrs.evolve(REQUESTED, possible_sender=OWN, inquire_at=NOON)])
    not_found = Inquired(
        at=NOON, channel=Channel.INQUIRY, outcome=OutcomeKind.NOT_FOUND, next_step=NextStep.INQUIRE, sender=OWN
    )

    assert isinstance(next_step(new_refund(), terms, NOON), Submit)
    step = next_step(apply(refund, not_found), terms, NOON)
    assert isinstance(step, ManualReview)
    assert ReviewReason.ID_HORIZON is step.reason


# --- notifications before the request ---------------------------------------------------------------------------------


async def test_a_notification_before_the_request(shop: Shop) -> None:
    """A genuine notification shows that it was sent: requested without the flag, it is still inquired about first."""
    shop.antom.change({"mode": "async", "async_delay": "never"})
    await shop.request("R1")
    shop.antom.ledger.finish(shop.antom.ledger.refunds["R1"], State.SUCCESS, shop.clock())
    async with restored(shop) as gateway:
        await gateway.receive_notification("shop", await notice(shop, "R1"))
        (unmatched,) = await gateway.unmatched()
        refund = await asked_again(gateway)
        matched = await gateway.unmatched()
        history = [recorded.event for recorded in await gateway.history(refund.id)]
        shop.clock.move(60)
        settled = await gateway.advance(refund.id)

    assert ([], 0) == (list(matched), refund.attempts)
    first, learned = history
    assert isinstance(first, Requested)
    assert isinstance(learned, Inquired)
    assert (gateway.account("shop").provider.identity, unmatched.evidence) == (first.possible_sender, learned.evidence)
    assert (Channel.NOTIFICATION, NextStep.INQUIRE) == (learned.channel, learned.next_step)
    assert (Status.SETTLED, 1) == (settled.status, shop.antom.ledger.refunds["R1"].requested)


async def test_a_notification_about_another_id_changes_nothing(shop: Shop) -> None:
    """It stays unmatched, and the refund is sent at once."""
    await shop.request("R1")
    async with restored(shop) as gateway:
        await gateway.receive_notification("shop", await notice(shop, "R1"))
        request = RefundRequest(account="shop", payment="P2", amount=Money(1, "EUR", 2), refund_request_id="R2")
        refund = await gateway.request(request)

        assert 1 == len(await gateway.unmatched())
        assert isinstance((await gateway.history(refund.id))[-1].event, Settled)


async def test_a_request_that_is_recorded_while_a_notification_arrives(shop: Shop) -> None:
    """A notification that finds no refund, which is recorded before it is kept, is about that refund."""
    await shop.request("R1")
    notification = await notice(shop, "R1")
    find = shop.gateway.journal.find

    async def too_early(account: str, refund_request_id: str) -> str | None:
        shop.gateway.journal.find = find  # type: ignore[method-assign]
        return None

    shop.gateway.journal.find = too_early  # type: ignore[method-assign]
    await shop.gateway.receive_notification("shop", notification)

    assert [] == list(await shop.gateway.unmatched())
