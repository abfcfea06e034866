"""The simulated Antom says what Antom's documents say."""

import asyncio
import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from refundry.errors import Invalid
from refundry.money import Money
from refundry.provider import RefundInstruction
from refundry.provider.signatures import load_private_key
from refundry.testing.simulator.ledger import Payment, Settlement, State
from refundry.testing.simulator.settings import Keys, make_keys
from refundry_antom.simulator import CLIENT_ID, PLUGIN, AntomSettings, AntomSimulator
from tests.plugins.antom.given import AT, DETAILS, provider
from tests.plugins.antom.merchant import PATH, TIME, Letterbox, Merchant
from tests.plugins.antom.peers import run_with_sdk
from tests.plugins.antom.simulated import Start, box, keys, start

__all__ = ["box", "keys", "start"]  # fixtures


def eur(text: str) -> Money:
    return Money.parse(text, "EUR")


async def test_refund_says_all_documented_fields(start: Start) -> None:
    """A refund that is done is answered S with both ids, the payment, the amount and the time, signed."""
    _, merchant = await start()
    reply = await merchant.refund()

    assert (200, True, "SUCCESS S") == (reply.status, reply.genuine, reply.result)
    assert {"result", "refundRequestId", "refundId", "paymentId", "refundAmount", "refundTime"} == set(reply.data)
    assert {"currency": "EUR", "value": "100"} == reply.data["refundAmount"]
    assert {"signature", "response-time", "client-id", "content-type"} <= set(reply.headers)


async def test_inquiry_by_either_id(start: Start) -> None:
    """An inquiry finds by refundRequestId or refundId, the second wins, and it never tells the paymentId."""
    _, merchant = await start()
    first, _ = (await merchant.refund("R1")).data, await merchant.refund("R2")
    both = await merchant.post("inquiryRefund", {"refundRequestId": "R2", "refundId": first["refundId"]})
    wrong = await merchant.post("inquiryRefund", {"refundRequestId": "R2", "refundId": "unknown"})

    assert ("R1", "SUCCESS") == (both.data["refundRequestId"], both.data["refundStatus"])
    assert "paymentId" not in both.data
    assert "ORDER_NOT_EXIST F" == wrong.result
    assert {"result"} == set(wrong.data)


async def test_settlement_currency(start: Start) -> None:
    """A payment that settles in another currency brings the quote and the gross settlement amount everywhere."""
    simulator, merchant = await start()
    simulator.add_payment(Payment(id="P1", amount=eur("100.00"), settlement=Settlement("JPY", "160.55")))
    refunded, inquired = await merchant.refund(value="1000"), await merchant.inquire()

    for reply in (refunded, inquired):
        assert {"currency": "JPY", "value": "1606"} == reply.data["grossSettlementAmount"]
        assert "EUR/JPY" == reply.data["settlementQuote"]["quoteCurrencyPair"]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"amount": eur("0.99")}, "REFUND_AMOUNT_EXCEED F"),
    ({"amount": eur("9.00"), "status": "PROCESSING"}, "ORDER_STATUS_INVALID F"),
    ({"amount": Money.parse("9.00", "USD")}, "CURRENCY_NOT_SUPPORT F"),
    ({"amount": eur("9.00"), "refundable_until": datetime.now(UTC) - timedelta(days=1)}, "REFUND_WINDOW_EXCEED F"),
    ({"amount": eur("9.00"), "balance": 99}, "MERCHANT_BALANCE_NOT_ENOUGH F"),
]


@pytest.mark.parametrize(("payment", "result"), REFUSED, ids=[result for _, result in REFUSED])
async def test_preconditions(start: Start, payment: dict[str, Any], result: str) -> None:
    """Each documented precondition refuses with its code, the refusal is remembered, and no money moves."""
    simulator, merchant = await start(payments="declared")
    simulator.add_payment(Payment(id="P1", **payment))
    first = await merchant.refund()
    simulator.ledger.payments["P1"] = Payment(id="P1", amount=eur("999.00"))
    again = await merchant.refund()

    assert [result, result] == [first.result, again.result]
    assert "FAIL" == (await merchant.inquire()).data["refundStatus"]
    assert [] == simulator.ledger.movements


