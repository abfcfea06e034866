"""The gateway with a simulated provider and a real store."""

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from refundry.config import open_accounts, read_config
from refundry.errors import Conflict, Forged, Invalid, UnknownRefund
from refundry.gateway import Gateway
from refundry.gateway.queries import AsOf
from refundry.gateway.request import RefundRequest
from refundry.inputs import Operator
from refundry.journal.evidence import digest_of, keep_notification, read_answer, read_notification
from refundry.money import Money, OverRefund
from refundry.outbound.transport import Delivery, NoAnswer
from refundry.plugin_host import load_plugins
from refundry.provider import Answer, Notification, Request, ReviewReason
from refundry.refund import Channel, Failed, Inquired, Refund, Requested, Settled, Status, Submitted
from refundry.refund.policy import Done, Inquire, ManualReview, Submit, instruction_for
from refundry.testing.simulator.faults import Plan
from refundry.testing.simulator.ledger import Payment, State
from refundry.testing.simulator.messages import Draft, SignatureFlaw
from tests.core.shop import Shop, keys, open_shop, simulator, write_config

NOTIFY = "/notifications/shop"


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as opened:
        yield opened


@pytest.fixture
async def slow_shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """A provider that keeps every refund pending until a test finishes it."""
    async with open_shop(tmp_path, mode="async", async_delay=None) as opened:
        yield opened


async def events(shop: Shop, refund: Refund) -> list[Any]:
    return [item.event for item in await shop.gateway.history(refund.id)]


async def notice(shop: Shop, id: str, state: State = State.SUCCESS, **plan: Any) -> Notification:
    """Return the notification that the simulator would post now."""
    draft = Draft(
        operation="notification",
        path=NOTIFY,
        code="SUCCESS" if state is State.SUCCESS else "PROCESS_FAIL",
        refund=shop.antom.ledger.refunds[id],
        state=state,
    )
    message = await shop.antom._write(draft, Plan(**plan))
    return Notification("POST", NOTIFY, tuple(message.headers), message.body)


# --- asking -----------------------------------------------------------------------------------------------------------


async def test_ten_lines_are_enough(tmp_path: Path) -> None:
    """A platform opens the gateway, requests a refund, and has the result."""
    async with simulator() as antom:
        config = write_config(tmp_path, {"shop": antom.url})
        async with Gateway.open(config) as gateway:
            refund = await gateway.request(
                RefundRequest(account="shop", payment="P1", amount="12.33", currency="EUR", refund_request_id="R1")
            )

            assert Status.SETTLED is refund.status
            assert refund == await gateway.get("R1")


async def test_a_settled_refund_has_three_events(shop: Shop) -> None:
    """The request, the attempt and the result are in the log, in this order."""
    refund = await shop.request(by="till 4", reason="broken", payment_total="100.00")
    asked, sent, done = await events(shop, refund)

    assert isinstance(asked, Requested)
    assert ("till 4", "broken", Money(10000, "EUR", 2)) == (asked.by, asked.reason, asked.payment_total)
    assert isinstance(sent, Submitted)
    assert isinstance(done, Settled)
    assert (Channel.REPLY, Money(1233, "EUR", 2)) == (done.channel, done.amount)


async def test_a_repeated_request_is_one_refund(shop: Shop) -> None:
    """The same id with the same data returns the existing refund; the provider receives one request."""
    first = await shop.request()
    second = await shop.request()

    assert first == second
    assert 1 == shop.antom.ledger.refunds["R1"].requested


async def test_concurrent_requests_of_one_id_are_one_refund(shop: Shop) -> None:
    """Twenty requests of one id at the same time are one refund."""
    refunds = await asyncio.gather(*(shop.request() for _ in range(20)))

    assert 1 == len({refund.id for refund in refunds})
    assert 1 == len(shop.antom.ledger.movements)
    assert 1 == shop.antom.ledger.refunds["R1"].requested


@pytest.mark.parametrize(
    "change",
    [
        {"amount": "12.34"},
        {"currency": "USD"},
        {"payment": "P2"},
        {"reason": "other"},
        {"payment_total": "50.00"},
    ],
)
async def test_an_id_with_other_data_is_a_conflict(shop: Shop, change: dict[str, str]) -> None:
    """An id that is in use with other data is rejected, and nothing is stored or sent."""
    refund = await shop.request()
    with pytest.raises(Conflict, match=next(iter(change)) if "currency" not in change else "amount"):
        await shop.request(**change)

    assert 3 == len([item async for item in shop.gateway.journal.log()])
    assert 1 == shop.antom.ledger.refunds[refund.refund_request_id].requested


