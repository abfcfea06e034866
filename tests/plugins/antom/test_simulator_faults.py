"""Every fault of the simulator does what it says, over real HTTP, and is counted in the ledger."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from refundry.ports import Ports
from refundry.testing.simulator.faults import BRACKETS, HUGE
from refundry.testing.simulator.ledger import State
from refundry.testing.simulator.notifications import INTERVALS
from tests.plugins.antom.merchant import ACKNOWLEDGED, Letterbox
from tests.plugins.antom.simulated import Start, box, keys, start

__all__ = ["box", "keys", "start"]  # fixtures


async def test_lose_request(start: Start) -> None:
    """A lost request is closed without an answer and leaves nothing in the ledger but the count of the fault."""
    simulator, merchant = await start()
    await merchant.fault("drop_request", operation="refund")
    with pytest.raises(aiohttp.ClientError):
        await merchant.refund()

    assert {} == simulator.ledger.refunds
    assert {"drop_request": 1} == simulator.ledger.fired
    assert "SUCCESS S" == (await merchant.refund()).result


async def test_lose_answer(start: Start) -> None:
    """With a lost answer the refund is done and the connection closed; a repeat gets the answer and moves nothing."""
    simulator, merchant = await start()
    await merchant.fault("drop_response")
    with pytest.raises(aiohttp.ClientError):
        await merchant.refund()

    assert 1 == len(simulator.ledger.movements)
    assert "SUCCESS S" == (await merchant.refund()).result
    assert 1 == len(simulator.ledger.movements)


async def test_hang(start: Start) -> None:
    """An answer can be withheld permanently: the refund is done, and only the client's timeout ends the wait."""
    simulator, merchant = await start()
    await merchant.fault("drop_response", how="hang")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(merchant.refund(), 0.3)

    assert 1 == len(simulator.ledger.movements)


@pytest.mark.slow
@pytest.mark.parametrize("late", [False, True])
async def test_delay(start: Start, late: bool) -> None:
    """A delay holds the answer back; `late` holds the work back too, which is done even if the client has gone."""
    simulator, merchant = await start()
    await merchant.fault("delay", seconds="0.5", late=late)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(merchant.refund(), 0.2)

    assert (0 if late else 1) == len(simulator.ledger.movements)
    await asyncio.sleep(0.6)
    assert 1 == len(simulator.ledger.movements)


async def test_duplicate_request(start: Start) -> None:
    """A request delivered twice is counted twice and moves money once."""
    simulator, merchant = await start()
    await merchant.fault("duplicate", operation="refund")

    assert "SUCCESS S" == (await merchant.refund()).result
    assert (2, 1) == (simulator.ledger.refunds["R1"].requested, len(simulator.ledger.movements))


async def test_duplicate_notification(start: Start, box: Letterbox) -> None:
    """A notification can be sent twice."""
    _, merchant = await start(notify_url=box.url, notify_sync=True)
    await merchant.fault("duplicate", operation="notification")
    await merchant.refund()

    first, second = await box.wait_for(2)
    assert first == second


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_notification_before_the_reply(start: Start, box: Letterbox, mode: str) -> None:
    """Reordered, the notification is there before the reply to the refund."""
    _, merchant = await start(mode=mode, async_delay=None, notify_url=box.url)
    await merchant.fault("reorder", operation="refund")
    reply = await merchant.refund()

    assert 1 == len(box.got)
    assert ("SUCCESS S" if mode == "sync" else "REFUND_IN_PROCESS U") == reply.result


async def test_notifications_swapped(start: Start, box: Letterbox) -> None:
    """A reordered notification waits until the next one has gone."""
    _, merchant = await start(notify_url=box.url, notify_sync=True)
    await merchant.fault("reorder", operation="notification", refund_request_id="R1")
    await merchant.refund("R1")
    await merchant.refund("R2")

    assert ["R2", "R1"] == [notice["refundRequestId"] for notice in await box.wait_for(2)]


async def test_states_swapped(start: Start, box: Letterbox) -> None:
    """Two notifications of one refund with different states can be swapped: each is sent by a control call."""
    _, merchant = await start(notify_url=box.url)
    await merchant.refund("R1")
    await merchant.fault("reorder", operation="notification")
    await merchant.control("POST", "refunds/R1/notify", {"status": "FAIL"})
    await merchant.control("POST", "refunds/R1/notify")

    assert ["SUCCESS", "FAIL"] == [notice["refundStatus"] for notice in await box.wait_for(2)]


async def test_answer_instead_of_doing(start: Start) -> None:
    """A business failure that replaces the work is remembered against the id; a refusal at the gate is not."""
    simulator, merchant = await start()
    await merchant.fault("answer", code="RISK_REJECT")
    await merchant.fault("answer", code="ACCESS_DENIED", skip=1)
    reply = [(await merchant.refund(id)).result for id in ("R1", "R2", "R1", "R2")]

    assert ["RISK_REJECT F", "ACCESS_DENIED F", "RISK_REJECT F", "SUCCESS S"] == reply
    assert ["R2"] == list(simulator.ledger.moved())


