"""What the gateway records around a call and what it hands on, with a real store and a real exchange."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from refundry.errors import Invalid, UnknownRefund
from refundry.gateway import Gateway
from refundry.gateway.request import RefundRequest
from refundry.journal import Write
from refundry.journal.evidence import keep_notification
from refundry.outbound.transport import Delivery, NoAnswer
from refundry.ports import Ports
from refundry.provider import Notification, Request
from refundry.refund import Channel, Inquired, Refund, Settled, Status, Submitted
from refundry.testing.simulator.faults import Plan
from refundry.testing.simulator.ledger import State
from refundry.testing.simulator.messages import Draft
from refundry_antom.provider import AntomProvider
from tests.core.shop import TERMS, Shop, open_shop, simulator, write_config

NOTIFY = "/notifications/shop"


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """A provider that keeps every refund pending until a test finishes it."""
    async with open_shop(tmp_path, mode="async", async_delay=None) as opened:
        yield opened


async def _events(gateway: Gateway, refund: Refund) -> list[Any]:
    return [item.event for item in await gateway.history(refund.id)]


async def _notification(shop: Shop, id: str = "R1") -> Notification:
    shop.antom.ledger.finish(shop.antom.ledger.refunds[id], State.SUCCESS, shop.clock())
    draft = Draft(
        operation="notification", path=NOTIFY, code="SUCCESS", refund=shop.antom.ledger.refunds[id], state=State.SUCCESS
    )
    message = await shop.antom._write(draft, Plan())
    return Notification("POST", NOTIFY, tuple(message.headers), message.body)


# --- evidence ---------------------------------------------------------------------------------------------------------


async def test_a_resend_has_the_bytes_of_the_first_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version of the plugin that would compose another body sends the stored one again."""
    async with open_shop(tmp_path) as shop:
        shop.antom.fault("drop_request", operation="refund")
        refund = await shop.request()
        compose = AntomProvider.refund_request
        monkeypatch.setattr(
            AntomProvider,
            "refund_request",
            lambda self, instruction: attrs.evolve(compose(self, instruction), refund_reason="composed differently"),
        )
        for _ in range(6):
            refund = await shop.later(refund)

        sent = [event for event in await _events(shop.gateway, refund) if isinstance(event, Submitted)]
        assert (Status.SETTLED, 2) == (refund.status, len(sent))
        assert {sent[0].digest} == {sent[1].digest} == set(shop.antom.ledger.refunds["R1"].bodies)


async def test_the_bytes_of_a_notification_are_kept(shop: Shop) -> None:
    """The whole notification is stored under the digest that its event names."""
    refund = await shop.request()
    notification = await _notification(shop)
    await shop.gateway.receive_notification("shop", notification)
    last = (await _events(shop.gateway, refund))[-1]

    assert (Settled, Channel.NOTIFICATION) == (type(last), last.channel)
    assert keep_notification(notification) == await shop.gateway.journal.evidence(last.evidence)


async def test_an_inquiry_records_who_asked(tmp_path: Path) -> None:
    """An answer is recorded with the identity that asked for it, not with the one that sent the refund."""
    async with open_shop(tmp_path, mode="async", async_delay=None) as shop:
        refund = await shop.request()
        await shop.later(refund)
        other = tmp_path / "other.toml"
        other.write_text(shop.config.read_text("utf-8").replace("SANDBOX_5Y", "SANDBOX_5Z"), "utf-8")
        async with shop.reopened(other) as gateway:
            await gateway.inquire(refund.id)
            asked_by = gateway.account("shop").provider.identity
        inquiries = [event for event in await _events(shop.gateway, refund) if isinstance(event, Inquired)]

    sender = shop.gateway.account("shop").provider.identity
    assert sender != asked_by
    assert sender == refund.sender
    assert [(Channel.REPLY, None), (Channel.INQUIRY, sender), (Channel.INQUIRY, asked_by)] == [
        (event.channel, event.sender) for event in inquiries
    ]


# --- an answer that meets something new -------------------------------------------------------------------------------


