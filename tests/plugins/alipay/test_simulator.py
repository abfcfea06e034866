"""The simulated Alipay says what Alipay's documents say."""

import asyncio
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refundry.errors import Invalid
from refundry.money import Money
from refundry.testing.simulator.ledger import Ledger, ParsedRequest, Payment, State
from refundry_alipay.simulator import APP_ID, PLUGIN
from refundry_alipay.simulator.keys import AlipayKeys, cert_sn, make_keys, root_sn
from refundry_alipay.simulator.requests import QUERY, REFUND
from tests.plugins.alipay.merchant import Letterbox
from tests.plugins.alipay.simulated import Start, box, keys, start

__all__ = ["box", "keys", "start"]  # fixtures


def cny(text: str) -> Money:
    return Money.parse(text, "CNY")


def trade(**more: Any) -> Payment:
    return Payment(**{"id": "P1", "merchant_id": "T1", "amount": cny("10.00"), **more})


# --- refunds ----------------------------------------------------------------------------------------------------------


async def test_refund_says_all_documented_fields(start: Start) -> None:
    """A refund that is done is 10000 with fund_change Y, both ids, the sum refunded and Beijing's time, signed."""
    simulator, merchant = await start()
    simulator.add_payment(trade())
    reply = await merchant.refund()

    assert (200, "text/html;charset=utf-8", True, "10000") == (reply.status, reply.kind, reply.genuine, reply.result)
    assert {"alipay_trade_refund_response", "sign"} == set(reply.whole)
    node = reply.node
    assert ("Y", "1.00", "P1", "T1") == (
        node["fund_change"],
        node["refund_fee"],
        node["trade_no"],
        node["out_trade_no"],
    )
    at = datetime.fromisoformat(node["gmt_refund_pay"])
    assert abs((at - timedelta(hours=8)).replace(tzinfo=UTC) - datetime.now(UTC)) < timedelta(minutes=1)


async def test_refund_fee_is_the_sum(start: Start) -> None:
    """refund_fee counts everything that was refunded of the trade; a query tells the one refund's amount."""
    simulator, merchant = await start()
    simulator.add_payment(trade())
    fees = [(await merchant.refund(id, amount)).node["refund_fee"] for id, amount in (("R1", "1.00"), ("R2", "2.50"))]
    query = (await merchant.query("R2")).node

    assert ["1.00", "3.50"] == fees
    assert ("2.50", "10.00", "REFUND_SUCCESS") == (
        query["refund_amount"],
        query["total_amount"],
        query["refund_status"],
    )


async def test_repeat_pays_once(start: Start) -> None:
    """The same number and amount again is 10000 with fund_change N; another amount is refused."""
    simulator, merchant = await start()
    first, again, other = [await merchant.refund(amount=amount) for amount in ("1.00", "1.00", "1.01")]

    assert ("Y", "N") == (first.node["fund_change"], again.node["fund_change"])
    assert "40004 ACQ.DISCORDANT_REPEAT_REQUEST" == other.result
    assert {"R1": 1} == simulator.ledger.moved()


async def test_a_number_is_of_one_trade(start: Start) -> None:
    """Two trades may use the same out_request_no: both pay, and each query tells its own."""
    simulator, merchant = await start()
    reply = [await merchant.refund("R1", amount, trade_no=id) for id, amount in (("P1", "1.00"), ("P2", "2.00"))]
    asked = [(await merchant.query("R1", trade_no=id)).node["refund_amount"] for id in ("P1", "P2")]

    assert ["Y", "Y"] == [each.node["fund_change"] for each in reply]
    assert ["1.00", "2.00"] == asked
    assert {"R1": 1, "P2/R1": 1} == simulator.ledger.moved()


async def test_trade_by_either_number(start: Start) -> None:
    """A trade is found by out_trade_no, and by trade_no if both are there."""
    simulator, merchant = await start(payments="declared")
    simulator.add_payment(trade())
    by_order = await merchant.refund("R1", trade_no=None, out_trade_no="T1")
    by_both = await merchant.refund("R2", out_trade_no="another one's")
    unknown = await merchant.refund("R3", trade_no="P9", out_trade_no="T1")

    assert ["P1", "P1"] == [by_order.node["trade_no"], by_both.node["trade_no"]]
    assert "40004 ACQ.TRADE_NOT_EXIST" == unknown.result
    assert "40004 ACQ.TRADE_NOT_EXIST" == (await merchant.query("R1", trade_no="P9")).result


