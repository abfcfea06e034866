"""Ways in which a refund at the simulated Alipay could pay twice or be called failed though it paid, and do not."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import parse_qsl

import attrs
import pytest
from yarl import URL

import refundry_alipay
from refundry.errors import Invalid
from refundry.gateway import Gateway
from refundry.gateway.request import RefundRequest
from refundry.inputs import Operator
from refundry.money import Money
from refundry.outbound.transport import Delivery, HttpTransport, NoAnswer
from refundry.plugin_host import load_plugins
from refundry.ports import Ports
from refundry.provider import Answer, NotSent, Request
from refundry.refund import Inquired, Refund, Status, policy
from refundry.testing.simulator.ledger import Payment, State
from refundry_alipay.simulator import AlipaySettings, AlipaySimulator
from refundry_alipay.simulator.keys import AlipayKeys
from tests.core.shop import Clock
from tests.plugins.alipay.accounts import account
from tests.plugins.alipay.merchant import Letterbox
from tests.plugins.alipay.simulated import box, keys
from tests.plugins.alipay.test_end_to_end import _posted, open_shop, section

__all__ = ["box", "keys"]  # fixtures


async def test_a_refused_repetition_says_nothing_of_the_first(tmp_path: Path, keys: AlipayKeys) -> None:
    """A repetition that is refused while the first attempt is in process flags the refund: the first may still pay."""
    async with open_shop(tmp_path, keys, mode="async", async_delay=None) as shop:
        shop.alipay.fault("drop_response", operation="refund")
        shop.alipay.fault("answer", code="ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", operation="refund", skip=1)
        refund = await shop.request()
        for _ in range(8):
            refund = await shop.later(refund)
        before = refund
        shop.alipay.finish("R1", State.SUCCESS)
        settled = await shop.gateway.inquire(refund.id)

    assert (Status.UNKNOWN, 2, "manual_review") == (before.status, before.attempts, before.next_step)
    assert before.review
    assert (Status.SETTLED, {"R1": 1}) == (settled.status, shop.moved())


async def test_a_bank_that_takes_the_money_of_a_failed_refund(tmp_path: Path, keys: AlipayKeys, box: Letterbox) -> None:
    """What the bank did with a failed refund flags it for review, once; it stays failed."""
    async with open_shop(tmp_path, keys, app_gateway=box.url) as shop:
        shop.alipay.fault("answer", code="ACQ.SYSTEM_ERROR", work="do", operation="refund")
        refund = await shop.request()
        await shop.gateway.resolve(
            refund.id,
            Operator(by="till 4", why="the customer waits"),
            settled=False,
            version=refund.version,
            offline=True,
        )
        shop.alipay.deposit_back("R1", "S")
        await box.wait_for(1)
        for _ in range(2):
            await shop.gateway.receive_notification("shop", _posted(box.got[0]))
        failed = await shop.gateway.get(refund.id)
        late_answer = [
            event
            for event in await shop.events(refund)
            if isinstance(event, Inquired) and event.outcome == "informational"
        ]

    assert (Status.FAILED, 1) == (failed.status, len(late_answer))
    assert "The bank has taken the money." in " ".join(review.message for review in failed.review)


async def test_a_new_number_waits_for_an_answer_that_counts(tmp_path: Path, keys: AlipayKeys) -> None:
    """A query within ten seconds proves nothing, so it allows no new number, even if an operator gave up the first."""
    async with open_shop(tmp_path, keys) as shop:
        shop.alipay.fault("drop_request", operation="refund")
        refund = await shop.request()
        late = shop.gateway.account("shop").sender().refund(policy.instruction_for(refund), shop.clock()).sign()
        await shop.gateway.resolve(
            refund.id,
            Operator(by="till 4", why="the customer waits"),
            settled=False,
            version=refund.version,
            offline=True,
        )
        shop.clock.move(9)
        with pytest.raises(Invalid, match="not_found"):
            await shop.request("R2", retry_of=refund.id)
        async with HttpTransport() as transport:
            await transport.send(late, 5)
        shop.clock.move(1)
        with pytest.raises(Invalid, match="succeeded"):
            await shop.request("R2", retry_of=refund.id)

    assert {"R1": 1} == shop.moved()


# --- in the name of merchants -----------------------------------------------------------------------------------------


def test_whom_it_calls_for_is_part_of_the_identity(keys: AlipayKeys) -> None:
    """Two merchants of one app are two senders; a renewed token of one seller is not, and no token is shown."""
    url = "http://127.0.0.1:1"
    one, other = (account(url, keys, app_auth_token=token).identity for token in ("T-1", "T-2"))
    old, new = (account(url, keys, app_auth_token=token, seller_id="2088").identity for token in ("T-1", "T-2"))

    assert one != other
    assert old == new != account(url, keys).identity
    assert not any(token in identity for token in ("T-1", "T-2") for identity in (one, other, old, new))


@attrs.frozen
class ByToken:
    """One gateway of Alipay with several merchants: the app_auth_token decides whose ledger is meant."""

    merchants: dict[str, str]
    http: HttpTransport

    async def send(self, request: Request, timeout: float, delivery: Delivery) -> Answer | NotSent | NoAnswer:
        address = URL(request.url, encoded=True)
        merchant = URL(self.merchants[dict(parse_qsl(request.body.decode()))["app_auth_token"]])
        routed = str(address.with_host(merchant.host or "").with_port(merchant.port))
        return await self.http.send(attrs.evolve(request, url=routed), timeout, delivery)


async def test_never_sent_again_to_another_merchant(tmp_path: Path, keys: AlipayKeys) -> None:
    """A refund whose answer was lost is not repeated under another merchant's token, who has such an order as well."""
    clock = Clock()
    settings = AlipaySettings(keys=keys, time_scale=0.0)
    async with (
        AlipaySimulator(settings, Ports(now=clock)) as first,
        AlipaySimulator(settings, Ports(now=clock)) as second,
        HttpTransport() as http,
    ):
        for merchant in (first, second):
            merchant.add_payment(Payment(id=f"P{merchant.url[-5:]}", merchant_id="1001", amount=Money(5000, "CNY", 2)))
        first.fault("drop_response", operation="refund")
        transport = ByToken({"T-1": first.url, "T-2": second.url}, http)
        id = ""
        for token in ("T-1", "T-2"):
            config = tmp_path / "refundry.toml"
            account_of = f'{section(first.url, keys, False)}app_auth_token = "{token}"\n'
            config.write_text(f'store = "sqlite:///refunds.db"\n{account_of}')
            plugins = load_plugins((), [refundry_alipay])
            async with Gateway.open(
                config, ports=Ports(now=clock), plugins=plugins, transport=transport, create=True
            ) as gateway:
                id = id or (await _requested(gateway)).id
                for _ in range(6 if token == "T-2" else 0):
                    clock.move(30)
                    await gateway.advance(id)
                refund = await gateway.get(id)

    moved: Sequence[int] = [len(merchant.ledger.movements) for merchant in (first, second)]
    assert [1, 0] == moved
    assert ("manual_review", True) == (refund.next_step, bool(refund.review))


async def _requested(gateway: Gateway) -> Refund:
    return await gateway.request(
        RefundRequest(account="shop", payment="merchant:1001", amount="12.33", currency="CNY", refund_request_id="R1")
    )