WRONG: list[tuple[str, Any]] = [
    *[("amount", text) for text in ("12.345", "１２", "1e3", "-1", "0", "NaN", "", " 1", "1,00", "01", "9" * 17)],
    *[("currency", text) for text in ("EUU", "eur", "", "XXX", "ＥＵＲ")],
    ("currency", None),
    ("account", "missing"),
    ("payment", ""),
    ("payment", "merchant:1"),
    ("refund_request_id", "R 1"),
    ("refund_request_id", "R\n1"),
    ("refund_request_id", "R" * 65),
    ("refund_request_id", 1),
    ("refund_request_id", None),
    ("reason", "a\x1b[31mb"),
    ("reason", "\ud800"),
    ("by", ""),
    ("by", "a\nb"),
    ("by", "\udcff"),
    ("payment_total", "12.32"),
    ("payment_total", "x"),
    ("retry_of", "nothing"),
]


async def test_a_wrong_request_stores_nothing(shop: Shop) -> None:
    """The error names the wrong field, and nothing is stored or sent."""
    given = {"account": "shop", "payment": "P1", "amount": "12.33", "currency": "EUR", "refund_request_id": "R1"}
    for field, value in WRONG:
        with pytest.raises((Invalid, UnknownRefund)) as caught:
            await shop.gateway.request(RefundRequest(**(given | {field: value})))

        assert field == getattr(caught.value, "field", "retry_of"), (field, value)
    assert [] == [item async for item in shop.gateway.journal.log()]
    assert {} == shop.antom.ledger.refunds


async def test_check_returns_what_request_would_record_and_stores_nothing(shop: Shop) -> None:
    """A check returns the refund that would be recorded, and stores nothing."""
    given: dict[str, Any] = {"account": "shop", "payment": "P1", "currency": "EUR", "refund_request_id": "R1"}
    checked = await shop.gateway.check(RefundRequest(amount="12.33", **given))
    with pytest.raises(Invalid):
        await shop.gateway.check(RefundRequest(amount="12.333", **given))

    assert Status.REQUESTED is checked.status
    assert [] == [item async for item in shop.gateway.journal.log()]


async def test_a_payment_is_not_refunded_beyond_its_total(shop: Shop) -> None:
    """What is open or settled for a payment never exceeds what was paid; what failed is not included."""
    shop.antom.add_payment(Payment(id="P1", amount=Money(10_000, "EUR", 2)))
    shop.antom.fault("answer", code="RISK_REJECT", operation="refund", refund_request_id="R2")
    await shop.request("R1", "60.00", payment_total="100.00")
    failed = await shop.request("R2", "40.00", payment_total="100.00")
    third = await shop.request("R3", "40.00", payment_total="100.00")
    with pytest.raises(Invalid, match="would bring the refunds of this payment to"):
        await shop.request("R4", "0.01", payment_total="100.00")

    assert (Status.FAILED, Status.SETTLED) == (failed.status, third.status)
    with pytest.raises(UnknownRefund):
        await shop.gateway.get("R4")


async def test_the_guard_holds_for_requests_at_the_same_time(shop: Shop) -> None:
    """Of ten refunds of 30 at once, three fit into 100."""
    results = await asyncio.gather(
        *(shop.request(f"R{number}", "30.00", payment_total="100.00") for number in range(10)), return_exceptions=True
    )

    assert 3 == len([result for result in results if isinstance(result, Refund)])
    assert 7 == len([result for result in results if isinstance(result, Invalid)])
    assert 3 == len(shop.antom.ledger.movements)


async def test_the_same_id_may_be_in_two_accounts(tmp_path: Path) -> None:
    """An id is unique within its account; if two accounts use it, the account must be named."""
    async with simulator() as one, simulator() as two:
        config = write_config(tmp_path, {"east": one.url, "west": two.url})
        async with Gateway.open(config) as gateway:
            for account in ("east", "west"):
                await gateway.request(
                    RefundRequest(account=account, payment="P1", amount="1.00", currency="EUR", refund_request_id="R1")
                )
            with pytest.raises(Invalid, match="several accounts"):
                await gateway.get("R1")

            assert "west" == (await gateway.get("R1", account="west")).account
            assert (1, 1) == (len(one.ledger.movements), len(two.ledger.movements))


# --- a new refund for one that failed ---------------------------------------------------------------------------------


async def test_a_failed_refund_is_replaced_by_a_new_id(shop: Shop) -> None:
    """A new id is a new refund, linked to the failed one, after an inquiry confirmed the failure."""
    shop.antom.fault("answer", code="MERCHANT_BALANCE_NOT_ENOUGH", operation="refund", refund_request_id="R1")
    first = await shop.request("R1")
    second = await shop.request("R2", retry_of="R1")

    assert (Status.FAILED, Status.SETTLED) == (first.status, second.status)
    assert first.id == second.retry_of
    assert second == await shop.request("R2", retry_of="R1")