async def test_unknown_payment_when_declared(start: Start) -> None:
    """With declared payments only, an unknown paymentId is ORDER_NOT_EXIST."""
    _, merchant = await start(payments="declared")

    assert "ORDER_NOT_EXIST F" == (await merchant.refund()).result


async def test_remaining_counts_open_refunds(start: Start) -> None:
    """What is still in process counts against what is left, and a failed one gives it back."""
    simulator, merchant = await start(mode="async", async_delay=None)
    simulator.add_payment(Payment(id="P1", amount=eur("1.00")))

    assert "REFUND_IN_PROCESS U" == (await merchant.refund("R1")).result
    assert "REFUND_AMOUNT_EXCEED F" == (await merchant.refund("R2")).result
    simulator.finish("R1", State.FAIL)
    assert "REFUND_IN_PROCESS U" == (await merchant.refund("R3")).result


async def test_balance_may_show_processing(start: Start) -> None:
    """With the setting on, a refund refused for the balance is PROCESSING to an inquiry, as one page documents."""
    simulator, merchant = await start(balance_shows_processing=True)
    simulator.add_payment(Payment(id="P1", amount=eur("9.00"), balance=0))
    await merchant.refund()

    assert "PROCESSING" == (await merchant.inquire()).data["refundStatus"]


@pytest.mark.parametrize(("currency", "value"), [("EUR", "101"), ("USD", "100")])
async def test_repeat_with_another_amount(start: Start, currency: str, value: str) -> None:
    """The same id with another amount or currency is REPEAT_REQ_INCONSISTENT, and the first result remains."""
    simulator, merchant = await start()
    first = await merchant.refund()
    other = await merchant.refund(refundAmount={"currency": currency, "value": value})
    again = await merchant.refund()

    assert "REPEAT_REQ_INCONSISTENT F" == other.result
    assert first.data == again.data
    assert (1, 3, 2) == (
        len(simulator.ledger.movements),
        simulator.ledger.refunds["R1"].requested,
        len(simulator.ledger.refunds["R1"].bodies),
    )


async def test_async_refund_ends_by_itself(start: Start, box: Letterbox) -> None:
    """An asynchronous refund is U, then PROCESSING, then SUCCESS, and is notified with a genuine message."""
    simulator, merchant = await start(mode="async", async_delay=None)
    assert "REFUND_IN_PROCESS U" == (await merchant.refund(refundNotifyUrl=box.url)).result
    assert "PROCESSING" == (await merchant.inquire()).data["refundStatus"]
    assert "REFUND_IN_PROCESS U" == (await merchant.refund(refundNotifyUrl=box.url)).result
    await merchant.control("POST", "refunds/R1", {"status": "SUCCESS"})
    [notice] = await box.wait_for(1)
    path, headers, body = box.got[0]

    assert ("REFUND_RESULT", "SUCCESS", "R1") == (
        notice["notifyType"],
        notice["refundStatus"],
        notice["refundRequestId"],
    )
    assert "paymentId" not in notice
    assert merchant.genuine(path, headers, body, "Request-Time")
    assert "/notifications/shop?from=antom" == path
    assert "SUCCESS" == (await merchant.inquire()).data["refundStatus"]
    assert "SUCCESS S" == (await merchant.refund(refundNotifyUrl=box.url)).result
    assert 1 == len(simulator.ledger.movements)


async def test_async_refund_can_fail(start: Start, box: Letterbox) -> None:
    """An asynchronous refund that fails is FAIL to an inquiry and in the notification, and moves nothing."""
    simulator, merchant = await start(mode="async", async_delay=0.01, async_result="FAIL", notify_url=box.url)
    await merchant.refund()
    [notice] = await box.wait_for(1)

    assert ("FAIL", "F") == (notice["refundStatus"], notice["result"]["resultStatus"])
    assert "FAIL" == (await merchant.inquire()).data["refundStatus"]
    assert [] == simulator.ledger.movements