async def test_whole_refund_without_a_number(start: Start) -> None:
    """Without out_request_no only the whole amount can be refunded, and the order's number is the refund's."""
    simulator, merchant = await start()
    simulator.add_payment(trade())
    part, whole = await merchant.refund(None, "9.99"), await merchant.refund(None, "10.00")

    assert "40004 ACQ.REFUND_AMT_NOT_EQUAL_TOTAL" == part.result
    assert ("Y", "10.00") == (whole.node["fund_change"], whole.node["refund_fee"])
    assert "REFUND_SUCCESS" == (await merchant.query("T1")).node["refund_status"]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"amount": cny("0.99")}, "40004 ACQ.REASON_TRADE_REFUND_FEE_ERR"),
    ({"status": "PROCESSING"}, "40004 ACQ.TRADE_STATUS_ERROR"),
    ({"status": "CANCELLED"}, "40004 ACQ.TRADE_HAS_CLOSE"),
    ({"amount": Money.parse("9.00", "USD")}, "40004 ACQ.CURRENCY_NOT_SUPPORT"),
    ({"refundable_until": datetime.now(UTC) - timedelta(days=1)}, "40004 ACQ.TRADE_HAS_FINISHED"),
    ({"balance": 99}, "40004 ACQ.SELLER_BALANCE_NOT_ENOUGH"),
]


@pytest.mark.parametrize(("payment", "result"), REFUSED, ids=[result for _, result in REFUSED])
async def test_preconditions(start: Start, payment: dict[str, Any], result: str) -> None:
    """Each precondition refuses with its code and a query knows nothing; once it is fixed the same number pays."""
    simulator, merchant = await start(payments="declared")
    simulator.add_payment(trade(**payment))
    first, query = await merchant.refund(), await merchant.query()
    simulator.ledger.payments["P1"] = trade()
    again = await merchant.refund()

    assert (result, "10000", {"code", "msg"}) == (first.result, query.result, set(query.node))
    assert "refund_status" not in query.node
    assert ("Y", {"R1": 1}) == (again.node["fund_change"], simulator.ledger.moved())


async def test_accepted_first(start: Start) -> None:
    """An accepted refund is fund_change N, or none; a query tells no status until the money has moved."""
    simulator, merchant = await start(mode="async", async_delay=None)
    accepted, waiting = await merchant.refund(), await merchant.query()
    simulator.change({"accepted": "absent"})
    silent = await merchant.refund("R2")
    simulator.finish("R1", State.SUCCESS)

    assert ("10000", "N", "0.00") == (accepted.result, accepted.node["fund_change"], accepted.node["refund_fee"])
    assert "refund_status" not in waiting.node
    assert ("10000", False) == (silent.result, "fund_change" in silent.node)
    assert "REFUND_SUCCESS" == (await merchant.query()).node["refund_status"]


async def test_a_later_failure_is_never_reported(start: Start) -> None:
    """A refund that failed after it was accepted looks to a query like one that never came, and may pay yet."""
    simulator, merchant = await start(mode="async", async_delay=None)
    await merchant.refund()
    simulator.finish("R1", State.FAIL)
    reply = await merchant.query()
    simulator.change({"mode": "sync"})

    assert {"code", "msg"} == set(reply.node)
    assert "Y" == (await merchant.refund()).node["fund_change"]


# --- what a query may ask for -----------------------------------------------------------------------------------------

OPTIONS = ("refund_detail_item_list", "gmt_refund_pay", "deposit_back_info", "deposit_back_info_list")
LISTS = {"refund_royaltys", "refund_charge_info_list", "refund_hyb_amount", "pre_auth_cancel_fee"}


async def test_reported_only_on_request(start: Start) -> None:
    """The time, the fund channels and the bank's part come only when query_options name them."""
    _, merchant = await start(deposit_back="P")
    await merchant.refund()
    bare, full = (await merchant.query()).node, (await merchant.query("R1", *OPTIONS)).node

    assert {*OPTIONS, "send_back_fee"} == set(full) - set(bare)
    assert ("P", "1.00") == (full["deposit_back_info"]["dback_status"], full["send_back_fee"])


