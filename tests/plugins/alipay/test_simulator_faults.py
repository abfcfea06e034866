"""The simulated Alipay fails in every way it is configured to, and its ledger stays right."""

import json
from typing import Any

import aiohttp
import pytest

from refundry.ports import Ports
from refundry.testing.simulator.faults import BRACKETS, HUGE
from refundry.testing.simulator.ledger import State
from tests.plugins.alipay.merchant import Letterbox
from tests.plugins.alipay.simulated import Start, box, keys, start

__all__ = ["box", "keys", "start"]  # fixtures


async def test_lose_request(start: Start) -> None:
    """A lost refund is not done, and a query knows nothing of it."""
    simulator, merchant = await start()
    await merchant.fault("drop_request", operation="refund")
    with pytest.raises(aiohttp.ClientError):
        await merchant.refund()

    assert {"code", "msg"} == set((await merchant.query()).node)
    assert [] == simulator.ledger.movements


async def test_lose_answer(start: Start) -> None:
    """A refund whose answer is lost is done: sent again it pays nothing and says N, and a query says it is done."""
    simulator, merchant = await start()
    await merchant.fault("drop_response", operation="refund")
    with pytest.raises(aiohttp.ClientError):
        await merchant.refund()

    assert "REFUND_SUCCESS" == (await merchant.query()).node["refund_status"]
    assert "N" == (await merchant.refund()).node["fund_change"]
    assert 1 == len(simulator.ledger.movements)


async def test_duplicate(start: Start) -> None:
    """A refund that arrives twice pays once; what is answered is the answer to the second."""
    simulator, merchant = await start()
    await merchant.fault("duplicate", operation="refund")
    reply = await merchant.refund()

    assert ("N", "1.00") == (reply.node["fund_change"], reply.node["refund_fee"])
    assert (1, 2) == (len(simulator.ledger.movements), simulator.ledger.refunds["R1"].requested)


async def test_delay(start: Start) -> None:
    """A delay waits before or after the work."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    _, merchant = await start(Ports(sleep=sleep))
    await merchant.fault("delay", seconds=2)
    await merchant.fault("delay", seconds=3, late=True)

    assert ("Y", [3.0, 2.0]) == ((await merchant.refund()).node["fund_change"], waits)


async def test_reorder(start: Start, box: Letterbox) -> None:
    """The notification can come before the answer."""
    _, merchant = await start(notify_url=box.url, mode="async", async_delay=None)
    await merchant.fault("reorder", operation="refund", hold=5)
    reply = await merchant.refund()

    assert ("10000", ["R1"]) == (reply.result, [form["out_biz_no"] for form in await box.wait_for(1)])
    assert 1 == len(box.got)


CODES: dict[str, str] = {
    "ACQ.SYSTEM_ERROR": "40004", "TRADE_NOT_EXIST": "40004", "AQC.SYSTEM_ERROR": "40004", "isp.unknow-error": "20000",
    "aop.unknow-error": "20000", "20000": "20000", "aop.invalid-app-auth-token": "20001", "isv.missing-method": "40001",
    "isv.decryption-error-missing-encrypt-type": "40001", "isv.missing-signature-config": "40002",
    "isv.suspected-attack": "40002", "isv.insufficient-isv-permissions": "40006", "isv.access-forbidden": "40006",
    "40005": "40005",
}  # fmt: skip


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("operation", ["refund", "inquiry"])
async def test_answer_any_code(start: Start, code: str, operation: str) -> None:
    """Any code comes under the gateway's code that it belongs to; nothing is done, and nothing is remembered."""
    simulator, merchant = await start()
    await merchant.fault("answer", code=code, operation=operation)
    reply = await (merchant.refund() if operation == "refund" else merchant.query())

    assert (CODES[code] if code.isdecimal() else f"{CODES[code]} {code}", True) == (reply.result, reply.genuine)
    assert {} == simulator.ledger.refunds
    assert "Y" == (await merchant.refund()).node["fund_change"]


async def test_answer_after_the_work(start: Start) -> None:
    """ACQ.SYSTEM_ERROR can be said of a refund that is done."""
    simulator, merchant = await start()
    await merchant.fault("answer", code="ACQ.SYSTEM_ERROR", work="do")
    reply = await merchant.refund()

    assert ("40004 ACQ.SYSTEM_ERROR", "0.00") == (reply.result, reply.node["refund_fee"])
    assert ("REFUND_SUCCESS", 1) == ((await merchant.query()).node["refund_status"], len(simulator.ledger.movements))


@pytest.mark.parametrize(("state", "change"), [("SUCCESS", "Y"), ("PROCESSING", "N"), (None, None)])
async def test_bare_success(start: Start, state: str | None, change: str | None) -> None:
    """10000 can be said of a refund that was never done, with fund_change Y, N or none."""
    simulator, merchant = await start()
    await merchant.fault("answer", code="10000", state=state)
    reply = await merchant.refund()

    assert ("10000", change) == (reply.result, reply.node.get("fund_change"))
    assert [] == simulator.ledger.movements


