"""The gateway refunds at the simulated Alipay: real store, real sockets, a clock that the test moves."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

import refundry_alipay
from refundry.batch.csv_import import import_file
from refundry.errors import Invalid
from refundry.gateway import Gateway
from refundry.gateway.request import RefundRequest
from refundry.inputs import Operator
from refundry.money import Money, OverRefund
from refundry.plugin_host import load_plugins
from refundry.ports import Ports
from refundry.provider import Notification, ReviewReason
from refundry.refund import Inquired, Refund, Settled, Status, Submitted
from refundry.testing.simulator.ledger import Payment, State
from refundry_alipay.simulator import PLUGIN, AlipaySettings, AlipaySimulator
from refundry_alipay.simulator.keys import AlipayKeys
from tests.core.shop import Clock
from tests.plugins.alipay.merchant import Letterbox
from tests.plugins.alipay.simulated import box, keys

__all__ = ["box", "keys"]  # fixtures


@attrs.frozen
class Shop:
    """A gateway with one account, the Alipay that it is at, and the clock of both."""

    gateway: Gateway
    alipay: AlipaySimulator
    clock: Clock

    async def request(self, id: str = "R1", amount: str = "12.33", payment: str = "P1", **more: Any) -> Refund:
        submit = more.pop("submit", True)
        given = {"account": "shop", "payment": payment, "currency": "CNY"} | more
        return await self.gateway.request(RefundRequest(amount=amount, refund_request_id=id, **given), submit=submit)

    async def later(self, refund: Refund, seconds: float = 30) -> Refund:
        """Advance the clock and process what is due then."""
        self.clock.move(seconds)
        return await self.gateway.advance(refund.id)

    async def events(self, refund: Refund) -> list[Any]:
        return [item.event for item in await self.gateway.history(refund.id)]

    def moved(self) -> dict[str, int]:
        return dict(self.alipay.ledger.moved())


def section(url: str, keys: AlipayKeys, certificates: bool) -> str:
    written = PLUGIN.account_section("shop", url, keys.directory, None)
    if not certificates:
        return written
    return (
        re.sub(r"^provider_public_key = .*\n", "", written, flags=re.MULTILINE)
        .replace("# app", "app")
        .replace("# provider_cert", "provider_cert")
        .replace("# root", "root")
    )


@asynccontextmanager
async def open_shop(
    directory: Path, keys: AlipayKeys, *, account: str = "", certificates: bool = False, **settings: Any
) -> AsyncIterator[Shop]:
    clock = Clock()
    simulated = AlipaySettings(keys=keys, time_scale=0.0, certificates=certificates, **settings)
    async with AlipaySimulator(simulated, Ports(now=clock)) as alipay:
        config = directory / "refundry.toml"
        config.write_text(f'store = "sqlite:///refunds.db"\n{section(alipay.url, keys, certificates)}{account}')
        plugins = load_plugins((), [refundry_alipay])
        async with Gateway.open(config, ports=Ports(now=clock), plugins=plugins, create=True) as gateway:
            yield Shop(gateway, alipay, clock)


@pytest.fixture
async def shop(tmp_path: Path, keys: AlipayKeys) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path, keys) as opened:
        yield opened


async def test_settles(shop: Shop) -> None:
    """A refund that Alipay does at once is settled by its answer, with the time that Alipay says."""
    refund = await shop.request()

    assert (Status.SETTLED, Money(1233, "CNY", 2)) == (refund.status, refund.settled_amount)
    assert "2026-11-22T20:00:00+08:00" == refund.settled_at
    assert {"R1": 1} == shop.moved()


async def test_both_names_of_a_trade_share_its_total(shop: Shop) -> None:
    """What was refunded of a trade by its number counts when it is named by the order number, and the reverse."""
    shop.alipay.add_payment(Payment(id="P1", merchant_id="T1", amount=Money(10000, "CNY", 2)))
    first = await shop.request("R1", amount="6.00", payment_total="10.00")
    with pytest.raises(OverRefund) as caught:
        await shop.request("R2", amount="6.00", payment="merchant:T1", payment_total="10.00")
    rest = await shop.request("R3", amount="4.00", payment="merchant:T1", payment_total="10.00")
    with pytest.raises(OverRefund):
        await shop.request("R4", amount="0.01", payment_total="10.00")

    assert ("merchant:T1", "P1") == (first.payment_alias, rest.payment_alias)
    assert Money(400, "CNY", 2) == caught.value.remaining
    assert {"R1": 1, "R3": 1} == shop.moved()


@pytest.mark.parametrize("rows", [["merchant:T1,6.00"], ["P1,2.00", "merchant:T1,2.01"]], ids=["stored", "in the file"])
async def test_an_import_counts_both_names(shop: Shop, tmp_path: Path, rows: list[str]) -> None:
    """An import is checked as a whole under both names of a payment, so that none of it is recorded."""
    shop.alipay.add_payment(Payment(id="P1", merchant_id="T1", amount=Money(10000, "CNY", 2)))
    await shop.request("R1", amount="6.00", payment_total="10.00")
    table = tmp_path / "refunds.csv"
    lines = [f"shop,{row},CNY,R{number},10.00" for number, row in enumerate(rows, 2)]
    table.write_text("\n".join(["account,payment,amount,currency,id,payment_total", *lines, ""]), "utf-8")

    with pytest.raises(Invalid, match=f"line {len(rows) + 1}: amount: .* can still be refunded"):
        await import_file(
            tmp_path / "refundry.toml", table, by="tests", dry_run=False, progress=lambda what, done, total: None
        )
    assert ["R1"] == [row.refund_request_id for row in await shop.gateway.list()]


async def test_by_the_merchants_number(shop: Shop) -> None:
    """A payment is named by the merchant's order number too."""
    shop.alipay.add_payment(Payment(id="P1", merchant_id="T1", amount=Money(10000, "CNY", 2)))
    refund = await shop.request(payment="merchant:T1")

    assert (Status.SETTLED, "P1") == (refund.status, shop.alipay.ledger.refunds["R1"].payment)