async def test_everything_that_there_is(start: Start) -> None:
    """With `details`, every structure of the documents is reported, and the fund channels add up."""
    _, merchant = await start(deposit_back="S", details=True)
    refund = (await merchant.refund(query_options=[*OPTIONS, "refund_voucher_detail_list"])).node
    query = (await merchant.query("R1", *OPTIONS, "refund_voucher_detail_list")).node

    assert {*OPTIONS, *LISTS, "refund_voucher_detail_list"} <= set(query)
    assert {"refund_charge_info_list", "refund_detail_item_list", "refund_voucher_detail_list"} <= set(refund)
    funds = query["refund_detail_item_list"]
    assert (["ALIPAYACCOUNT", "BANKCARD"], 1.0) == (
        [fund["fund_channel"] for fund in funds],
        sum(float(fund["amount"]) for fund in funds),
    )
    assert "BRAND" == query["refund_voucher_detail_list"][0]["other_contribute_detail"][0]["contribute_type"]


async def test_deposit_back_by_control(start: Start, box: Letterbox) -> None:
    """The bank's refusal is a control call: it is notified as a message of its own, and the refund stays done."""
    _, merchant = await start(app_gateway=box.url)
    await merchant.refund()
    status, _ = await merchant.control("POST", "refunds/R1/deposit_back", {"status": "F"})
    [form] = await box.wait_for(1)
    query = (await merchant.query("R1", "deposit_back_info")).node

    assert (200, True) == (status, merchant.genuine_form(box.got[0]))
    assert "alipay.trade.refund.depositback.completed" == form["msg_method"]
    assert '"out_request_no":"R1"' in form["biz_content"]
    assert '"dback_status":"F"' in form["biz_content"]
    assert ("REFUND_SUCCESS", "F") == (query["refund_status"], query["deposit_back_info"]["dback_status"])


async def test_deposit_back_is_of_done_refunds(start: Start) -> None:
    """What is not done, and a status that there is not, are refused by name."""
    simulator, merchant = await start(mode="async", async_delay=None)
    await merchant.refund()

    for status in ("F", "X"):
        with pytest.raises(Invalid, match="status"):
            simulator.deposit_back("R1", status)


# --- the gateway ------------------------------------------------------------------------------------------------------

GATE: list[tuple[dict[str, str | None], str]] = [
    ({"app_id": None}, "40001 isv.missing-app-id"),
    ({"app_id": "2021999999999999"}, "40002 isv.invalid-app-id"),
    ({"method": None}, "40001 isv.missing-method"),
    ({"method": "alipay.trade.pay"}, "40002 isv.invalid-method"),
    ({"sign_type": None}, "40001 isv.missing-signature-type"),
    ({"sign_type": "RSA"}, "40002 isv.invalid-signature-type"),
    ({"sign": ""}, "40001 isv.missing-signature"),
    ({"sign": "AAAA"}, "40002 isv.invalid-signature"),
    ({"timestamp": None}, "40001 isv.missing-timestamp"),
    ({"timestamp": "2026-11-31 12:00:00"}, "40002 isv.invalid-timestamp"),
    ({"timestamp": "2026-11-22T12:00:00Z"}, "40002 isv.invalid-timestamp"),
    ({"version": None}, "40001 isv.missing-version"),
    ({"version": "2.0"}, "40002 isv.invalid-parameter"),
    ({"format": "xml"}, "40002 isv.invalid-format"),
    ({"encrypt_type": "AES"}, "40002 isv.invalid-encrypt-type"),
]


@pytest.mark.parametrize(("params", "result"), GATE, ids=[str(params) for params, _ in GATE])
async def test_gate(start: Start, params: dict[str, str | None], result: str) -> None:
    """Each common parameter that is missing or wrong has its code; only what no app can be named for is unsigned."""
    simulator, merchant = await start()
    reply = await merchant.ask(params.pop("method", REFUND) if "method" in params else REFUND, {}, **params)

    assert (200, result) == (reply.status, result and reply.result)
    assert ("app-id" not in result) == reply.genuine
    assert {} == simulator.ledger.refunds


async def test_wrong_signature_says_what_was_signed(start: Start) -> None:
    """A wrong signature is answered, signed, with the text that the gateway verified."""
    _, merchant = await start()
    reply = await merchant.ask(QUERY, '{"out_request_no":"R1","trade_no":"P1"}', sign="AAAA")

    assert reply.genuine
    assert f'app_id={APP_ID}&biz_content={{"out_request_no":"R1","trade_no":"P1"}}&' in reply.node["sub_msg"]