@pytest.mark.parametrize(
    ("first_code", "new"),
    [(None, {"id": "R2"}), ("RISK_REJECT", {"id": "R1"}), ("RISK_REJECT", {"id": "R2", "payment": "P2"})],
    ids=["it is settled", "the same id", "another payment"],
)
async def test_only_a_failed_refund_is_replaced(shop: Shop, first_code: str | None, new: dict[str, str]) -> None:
    """Only a failed refund of the same payment can be replaced, and never under its own id."""
    if first_code is not None:
        shop.antom.fault("answer", code=first_code, operation="refund")
    await shop.request("R1")
    with pytest.raises((Invalid, Conflict)):
        await shop.request(retry_of="R1", **new)

    assert 1 == len(shop.antom.ledger.refunds)


async def test_a_failure_that_the_provider_does_not_confirm_is_not_replaced(shop: Shop) -> None:
    """If an inquiry finds the refund settled, there is no new refund, and the old one needs review."""
    shop.antom.fault("answer", code="RISK_REJECT", operation="refund", work="do", refund_request_id="R1")
    first = await shop.request("R1")
    with pytest.raises(Invalid, match="the provider, asked as"):
        await shop.request("R2", retry_of="R1")

    after = await shop.gateway.get(first.id)
    assert Status.FAILED is after.status
    assert [ReviewReason.SETTLED_AFTER_FAILURE] == [review.code for review in after.review]
    assert ["R1"] == list(shop.antom.ledger.refunds)


async def test_a_failed_refund_has_one_replacement(shop: Shop) -> None:
    """Of two new ids for one failed refund, requested at once or in turn, one is rejected and never sent."""
    shop.antom.fault("answer", code="MERCHANT_BALANCE_NOT_ENOUGH", operation="refund", refund_request_id="R1")
    await shop.request("R1")
    both = await asyncio.gather(
        shop.request("R2", retry_of="R1"), shop.request("R3", retry_of="R1"), return_exceptions=True
    )
    with pytest.raises(Invalid, match="replaced already"):
        await shop.request("R4", retry_of="R1")

    assert 1 == sum(isinstance(result, Invalid) for result in both)
    assert 1 == len(shop.antom.ledger.movements)


@pytest.mark.parametrize("submit", [True, False])
async def test_a_failure_that_changes_after_its_confirmation_is_not_replaced(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, submit: bool
) -> None:
    """If the failed refund changes between the confirmation and the replacement, nothing is recorded or sent."""
    shop.antom.fault("answer", code="MERCHANT_BALANCE_NOT_ENOUGH", operation="refund", refund_request_id="R1")
    first = await shop.request("R1")
    inquire = shop.gateway._inquire

    async def then_settled(*asked: Any) -> Any:
        answered = await inquire(*asked)
        async with shop.reopened() as other:
            seen = await other.get(first.id)
            await other.resolve(
                first.id, Operator(by="ada", why="it is in the settlement report"), settled=True, version=seen.version,
                offline=True, against_evidence=True,
            )  # fmt: skip
        return answered

    monkeypatch.setattr(shop.gateway, "_inquire", then_settled)
    with pytest.raises(Invalid, match="retry_of: has changed"):
        await shop.request("R2", retry_of="R1", submit=submit)

    assert ["R1"] == [row.refund_request_id for row in await shop.gateway.list()]
    assert ["R1"] == list(shop.antom.ledger.refunds)


async def test_not_found_allows_a_new_id_only_after_an_operators_decision(shop: Shop) -> None:
    """If the provider does not know the failed refund, an operator must decide, and the inquiry must be late enough."""
    shop.antom.fault("answer", code="RISK_REJECT", operation="refund", refund_request_id="R1")
    shop.antom.fault("answer", code="ORDER_NOT_EXIST", operation="inquiry", times=None)
    first = await shop.request("R1")
    with pytest.raises(Invalid, match="resolve --failed"):
        await shop.request("R2", retry_of="R1")
    by_phone = Operator(by="ada", why="the provider said so on the telephone")
    seen = await shop.gateway.get(first.id)
    await shop.gateway.resolve(first.id, by_phone, settled=False, version=seen.version)
    with pytest.raises(Invalid, match="not_found, which does not confirm that it failed$"):
        await shop.request("R2", retry_of="R1")
    terms = shop.gateway.account("shop").terms
    shop.clock.move(terms.first_inquiry)
    with pytest.raises(Invalid, match="not_found"):  # the call itself may still be running
        await shop.request("R2", retry_of="R1")
    shop.clock.move(terms.timeout)

    assert first.id == (await shop.request("R2", retry_of="R1")).retry_of


async def test_an_account_can_be_slower_than_a_call_per_second(tmp_path: Path) -> None:
    """A rate below one call per second delays calls and refuses none."""
    async with open_shop(tmp_path, terms={"requests_per_second": 0.5}) as shop:
        refund = await shop.request()

        assert Status.SETTLED is refund.status


