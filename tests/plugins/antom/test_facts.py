"""Everything that the simulated Antom states is recorded and shown, also after the settling reply."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from refundry import cli
from refundry.money import Money
from refundry.provider import DefinitiveFailure, Notification, ReviewReason, Succeeded
from refundry.provider.signatures import load_private_key
from refundry.refund import Inquired, Status
from refundry.testing.simulator.ledger import Payment, Settlement, State
from refundry_antom import signing
from refundry_antom.simulator import CLIENT_ID
from tests.core.shop import Shop, keys, open_shop
from tests.plugins.antom.given import read_inquiry, read_notification, sample

PAYMENT = Payment(id="P1", amount=Money(10_000, "EUR", 2), settlement=Settlement("USD", "1.10"))


async def shown(shop: Shop, capsys: pytest.CaptureFixture[str], id: str = "R1") -> dict[str, Any]:
    """Return what `show --json` prints."""

    def run() -> dict[str, Any]:
        with pytest.raises(SystemExit):
            cli.main(["--config", str(shop.config), "show", id, "--json"])
        value: dict[str, Any] = json.loads(capsys.readouterr().out)
        return value

    return await asyncio.to_thread(run)


async def test_a_settlement_that_is_stated_later_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Time, settlement amount, rate and trace numbers are missing in the reply, and `show --json` has them later."""
    async with open_shop(tmp_path) as shop:
        shop.antom.add_payment(PAYMENT)
        for name in ("refundTime", "grossSettlementAmount", "settlementQuote"):
            shop.antom.fault("rewrite", operation="refund", find=f'"{name}"', replace=f'"not{name}"')
        await shop.request()
        before = await shown(shop, capsys)
        shop.antom.fault("rewrite", operation="inquiry", find='"refundStatus"', replace='"arn":"77","refundStatus"')
        await shop.gateway.inquire((await shop.gateway.get("R1")).id)
        after = await shown(shop, capsys)

    assert (None, None, None) == (before["settled_at"], before["settlement_amount"], before["quote"])
    assert "2026-11-22T12:00:00+00:00" == after["settled_at"]
    assert {"value": "13.56", "currency": "USD"} == after["settlement_amount"]
    assert ("EUR/USD", "1.10") == (after["quote"]["pair"], after["quote"]["price"])
    assert "77" == after["details"]["arn"]
    assert "settled" == after["status"]


async def test_a_notification_that_alone_states_a_fact_is_an_event(tmp_path: Path) -> None:
    """It is recorded with its evidence and acknowledged; received again it adds nothing."""
    async with open_shop(tmp_path) as shop:
        refund = await shop.request()
        notification = notified(shop, arn="77")
        for _ in range(2):
            await shop.gateway.receive_notification("shop", notification)
        history = await shop.gateway.history(refund.id)
        after = await shop.gateway.get(refund.id)
        last = history[-1].event
        assert isinstance(last, Inquired)
        kept = await shop.gateway.evidence(last.evidence or "")

    assert refund.version + 1 == len(history)
    assert "informational" == last.outcome
    assert notification.body in kept
    assert {"arn": "77"} == after.details


def notified(shop: Shop, **more: str) -> Notification:
    """Return a notification of Antom's about R1, with further fields."""
    fields = {
        "notifyType": "REFUND_RESULT",
        "refundStatus": "SUCCESS",
        "refundRequestId": "R1",
        "refundId": shop.antom.ledger.refunds["R1"].refund_id,
        "refundAmount": {"currency": "EUR", "value": "1233"},
        "result": {"resultCode": "SUCCESS", "resultStatus": "S", "resultMessage": "success"},
    }
    body, time = json.dumps(fields | more).encode(), shop.clock().isoformat(timespec="seconds")
    key = load_private_key(keys().provider.read_bytes(), "provider")
    signature = signing.sign(key, signing.content("POST", "/n", CLIENT_ID, time, body))
    headers = [("signature", signature), ("request-time", time), ("client-id", CLIENT_ID)]
    return Notification("POST", "/n", headers, body)


async def test_antoms_own_message_is_shown_everywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`show`, `list --json`, the events and the reason for a review have what Antom wrote."""
    async with open_shop(tmp_path) as shop:
        shop.antom.fault("answer", code="RISK_REJECT", operation="refund", refund_request_id="R1")
        shop.antom.fault("answer", code="SYSTEM_ERROR", operation="refund", refund_request_id="R2")
        failed = await shop.request("R1")
        open_one = await shop.request("R2")
        listed = await shown_list(shop, capsys)
        one = await shown(shop, capsys)

    message = "The request is rejected because of the risk control."
    assert (Status.FAILED, message) == (failed.status, failed.provider_message)
    assert [message] * 2 == [shown["provider_message"] for shown in (one["failure"], one["events"][-1])]
    assert one["failure"] == listed["R1"]["failure"]
    assert '(provider: "A system error occurred.")' in open_one.review[0].message
    assert '(provider: "A system error occurred.")' in listed["R2"]["review"][0]["message"]


async def shown_list(shop: Shop, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Return what `list --json` prints, by refund_request_id."""

    def run() -> dict[str, Any]:
        with pytest.raises(SystemExit):
            cli.main(["--config", str(shop.config), "list", "--json"])
        rows = map(json.loads, capsys.readouterr().out.splitlines())
        return {row["refund_request_id"]: row for row in rows}

    return await asyncio.to_thread(run)