async def test_charset_must_be_in_the_url(start: Start) -> None:
    """A charset that is in the body only is answered as Alipay does: the signature cannot be verified."""
    _, merchant = await start()
    params = merchant.signed({"method": QUERY, "biz_content": "{}"})
    body = "&".join(f"{name}={value}" for name, value in params.items() if name in ("charset", "biz_content"))
    query = "&".join(
        f"{name}={value}".replace("+", "%2B").replace(" ", "+")
        for name, value in params.items()
        if name not in ("charset", "biz_content")
    )
    reply = await merchant.raw("POST", f"{merchant.url}/gateway.do?{query}", body.encode())

    assert "40002 isv.invalid-signature" == reply.result
    assert "charset" in reply.node["sub_msg"]


@pytest.mark.parametrize("charset", ["big5", "GBK2"])
async def test_unknown_charset(start: Start, charset: str) -> None:
    """A charset that Alipay does not take has its code."""
    _, merchant = await start()
    reply = await merchant.raw("GET", f"{merchant.url}/gateway.do?charset={charset}&app_id={APP_ID}", b"")

    assert "40002 isv.invalid-charset" == reply.result


async def test_unknown_path(start: Start) -> None:
    """Another path is not a method; the node is error_response, as is any failure at the gateway when it is set so."""
    simulator, merchant = await start()
    params = merchant.signed({"method": REFUND, "biz_content": "{}"})
    elsewhere = await merchant.send(params, path="/gateway")
    simulator.change({"error_response": "true"})
    reply = await merchant.ask(REFUND, {}, format="xml")

    assert "40002 isv.invalid-method" == elsewhere.result
    assert {"error_response", "sign"} == set(reply.whole)


async def test_get_and_post_are_the_same(start: Start) -> None:
    """Everything in the query of a GET is as good as a POST with the content in its body."""
    _, merchant = await start()
    reply = await merchant.ask(REFUND, {"refund_amount": "1.00", "trade_no": "P1", "out_request_no": "R1"}, "GET")

    assert ("Y", True) == (reply.node["fund_change"], reply.genuine)


@pytest.mark.parametrize("charset", ["gbk", "GBK", "gb2312"])
async def test_gbk(start: Start, charset: str) -> None:
    """A request in GBK is verified over its GBK bytes and answered in GBK."""
    _, merchant = await start()
    data = '{"refund_amount":"1.00","trade_no":"P1","out_request_no":"退款1"}'
    reply, refused = [await merchant.ask(REFUND, content, charset=charset) for content in (data, "{}")]

    assert ("Y", True, f"text/html;charset={charset}") == (reply.node["fund_change"], reply.genuine, reply.kind)
    assert ("参数无效", True) == (refused.node["sub_msg"], refused.genuine)


BAD: list[Any] = [
    "[]", "{", "nonsense", '{"trade_no":"P1","trade_no":"P2"}', {"refund_amount": None}, {"refund_amount": "0"},
    {"refund_amount": "-1.00"}, {"refund_amount": "1.001"}, {"refund_amount": "１.00"}, {"refund_amount": True},
    {"refund_amount": []}, {"trade_no": None}, {"trade_no": "P" * 65}, {"trade_no": 5}, {"out_request_no": "R" * 65},
    {"refund_reason": "x" * 257}, {"query_options": "gmt_refund_pay"}, {"query_options": [1]},
]  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=lambda value: str(value)[:60])
async def test_bad_fields(start: Start, bad: Any) -> None:
    """Content that breaks a documented rule is ACQ.INVALID_PARAMETER, signed, and leaves nothing in the ledger."""
    simulator, merchant = await start()
    good = {"refund_amount": "1.00", "trade_no": "P1", "out_request_no": "R1"}
    reply = await merchant.ask(REFUND, bad if isinstance(bad, str) else good | bad)

    assert (200, "40004 ACQ.INVALID_PARAMETER", True) == (reply.status, reply.result, reply.genuine)
    assert {} == simulator.ledger.refunds


async def test_query_needs_a_number(start: Start) -> None:
    """A query without out_request_no is ACQ.INVALID_PARAMETER."""
    _, merchant = await start()

    assert "40004 ACQ.INVALID_PARAMETER" == (await merchant.ask(QUERY, {"trade_no": "P1"})).result


async def test_app_auth_token(start: Start) -> None:
    """With a token set, a request without it or with another is not authorised."""
    _, merchant = await start(app_auth_token="T-1")
    results = [(await merchant.ask(QUERY, {}, app_auth_token=token)).result for token in (None, "T-2", "T-1")]

    assert ["20001 aop.invalid-app-auth-token"] * 2 + ["40004 ACQ.INVALID_PARAMETER"] == results


