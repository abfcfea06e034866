"""Alipay's own software for Python and ours understand each other, over text and over a socket."""

import asyncio
import base64
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from refundry.money import Money
from refundry.provider import Answer, RefundInstruction, Succeeded
from refundry_alipay.simulator import APP_ID
from refundry_alipay.simulator.keys import AlipayKeys
from refundry_alipay.simulator.requests import REFUND
from tests.plugins.alipay.accounts import account
from tests.plugins.alipay.peers import OFFICIAL
from tests.plugins.alipay.simulated import Start, keys, start

__all__ = ["keys", "start"]  # fixtures

pytestmark = [pytest.mark.peer, pytest.mark.slow]

AT = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
INSTRUCTION = RefundInstruction("R1", "P1", Money(1233, "CNY", 2), reason="正常退款")
TEXTS = """
import json, sys
from alipay.aop.api.util.SignatureUtils import get_sign_content, sign_with_rsa2, verify_with_rsa
from rsa import VerificationError

def verify(key, text, charset, signature):
    try:
        return verify_with_rsa(key, text.encode(charset), signature)
    except VerificationError:
        return False

calls = {
    "verify": verify,
    "sign": lambda key, text, charset: sign_with_rsa2(key, text, charset),
    "content": lambda params: get_sign_content(params),
}
print(json.dumps([calls[name](*arguments) for name, *arguments in json.load(sys.stdin)]))
"""
CLIENT = """
import http.client, json, sys, types
import alipay.aop.api.util.WebUtils as web
port, app_id, charset = sys.argv[1:]
private, public = json.load(sys.stdin)
web.httplib = types.SimpleNamespace()
web.httplib.HTTPConnection = lambda host, port=None, timeout=None, to=int(port): http.client.HTTPConnection(
    "127.0.0.1", to, timeout=timeout
)
from alipay.aop.api.AlipayClientConfig import AlipayClientConfig
from alipay.aop.api.DefaultAlipayClient import DefaultAlipayClient
from alipay.aop.api.domain.AlipayTradeFastpayRefundQueryModel import AlipayTradeFastpayRefundQueryModel
from alipay.aop.api.domain.AlipayTradeRefundModel import AlipayTradeRefundModel
from alipay.aop.api.request.AlipayTradeFastpayRefundQueryRequest import AlipayTradeFastpayRefundQueryRequest
from alipay.aop.api.request.AlipayTradeRefundRequest import AlipayTradeRefundRequest
from alipay.aop.api.response.AlipayTradeFastpayRefundQueryResponse import AlipayTradeFastpayRefundQueryResponse
from alipay.aop.api.response.AlipayTradeRefundResponse import AlipayTradeRefundResponse

config = AlipayClientConfig()
config.server_url, config.app_id, config.charset = "http://127.0.0.1/gateway.do", app_id, charset
config.app_private_key, config.alipay_public_key = private, public
client = DefaultAlipayClient(config)

refund = AlipayTradeRefundModel()
refund.out_trade_no, refund.out_request_no, refund.refund_amount = "T1", "R1", "12.33"
refund.refund_reason = "\\u6b63\\u5e38\\u9000\\u6b3e"
request = AlipayTradeRefundRequest()
request.biz_model = refund
refunded = AlipayTradeRefundResponse()
refunded.parse_response_content(client.execute(request))

query = AlipayTradeFastpayRefundQueryModel()
query.out_trade_no, query.out_request_no = "T1", "R1"
query.query_options = ["refund_detail_item_list", "deposit_back_info", "refund_voucher_detail_list"]
request = AlipayTradeFastpayRefundQueryRequest()
request.biz_model = query
found = AlipayTradeFastpayRefundQueryResponse()
found.parse_response_content(client.execute(request))

try:
    client.execute(request)
    forged = "believed"
except Exception as error:
    forged = type(error).__name__
print(json.dumps({
    "refund": [refunded.code, refunded.fund_change, refunded.refund_fee, refunded.trade_no],
    "query": [found.refund_status, found.refund_amount, found.deposit_back_info.dback_status],
    "funds": [fund.fund_channel for fund in found.refund_detail_item_list],
    "royalty": found.refund_royaltys[0].result_code,
    "voucher": found.refund_voucher_detail_list[0].other_contribute_detail[0].contribute_type,
    "charge": found.refund_charge_info_list[0].refund_sub_fee_detail_list[0].refund_charge_fee,
    "forged": forged,
}))
"""