@pytest.mark.parametrize("answered", [Channel.INQUIRY, Channel.NOTIFICATION])
async def test_an_answer_is_interpreted_again_if_something_else_was_recorded_first(
    shop: Shop, answered: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that finds its refund changed is neither lost nor recorded on top of what it was not read for."""
    refund = await shop.request()
    notification = await _notification(shop)
    save = shop.gateway.journal.save
    overtaken: list[Write] = []

    async with shop.reopened() as other:

        async def overtake(write: Write) -> Any:
            if not overtaken:
                overtaken.append(write)
                shop.antom.fault("answer", operation="inquiry", code="SYSTEM_ERROR")
                await other.inquire(refund.id)
            return await save(write)

        monkeypatch.setattr(shop.gateway.journal, "save", overtake)
        if answered is Channel.INQUIRY:
            await shop.gateway.inquire(refund.id)
        else:
            await shop.gateway.receive_notification("shop", notification)
    events = await _events(shop.gateway, refund)

    assert [Inquired, Settled] == [type(event) for event in events[-2:]]
    assert (answered, Status.SETTLED) == (events[-1].channel, (await shop.gateway.get(refund.id)).status)


# --- the account's own terms ------------------------------------------------------------------------------------------


class _Watched:
    """A transport that notes how long each call may take, and answers nothing."""

    def __init__(self) -> None:
        self.timeouts: list[float] = []

    async def send(self, request: Request, timeout: float, delivery: Delivery) -> NoAnswer:
        self.timeouts.append(timeout)
        return NoAnswer("no answer")


async def test_the_accounts_own_timeout_limits_its_calls(tmp_path: Path) -> None:
    """Both operations may take as long as the account's terms say, and an inquiry waits until the call has ended."""
    async with open_shop(tmp_path, terms={"timeout": 7.0, "first_inquiry": 3.0}) as shop:
        shop.gateway._caller._transport = watched = _Watched()
        refund = await shop.request()
        (sent,) = [event for event in await _events(shop.gateway, refund) if isinstance(event, Submitted)]
        await shop.gateway.inquire(refund.id)

    assert 2 == len(watched.timeouts)
    assert all(6 < timeout <= 7 for timeout in watched.timeouts)
    assert sent.next_at is not None
    assert 10 == (sent.next_at - sent.at).total_seconds()


@pytest.mark.parametrize("operation", ["refund", "inquire"])
async def test_every_call_takes_a_turn(tmp_path: Path, operation: str) -> None:
    """An attempt and an inquiry each count against the rate of their account."""
    async with open_shop(tmp_path, terms={"requests_per_second": 0.01}) as shop:
        refund = await shop.request(submit=False)
        before = shop.gateway.pacing.admits("shop")
        if operation == "refund":
            await shop.gateway.advance(refund.id)
        else:
            await shop.gateway.inquire(refund.id)

        assert (1, 0) == (before, shop.gateway.pacing.admits("shop"))


# --- retry_of ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("account", "payment"), [("other", "P1"), ("shop", "P2")])
async def test_a_refund_replaces_only_one_of_its_account_and_payment(
    tmp_path: Path, account: str, payment: str
) -> None:
    """A failed refund of another account or payment is replaced by nothing."""
    async with simulator() as antom:
        config = write_config(tmp_path, {"shop": antom.url, "other": antom.url}, TERMS)
        async with Gateway.open(config, ports=Ports()) as gateway:
            antom.fault("answer", code="MERCHANT_BALANCE_NOT_ENOUGH", operation="refund")
            request = RefundRequest(
                account=account, payment=payment, amount="1", currency="EUR", refund_request_id="R1"
            )
            failed = await gateway.request(request)
            assert Status.FAILED is failed.status

            with pytest.raises((Invalid, UnknownRefund), match=f"retry_of|{failed.id}"):
                await gateway.request(
                    attrs.evolve(request, account="shop", payment="P1", refund_request_id="R2", retry_of=failed.id)
                )
            with pytest.raises(UnknownRefund):
                await gateway.get("R2")
