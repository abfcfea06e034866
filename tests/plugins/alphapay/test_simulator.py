"""The simulated AlphaPay says what AlphaPay's documents say."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from refundry.errors import Invalid
from refundry.money import Money
from refundry.ports import Ports
from refundry.provider import Answer, Pending, PublicKeyPem, RefundInstruction, Secret, Succeeded, Terms
from refundry.testing.simulator.ledger import Payment, State
from refundry_alphapay.provider import AlphaPaySettings as AccountSettings
from refundry_alphapay.provider import build
from refundry_alphapay.simulator import MERCHANT_CODE, MESSAGES, PLUGIN
from tests.core.shop import keys
from tests.plugins.alphapay.merchant import NONCE, PATH, TIME, Start, box, start
from tests.plugins.antom.merchant import Letterbox

__all__ = ["box", "start"]  # fixtures


def cad(text: str) -> Money:
    return Money.parse(text, "CAD")


async def test_refund_says_that_it_was_accepted(start: Start) -> None:
    """A refund that is done at once is answered S with the documented fields, and no refundStatus is among them."""
    simulator, merchant = await start()
    reply = await merchant.refund(description="Größe", notifyUrl="http://127.0.0.1:1/n")

    assert (200, True, "SUCCESS S") == (reply.status, reply.genuine, reply.result)
    assert ["refundId", "paymentId", "refundRequestId", "refundTime", "refund", "result"] == list(reply.data)
    expected = {
        "refundAmount": {"value": "100", "currency": "CAD"},
        "description": "Größe",
        "notifyUrl": "http://127.0.0.1:1/n",
    }
    assert expected == reply.data["refund"]
    assert 1 == len(simulator.ledger.movements)


async def test_headers_are_those_the_sdk_needs(start: Start) -> None:
    """The three headers have the documented names; the signature is in exactly three parts and fully escaped."""
    _, merchant = await start()
    reply = await merchant.refund()

    assert {"Signature", "Response-Time", "Nonce"} <= set(reply.headers)
    algorithm, version, signature = reply.headers["Signature"].split(",")
    assert ("algorithm=RS256", "keyVersion=1") == (algorithm, version)
    assert signature.count("=") == 1
    assert not set("+/") & set(signature)
    assert (await merchant.refund("R2")).headers["Nonce"] != reply.headers["Nonce"]


async def test_inquiry(start: Start) -> None:
    """An inquiry finds by either id, AlphaPay's own comes first, and tells all documented fields."""
    _, merchant = await start()
    first, _ = (await merchant.refund("R1")).data, await merchant.refund("R2")
    alone = await merchant.inquire("R1")
    both = await merchant.inquire("R2", first["refundId"])
    wrong = await merchant.inquire("R2", "unknown")

    names = ["paymentId", "refundRequestId", "refundId", "refundTime", "refundStatus", "refund", "result"]
    assert names == list(alone.data)
    assert ("SUCCESS", "P1", first["refundId"]) == tuple(
        alone.data[name] for name in ("refundStatus", "paymentId", "refundId")
    )
    assert "R1" == both.data["refundRequestId"]
    assert ("SIM_REFUND_NOT_FOUND F", {"result"}, True) == (wrong.result, set(wrong.data), wrong.genuine)


async def test_inquiry_by_the_letter(start: Start) -> None:
    """With the option off, an inquiry without refundId is refused; it can be turned on while it runs."""
    simulator, merchant = await start(inquire_by_request_id=False)
    reply = await merchant.refund()

    assert "SIM_REFUND_ID_MISSING F" == (await merchant.inquire()).result
    assert "SUCCESS S" == (await merchant.inquire(None, reply.data["refundId"])).result
    simulator.change({"inquire_by_request_id": "true"})
    assert "SUCCESS S" == (await merchant.inquire()).result