async def test_partial_refunds(shop: Shop) -> None:
    """Each of several refunds of one trade is settled with its own amount, though Alipay tells the sum."""
    refunds = [await shop.request(f"R{number}", amount) for number, amount in enumerate(("1.00", "2.50", "0.01"))]

    assert [Status.SETTLED] * 3 == [refund.status for refund in refunds]
    assert [100, 250, 1] == [refund.settled_amount.minor for refund in refunds if refund.settled_amount]
    assert {"R0": 1, "R1": 1, "R2": 1} == shop.moved()


async def test_lost_answer(shop: Shop) -> None:
    """After a lost answer the query settles, ten seconds after the refund left and no sooner, and nothing is resent."""
    shop.alipay.fault("drop_response", operation="refund")
    refund = await shop.request()
    early = await shop.later(refund, 9)
    settled = await shop.later(refund, 1)

    assert [Status.UNKNOWN, Status.UNKNOWN, Status.SETTLED] == [refund.status, early.status, settled.status]
    assert (1, {"R1": 1}) == (shop.alipay.ledger.refunds["R1"].requested, shop.moved())


async def test_lost_request(shop: Shop) -> None:
    """A request that never came is sent again with the same number and the same bytes, once a query knows nothing."""
    shop.alipay.fault("drop_request", operation="refund")
    refund = await shop.request()
    for _ in range(6):
        refund = await shop.later(refund)
    sent = [event for event in await shop.events(refund) if isinstance(event, Submitted)]

    assert (Status.SETTLED, {"R1": 1}) == (refund.status, shop.moved())
    assert (2, 1) == (len(sent), len({event.digest for event in sent}))
    assert sent[1].at - sent[0].at >= shop.gateway.account("shop").terms.first_inquiry * timedelta(seconds=1)


async def test_a_repeat_is_answered_n(shop: Shop) -> None:
    """A doubled request is answered with fund_change N: only the query settles it, and it paid once."""
    shop.alipay.fault("duplicate", operation="refund")
    refund = await shop.request()
    settled = await shop.later(refund)

    assert (Status.UNKNOWN, Status.SETTLED) == (refund.status, settled.status)
    assert {"R1": 1} == shop.moved()