async def test_a_repeat_advances_it(start: Start) -> None:
    """A repeat of a refund in process completes it, once."""
    simulator, merchant = await start(mode="async", async_delay=3_600)

    assert ["REFUND_IN_PROCESS U", "SUCCESS S", "SUCCESS S"] == [(await merchant.refund()).result for _ in range(3)]
    assert 1 == len(simulator.ledger.movements)


async def test_sync_refund_is_notified_when_set(start: Start, box: Letterbox) -> None:
    """With `notify_sync`, a refund done at once is notified; without it, it is not."""
    simulator, merchant = await start(notify_url=box.url)
    await merchant.refund("R1")
    simulator.change({"notify_sync": True})
    await merchant.refund("R2")

    assert ["R2"] == [notice["refundRequestId"] for notice in await box.wait_for(1)]


BAD: list[Any] = [
    b"", b"[]", b"{", b"nonsense", b"\xff\xfe", b"[" * 5_000, b'{"refundRequestId":"R1","refundRequestId":"R2"}',
    {}, {"refundRequestId": 5}, {"refundRequestId": "R" * 65}, {"refundRequestId": "R 1"}, {"refundRequestId": None},
    {"paymentId": ""}, {"paymentId": "P" * 65}, {"refundAmount": None}, {"refundAmount": []},
    {"refundAmount": {"currency": "EUR"}}, {"refundAmount": {"currency": "EUR", "value": 100}},
    {"refundAmount": {"currency": "EUR", "value": "0"}}, {"refundAmount": {"currency": "EUR", "value": "-1"}},
    {"refundAmount": {"currency": "EUR", "value": "1.00"}}, {"refundAmount": {"currency": "EUR", "value": "１２"}},
    {"refundAmount": {"currency": "EUR", "value": "9" * 17}}, {"refundAmount": {"currency": "eur", "value": "100"}},
    {"refundAmount": {"currency": "IDR", "value": "150"}}, {"refundAmount": {"currency": 1, "value": "100"}},
    {"refundReason": "x" * 257}, {"refundNotifyUrl": "x" * 1_025}, {"isAsyncRefund": True},
    {"metadata": [{"deep": 1}]}, {"captureId": "c" * 65}, {"referenceRefundId": "r" * 65},
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=lambda value: str(value)[:60])
async def test_bad_fields(start: Start, bad: Any) -> None:
    """A body that breaks a documented rule is PARAM_ILLEGAL, signed, with HTTP 200, and changes no ledger."""
    simulator, merchant = await start()
    good = {"refundRequestId": "R1", "paymentId": "P1", "refundAmount": {"currency": "EUR", "value": "100"}}
    reply = await merchant.post("refund", bad if isinstance(bad, bytes) or bad == {} else good | bad)

    assert (200, "PARAM_ILLEGAL F", True) == (reply.status, reply.result, reply.genuine)
    assert {} == simulator.ledger.refunds


async def test_further_fields_are_taken(start: Start) -> None:
    """What the plugin writes with every further field is a refund like any other."""
    simulator, merchant = await start()
    instruction = RefundInstruction("R1", "P1", Money(100, "EUR", 2), details=DETAILS)
    antom = provider()
    antom.check(instruction)
    reply = await merchant.post("refund", antom.refund(instruction, AT).body)

    assert "SUCCESS S" == reply.result
    assert {"R1": 1} == simulator.ledger.moved()


async def test_unknown_currency_and_unknown_fields(start: Start) -> None:
    """An invalid currency is CURRENCY_NOT_SUPPORT; an unknown field is not an error."""
    _, merchant = await start()

    assert "CURRENCY_NOT_SUPPORT F" == (await merchant.refund(refundAmount={"currency": "QQQ", "value": "1"})).result
    assert "SUCCESS S" == (await merchant.refund(novelty={"of": "tomorrow"}, metadata="{}")).result