@pytest.mark.parametrize(
    ("repeat", "result", "moved"),
    [("refuse", "SIM_REPEATED F", 1), ("same", "SUCCESS S", 1), ("pay_again", "SUCCESS S", 3)],
)
async def test_repeats(start: Start, repeat: str, result: str, moved: int) -> None:
    """What a repeated refundRequestId is, is an option: refused, answered again, or one more refund with its own id."""
    simulator, merchant = await start()
    simulator.change({"repeat": repeat})
    reply = [await merchant.refund() for _ in range(3)]

    assert ["SUCCESS S", result, result] == [answer.result for answer in reply]
    assert moved == len(simulator.ledger.movements)
    ids = {answer.data["refundId"] for answer in reply if "refundId" in answer.data}
    assert (moved if repeat == "pay_again" else 1) == len(ids) == len(simulator.ledger.refunds)
    await simulator.reset()
    assert "SUCCESS S" == (await merchant.refund()).result
    assert result == (await merchant.refund()).result


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"amount": cad("0.99")}, "SIM_AMOUNT_EXCEEDED F"),
    ({"amount": cad("9.00"), "status": "PROCESSING"}, "SIM_PAYMENT_STATUS F"),
    ({"amount": Money.parse("9.00", "USD")}, "SIM_CURRENCY F"),
    ({"amount": cad("9.00"), "refundable_until": datetime.now(UTC) - timedelta(days=1)}, "SIM_WINDOW F"),
    ({"amount": cad("9.00"), "balance": 99}, "SIM_BALANCE F"),
]


@pytest.mark.parametrize(("payment", "result"), REFUSED, ids=[result for _, result in REFUSED])
async def test_refusals(start: Start, payment: dict[str, Any], result: str) -> None:
    """What cannot be refunded is F, an inquiry shows it as FAILED, and no money moves."""
    simulator, merchant = await start(payments="declared")
    simulator.add_payment(Payment(id="P1", **payment))
    reply = await merchant.refund()

    assert (result, {"result"}) == (reply.result, set(reply.data))
    assert "FAILED" == (await merchant.inquire()).data["refundStatus"]
    assert [] == simulator.ledger.movements


async def test_several_refunds_of_a_payment(start: Start) -> None:
    """A payment is refunded in parts up to what was paid, what is in process counted."""
    simulator, merchant = await start(mode="async", async_delay=None)
    simulator.add_payment(Payment(id="P1", amount=cad("3.00")))
    reply = [(await merchant.refund(f"R{number}", "150")).result for number in range(3)]

    assert ["SUCCESS S", "SUCCESS S", "SIM_AMOUNT_EXCEEDED F"] == reply


async def test_unknown_payment_when_declared(start: Start) -> None:
    """With declared payments only, an unknown paymentId is refused."""
    _, merchant = await start(payments="declared")

    assert "SIM_PAYMENT_NOT_FOUND F" == (await merchant.refund()).result


async def test_a_success_is_notified_once(start: Start, box: Letterbox) -> None:
    """A success is posted once, signed for the address's path, as the inquiry's answer without its result."""
    simulator, merchant = await start(mode="async", async_delay=None)
    box.answers = [(500, b"")]
    await merchant.refund(notifyUrl=box.url)
    assert "REFUND_IN_PROCESS" == (await merchant.inquire()).data["refundStatus"]
    simulator.finish("R1", State.SUCCESS)
    [notice] = await box.wait_for(1)
    await asyncio.sleep(0.05)
    path, headers, body = box.got[0]

    inquired = (await merchant.inquire()).data
    assert notice == {name: value for name, value in inquired.items() if name != "result"}
    assert merchant.genuine(path, headers, body, "Request-Time")
    assert MERCHANT_CODE == headers["Merchant-Code"]
    assert (1, 0) == (len(box.got), simulator.ledger.refunds["R1"].notifications_acknowledged)


async def test_a_failure_is_not_notified(start: Start, box: Letterbox) -> None:
    """Nothing is posted when a refund fails, not even by a control call."""
    simulator, merchant = await start(mode="async", async_delay=None, notify_url=box.url)
    await merchant.refund("R1")
    simulator.finish("R1", State.FAIL)
    simulator.notify("R1")
    await merchant.refund("R2")
    simulator.finish("R2", State.SUCCESS)

    assert ["R2"] == [notice["refundRequestId"] for notice in await box.wait_for(1)]
    assert "FAILED" == (await merchant.inquire()).data["refundStatus"]


async def test_it_ends_by_itself(start: Start, box: Letterbox) -> None:
    """An asynchronous refund ends after its delay; a refund done at once is notified, too."""
    simulator, merchant = await start(mode="async", async_delay=0.01, notify_url=box.url)
    await merchant.refund("R1")
    await box.wait_for(1)
    simulator.change({"mode": "sync"})
    await merchant.refund("R2")

    assert ["R1", "R2"] == [notice["refundRequestId"] for notice in await box.wait_for(2)]