async def test_a_failure_is_confirmed_only_by_the_identity_that_sent(shop: Shop) -> None:
    """An answer to another client identity never allows a second payment for a failed refund."""
    shop.antom.fault("answer", code="RISK_REJECT", operation="refund", refund_request_id="R1")
    await shop.request("R1")
    config = shop.config.with_name("other.toml")
    config.write_text(shop.config.read_text("utf-8").replace("SANDBOX_5Y", "SANDBOX_9Z"), "utf-8")
    async with shop.reopened(config) as gateway:
        with pytest.raises(Invalid, match="asked as SANDBOX_9Z"):
            await gateway.request(
                RefundRequest(
                    account="shop", payment="P1", amount="12.33", currency="EUR", refund_request_id="R2", retry_of="R1"
                )
            )

    assert ["R1"] == list(shop.antom.ledger.refunds)


async def test_an_inquiry_about_a_final_refund_is_recorded(shop: Shop) -> None:
    """An inquiry about a final refund records an event with its evidence, and changes no state."""
    first = await shop.request("R1")
    await shop.gateway.inquire(first.id)
    last = (await events(shop, first))[-1]
    after = await shop.gateway.get(first.id)

    assert ("succeeded", Channel.INQUIRY) == (last.outcome, last.channel)
    assert b"refundStatus" in await shop.gateway.evidence(last.evidence)
    assert (Status.SETTLED, ()) == (after.status, after.review)


async def test_the_providers_own_fields_are_part_of_the_request(shop: Shop) -> None:
    """They reach the provider and are stored with the request; repeating it with others is a conflict."""
    refund = await shop.request(details={"referenceRefundId": "REF-1"})
    sent = (await events(shop, refund))[1]

    assert b'"referenceRefundId":"REF-1"' in await shop.gateway.evidence(sent.digest)
    assert refund == await shop.request(details={"referenceRefundId": "REF-1"})
    with pytest.raises(Conflict, match="request_details"):
        await shop.request(details={"referenceRefundId": "REF-2"})


@pytest.mark.parametrize("details", [{"a": 1.5}, {1: "a"}, {"a": {1, 2}}, {"a": "x" * 20_000}, "text", {"a": "\ud800"}])
async def test_details_that_are_not_small_json_are_rejected(shop: Shop, details: Any) -> None:
    """What cannot be stored exactly, or is too long, is rejected with the name of the field."""
    with pytest.raises(Invalid, match="details"):
        await shop.request(details=details)

    assert [] == list(await shop.gateway.list())


async def test_a_key_that_the_provider_does_not_know_blocks_the_account(shop: Shop) -> None:
    """An unsigned "your signature is wrong" is not trusted, but nothing more is sent until an operator resumes it."""
    shop.antom.fault("answer", code="INVALID_SIGNATURE", operation="any", times=1)
    shop.antom.fault("bad_signature", how="unsigned", operation="any", times=1)
    first, second = await shop.request("R1"), await shop.request("R2")

    assert Status.UNKNOWN is first.status
    assert Status.REQUESTED is second.status
    assert isinstance(await shop.gateway.next_step(second), ManualReview)
    (resumed,) = await shop.gateway.resume_account("shop", Operator(by="ada", why="the right key is in place"))
    assert isinstance(await shop.gateway.next_step(resumed), Inquire)


# --- not knowing ------------------------------------------------------------------------------------------------------


async def test_a_lost_response_is_recovered_by_an_inquiry(shop: Shop) -> None:
    """A refund whose response was lost is unknown, then inquired, then settled; it is sent once."""
    shop.antom.fault("drop_response", operation="refund")
    refund = await shop.request()

    assert Status.UNKNOWN is refund.status
    assert isinstance(await shop.gateway.next_step(refund), Inquire)
    refund = await shop.later(refund)
    assert Status.SETTLED is refund.status
    assert 1 == shop.antom.ledger.refunds["R1"].requested


async def test_a_lost_request_is_sent_again_with_the_same_bytes(shop: Shop) -> None:
    """After enough "not found" answers the same id and the same bytes are sent once more."""
    shop.antom.fault("drop_request", operation="refund")
    refund = await shop.request()
    for _ in range(6):
        refund = await shop.later(refund)

    sent = [event for event in await events(shop, refund) if isinstance(event, Submitted)]
    assert Status.SETTLED is refund.status
    assert 2 == len(sent)
    assert 1 == len({event.digest for event in sent})
    assert 1 == len(shop.antom.ledger.refunds["R1"].bodies)


async def test_what_was_not_sent_is_sent_without_an_inquiry(tmp_path: Path) -> None:
    """If no byte was sent, the attempt is repeated without an inquiry."""
    async with open_shop(tmp_path) as shop:
        port = shop.antom._port
        await shop.antom.__aexit__()
        refund = await shop.request()

        assert (Status.REQUESTED, "not_sent") == (refund.status, refund.last)
        object.__setattr__(shop.antom, "settings", attrs.evolve(shop.antom.settings, port=port))
        await shop.antom.__aenter__()
        refund = await shop.later(refund)
        assert Status.SETTLED is refund.status
        assert 0 == refund.inquiries


