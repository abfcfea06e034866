"""Alipay's own software for Node and ours understand each other: requests, answers, forms and certificates."""

import asyncio
import json
from typing import Any

import pytest

from refundry_alipay.simulator import APP_ID
from refundry_alipay.simulator.keys import AlipayKeys, cert_sn, root_sn
from tests.plugins.alipay.merchant import Letterbox
from tests.plugins.alipay.peers import NODE
from tests.plugins.alipay.simulated import Start, box, keys, start

__all__ = ["box", "keys", "start"]  # fixtures

pytestmark = [pytest.mark.peer, pytest.mark.slow]

HEAD = """
const { readFileSync } = require("node:fs");
const { AlipaySdk } = require("alipay-sdk");
const [appId, folder, mode, url] = process.argv.slice(1);
const path = name => `${folder}/${name}`;
const text = name => readFileSync(path(name), "utf8");
const trusted = mode === "certificates" ? {
  appCertPath: path("app_cert.pem"),
  alipayPublicCertPath: path("alipay_cert.pem"),
  alipayRootCertPath: path("alipay_root_cert.pem"),
} : { alipayPublicKey: text("provider.pub.pem").trim() };
const client = new AlipaySdk({
  appId, privateKey: text("merchant.pem").trim(), keyType: "PKCS8", gateway: `${url}/gateway.do`, camelcase: false,
  ...trusted,
});
"""
CALLS = """
const trade = { out_trade_no: "T1", out_request_no: "R1" };
const ask = (method, more) => client.exec(method, { bizContent: { ...trade, ...more } }, { validateSign: true });
(async () => {
  const refunded = await ask("alipay.trade.refund", { refund_amount: "12.33", refund_reason: "\\u9000\\u6b3e" });
  const found = await ask("alipay.trade.fastpay.refund.query", { query_options: ["deposit_back_info"] });
  const refused = await ask("alipay.trade.fastpay.refund.query", { out_trade_no: "" });
  const forged = await ask("alipay.trade.fastpay.refund.query", {}).then(() => "believed", () => "refused");
  console.log(JSON.stringify([refunded.fund_change, found.refund_status, refused.sub_code, forged]));
})();
"""
VERIFY = """
const forms = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(forms.map(form => client.checkNotifySignV2(form))));
"""
SERIALS = """
console.log(JSON.stringify([client.config.appCertSn, client.config.alipayCertSn, client.config.alipayRootCertSn]));
"""


def run(script: str, keys: AlipayKeys, mode: str, url: str = "http://127.0.0.1:9", stdin: Any = None) -> Any:
    return json.loads(NODE.run(HEAD + script, APP_ID, str(keys.directory), mode, url, stdin=json.dumps(stdin)))


@pytest.mark.parametrize("mode", ["public key", "certificates"])
async def test_its_client_works_with_the_simulator(start: Start, keys: AlipayKeys, mode: str) -> None:
    """It refunds, asks, verifies every answer and refuses a forged one, in both modes."""
    simulator, _ = await start(certificates=mode == "certificates")
    simulator.fault("bad_signature", operation="inquiry", skip=1)
    content = await asyncio.to_thread(run, CALLS, keys, mode, simulator.url)

    assert ["Y", "REFUND_SUCCESS", "ACQ.INVALID_PARAMETER", "refused"] == content
    assert {"R1": 1} == simulator.ledger.moved()


async def test_it_accepts_the_simulator(start: Start, keys: AlipayKeys, box: Letterbox) -> None:
    """It verifies the simulator's notifications and refuses a changed one."""
    _, merchant = await start(notify_url=box.url, deposit_back="F")
    await merchant.refund()
    forms = await box.wait_for(2)
    changed = {**forms[0], "app_id": "2021000000000001"}

    assert [True, True, False] == await asyncio.to_thread(run, VERIFY, keys, "public key", stdin=[*forms, changed])


def test_serial_numbers_agree(keys: AlipayKeys) -> None:
    """It names the certificates as the simulator does."""
    ours = [cert_sn(path.read_bytes()) for path in (keys.app_cert, keys.alipay_cert)]

    assert [*ours, root_sn(keys.root_cert.read_bytes())] == run(SERIALS, keys, "certificates")