async def test_query_of_another_state(start: Start) -> None:
    """A query can be made to say that a refund that is done is not, and another status of the gateway's."""
    _, merchant = await start()
    await merchant.refund()
    await merchant.fault("answer", code="10000", state="PROCESSING", work="do", operation="inquiry")
    await merchant.fault("answer", code="10000", state="FAIL", work="do", operation="inquiry", skip=1)
    reply = [(await merchant.query()).node for _ in range(3)]

    assert [False, False, True] == ["refund_status" in node for node in reply]
    assert [True, False, True] == ["out_request_no" in node for node in reply]


CORRUPTED: dict[str, tuple[int, bool]] = {
    "html": (200, False), "half_json": (200, False), "empty": (200, False), "huge": (200, True),
    "brackets": (200, False), "duplicate_keys": (200, True), "not_utf8": (200, True), "random": (200, False),
    "http_500": (500, False), "http_502_html": (502, False), "redirect": (307, False),
}  # fmt: skip


@pytest.mark.parametrize("kind", CORRUPTED)
async def test_corrupt(start: Start, kind: str) -> None:
    """A corrupt answer is what its name says; the refund is done; what has no node left is unsigned."""
    simulator, merchant = await start()
    await merchant.fault("corrupt", kind=kind)
    reply = await merchant.refund()

    assert CORRUPTED[kind][0] == reply.status
    assert CORRUPTED[kind][1] == (b'"sign":"' in reply.body)
    assert 1 == len(simulator.ledger.movements)
    assert not _plain(reply.body)
    if kind == "huge":
        assert len(reply.body) > HUGE
    if kind == "brackets":
        assert b"[" * BRACKETS == reply.body


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
    return "alipay_trade_refund_response" in data and not any(doubled) and len(body) < 65_536


@pytest.mark.parametrize("how", ["wrong_key", "flipped_bit", "unsigned"])
async def test_bad_signature(start: Start, box: Letterbox, how: str) -> None:
    """Each kind of wrong signature is not accepted, on answers and on notifications, and the message reads well."""
    _, merchant = await start(notify_url=box.url)
    await merchant.fault("bad_signature", how=how)
    await merchant.fault("bad_signature", how=how, operation="notification")
    reply = await merchant.refund()
    [form] = await box.wait_for(1)

    assert (False, "10000") == (reply.genuine, reply.result)
    assert [how != "unsigned"] * 2 == ["sign" in reply.whole, "sign" in form]
    assert not merchant.genuine_form(box.got[0])


async def test_notification_without_a_time(start: Start, box: Letterbox) -> None:
    """A genuine notification can come without its time."""
    _, merchant = await start(notify_url=box.url)
    await merchant.fault("bad_signature", how="no_time", operation="notification")
    await merchant.refund()
    [form] = await box.wait_for(1)

    assert "notify_time" not in form
    assert merchant.genuine_form(box.got[0])


async def test_wrong_amounts_and_currencies(start: Start, box: Letterbox) -> None:
    """Amount and currency can be wrong in genuine messages; the ledger stays right."""
    simulator, merchant = await start(notify_url=box.url)
    await merchant.fault("wrong_amount", more=5, times=3)
    await merchant.fault("wrong_currency", currency="USD", operation="refund")
    reply = await merchant.refund()
    [form] = await box.wait_for(1)
    query = await merchant.query()

    assert ("1.05", "USD", True) == (reply.node["refund_fee"], reply.node["refund_currency"], reply.genuine)
    assert ("1.05", "1.05") == (form["refund_fee"], query.node["refund_amount"])
    assert "1.00" == str(simulator.ledger.movements[0].amount)


@pytest.mark.parametrize("known", [True, False])
async def test_other_refund(start: Start, known: bool) -> None:
    """The genuine answer about another refund can come, of a real one if there is one."""
    _, merchant = await start()
    if known:
        await merchant.refund("R0")
    await merchant.refund("R1")
    await merchant.fault("other_refund")
    reply = await merchant.query("R1")

    assert reply.genuine
    assert ("R0" if known else "OTHERR1") == reply.node["out_request_no"]


@pytest.mark.parametrize("kind", ["half_json", "empty", "random", "html", "not_utf8", "duplicate_keys"])
async def test_corrupt_notification(start: Start, box: Letterbox, kind: str) -> None:
    """A spoilt notification leaves as it is, and is repeated as it should be."""
    _, merchant = await start(notify_url=box.url)
    box.answers = [(200, b"fail")]
    await merchant.fault("corrupt", kind=kind, operation="notification")
    await merchant.refund()
    await box.wait_for(2)

    assert merchant.genuine_form(box.got[1])


async def test_rules_are_for_a_number(start: Start) -> None:
    """A rule for one out_request_no leaves every other alone."""
    simulator, merchant = await start()
    rule = simulator.fault("answer", code="20000", refund_request_id="R2")
    results = [(await merchant.refund(id)).result for id in ("R1", "R2", "R2")]

    assert (["10000", "20000", "10000"], 1) == (results, rule.fired)
    assert State.SUCCESS is simulator.ledger.refunds["R2"].state