def bare(pem: bytes) -> str:
    """Return a key as the SDK wants it: base64 without the lines around it."""
    return "".join(pem.decode().splitlines()[1:-1])


def pkcs1(pem: bytes) -> str:
    key = load_pem_private_key(pem, None)
    return base64.b64encode(key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())).decode()


def sdk(*calls: list[Any]) -> list[Any]:
    answers: list[Any] = json.loads(OFFICIAL.run(TEXTS, stdin=json.dumps(calls)))
    return answers


@pytest.mark.parametrize("charset", ["utf-8", "gbk"])
def test_the_sdk_verifies_our_requests(keys: AlipayKeys, charset: str) -> None:
    """Both requests of an account verify in the SDK, over the content that the SDK itself makes of them."""
    ours = account("http://127.0.0.1:9", keys, charset=charset)
    public = bare(keys.merchant_public.read_bytes())
    for call in (ours.refund(INSTRUCTION, AT), ours.inquire(INSTRUCTION, AT)):
        request = call.sign()
        sent = urlsplit(request.url).query + "&" + request.body.decode()
        params = dict(parse_qsl(sent, keep_blank_values=True, encoding=charset))
        signature = params.pop("sign")
        [content] = sdk(["content", params])
        checks = [["verify", public, text, charset, signature] for text in (content, content.replace("R1", "R2"))]

        assert [True, False] == sdk(*checks)


@pytest.mark.parametrize("charset", ["utf-8", "gbk"])
def test_we_verify_what_the_sdk_signs(keys: AlipayKeys, charset: str) -> None:
    """An answer signed by the SDK over its node settles."""
    node = '{"code":"10000","msg":"成功","trade_no":"P1","out_trade_no":"T1","fund_change":"Y","refund_fee":"12.33"}'
    [signature] = sdk(["sign", pkcs1(keys.provider.read_bytes()), node, charset])
    body = f'{{"{REFUND.replace(".", "_")}_response":{node},"sign":"{signature}"}}'.encode(charset)
    ours = account("http://127.0.0.1:9", keys, charset=charset)

    assert isinstance(ours.refund(INSTRUCTION, AT).read(Answer(200, [], body)), Succeeded)


@pytest.mark.parametrize("charset", ["utf-8", "GBK"])
async def test_its_client_works_with_the_simulator(start: Start, keys: AlipayKeys, charset: str) -> None:
    """The SDK's own client refunds and asks, verifies both answers, reads every list, and refuses a forged answer."""
    simulator, _ = await start(details=True, deposit_back="S")
    simulator.fault("bad_signature", operation="inquiry", skip=1)
    port = simulator.url.rpartition(":")[2]
    secrets = json.dumps([pkcs1(keys.merchant.read_bytes()), bare(keys.provider_public.read_bytes())])
    content = json.loads(await asyncio.to_thread(OFFICIAL.run, CLIENT, port, APP_ID, charset, stdin=secrets))

    assert ["10000", "Y", "12.33", "OF-T1"] == content["refund"]
    assert ["REFUND_SUCCESS", "12.33", "S"] == content["query"]
    assert ["ALIPAYACCOUNT", "BANKCARD"] == content["funds"]
    assert ("SUCCESS", "BRAND", "0.10") == (content["royalty"], content["voucher"], content["charge"])
    assert "believed" != content["forged"]
    assert {"R1": 1} == simulator.ledger.moved()