async def test_nulls_mean_not_found(tmp_path: Path) -> None:
    """An answer `S` without any field of the refund counts as "not found": the refund is sent again and settles."""
    async with open_shop(tmp_path, missing_shows_nulls=True) as shop:
        shop.antom.fault("drop_request", operation="refund")
        refund = await shop.request()
        for _ in range(4):
            refund = await shop.later(refund)
        outcomes = [
            item.event.outcome for item in await shop.gateway.history(refund.id) if isinstance(item.event, Inquired)
        ]

    assert "not_found" in outcomes
    assert (Status.SETTLED, 2) == (refund.status, refund.attempts)


async def test_the_same_error_again_and_again_needs_review(tmp_path: Path) -> None:
    """A fourth SYSTEM_ERROR in a row flags the refund with the documented advice; inquiries continue until the end."""
    async with open_shop(tmp_path, mode="async", async_delay=None) as shop:
        refund = await shop.request()
        shop.antom.fault("answer", code="SYSTEM_ERROR", operation="inquiry", times=6)
        flags = []
        for _ in range(6):
            refund = await shop.later(refund)
            flags.append([review.code for review in refund.review])
        message = refund.review[0].message
        shop.antom.finish("R1", State.SUCCESS)
        ended = await shop.later(refund)

    assert [[]] * 3 + [[ReviewReason.REPEATED_ERROR]] * 3 == flags
    assert "Ask Antom's technical support" in message
    assert (Status.SETTLED, ()) == (ended.status, ended.review)


async def test_an_early_not_found_does_not_count_and_is_kept(tmp_path: Path) -> None:
    """An operator who inquires at once gets the answer as an informational event with evidence; the plan stays."""
    async with open_shop(tmp_path) as shop:
        shop.antom.fault("drop_request", operation="refund")
        refund = await shop.request()
        asked = await shop.gateway.inquire(refund.id)
        event = (await shop.gateway.history(refund.id))[-1].event

    assert isinstance(event, Inquired)
    assert ("informational", "ORDER_NOT_EXIST", True) == (event.outcome, event.code, event.evidence is not None)
    assert "too early" in asked.notes[-1].cause
    assert (refund.status, refund.next_at, 0) == (asked.status, asked.next_at, asked.not_found)


async def test_a_contract_that_does_not_cover_it_blocks_one_refund(tmp_path: Path) -> None:
    """INVALID_CONTRACT speaks of "the current transaction": other refunds of the account are sent."""
    async with open_shop(tmp_path) as shop:
        shop.antom.fault("answer", code="INVALID_CONTRACT", operation="refund", refund_request_id="R1")
        blocked, other = await shop.request("R1"), await shop.request("R2")

    assert (ReviewReason.BLOCKED_REQUEST, Status.SETTLED) == (blocked.review[0].code, other.status)


async def test_show_quotes_antom(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The text for people has Antom's words next to our cause and advice, and the settlement amount with its rate."""
    async with open_shop(tmp_path) as shop:
        shop.antom.add_payment(PAYMENT)
        shop.antom.fault("answer", code="RISK_REJECT", operation="refund", refund_request_id="R2")
        await shop.request("R1")
        await shop.request("R2", payment="P2")

        def run(id: str) -> str:
            with pytest.raises(SystemExit):
                cli.main(["--config", str(shop.config), "show", id])
            return capsys.readouterr().out

        settled, failed = await asyncio.to_thread(run, "R1"), await asyncio.to_thread(run, "R2")

    assert "settlement amount: 13.56 USD, EUR/USD at 1.10" in settled
    assert 'antom: "The request is rejected because of the risk control."' in failed


@pytest.mark.parametrize(("written", "settled_at"), [("2026-11-22T20:00:00+08:00", True), ("yesterday", False)])
def test_a_time_that_is_not_iso_8601_keeps_its_name(written: str, settled_at: bool) -> None:
    """`refundTime` is the time of settlement in ISO 8601, and otherwise a detail under Antom's name."""
    outcome = read_inquiry(json.dumps(json.loads(sample("inquiry_success")) | {"refundTime": written}).encode())

    assert isinstance(outcome, Succeeded)
    assert (written if settled_at else None) == outcome.settled_at
    assert (None if settled_at else written) == (outcome.details or {}).get("refundTime")


def test_a_failure_in_a_notification_keeps_everything() -> None:
    """Antom's id, its message and the time are in the outcome."""
    body = json.loads(sample("notification_fail")) | {"refundTime": "2026-11-22T20:00:00+08:00"}
    outcome = read_notification(json.dumps(body).encode())

    assert isinstance(outcome, DefinitiveFailure)
    assert (body["refundId"], body["result"]["resultMessage"]) == (outcome.provider_refund_id, outcome.provider_message)
    assert {"refundTime": "2026-11-22T20:00:00+08:00"} == outcome.details