async def test_nothing_is_done_before_it_is_due(shop: Shop) -> None:
    """Advancing a refund before its time changes nothing."""
    shop.antom.fault("drop_response", operation="refund")
    refund = await shop.request()
    step = await shop.gateway.next_step(refund)
    assert isinstance(step, Inquire)
    shop.clock.at = step.at - timedelta(seconds=0.001)

    assert refund == await shop.gateway.advance(refund.id)
    shop.clock.at = step.at
    assert refund != await shop.gateway.advance(refund.id)


async def test_not_found_from_another_identity_does_not_count(tmp_path: Path) -> None:
    """A provider that never saw the refund cannot confirm that it is missing: it needs review, and nothing is sent."""
    async with open_shop(tmp_path) as shop, simulator(shop.clock) as elsewhere:
        shop.antom.fault("drop_response", operation="refund")
        refund = await shop.request()
        moved = tmp_path / "moved"
        moved.mkdir()
        config = write_config(moved, {"shop": elsewhere.url})
        text = config.read_text("utf-8").replace("sqlite:///refunds.db", "sqlite:///../refunds.db")
        config.write_text(text, "utf-8")
        async with shop.reopened(config) as gateway:
            for _ in range(6):
                shop.clock.move(60)
                refund = await gateway.advance(refund.id)

            assert isinstance(await gateway.next_step(refund), ManualReview)
            assert {} == elsewhere.ledger.refunds
            assert 1 == refund.attempts