GOOD: dict[str, Any] = {
    "paymentId": "P1",
    "refundRequestId": "R1",
    "refund": {"refundAmount": {"value": "100", "currency": "CAD"}},
}
BAD: list[Any] = [
    b"", b"[]", b"{", b"\xff\xfe", b'{"paymentId":"P1","paymentId":"P2"}', {},
    {"refundRequestId": 5}, {"refundRequestId": "R" * 65}, {"refundRequestId": None},
    {"paymentId": ""}, {"paymentId": None}, {"refund": None}, {"refund": []}, {"refund": {}},
    {"refund": {"refundAmount": {"currency": "CAD"}}}, {"refund": {"refundAmount": {"value": 100}}},
    {"refund": {"refundAmount": {"value": "0"}}}, {"refund": {"refundAmount": {"value": "1.00"}}},
    {"refund": {"refundAmount": {"value": "１２"}}}, {"refund": {"refundAmount": {"value": "9" * 8}}},
    {"refund": {"refundAmount": {"value": "1", "currency": "QQQ"}}},
    {"refund": {"refundAmount": {"value": "1"}, "description": "x" * 129}},
    {"refund": {"refundAmount": {"value": "1"}, "notifyUrl": 5}},
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=lambda value: str(value)[:60])
async def test_bad_fields(start: Start, bad: Any) -> None:
    """A body that breaks a rule is refused, signed, with HTTP 200, and leaves nothing in the ledger."""
    simulator, merchant = await start()
    reply = await merchant.post("refund", bad if isinstance(bad, bytes) or bad == {} else GOOD | bad)

    assert (200, "SIM_PARAM_INVALID F", True) == (reply.status, reply.result, reply.genuine)
    assert {} == simulator.ledger.refunds


async def test_the_currency_may_be_left_out(start: Start) -> None:
    """An amount without a currency, as the page has it, is taken in Canadian dollars."""
    simulator, merchant = await start()
    reply = await merchant.post("refund", GOOD | {"refund": {"refundAmount": {"value": "150"}}, "novelty": [1]})

    assert "SUCCESS S" == reply.result
    assert cad("1.50") == simulator.ledger.refunds["R1"].amount


async def test_gate(start: Start) -> None:
    """Path, method, merchant and signature are refused with their codes, in HTTP 200, signed."""
    simulator, merchant = await start()
    signature = merchant.signature(PATH + "refund", b"{}")
    headers = {"Merchant-Code": MERCHANT_CODE, "Request-Time": TIME, "Nonce": NONCE, "Signature": signature}
    reply = {
        "SIM_API_UNKNOWN F": await merchant.post("pay", {}),
        "SIM_METHOD_NOT_SUPPORTED F": await merchant.send("GET", PATH + "refund", b"", {}),
        "SIM_MERCHANT_UNKNOWN F": await merchant.post("refund", {}, **{"Merchant-Code": "OTHER"}),
    }
    for wrong in ({"Nonce": "other"}, {"Request-Time": "2026-11-22T04:15:17+00:00"}, {"Signature": "x"}):
        again = await merchant.send("POST", PATH + "refund", b"{}", headers | wrong)
        assert ("SIM_SIGNATURE_INVALID F", 200) == (again.result, again.status)
    without = {name: value for name, value in headers.items() if name != "Nonce"}

    assert "SIM_SIGNATURE_INVALID F" == (await merchant.send("POST", PATH + "refund", b"{}", without)).result
    assert list(reply) == [answer.result for answer in reply.values()]
    assert {200} == {answer.status for answer in reply.values()}
    assert {} == simulator.ledger.refunds