@pytest.mark.parametrize("accepted", ["N", "absent"])
async def test_accepted_and_done_later(tmp_path: Path, keys: AlipayKeys, accepted: str) -> None:
    """A refund that is only accepted is unsettled until a query says that it is done; it pays once."""
    async with open_shop(tmp_path, keys, mode="async", async_delay=None, accepted=accepted) as shop:
        refund = await shop.request()
        shop.alipay.finish("R1", State.SUCCESS)
        settled = await shop.later(refund)

        assert (Status.UNKNOWN, Status.SETTLED) == (refund.status, settled.status)
        assert {"R1": 1} == shop.moved()


async def test_system_error_after_the_work(shop: Shop) -> None:
    """ACQ.SYSTEM_ERROR says nothing about the money: the refund is asked about and is settled."""
    shop.alipay.fault("answer", code="ACQ.SYSTEM_ERROR", work="do", operation="refund")
    refund = await shop.request()
    for _ in range(3):
        refund = await shop.later(refund)

    assert (Status.SETTLED, {"R1": 1}) == (refund.status, shop.moved())


async def test_balance_then_resume(shop: Shop) -> None:
    """Without balance it is flagged for review each time; after the top-up the same number pays."""
    shop.alipay.add_payment(Payment(id="P1", amount=Money(10000, "CNY", 2), balance=0))
    refund = await shop.request()
    for _ in range(2):
        assert bool(refund.review)
        assert not refund.final
        refund = await shop.gateway.resume(refund.id, Operator(by="till 4", why="topped up"))
        refund = await shop.later(refund)
    shop.alipay.ledger.payments["P1"].balance = 10000
    refund = await shop.gateway.resume(refund.id, Operator(by="till 4", why="topped up, really"))
    refund = await shop.later(refund)

    assert (Status.SETTLED, {"R1": 1}) == (refund.status, shop.moved())
    assert 1 == len(shop.alipay.ledger.refunds["R1"].bodies)


async def test_finished_trade_fails(shop: Shop) -> None:
    """A trade that can no longer be refunded fails the refund permanently."""
    shop.alipay.fault("answer", code="ACQ.TRADE_HAS_FINISHED", operation="refund")
    refund = await shop.request()

    assert (Status.FAILED, {}) == (refund.status, shop.moved())


async def test_bank_refuses_after_settlement(tmp_path: Path, keys: AlipayKeys, box: Letterbox) -> None:
    """The bank's refusal is noted on a settled refund, which stays settled."""
    async with open_shop(tmp_path, keys, app_gateway=box.url) as shop:
        refund = await shop.request()
        shop.alipay.deposit_back("R1", "F")
        await box.wait_for(1)
        acknowledged = await shop.gateway.receive_notification("shop", _posted(box.got[0]))
        again = await shop.gateway.get(refund.id)
        late_answer = (await shop.events(refund))[-1]

    assert (b"success", Status.SETTLED) == (acknowledged.body, again.status)
    assert isinstance(late_answer, Inquired)
    assert ("informational", "DBACK_F") == (late_answer.outcome, late_answer.code)


async def test_facts_that_a_query_states_later_are_shown(shop: Shop) -> None:
    """The time of payment and a bank return, missing in the settling answer, are the refund's once a query has them."""
    for name in ("gmt_refund_pay", "refund_detail_item_list"):
        shop.alipay.fault("rewrite", operation="refund", find=f'"{name}"', replace=f'"not_{name}"')
    refund = await shop.request()
    back = '"deposit_back_info_list":[{"has_deposit_back":true,"dback_status":"f","dback_amount":"1.01"}],"trade_no"'
    shop.alipay.fault("rewrite", operation="inquiry", find='"trade_no"', replace=back)
    after = await shop.gateway.inquire(refund.id)

    assert (None, "2026-11-22T20:00:00+08:00") == (refund.settled_at, after.settled_at)
    assert after.details is not None
    assert (True, "f") == tuple(
        after.details["deposit_back_info_list"][0][name] for name in ("has_deposit_back", "dback_status")
    )
    assert "The refund stays done." in after.details["bank_return"]


async def test_lower_case_as_alipays_page_prints_it(shop: Shop) -> None:
    """`refund_success`, `acq.trade_has_finished` and a fund_change in lower case mean what they mean in upper case."""
    shop.alipay.fault("rewrite", operation="refund", find='"Y"', replace='"y"', refund_request_id="R1")
    shop.alipay.fault("answer", code="ACQ.TRADE_HAS_CLOSE", operation="refund", refund_request_id="R2")
    settled = await shop.request("R1")
    shop.alipay.fault("rewrite", operation="refund", find="ACQ.TRADE_HAS_CLOSE", replace="acq.trade_has_close")
    failed = await shop.request("R2")

    assert (Status.SETTLED, Status.FAILED) == (settled.status, failed.status)