async def test_certificate_mode(start: Start, keys: AlipayKeys) -> None:
    """In certificate mode both serial numbers are needed, and the answer names its own after the signature."""
    _, merchant = await start(certificates=True)
    serials = {
        "app_cert_sn": cert_sn(keys.app_cert.read_bytes()),
        "alipay_root_cert_sn": root_sn(keys.root_cert.read_bytes()),
    }
    data = {"refund_amount": "1.00", "trade_no": "P1", "out_request_no": "R1"}
    reply = await merchant.ask(REFUND, data, **serials)
    without = await merchant.ask(REFUND, data)
    other = await merchant.ask(REFUND, data, **{**serials, "app_cert_sn": "0" * 32})

    assert ("Y", True) == (reply.node["fund_change"], reply.genuine)
    assert ["alipay_trade_refund_response", "sign", "alipay_cert_sn"] == list(reply.whole)
    assert cert_sn(keys.alipay_cert.read_bytes()) == reply.whole["alipay_cert_sn"]
    assert "40002 isv.missing-signature-config" == without.result
    assert "40002 isv.invalid-signature" == other.result


def test_keys_and_certificates_fit(tmp_path: Any) -> None:
    """Certificates are made once, kept, and refused when they are about other keys or not all there."""
    made = make_keys(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    make_keys(tmp_path)

    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert root_sn(made.root_cert.read_bytes()).count("_") == 1
    app, alipay = made.app_cert.read_bytes(), made.alipay_cert.read_bytes()
    made.app_cert.write_bytes(alipay)
    with pytest.raises(Invalid, match="is not about merchant"):
        make_keys(tmp_path)
    made.app_cert.write_bytes(b"no certificate")
    with pytest.raises(Invalid, match="is not a PEM certificate"):
        make_keys(tmp_path)
    made.app_cert.write_bytes(app)
    made.root_cert.unlink()
    with pytest.raises(Invalid, match="all three or none"):
        make_keys(tmp_path)


# --- notifications ----------------------------------------------------------------------------------------------------


async def test_notification(start: Start, box: Letterbox) -> None:
    """Every refund that is done is notified as a change of its trade: the sum refunded, our number as out_biz_no."""
    simulator, merchant = await start(notify_url=box.url)
    simulator.add_payment(trade())
    await merchant.refund("R1", "4.00")
    await box.wait_for(1)
    await merchant.refund("R2", "6.00")
    part, whole = await box.wait_for(2)

    assert [True, True] == [merchant.genuine_form(body) for body in box.got]
    reply = ("trade_status", "refund_fee", "out_biz_no", "trade_no", "out_trade_no", "app_id")
    assert ["TRADE_SUCCESS", "4.00", "R1", "P1", "T1", APP_ID] == [part[name] for name in reply]
    assert ["TRADE_CLOSED", "10.00", "R2"] == [whole[name] for name in reply[:3]]
    assert ("gmt_close" in whole, "gmt_close" in part) == (True, False)
    assert part["notify_id"] != whole["notify_id"]


async def test_notification_in_gbk(start: Start, box: Letterbox) -> None:
    """With `notify_charset` the form and its signature are in GBK, and the form says so."""
    _, merchant = await start(notify_url=box.url, notify_charset="gbk")
    await merchant.refund()
    [form] = await box.wait_for(1, "gbk")

    assert ("gbk", "大乐透 2.1 & more") == (form["charset"], form["subject"])
    assert merchant.genuine_form(box.got[0], "gbk")


@pytest.mark.slow
async def test_notified_until_success(start: Start, box: Letterbox) -> None:
    """Only `success`, these seven bytes with HTTP 200, ends the repeats; every try has the same notify_id."""
    simulator, merchant = await start(notify_url=box.url)
    box.answers = [(500, b"success"), (200, b"SUCCESS"), (200, b"success\n"), (200, b""), (307, b"success")]
    await merchant.refund()
    forms = await box.wait_for(6)
    await asyncio.sleep(0.1)

    assert 1 == len({form["notify_id"] for form in forms})
    assert (6, 1) == (
        simulator.ledger.refunds["R1"].notifications_sent,
        simulator.ledger.refunds["R1"].notifications_acknowledged,
    )


async def test_no_notification_where_none_is_sent(start: Start, box: Letterbox) -> None:
    """A failure is never notified, nor a refund of a payment whose product tells nothing."""
    simulator, merchant = await start(notify_url=box.url, notify_sync=False, mode="async", async_delay=None)
    await merchant.refund("R1")
    simulator.finish("R1", State.FAIL)
    simulator.change({"mode": "sync"})
    await merchant.refund("R2")
    simulator.notify("R2")
    forms = await box.wait_for(1)

    assert ["R2"] == [form["out_biz_no"] for form in forms]
    assert 0 == simulator.ledger.refunds["R1"].notifications_sent


# --- money ------------------------------------------------------------------------------------------------------------

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask more", "succeed", "fail"]),
        st.sampled_from(["P1", "P2"]),
        st.sampled_from(["R1", "R2"]),
    ),
    max_size=20,
)