async def test_absolute_target(start: Start) -> None:
    """A request line with the whole address is understood."""
    simulator, _ = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(simulator.url.rpartition(":")[2]))
    writer.write(
        b"GET https://127.0.0.1/api/v2.0/payments/refund HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    )
    answer = await reader.read()
    writer.close()

    assert b"SIM_METHOD_NOT_SUPPORTED" in answer


@pytest.mark.parametrize("how", ["wrong_key", "flipped_bit", "unsigned", "no_time"])
async def test_bad_signature(start: Start, how: str) -> None:
    """Each kind of wrong signature is not genuine, and the message reads well."""
    simulator, merchant = await start()
    simulator.fault("bad_signature", how=how)
    reply = await merchant.refund()

    assert (False, "SUCCESS S") == (reply.genuine, reply.result)


async def test_configured_answers(start: Start) -> None:
    """An F that replaces the work is FAILED to an inquiry; one from the gate, and a U, are not remembered."""
    simulator, merchant = await start()
    codes = ("SIM_BALANCE", "SIM_PARAM_INVALID", "SIM_UNKNOWN", "NEVER_SEEN")
    for code in codes:
        simulator.fault("answer", operation="refund", code=code, refund_request_id=f"R{codes.index(code)}")
    reply = [(await merchant.refund(f"R{number}")).result for number in range(4)]
    shown = [(await merchant.inquire(f"R{number}")).data.get("refundStatus") for number in range(4)]

    assert ["SIM_BALANCE F", "SIM_PARAM_INVALID F", "SIM_UNKNOWN U", "NEVER_SEEN F"] == reply
    assert ["FAILED", None, None, "FAILED"] == shown
    assert [] == simulator.ledger.movements


def test_inventions_are_marked() -> None:
    """Every result code but the three that were ever seen says by its name that the simulator invented it."""
    seen = {"SUCCESS", "PAYMENT_IN_PROCESS", "ORDER_PAID"}

    assert seen == {code for code in MESSAGES if not code.startswith("SIM_")}
    assert {"S", "F", "U"} == {status for status, _ in MESSAGES.values()}


async def test_the_plugin_and_the_simulator_understand_each_other(start: Start) -> None:
    """What the plugin signs is taken, and what the simulator signs is believed, by way of the raw headers."""
    simulator, merchant = await start()
    account = AccountSettings(
        base_url=simulator.url,
        merchant_code=MERCHANT_CODE,
        private_key=Secret(keys().merchant.read_bytes()),
        provider_public_key=PublicKeyPem(keys().provider_public.read_bytes()),
    )
    alphapay, at = build(account, Terms()), Ports().now()
    instruction = RefundInstruction("R1", "P1", cad("12.33"), "too small")
    outcomes = []
    for call in (alphapay.refund(instruction, at), alphapay.inquire(instruction, at)):
        request = call.sign()
        async with merchant.session.post(request.url, data=request.body, headers=list(request.headers)) as answer:
            raw = tuple((name.decode(), value.decode()) for name, value in answer.raw_headers)
            outcomes.append(call.read(Answer(answer.status, raw, await answer.read())))

    accepted, settled = outcomes
    assert isinstance(accepted, Pending)
    assert isinstance(settled, Succeeded)
    assert (accepted.provider_refund_id, instruction.amount) == (settled.provider_refund_id, settled.amount)
    assert "too small" == simulator.ledger.refunds["R1"].facts["description"]


async def test_plugin_runs_and_describes_itself(tmp_path: Path) -> None:
    """The command line's way in: keys are made, options are read, and the section names what was made."""
    async with PLUGIN.run("127.0.0.1", 0, tmp_path, {"mode": "async", "repeat": "same"}) as running:
        section = PLUGIN.account_section(
            "shop-ca", running.url, tmp_path, "http://127.0.0.1:8700/notifications/shop-ca"
        )

        assert section.startswith("[accounts.shop-ca]\n")
        for part in (running.url, MERCHANT_CODE, "merchant.pem", "provider.pub.pem", "notifications/shop-ca"):
            assert part in section
    assert 0o600 == (tmp_path / "merchant.pem").stat().st_mode & 0o777


@pytest.mark.parametrize(
    ("host", "options", "field"),
    [
        ("0.0.0.0", {}, "host"),
        ("127.0.0.1", {"repeet": "same"}, "repeet"),
        ("127.0.0.1", {"repeat": "sometimes"}, "repeat"),
        ("127.0.0.1", {"inquire_by_request_id": "perhaps"}, "inquire_by_request_id"),
    ],
)
async def test_plugin_names_what_is_wrong(tmp_path: Path, host: str, options: dict[str, str], field: str) -> None:
    """A host that is not loopback, an unknown option and a bad value are refused by name."""
    with pytest.raises(Invalid) as caught:
        async with PLUGIN.run(host, 0, tmp_path, options):
            pass

    assert field == caught.value.field


async def test_a_lost_answer_is_done(start: Start) -> None:
    """With a lost answer the refund is done and the connection closed; an inquiry by our id alone finds it."""
    simulator, merchant = await start()
    simulator.fault("drop_response", operation="refund")
    with pytest.raises(aiohttp.ClientError):
        await merchant.refund()

    assert 1 == len(simulator.ledger.movements)
    assert "SUCCESS" == (await merchant.inquire()).data["refundStatus"]
