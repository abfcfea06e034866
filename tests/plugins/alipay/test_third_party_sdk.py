"""A widely used client that is not Alipay's own and ours agree about requests, answers, forms and certificates."""

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from refundry.provider import Notification, Succeeded
from refundry_alipay import certificates
from refundry_alipay.simulator import APP_ID
from refundry_alipay.simulator.keys import AlipayKeys, cert_sn, root_sn
from tests.plugins.alipay.accounts import account
from tests.plugins.alipay.merchant import Letterbox
from tests.plugins.alipay.peers import THIRD_PARTY
from tests.plugins.alipay.simulated import Start, box, keys, start
from tests.plugins.alipay.test_official_sdk import AT, INSTRUCTION

__all__ = ["box", "keys", "start"]  # fixtures

pytestmark = [pytest.mark.peer, pytest.mark.slow]

HEAD = """
import json, pathlib, sys
from alipay import AliPay, DCAliPay
app_id, folder, *rest = sys.argv[1:]
folder = pathlib.Path(folder)
text = lambda name: (folder / name).read_text()
"""
PLAIN = """
client = AliPay(app_id, app_private_key_string=text("merchant.pem"), alipay_public_key_string=text("provider.pub.pem"))
"""
CERTIFIED = """
client = DCAliPay(
    app_id,
    app_private_key_string=text("merchant.pem"),
    app_public_key_cert_string=text("app_cert.pem"),
    alipay_public_key_cert_string=text("alipay_cert.pem"),
    alipay_root_cert_string=text("alipay_root_cert.pem"),
)
"""
CALLS = """
client._gateway = rest[0] + "/gateway.do"
refunded = client.api_alipay_trade_refund("12.33", out_trade_no="T1", out_request_no="R1", refund_reason="\\u9000")
again = client.api_alipay_trade_refund("12.33", out_trade_no="T1", out_request_no="R1", refund_reason="\\u9000")
found = client.api_alipay_trade_fastpay_refund_query("R1", out_trade_no="T1")
refused = client.api_alipay_trade_fastpay_refund_query("", out_trade_no="T1")
try:
    client.api_alipay_trade_fastpay_refund_query("R1", out_trade_no="T1")
    forged = "believed"
except Exception as error:
    forged = type(error).__name__
print(json.dumps([
    refunded["fund_change"], again["fund_change"], found["refund_status"], refused["sub_code"], forged
]))
"""
VERIFY = """
forms = json.load(sys.stdin)
print(json.dumps([client.verify(form, form.pop("sign")) for form in forms]))
"""
SERIALS = """
print(json.dumps([
    DCAliPay.get_cert_sn(text("app_cert.pem")),
    DCAliPay.get_cert_sn(text("alipay_cert.pem")),
    DCAliPay.get_root_cert_sn(text("alipay_root_cert.pem")),
]))
"""
SIGNATURE = """
params = json.load(sys.stdin)
params.pop("sign")
print(json.dumps(client._sign("&".join(f"{key}={params[key]}" for key in sorted(params)))))
"""


def run(script: str, folder: Path, *arguments: str, stdin: Any = None) -> Any:
    return json.loads(THIRD_PARTY.run(HEAD + script, APP_ID, str(folder), *arguments, stdin=json.dumps(stdin)))


def test_it_signs_as_we_do(keys: AlipayKeys) -> None:
    """For the same parameters it makes the same signature as we."""
    request = account("http://127.0.0.1:9", keys).refund(INSTRUCTION, AT).sign()
    params = dict(parse_qsl(urlsplit(request.url).query + "&" + request.body.decode()))

    assert params["sign"] == run(PLAIN + SIGNATURE, keys.directory, stdin=params)


@pytest.mark.parametrize("client", [PLAIN, CERTIFIED], ids=["public key", "certificates"])
async def test_its_client_works_with_the_simulator(start: Start, keys: AlipayKeys, client: str) -> None:
    """It refunds once, asks, verifies every answer and refuses a forged one, in both modes."""
    simulator, _ = await start(certificates=client is CERTIFIED)
    simulator.fault("bad_signature", operation="inquiry", skip=1)
    content = await asyncio.to_thread(run, client + CALLS, keys.directory, simulator.url)

    assert ["Y", "N", "REFUND_SUCCESS", "ACQ.INVALID_PARAMETER", "AliPayValidationError"] == content
    assert {"R1": 1} == simulator.ledger.moved()


async def test_it_accepts_what_the_plugin_accepts(start: Start, keys: AlipayKeys, box: Letterbox) -> None:
    """It and our account agree about the simulator's notifications, genuine and changed."""
    _, merchant = await start(notify_url=box.url, deposit_back="F")
    await merchant.refund("R1", "12.33")
    forms: list[dict[str, str]] = await box.wait_for(2)
    changed = {**forms[0], "refund_fee": "99.00"}
    ours = account("http://127.0.0.1:9", keys)
    [verified] = [
        ours.parse_notification(Notification("POST", "/n", (), body)).read(INSTRUCTION)
        for body in box.got
        if b"msg_method" not in body
    ]

    assert [True, True, False] == run(PLAIN + VERIFY, keys.directory, stdin=[*forms, changed])
    assert isinstance(verified, Succeeded)


def test_serial_numbers_agree(keys: AlipayKeys) -> None:
    """It, the plugin and the simulator name every certificate alike; roots without RSA have no part."""
    app, alipay, root = (path.read_bytes() for path in (keys.app_cert, keys.alipay_cert, keys.root_cert))
    plugin = [certificates.serial_number(certificates.load(pem, "cert")) for pem in (app, alipay)]
    its = run(SERIALS, keys.directory)

    assert [cert_sn(app), cert_sn(alipay), root_sn(root)] == its
    assert its == [*plugin, certificates.root_serial_number(root, "root")]