async def test_answer_although_done(start: Start) -> None:
    """A code can be answered although the refund is done, with any result status."""
    simulator, merchant = await start()
    await merchant.fault("answer", code="SYSTEM_ERROR", work="do")
    await merchant.fault("answer", code="WHATEVER", status="U", operation="inquiry")
    reply, inquired = await merchant.refund(), await merchant.inquire()

    assert ("SYSTEM_ERROR F", "WHATEVER U") == (reply.result, inquired.result)
    assert {"result"} == set(reply.data)
    assert 1 == len(simulator.ledger.movements)
    assert "SUCCESS" == (await merchant.inquire()).data["refundStatus"]


async def test_answer_with_another_state(start: Start) -> None:
    """An inquiry and a notification can be made to claim another refundStatus."""
    _, merchant = await start()
    await merchant.refund()
    await merchant.fault("answer", operation="inquiry", code="SUCCESS", state="PROCESSING", work="do")

    assert "PROCESSING" == (await merchant.inquire()).data["refundStatus"]


CORRUPTED: dict[str, tuple[int, bool]] = {
    "html": (200, False), "half_json": (200, True), "empty": (200, True), "huge": (200, True),
    "brackets": (200, True), "duplicate_keys": (200, True), "not_utf8": (200, True), "random": (200, True),
    "http_500": (500, False), "http_502_html": (502, False), "redirect": (307, False),
}  # fmt: skip


@pytest.mark.parametrize("kind", CORRUPTED)
async def test_corrupt(start: Start, kind: str) -> None:
    """A corrupt answer is what its name says; the refund is done; a page from something in front is unsigned."""
    simulator, merchant = await start()
    await merchant.fault("corrupt", kind=kind)
    reply = await merchant.refund()

    assert CORRUPTED[kind] == (reply.status, reply.genuine)
    assert 1 == len(simulator.ledger.movements)
    assert not _plain(reply.body)
    if kind == "huge":
        assert len(reply.body) > HUGE
    if kind == "brackets":
        assert b"[" * BRACKETS == reply.body
    if kind == "redirect":
        assert "/elsewhere" == reply.headers["location"]


def _plain(body: bytes) -> bool:
    """Return whether this reads as one small object whose keys are unique."""
    doubled: list[bool] = []

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        doubled.append(len(dict(found)) != len(found))
        return dict(found)

    try:
        data = json.loads(body, object_pairs_hook=pairs)
    except (ValueError, RecursionError):
        return False
    return "result" in data and not any(doubled) and len(body) < 65_536


async def test_followed_redirect_is_counted(start: Start) -> None:
    """A client that follows the redirect is visible in the ledger."""
    simulator, merchant = await start()
    async with merchant.session.post(f"{merchant.url}/elsewhere") as answer:
        assert b"NO_INTERFACE_DEF" in await answer.read()

    assert 1 == simulator.ledger.fired["redirect followed"]


@pytest.mark.parametrize("how", ["wrong_key", "flipped_bit", "unsigned", "no_time"])
async def test_bad_signature(start: Start, how: str) -> None:
    """Each kind of wrong signature is not accepted, on answers and on notifications, and the message reads well."""
    _, merchant = await start()
    await merchant.fault("bad_signature", how=how)
    reply = await merchant.refund()

    assert (False, "SUCCESS S") == (reply.genuine, reply.result)
    assert (how != "unsigned") == ("signature" in reply.headers)
    assert (how not in ("unsigned", "no_time")) == ("response-time" in reply.headers)


async def test_badly_signed_notification(start: Start, box: Letterbox) -> None:
    """A notification can be signed with the wrong key."""
    _, merchant = await start(notify_url=box.url, notify_sync=True)
    await merchant.fault("bad_signature", operation="notification")
    await merchant.refund()
    await box.wait_for(1)

    path, headers, body = box.got[0]
    assert not merchant.genuine(path, headers, body, "Request-Time")


async def test_wrong_amounts_and_currencies(start: Start) -> None:
    """The amount and the currency can be wrong in a genuine answer, one after the other; the ledger stays right."""
    simulator, merchant = await start()
    await merchant.fault("wrong_amount", more=5)
    await merchant.fault("wrong_currency", currency="JPY")
    reply = await merchant.refund()

    assert ({"currency": "JPY", "value": "105"}, True) == (reply.data["refundAmount"], reply.genuine)
    assert "1.00" == str(simulator.ledger.movements[0].amount)
    assert {"currency": "EUR", "value": "100"} == (await merchant.inquire()).data["refundAmount"]