async def test_an_exception_in_a_reader_is_not_an_answer(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plugin that fails to read an answer leaves the refund unknown, and an inquiry follows."""

    def broken(*arguments: Any) -> Any:
        raise KeyError("resultCode")

    with monkeypatch.context() as patched:
        patched.setattr("refundry_antom.interpretation.read_refund", broken)
        refund = await shop.request()

    assert Status.UNKNOWN is refund.status
    assert Status.SETTLED is (await shop.later(refund)).status


# --- blocked ----------------------------------------------------------------------------------------------------------


async def test_a_blocked_account_waits_for_an_operator(shop: Shop) -> None:
    """A wrong contract stops the whole account; once it is fixed, all refunds continue with the same ids."""
    shop.antom.fault("answer", code="INVALID_MERCHANT_STATUS", operation="refund", refund_request_id="R1")
    blocked = await shop.request("R1")
    waits = await shop.request("R2")
    await shop.later(waits)

    assert isinstance(await shop.gateway.next_step(blocked), ManualReview)
    assert 0 == (await shop.gateway.get("R2")).attempts
    assert {} == shop.antom.ledger.refunds

    resumed = await shop.gateway.resume_account("shop", Operator(by="ann", why="the contract was fixed"))
    first, second = await shop.later(blocked), await shop.later(waits)
    assert ["R1"] == [refund.refund_request_id for refund in resumed]
    assert (Status.SETTLED, Status.SETTLED) == (first.status, second.status)
    assert 2 == first.attempts


async def test_a_blocked_account_is_blocked_for_every_process(shop: Shop) -> None:
    """Another gateway on the same store does not send for a blocked account either."""
    shop.antom.fault("answer", code="INVALID_MERCHANT_STATUS", operation="refund", refund_request_id="R1")
    await shop.request("R1")
    async with shop.reopened() as other:
        refund = await other.request(
            RefundRequest(account="shop", payment="P1", amount="1.00", currency="EUR", refund_request_id="R2")
        )

        assert 0 == refund.attempts
        assert [] == await other.journal.due_accounts(shop.clock())


async def test_blocked_twice_is_failed(shop: Shop) -> None:
    """Fixed, sent once more and answered the same: providers repeat final answers, so this refund has failed."""
    shop.antom.fault("answer", code="INVALID_MERCHANT_STATUS", operation="refund", times=2)
    refund = await shop.request()
    await shop.gateway.resume(refund.id, Operator(by="ann", why="the contract was fixed"))
    refund = await shop.later(refund)

    assert Status.FAILED is refund.status
    assert "INVALID_MERCHANT_STATUS" == (refund.failure and refund.failure.code)


# --- notifications ----------------------------------------------------------------------------------------------------


async def test_a_notification_settles_what_was_pending(slow_shop: Shop) -> None:
    """A fresh, verified notification settles a refund as the answer to an inquiry does."""
    shop = slow_shop
    refund = await shop.request()
    shop.antom.ledger.finish(shop.antom.ledger.refunds["R1"], State.SUCCESS, shop.clock())
    answer = await shop.gateway.receive_notification("shop", await notice(shop, "R1"))

    refund = await shop.gateway.get(refund.id)
    assert (Status.SETTLED, 200) == (refund.status, answer.status)
    assert "SUCCESS" == json.loads(answer.body)["result"]["resultCode"]
    assert Channel.NOTIFICATION is (await events(shop, refund))[-1].channel


async def test_a_notification_before_the_reply_is_accepted(tmp_path: Path) -> None:
    """A reply that arrives later does not undo what the notification settled."""
    async with open_shop(tmp_path) as shop:
        plain = shop.gateway._caller._transport

        class Late:
            async def send(self, request: Request, timeout: float, delivery: Delivery) -> Any:
                reply = await plain.send(request, timeout, delivery)
                await shop.gateway.receive_notification("shop", await notice(shop, "R1"))
                return reply

        shop.gateway._caller._transport = Late()
        refund = await shop.request()
        recorded = await events(shop, refund)

        assert Status.SETTLED is refund.status
        assert not refund.review
        assert [Requested, Submitted, Settled] == [type(event) for event in recorded]
        assert Channel.NOTIFICATION is recorded[-1].channel


async def test_a_notification_from_another_provider_settles_nothing(shop: Shop) -> None:
    """If the account has moved to another plugin, its notification about the same id is kept as unmatched."""
    shop.antom.fault("drop_response", operation="refund")
    refund = await shop.request()
    async with shop.reopened() as gateway:
        account = gateway.accounts["shop"]
        gateway.accounts = {"shop": attrs.evolve(account, plugin=attrs.evolve(account.plugin, name="another"))}
        await gateway.receive_notification("shop", await notice(shop, "R1"))

    assert refund == await shop.gateway.get(refund.id)
    assert ["R1"] == [unmatched.refund_request_id for unmatched in await shop.gateway.unmatched()]


async def test_an_old_notification_only_makes_it_due(slow_shop: Shop) -> None:
    """An old notification may be a replay: it makes an inquiry due, and changes nothing else."""
    shop = slow_shop
    refund = await shop.request()
    old = await notice(shop, "R1")
    shop.clock.move(3600)
    await shop.gateway.receive_notification("shop", old)

    refund = await shop.gateway.get(refund.id)
    step = await shop.gateway.next_step(refund)
    assert Status.PENDING is refund.status
    assert isinstance(step, Inquire)
    assert step.at <= shop.clock()
    assert Status.PENDING is (await shop.gateway.advance(refund.id)).status


@pytest.mark.parametrize("flaw", list(SignatureFlaw))
async def test_a_forged_notification_leaves_no_trace(slow_shop: Shop, flaw: SignatureFlaw) -> None:
    """Nothing of a message that the provider did not sign is used or stored."""
    shop = slow_shop
    refund = await shop.request()
    with pytest.raises(Forged):
        await shop.gateway.receive_notification("shop", await notice(shop, "R1", flaw=flaw))

    assert refund == await shop.gateway.get(refund.id)
    assert [] == await shop.gateway.journal.unmatched()


async def test_a_late_contradiction_needs_review_and_changes_no_state(shop: Shop) -> None:
    """A notification that contradicts a final state is recorded and flagged for review; the state stays."""
    refund = await shop.request()
    forward = await shop.gateway.receive_notification("shop", await notice(shop, "R1", State.FAIL))
    after = await shop.gateway.get(refund.id)

    assert 200 == forward.status
    assert Status.SETTLED is after.status
    assert [ReviewReason.FAILED_AFTER_SETTLEMENT] == [review.code for review in after.review]
    assert isinstance((await events(shop, refund))[-1], Inquired)
    assert isinstance(await shop.gateway.next_step(after), Done)
    assert ["R1"] == [row.refund_request_id for row in await shop.gateway.list(review=True)]

    await shop.gateway.receive_notification("shop", await notice(shop, "R1", State.FAIL))
    assert after == await shop.gateway.get(refund.id)


async def test_a_notification_of_another_amount_is_not_trusted(slow_shop: Shop) -> None:
    """A success with another amount settles nothing and needs review."""
    shop = slow_shop
    refund = await shop.request()
    book = shop.antom.ledger.refunds["R1"]
    book.amount = Money(999, "EUR", 2)
    await shop.gateway.receive_notification("shop", await notice(shop, "R1"))

    after = await shop.gateway.get(refund.id)
    assert not after.final
    assert after.review


async def test_a_notification_of_an_unknown_refund_is_kept(shop: Shop) -> None:
    """A verified notification about an unknown refund is kept once and acknowledged."""
    async with shop.reopened() as other:
        await shop.request("R1")
        notification = await notice(shop, "R1")
        shop.antom.ledger.refunds["R1"].refund_request_id = "REDIRECT_TARGET"
        notification = await notice(shop, "R1")
        for gateway in (shop.gateway, other):
            assert 200 == (await gateway.receive_notification("shop", notification)).status

    (unmatched,) = await shop.gateway.journal.unmatched()
    kept = await shop.gateway.journal.evidence(unmatched.evidence)
    assert "REDIRECT_TARGET" == unmatched.refund_request_id
    assert kept is not None
    assert notification == read_notification(kept)


async def test_copies_of_an_unmatched_notification_are_kept_once(shop: Shop) -> None:
    """A captured notification that is sent again with other unsigned headers leaves one row and one record."""
    await shop.request("R1")
    shop.antom.ledger.refunds["R1"].refund_request_id = "ELSEWHERE"
    notification = await notice(shop, "R1")
    copies = [attrs.evolve(notification, headers=(*notification.headers, ("x-copy", str(n)))) for n in range(20)]
    for copy in copies:
        assert 200 == (await shop.gateway.receive_notification("shop", copy)).status
    (kept,) = await shop.gateway.unmatched()

    assert "ELSEWHERE" == kept.refund_request_id
    assert [True] + [False] * 19 == [
        await shop.gateway.journal.evidence(digest_of(keep_notification(copy))) is not None for copy in copies
    ]


async def test_a_notification_for_an_unknown_account_is_rejected(shop: Shop) -> None:
    """A notification for an account that does not exist is rejected."""
    await shop.request("R1")
    with pytest.raises(Invalid, match="no account"):
        await shop.gateway.receive_notification("missing", await notice(shop, "R1"))


async def test_a_total_grows_with_operator_and_reason(shop: Shop) -> None:
    """A correction needs a total, a named operator and a reason; it is recorded with both and applies from then on."""
    await shop.request("R1", amount="10.00", payment_total="10.00")
    with pytest.raises(OverRefund):
        await shop.request("R2", amount="5.00", payment_total="20.00")
    given: dict[str, Any] = {"amount": "5.00", "payment_total": "20.00", "correct_total": True, "by": "ann"}
    given |= {"why": "a second capture"}
    for field, wrong in {"by": "platform", "why": None, "payment_total": None}.items():
        with pytest.raises(Invalid) as caught:
            await shop.request("R2", **given | {field: wrong})
        assert field == caught.value.field
    with pytest.raises(Invalid, match="why: explains"):
        await shop.request("R2", amount="5.00", why="no correction")
    refund = await shop.request("R2", **given)
    await shop.request("R3", amount="5.00")
    with pytest.raises(OverRefund) as over:
        await shop.request("R4", amount="0.01")

    first = (await events(shop, refund))[0]
    assert ("ann", "a second capture", True) == (first.by, first.why, first.corrects_total)
    assert 0 == over.value.remaining.minor


# --- operators --------------------------------------------------------------------------------------------------------


async def test_an_operator_decides_with_name_and_reason(slow_shop: Shop) -> None:
    """A decision is an event with the operator and the reason; both are required."""
    shop = slow_shop
    refund = await shop.request()
    for wrong in ({"by": "", "why": "seen"}, {"by": "ann", "why": ""}):
        with pytest.raises(Invalid):
            await shop.gateway.resolve(refund.id, Operator(**wrong), settled=True, version=3)
    ann, bob = Operator(by="ann", why="seen in the statement"), Operator(by="bob", why="ann was wrong")
    settled = await shop.gateway.resolve(refund.id, ann, settled=True, version=refund.version)
    failed = await shop.gateway.resolve(
        refund.id, bob, settled=False, version=settled.version, offline=True, against_evidence=True
    )

    assert (Status.SETTLED, Status.FAILED) == (settled.status, failed.status)
    last = (await events(shop, refund))[-1]
    assert isinstance(last, Failed)
    assert (Channel.OPERATOR, "bob", "ann was wrong") == (last.channel, last.by, last.why)


async def test_a_refund_as_of_a_moment(shop: Shop) -> None:
    """A refund is returned as it was known at a moment, and not at all before it was requested."""
    shop.antom.fault("drop_response", operation="refund")
    refund = await shop.request()
    then = shop.clock()
    await shop.later(refund)

    assert Status.UNKNOWN is (await shop.gateway.get("R1", as_of=AsOf(at=then))).status
    assert Status.SETTLED is (await shop.gateway.get("R1")).status
    with pytest.raises(UnknownRefund):
        await shop.gateway.get("R1", as_of=AsOf(at=then.replace(year=2020)))


# --- evidence ---------------------------------------------------------------------------------------------------------


async def test_every_answer_can_be_read_again_without_a_private_key(tmp_path: Path) -> None:
    """From the evidence alone, without the private key, each answer gives the outcome that was recorded."""
    async with open_shop(tmp_path, mode="async", async_delay=None) as shop:
        shop.antom.fault("corrupt", kind="html", operation="inquiry")
        refund = await shop.request()
        refund = await shop.later(refund)
        shop.antom.ledger.finish(shop.antom.ledger.refunds["R1"], State.SUCCESS, shop.clock())
        refund = await shop.later(refund)
        assert Status.SETTLED is refund.status

        config = read_config(shop.config)
        (account,) = open_accounts(config, load_plugins(), keys=False).values()
        instruction, read = instruction_for(refund), []
        for event in await events(shop, refund):
            if isinstance(event, Inquired | Settled):
                assert event.evidence is not None
                kept = await shop.gateway.journal.evidence(event.evidence)
                assert kept is not None
                ask = account.provider.refund if event.channel is Channel.REPLY else account.provider.inquire
                outcome = ask(instruction, event.at).read(read_answer(kept))
                read.append((getattr(event, "outcome", "settled"), outcome.kind))

    assert [("pending", "pending"), ("unknown", "unknown"), ("settled", "succeeded")] == read


async def test_what_was_sent_is_kept(shop: Shop) -> None:
    """The bytes of an attempt are evidence under the digest that its event names."""
    refund = await shop.request()
    assert refund.digest is not None
    body = await shop.gateway.journal.evidence(refund.digest)

    assert body is not None
    assert {refund.digest: 1} == shop.antom.ledger.refunds["R1"].bodies


async def test_a_partial_answer_is_kept(shop: Shop) -> None:
    """The part that arrived of an answer that broke off is evidence, too."""

    class Breaks:
        async def send(self, request: Request, timeout: float, delivery: Delivery) -> NoAnswer:
            return NoAnswer("the answer broke off", Answer(200, (("a", "b"),), b'{"half'))

    shop.gateway._caller._transport = Breaks()
    refund = await shop.request()
    last = (await events(shop, refund))[-1]
    kept = await shop.gateway.journal.evidence(last.evidence)

    assert Status.UNKNOWN is refund.status
    assert kept is not None
    assert Answer(200, (("a", "b"),), b'{"half') == read_answer(kept)


# --- secrets, the loop -------------------------------------------------------------------------------------


def store_files(directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in directory.iterdir() if path.name.startswith("refunds.db")]


async def test_no_key_is_ever_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither the store nor the log nor the output nor any repr holds a piece of the private key."""
    caplog.set_level(logging.DEBUG)
    async with open_shop(tmp_path) as shop:
        shop.antom.fault("bad_signature", operation="refund")
        refund = await shop.request()
        refund = await shop.later(refund)
        await shop.gateway.receive_notification("shop", await notice(shop, "R1"))
        account = shop.gateway.accounts["shop"]
        shown = [account, account.provider, shop.gateway, read_config(shop.config), refund]
        text = " ".join([*(repr(item) for item in shown), *(repr(getattr(account.provider, "settings", "")),)])
        files = store_files(tmp_path)

    printed = capfd.readouterr()
    places = [text, caplog.text, printed.out, printed.err, *(data.decode("latin-1") for data in files)]
    lines = keys().merchant.read_text("ascii").splitlines()
    assert len(files) >= 2
    for line in lines[1:-1]:
        assert not [place for place in places if line in place]
    assert not [place for place in places if "PRIVATE KEY" in place]


def watch_loop(monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[str]]:
    """Watch signing and SQLite; return what is called in this thread, and the connections that were opened."""
    import sqlite3

    from refundry_antom import signing

    here = threading.get_ident()
    blocked: list[str] = []
    opened: list[str] = []

    def watched(name: str, original: Any) -> Any:
        def call(*arguments: Any, **more: Any) -> Any:
            if threading.get_ident() == here:
                blocked.append(name)
            return original(*arguments, **more)

        return call

    class Connection(sqlite3.Connection):
        execute = watched("execute", sqlite3.Connection.execute)
        commit = watched("commit", sqlite3.Connection.commit)
        cursor = watched("cursor", sqlite3.Connection.cursor)

    connect = sqlite3.connect

    def connecting(*arguments: Any, **more: Any) -> sqlite3.Connection:
        opened.append("connection")
        connection: sqlite3.Connection = connect(*arguments, **({"factory": Connection} | more))
        return connection

    monkeypatch.setattr(sqlite3, "connect", connecting)
    monkeypatch.setattr(signing, "sign", watched("sign", signing.sign))
    return blocked, opened


async def test_nothing_on_the_way_blocks_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signing, fsync and SQLite run in threads: none of them is ever entered from the thread of the event loop."""
    async with simulator() as antom:
        config = write_config(tmp_path, {"shop": antom.url})
        blocked, opened = watch_loop(monkeypatch)
        async with Gateway.open(config) as gateway:
            blocked.clear()  # opening may wait; what comes now may not
            asked = RefundRequest(account="shop", payment="P1", amount="1.00", currency="EUR", refund_request_id="R")
            requests = (attrs.evolve(asked, refund_request_id=f"R{number}") for number in range(20))
            await asyncio.gather(*map(gateway.request, requests))
            await gateway.inquire((await gateway.get("R1")).id)
            await gateway.list(limit=5)

            assert opened
            assert [] == blocked


async def test_what_is_only_recorded_is_left_to_the_workers(shop: Shop) -> None:
    """A refund that is recorded and not sent is due at once, and the next step sends it."""
    refund = await shop.request(submit=False)

    assert {} == shop.antom.ledger.refunds
    assert isinstance(await shop.gateway.next_step(refund), Submit)
    assert isinstance(await shop.gateway.next_step(await shop.gateway.advance(refund.id)), Done)