@settings(max_examples=200)
@given(steps=STEPS)
def test_money_moves_at_most_once(steps: list[tuple[str, str, str]]) -> None:
    """Whatever is repeated, failed, forgiven or shared between trades: a refund moves money at most once."""
    now = datetime(2026, 11, 22, tzinfo=UTC)
    ledger = Ledger(undeclared_amount=10_000, ids_per_payment=True, retries_failed=True)
    for step, payment, id in steps:
        ask = ParsedRequest(operation="refund", path="", refund_request_id=id, payment=payment, amount=cny("1.00"))
        if step == "ask more":
            ask = ParsedRequest(operation="refund", path="", refund_request_id=id, payment=payment, amount=cny("2.00"))
        refund = ledger.request(ask, now)[1] if step.startswith("ask") else ledger.find(ask)
        if refund is not None and not step.startswith("ask"):
            ledger.finish(refund, State.SUCCESS if step == "succeed" else State.FAIL, now)

    moved = ledger.moved()
    for key, refund in ledger.refunds.items():
        assert (1 if refund.state is State.SUCCESS else 0) == moved[key]
    for id, payment_ in ledger.payments.items():
        kept = [
            each.amount.minor for each in ledger.refunds.values() if each.payment == id and each.state != State.FAIL
        ]
        assert sum(kept) == payment_.reserved


async def test_top_up_by_control(start: Start) -> None:
    """What prevents a refund can be fixed by a control call, and a wrong call changes nothing."""
    simulator, merchant = await start(payments="declared")
    simulator.add_payment(trade(balance=0))
    first = await merchant.refund()
    wrong = await merchant.control("POST", "payments/P1", {"balance": "10.00", "status": "GONE"})
    still = await merchant.refund()
    status, _ = await merchant.control("POST", "payments/P1", {"balance": "10.00"})
    again = await merchant.refund()

    assert ["40004 ACQ.SELLER_BALANCE_NOT_ENOUGH"] * 2 == [first.result, still.result]
    assert (400, "status") == (wrong[0], wrong[1]["error"]["field"])
    assert (200, "Y") == (status, again.node["fund_change"])
    assert 404 == (await merchant.control("POST", "payments/P9", {"balance": "10.00"}))[0]
    assert 405 == (await merchant.control("GET", "payments/P1"))[0]


async def test_as_the_command_line_runs_it(tmp_path: Path) -> None:
    """The plugin makes keys, takes options as texts, and describes an account that can be read as TOML."""
    async with PLUGIN.run("127.0.0.1", 0, tmp_path, {"certificates": "true", "notify_charset": "gbk"}) as running:
        described = tomllib.loads(PLUGIN.account_section("shop", running.url, tmp_path, "http://127.0.0.1:1/n"))
    account = described["accounts"]["shop"]

    assert ("alipay", f"{running.url}/gateway.do", APP_ID) == (
        account["provider"],
        account["base_url"],
        account["app_id"],
    )
    assert "http://127.0.0.1:1/n" == account["notify_url"]
    with pytest.raises(Invalid, match="notify_charset"):
        async with PLUGIN.run("127.0.0.1", 0, tmp_path, {"notify_charset": "big5"}):
            pass


@pytest.mark.parametrize("honoured", [True, False])
async def test_own_notify_url(start: Start, box: Letterbox, honoured: bool) -> None:
    """A refund's own notify_url is honoured or not, as it is set."""
    simulator, merchant = await start(own_notify_url=honoured)
    data = {"refund_amount": "1.00", "trade_no": "P1", "out_request_no": "R1"}
    await merchant.ask(REFUND, data, notify_url=box.url)

    assert (box.url if honoured else None) == simulator.ledger.refunds["R1"].notify_url