async def test_a_success_without_an_optional_field_needs_review(shop: Shop) -> None:
    """A signed REFUND_SUCCESS that names no amount settles nothing, and an operator learns of it at once."""
    shop.alipay.fault("drop_response", operation="refund")
    refund = await shop.request()
    shop.alipay.fault("rewrite", operation="inquiry", find='"refund_amount"', replace='"amount"')
    refund = await shop.later(refund)

    assert (Status.UNKNOWN, [ReviewReason.INCOMPLETE_ANSWER]) == (
        refund.status, [review.code for review in refund.review]
    )  # fmt: skip


async def test_alipays_own_words_are_shown(shop: Shop) -> None:
    """A failure has sub_code and sub_msg, and a review quotes them."""
    shop.alipay.fault("answer", code="ACQ.TRADE_HAS_FINISHED", operation="refund", refund_request_id="R1")
    shop.alipay.fault("answer", code="ACQ.INVALID_PARAMETER", operation="refund", refund_request_id="R2")
    failed, blocked = await shop.request("R1"), await shop.request("R2")

    assert failed.provider_message is not None
    assert failed.provider_message.startswith("ACQ.TRADE_HAS_FINISHED: ")
    assert '(provider: "ACQ.INVALID_PARAMETER: ' in blocked.review[0].message


@pytest.mark.parametrize("code", ["ACQ.SYSTEM_ERROR", "ACQ.ENTERPRISE_PAY_BIZ_ERROR"])
async def test_the_same_error_again_and_again_needs_review(shop: Shop, code: str) -> None:
    """Alipay's page asks to contact support if the error stays after several retries: a fourth one flags the refund."""
    shop.alipay.fault("drop_response", operation="refund")
    refund = await shop.request()
    shop.alipay.fault("answer", code=code, operation="inquiry", times=4)
    flags = []
    for _ in range(4):
        refund = await shop.later(refund, 400)
        flags.append([review.code for review in refund.review])
    message = refund.review[0].message
    ended = await shop.later(refund, 400)

    assert [[]] * 3 + [[ReviewReason.REPEATED_ERROR]] == flags
    assert "Ask Alipay's support" in message
    assert (Status.SETTLED, ()) == (ended.status, ended.review)


@pytest.mark.parametrize(
    "form",
    [{}, {"notify_charset": "gbk"}, {"notify_charset": "gb18030", "charset_in": "header", "sign_type_signed": True}],
    ids=["usual", "gbk", "unusual"],
)
async def test_settled_by_a_notification(
    tmp_path: Path, keys: AlipayKeys, box: Letterbox, form: dict[str, Any]
) -> None:
    """A notification, however it is written, settles a refund whose answer was lost; a repetition changes nothing."""
    async with open_shop(tmp_path, keys, notify_url=box.url, notify_sync=True, **form) as shop:
        shop.alipay.fault("drop_response", operation="refund")
        refund = await shop.request()
        await box.wait_for(1, form.get("notify_charset", "utf-8"))
        for _ in range(2):
            assert b"success" == (await shop.gateway.receive_notification("shop", _posted(box.got[0]))).body
        settled = await shop.gateway.get(refund.id)
        ends = [event for event in await shop.events(refund) if isinstance(event, Settled)]

    assert (Status.UNKNOWN, Status.SETTLED, 1) == (refund.status, settled.status, len(ends))


@pytest.mark.parametrize(("account", "answers"), [("gbk", "requested"), ("utf-8", "gbk"), ("gbk", "utf-8")])
async def test_gbk(tmp_path: Path, keys: AlipayKeys, account: str, answers: str) -> None:
    """A refund with a reason that is not ASCII is settled, whether Alipay answers in the account's charset or not."""
    options: dict[str, Any] = {"details": True, "answer_charset": answers}
    async with open_shop(tmp_path, keys, account=f'charset = "{account}"\n', **options) as shop:
        shop.alipay.fault("drop_response", operation="refund")
        refund = await shop.later(await shop.request(reason="正常退款"))

    assert (Status.SETTLED, {"R1": 1}) == (refund.status, shop.moved())


