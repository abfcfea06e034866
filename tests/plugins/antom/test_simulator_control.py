"""The control API: the same as the Python methods, and a wrong call changes nothing."""

import asyncio
from typing import Any

import pytest
from aiohttp.http_exceptions import HttpProcessingError

from tests.plugins.antom.merchant import Letterbox
from tests.plugins.antom.simulated import Start, box, keys, start

__all__ = ["box", "keys", "start"]  # fixtures


async def test_health_and_ledger(start: Start) -> None:
    """The ledger lists payments, refunds, movements and faults, as JSON and as a table."""
    _, merchant = await start()
    await merchant.control("POST", "payments", {"id": "P1", "amount": "10.00", "currency": "EUR", "balance": "5.00"})
    await merchant.fault("duplicate")
    await merchant.refund()
    status, ledger = await merchant.control("GET", "ledger")
    async with merchant.session.get(f"{merchant.url}/control/ledger?format=text") as answer:
        table = await answer.text()

    assert (200, {"status": "ok", "provider": "antom", "refunds": 1}) == await merchant.control("GET", "health")
    assert 200 == status
    assert {"id": "P1", "amount": {"value": "10.00", "currency": "EUR"}, "status": "SUCCESS", "refundable": "9.00",
            "balance": "4.00"} == ledger["payments"][0]  # fmt: skip
    [refund], [movement] = ledger["refunds"], ledger["movements"]
    assert ("R1", "SUCCESS", 2, 1, [2]) == (
        refund["refund_request_id"],
        refund["status"],
        refund["requested"],
        refund["moved"],
        list(refund["bodies"].values()),
    )
    assert ("R1", "1.00") == (movement["refund_request_id"], movement["amount"]["value"])
    assert {"duplicate": 1} == ledger["faults"]
    assert "R1" in table
    assert "movements of money: 1" in table


async def test_faults_listed_and_cleared(start: Start) -> None:
    """Faults are listed with what is left of them, and cleared."""
    _, merchant = await start()
    await merchant.fault("delay", seconds=0.25, times=None, probability="25%")
    _, listed = await merchant.control("GET", "faults")
    await merchant.control("DELETE", "faults")

    [rule] = listed["faults"]
    assert ("delay", "0.25", "0.25", None) == (rule["fault"], rule["seconds"], rule["probability"], rule["times"])
    assert (200, {"faults": []}) == await merchant.control("GET", "faults")


async def test_reset(start: Start, box: Letterbox) -> None:
    """A reset clears the ledger and faults, and cancels what was scheduled."""
    simulator, merchant = await start(mode="async", async_delay=0.2, notify_url=box.url)
    await merchant.refund()
    await merchant.fault("drop_response", times=None)
    await merchant.control("POST", "reset")
    await asyncio.sleep(0.4)

    assert ([], {}, []) == (box.got, simulator.ledger.refunds, simulator.faults.rules)


async def test_settings_change(start: Start) -> None:
    """Settings can be changed while it runs."""
    _, merchant = await start()
    status, now = await merchant.control("POST", "settings", {"mode": "async", "async_delay": "never"})

    assert (200, "async", None) == (status, now["mode"], now["async_delay"])
    assert "REFUND_IN_PROCESS U" == (await merchant.refund()).result


async def test_final_stays_final(start: Start) -> None:
    """A refund that has ended cannot be ended again."""
    _, merchant = await start()
    await merchant.refund()
    status, content = await merchant.control("POST", "refunds/R1", {"status": "FAIL"})

    assert (400, "status") == (status, content["error"]["field"])
    assert "SUCCESS" == (await merchant.control("GET", "refunds/R1"))[1]["status"]