async def test_gate(start: Start) -> None:
    """Path, method, media type, client and signature are refused with their codes, in HTTP 200."""
    simulator, merchant = await start()
    body = json.dumps({"refundRequestId": "R1"}).encode()
    got = await merchant.send("GET", PATH + "refund", b"", {})
    nowhere = await merchant.post("pay", {})
    plain = await merchant.post("refund", body, **{"content-type": "text/plain"})
    other_client = await merchant.post("refund", body, **{"client-id": "SANDBOX_OTHER"})
    headers = {"client-id": CLIENT_ID, "request-time": TIME, "content-type": "application/json"}
    unsigned = await merchant.send("POST", PATH + "refund", body, headers)

    assert "METHOD_NOT_SUPPORTED F" == got.result
    assert ("NO_INTERFACE_DEF F", True) == (nowhere.result, nowhere.genuine)
    assert ("MEDIA_TYPE_NOT_ACCEPTABLE F", "CLIENT_INVALID F") == (plain.result, other_client.result)
    assert ("INVALID_SIGNATURE F", False) == (unsigned.result, unsigned.genuine)
    assert "signature" not in unsigned.headers
    assert "response-time" not in unsigned.headers
    assert {200} == {reply.status for reply in (got, nowhere, plain, other_client, unsigned)}
    assert {} == simulator.ledger.refunds


@pytest.mark.parametrize("header", ["request-time", "signature"])
async def test_signature_covers_the_time(start: Start, header: str) -> None:
    """A changed time or signature is INVALID_SIGNATURE; nothing is done."""
    simulator, merchant = await start()
    reply = await merchant.refund()
    assert "SUCCESS S" == reply.result
    changed = await merchant.post("refund", {"refundRequestId": "R2"}, **{header: "1685599933871"})

    assert "INVALID_SIGNATURE F" == changed.result
    assert ["R1"] == list(simulator.ledger.refunds)


async def test_live_path_and_absolute_target(start: Start, keys: Keys) -> None:
    """The live path works as the sandbox path does, and so does a request line with the whole address."""
    simulator, merchant = await start()
    live = await merchant.post("", {"refundRequestId": "R1"}, path="/ams/api/v1/payments/inquiryRefund")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(simulator.url.rpartition(":")[2]))
    writer.write(
        b"GET https://127.0.0.1/ams/api/v1/payments/refund HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    )
    answer = await reader.read()
    writer.close()

    assert ("ORDER_NOT_EXIST F", True) == (live.result, live.genuine)
    assert b"METHOD_NOT_SUPPORTED" in answer


@settings(max_examples=25)
@given(
    mode=st.sampled_from(["sync", "async"]),
    steps=st.lists(
        st.tuples(
            st.sampled_from(["refund", "refund other", "inquire", "finish", "fail", "lost", "twice"]),
            st.sampled_from(["R1", "R2"]),
        ),
        max_size=12,
    ),
)
async def test_money_moves_at_most_once(mode: str, steps: list[tuple[str, str]]) -> None:
    """Whatever is repeated, inquired, lost, doubled or ended in whatever order: an id moves money at most once."""
    with tempfile.TemporaryDirectory() as folder:
        made = _shared_keys(Path(folder))
        async with (
            AntomSimulator(
                AntomSettings(keys=made, mode=mode, async_delay=None if mode == "async" else 0)
            ) as simulator,
            aiohttp.ClientSession() as session,
        ):
            merchant = Merchant(simulator.url, made, session)
            for step, id in steps:
                await _step(simulator, merchant, step, id)
            moved = simulator.ledger.moved()

    for refund in simulator.ledger.refunds.values():
        assert moved[refund.refund_request_id] == (1 if refund.state is State.SUCCESS else 0)


_KEYS: dict[str, bytes] = {}


def _shared_keys(folder: Path) -> Keys:
    for name, pem in _KEYS.items():
        (folder / name).write_bytes(pem)
    made = make_keys(folder)
    _KEYS.update({path.name: path.read_bytes() for path in folder.iterdir()})
    return made


async def _step(simulator: AntomSimulator, merchant: Merchant, step: str, id: str) -> None:
    if step in ("finish", "fail"):
        try:
            simulator.finish(id, State.SUCCESS if step == "finish" else State.FAIL)
        except Invalid:
            return
    elif step == "inquire":
        await merchant.inquire(id)
    else:
        faults = {"lost": "drop_response", "twice": "duplicate"}
        if step in faults:
            simulator.fault(faults[step])
        try:
            await merchant.refund(id, "200" if step == "refund other" else "100")
        except aiohttp.ClientError:
            assert step == "lost"


SDK = """
import http.client, sys, types
from com.alipay.ams.api.net import default_http_rpc as rpc
simulator, client, provider, merchant = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.stdin.read()
rpc.http_client = types.SimpleNamespace(HTTPSConnection=lambda host, port=None, timeout=None, context=None:
    http.client.HTTPConnection("127.0.0.1", simulator, timeout=timeout))
from com.alipay.ams.api.default_alipay_client import DefaultAlipayClient
from com.alipay.ams.api.request.pay.alipay_refund_request import AlipayRefundRequest
from com.alipay.ams.api.request.pay.alipay_inquiry_refund_request import AlipayInquiryRefundRequest
from com.alipay.ams.api.model.amount import Amount
antom = DefaultAlipayClient("https://127.0.0.1", client, merchant, provider)
refund = AlipayRefundRequest()
refund.refund_request_id, refund.payment_id, refund.refund_amount = "SDK1", "P1", Amount("USD", "1000")
print(antom.execute(refund).replace("\\n", ""))
inquiry = AlipayInquiryRefundRequest()
inquiry.refund_request_id = "SDK1"
print(antom.execute(inquiry).replace("\\n", ""))
"""


def _bare(pem: bytes) -> str:
    return "".join(line for line in pem.decode().splitlines() if "-----" not in line)


def _pkcs1(keys: Keys) -> str:
    """The SDK takes the private key as bare base64 of PKCS#1."""
    key = load_private_key(keys.merchant.read_bytes(), "merchant")
    return _bare(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))