async def test_certificate_mode(tmp_path: Path, keys: AlipayKeys) -> None:
    """An account in certificate mode refunds at an Alipay in certificate mode, and verifies its answers."""
    async with open_shop(tmp_path, keys, certificates=True) as shop:
        refund = await shop.request()
        shop.alipay.fault("bad_signature", operation="refund")
        forged = await shop.request("R2")

    assert (Status.SETTLED, Status.UNKNOWN) == (refund.status, forged.status)


async def test_everything_is_kept(tmp_path: Path, keys: AlipayKeys) -> None:
    """Everything that a query may tell of a refund is in its details, the parts that are rarely there too."""
    everything = '["refund_detail_item_list", "gmt_refund_pay", "deposit_back_info", "deposit_back_info_list"]'
    account = f"query_options = {everything}\n"
    async with open_shop(tmp_path, keys, account=account, details=True, deposit_back="P") as shop:
        shop.alipay.fault("drop_response", operation="refund")
        refund = await shop.later(await shop.request())

    kept = dict(refund.details or {})
    wanted = {
        "deposit_back_info", "deposit_back_info_list", "pre_auth_cancel_fee", "refund_charge_info_list",
        "refund_detail_item_list", "refund_hyb_amount", "refund_royaltys", "send_back_fee",
    }  # fmt: skip
    assert wanted <= set(kept)
    assert "transfer" == kept["refund_royaltys"][0]["royalty_type"]


FORGERIES = [{"fault": "bad_signature", "how": how} for how in ("wrong_key", "flipped_bit", "unsigned")] + [
    {"fault": "corrupt", "kind": kind}
    for kind in ("half_json", "empty", "duplicate_keys", "not_utf8", "random", "http_500")
]


@pytest.mark.parametrize("fault", FORGERIES, ids=lambda fault: "-".join(fault.values()))
async def test_what_is_not_believed(shop: Shop, fault: dict[str, Any]) -> None:
    """An answer that is forged or spoilt settles nothing: the query does, and the refund paid once."""
    shop.alipay.faults.add({**fault, "operation": "refund"})
    refund = await shop.request()
    settled = await shop.later(refund)

    assert (Status.UNKNOWN, Status.SETTLED) == (refund.status, settled.status)
    assert {"R1": 1} == shop.moved()


async def test_unknown_app_stops_the_account(tmp_path: Path, keys: AlipayKeys) -> None:
    """An unsigned answer that the app is unknown flags the refund and blocks the account; nothing is trusted."""
    async with open_shop(tmp_path, keys, app_id="2021000000000001") as shop:
        refund = await shop.request()

    assert (Status.UNKNOWN, {}) == (refund.status, shop.moved())
    assert ["BLOCKED_ACCOUNT"] == [review.code for review in refund.review]


@pytest.mark.parametrize(("token", "status"), [("T-1", Status.SETTLED), ("T-2", Status.UNKNOWN)])
async def test_in_the_name_of_a_merchant(tmp_path: Path, keys: AlipayKeys, token: str, status: Status) -> None:
    """The merchant's app_auth_token is sent; one that Alipay does not accept flags the refund unpaid."""
    account = f'app_auth_token = "{token}"\n'
    async with open_shop(tmp_path, keys, account=account, app_auth_token="T-1") as shop:
        refund = await shop.request()

    assert status is refund.status
    assert (bool(refund.review)) == (shop.moved() == {})


async def test_failures_in_another_node(tmp_path: Path, keys: AlipayKeys) -> None:
    """A gateway failure that comes as error_response is trusted: it waits for an operator and pays afterwards."""
    async with open_shop(tmp_path, keys, error_response=True) as shop:
        shop.alipay.fault("answer", code="isv.insufficient-isv-permissions", operation="refund")
        refund = await shop.request()
        await shop.gateway.resume_account("shop", Operator(by="till 4", why="the contract was signed"))
        settled = await shop.later(refund)

    assert bool(refund.review)
    assert (Status.SETTLED, {"R1": 1}) == (settled.status, shop.moved())


def _posted(body: bytes) -> Notification:
    return Notification("POST", "/notifications/shop", (("content-type", "application/x-www-form-urlencoded"),), body)