WRONG: list[tuple[str, str, Any, int, str]] = [
    ("POST", "faults", b"", 400, "fault"),
    ("POST", "faults", b"{", 400, "body"),
    ("POST", "faults", b"[]", 400, "body"),
    ("POST", "faults", b"\xff", 400, "body"),
    ("POST", "faults", b"[" * 9_000, 400, "body"),
    ("POST", "faults", {"fault": "explode"}, 400, "fault"),
    ("POST", "faults", {"fault": ["delay"]}, 400, "fault"),
    ("POST", "faults", {"fault": "drop_response", "sometimes": True}, 400, "sometimes"),
    ("POST", "faults", {"fault": "drop_response", "operation": "pay"}, 400, "operation"),
    ("POST", "faults", {"fault": "drop_response", "how": "softly"}, 400, "how"),
    ("POST", "faults", {"fault": "reorder", "operation": "inquiry"}, 400, "operation"),
    ("POST", "faults", {"fault": "delay"}, 400, "seconds"),
    ("POST", "faults", {"fault": "delay", "seconds": "-1"}, 400, "seconds"),
    ("POST", "faults", {"fault": "delay", "seconds": "1e3"}, 400, "seconds"),
    ("POST", "faults", {"fault": "delay", "seconds": 1, "late": "yes"}, 400, "late"),
    ("POST", "faults", {"fault": "corrupt", "kind": "poem"}, 400, "kind"),
    ("POST", "faults", {"fault": "bad_signature", "how": "not at all"}, 400, "how"),
    ("POST", "faults", {"fault": "drop_response", "times": "1"}, 400, "times"),
    ("POST", "faults", {"fault": "drop_response", "times": -1}, 400, "times"),
    ("POST", "faults", {"fault": "drop_response", "skip": True}, 400, "skip"),
    ("POST", "faults", {"fault": "drop_response", "probability": 101}, 400, "probability"),
    ("POST", "faults", {"fault": "drop_response", "probability": "often"}, 400, "probability"),
    ("POST", "faults", {"fault": "drop_response", "refund_request_id": 7}, 400, "refund_request_id"),
    ("POST", "faults", {"fault": "wrong_amount", "more": 0}, 400, "more"),
    ("POST", "payments", {}, 400, "currency"),
    ("POST", "payments", {"id": "P1", "amount": "1.005", "currency": "EUR"}, 400, "amount"),
    ("POST", "payments", {"id": "P1", "amount": 1, "currency": "EUR"}, 400, "amount"),
    ("POST", "payments", {"id": "P1", "amount": "1", "currency": "QQQ"}, 400, "currency"),
    ("POST", "payments", {"id": "P1", "amount": "1", "currency": "EUR", "status": "LOST"}, 400, "status"),
    ("POST", "payments", {"id": "P1", "amount": "1", "currency": "EUR", "refundable_until": "soon"}, 400,
     "refundable_until"),
    ("POST", "payments", {"id": "P1", "amount": "1", "currency": "EUR", "refundable_until": "2026-01-01"}, 400,
     "refundable_until"),
    ("POST", "payments", {"id": "P1", "amount": "1", "currency": "EUR", "settlement_currency": "USD"}, 400,
     "settlement_price"),
    ("POST", "payments", {"id": "P1", "amount": "1", "currency": "EUR", "colour": "red"}, 400, "colour"),
    ("POST", "settings", {"mode": "slow"}, 400, "mode"),
    ("POST", "settings", {"self": "x"}, 400, "self"),
    ("POST", "settings", {"host": "0.0.0.0"}, 400, "host"),
    ("POST", "settings", {"time_scale": "NaN"}, 400, "time_scale"),
    ("POST", "refunds/R9", {"status": "SUCCESS"}, 404, "refund_request_id"),
    ("POST", "refunds/", {"status": "SUCCESS"}, 404, "refund_request_id"),
    ("PUT", "faults", None, 405, "method"),
    ("GET", "nothing", None, 404, "path"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "data", "status", "field"), WRONG, ids=lambda value: str(value)[:60])
async def test_wrong_calls(start: Start, method: str, path: str, data: Any, status: int, field: str) -> None:
    """A wrong control call is answered with the field and the rule it breaks, and changes nothing."""
    simulator, merchant = await start()
    got, content = await merchant.control(method, path, data)

    assert (status, field) == (got, content["error"]["field"])
    assert content["error"]["rule"]
    assert ([], {}, {}) == (simulator.faults.rules, simulator.ledger.payments, simulator.ledger.refunds)


async def test_rubbish_on_the_wire(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """Bytes that are not HTTP, and a client that disconnects within its body, disturb nothing and log no error."""
    simulator, merchant = await start()
    port = int(simulator.url.rpartition(":")[2])
    for rubbish in (b"\x00\xff\x00", b"POST /ams/api/v1/payments/refund HTTP/1.1\r\nContent-Length: 50\r\n\r\n{"):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(rubbish)
        await writer.drain()
        writer.close()

    assert "SUCCESS S" == (await merchant.refund()).result
    errors = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert [] == [error for error in errors if not isinstance(error, HttpProcessingError)]