@pytest.mark.slow
async def test_official_sdk(start: Start, keys: Keys) -> None:
    """Antom's own client refunds and inquires here, and accepts our signatures."""
    simulator, _ = await start()
    port, public = simulator.url.rpartition(":")[2], _bare(keys.provider_public.read_bytes())
    printed = await asyncio.to_thread(run_with_sdk, SDK, port, CLIENT_ID, public, stdin=_pkcs1(keys))
    refunded, inquired = (json.loads(line) for line in printed.splitlines())

    assert ("S", "SDK1") == (refunded["result"]["resultStatus"], refunded["refundRequestId"])
    assert "SUCCESS" == inquired["refundStatus"]
    assert 1 == len(simulator.ledger.movements)


async def test_plugin_runs_and_describes_itself(tmp_path: Path, keys: Keys) -> None:
    """The command line's way in: keys are made, options are read, and the section names what was made."""
    async with PLUGIN.run("127.0.0.1", 0, tmp_path, {"mode": "async", "async_delay": "never"}) as running:
        section = PLUGIN.account_section(
            "shop-eu", running.url, tmp_path, "http://127.0.0.1:8700/notifications/shop-eu"
        )

        assert section.startswith("[accounts.shop-eu]\n")
        for part in (running.url, CLIENT_ID, "merchant.pem", "provider.pub.pem", "notifications/shop-eu"):
            assert part in section
    assert 0o600 == (tmp_path / "merchant.pem").stat().st_mode & 0o777


@pytest.mark.parametrize(
    ("host", "options", "field"),
    [("0.0.0.0", {}, "host"), ("127.0.0.1", {"moed": "sync"}, "moed"), ("127.0.0.1", {"mode": "fast"}, "mode")],
)
async def test_plugin_names_what_is_wrong(tmp_path: Path, host: str, options: dict[str, str], field: str) -> None:
    """A host that is not loopback, an unknown option and a bad value are refused by name."""
    with pytest.raises(Invalid) as caught:
        async with PLUGIN.run(host, 0, tmp_path, options):
            pass

    assert field == caught.value.field


async def test_port_in_use(start: Start, keys: Keys) -> None:
    """A port that is taken is one clear error, and nothing is left open."""
    simulator, _ = await start()
    with pytest.raises(Invalid, match="port"):
        await AntomSimulator(AntomSettings(keys=keys, port=int(simulator.url.rpartition(":")[2]))).__aenter__()