@pytest.mark.parametrize("known", [True, False])
async def test_other_refund(start: Start, known: bool) -> None:
    """The genuine answer of another refund can come, of a real one if there is one."""
    _, merchant = await start()
    if known:
        await merchant.refund("R0")
    await merchant.fault("other_refund")
    reply = await merchant.refund("R1")

    assert reply.genuine
    assert ("R0" if known else "OTHERR1") == reply.data["refundRequestId"]


async def test_rules_match_and_end(start: Start) -> None:
    """A rule waits for its id, its operation and its skips, happens as often as it may, and then no more."""
    simulator, merchant = await start()
    rule = simulator.fault(
        "answer", operation="inquiry", code="UNKNOWN_EXCEPTION", refund_request_id="R1", skip=1, times=2
    )
    await merchant.refund("R1")
    await merchant.refund("R2")
    reply = [(await merchant.inquire(id)).result for id in ("R2", "R1", "R1", "R2", "R1", "R1")]

    unknown, fine = "UNKNOWN_EXCEPTION U", "SUCCESS S"
    assert [fine, fine, unknown, fine, unknown, fine] == reply
    assert (2, 0) == (rule.fired, rule.times)


async def test_probability_is_seeded(start: Start) -> None:
    """The same seed throws the same dice; a probability of 0 never happens and one in two sometimes does."""
    reply: list[list[str]] = []
    for _ in range(2):
        simulator, merchant = await start(seed=7)
        simulator.fault("answer", code="UNKNOWN_EXCEPTION", probability="50%", times=None)
        simulator.fault("drop_response", probability="0.0", times=None)
        reply.append([(await merchant.refund(f"R{number}")).result for number in range(20)])

    assert reply[0] == reply[1]
    assert 2 == len(set(reply[0]))


@pytest.mark.slow
async def test_notification_retries(start: Start, box: Letterbox) -> None:
    """A notification is repeated until the documented body comes with HTTP 200: nothing else ends it."""
    simulator, merchant = await start(notify_url=box.url, notify_sync=True)
    box.answers = [(500, ACKNOWLEDGED), (200, b""), (200, b"success"), (200, ACKNOWLEDGED.replace(b'"S"', b'"F"'))]
    await merchant.refund()
    await box.wait_for(5)
    await asyncio.sleep(0.3)

    assert 5 == len(box.got)
    refund = simulator.ledger.refunds["R1"]
    assert (5, 1) == (refund.notifications_sent, refund.notifications_acknowledged)


async def test_notifications_follow_no_redirect(start: Start, box: Letterbox) -> None:
    """A redirect is not an acknowledgement and is not followed: the next try goes to the address that was given."""
    simulator, merchant = await start(notify_url=box.url, notify_sync=True)
    box.answers = [(307, b"")]
    await merchant.refund()
    await box.wait_for(2)
    await asyncio.sleep(0.1)

    assert 2 == simulator.ledger.refunds["R1"].notifications_sent


async def test_notification_schedule(start: Start, box: Letterbox) -> None:
    """Eight tries at the documented intervals times `time_scale`, and then it gives up."""
    box.answers = [(503, b"")] * 20
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    simulator, merchant = await start(Ports(sleep=sleep), notify_url=box.url, notify_sync=True)
    await merchant.refund()
    await box.wait_for(8)
    await asyncio.sleep(0.2)

    assert (0, 120, 600, 600, 3_600, 7_200, 21_600, 54_000) == INTERVALS
    assert [wait * 0.0001 for wait in INTERVALS] == waits
    assert (8, 0) == (len(box.got), simulator.ledger.refunds["R1"].notifications_acknowledged)


@pytest.mark.parametrize("fault", [{"fault": "drop_response"}, {"fault": "drop_request"}])
async def test_lost_notifications_are_repeated(start: Start, box: Letterbox, fault: dict[str, Any]) -> None:
    """A lost notification, or a lost acknowledgement, is followed by the next try."""
    simulator, merchant = await start(notify_url=box.url, notify_sync=True)
    await merchant.control("POST", "faults", {**fault, "operation": "notification"})
    await merchant.refund()
    await box.wait_for(2 if fault["fault"] == "drop_response" else 1)
    await asyncio.sleep(0.1)

    assert 1 == simulator.ledger.refunds["R1"].notifications_acknowledged


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1/n", "https://example.com/n", "ftp://127.0.0.1/n", "no address", "http://["]
)
async def test_notifications_stay_on_loopback(start: Start, url: str) -> None:
    """An address that is not on loopback is never called; the ledger shows it and the refund is not disturbed."""
    simulator, merchant = await start(notify_sync=True)
    reply = await merchant.refund(refundNotifyUrl=url)
    await asyncio.sleep(0.05)

    assert "SUCCESS S" == reply.result
    assert 1 == simulator.ledger.fired["notification refused: not a loopback address"]
    assert (State.SUCCESS, 0) == (
        simulator.ledger.refunds["R1"].state,
        simulator.ledger.refunds["R1"].notifications_sent,
    )
