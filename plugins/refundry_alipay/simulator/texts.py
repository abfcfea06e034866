"""What the simulated Alipay says in words: its codes with their messages, and the lists that a refund may bring.

The rule of this module: it is written from Alipay's documents alone and shares nothing with the plugin's code tables or
wire classes, so that the two check each other.
"""

from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any, Final

from refundry.testing.simulator.ledger import Refund, Verdict

SUCCESS: Final = "10000"
_GATEWAY: Final = {
    SUCCESS: "Success",
    "20000": "Service Currently Unavailable",
    "20001": "Insufficient Token Permissions",
    "40001": "Missing Required Arguments",
    "40002": "Invalid Arguments",
    "40003": "Insufficient Conditions",
    "40004": "Business Failed",
    "40005": "Call Limited",
    "40006": "Insufficient Permissions",
}
_PERMISSIONS: Final = frozenset(
    {
        "isv.insufficient-isv-permissions", "isv.insufficient-user-permissions", "isv.route-no-permissions",
        "isv.access-forbidden",
    }
)  # fmt: skip
_MISSING: Final = "isv.missing-"
_NOT_MISSING: Final = frozenset({"isv.missing-signature-config"})
_DECRYPTION: Final = "isv.decryption-error-missing-encrypt-type"

_SAYS: Final = {
    "ACQ.ALLOC_AMOUNT_VALIDATE_ERROR": "退分账金额超限",
    "ACQ.BUYER_ENABLE_STATUS_FORBID": "买家状态异常",
    "ACQ.BUYER_ERROR": "买家状态异常",
    "ACQ.BUYER_NOT_EXIST": "买家不存在",
    "ACQ.CURRENCY_NOT_SUPPORT": "退款币种不支持",
    "ACQ.CUSTOMER_VALIDATE_ERROR": "账户已注销或者被冻结",
    "ACQ.DISCORDANT_REPEAT_REQUEST": "请求信息不一致",
    "ACQ.ENTERPRISE_PAY_BIZ_ERROR": "因公付业务异常",
    "ACQ.INVALID_PARAMETER": "参数无效",
    "ACQ.NOT_ALLOW_PARTIAL_REFUND": "不支持部分退款",
    "ACQ.ONLINE_TRADE_VOUCHER_NOT_ALLOW_REFUND": "交易不允许退款",
    "ACQ.REASON_TRADE_BEEN_FREEZEN": "当前交易不允许退款",
    "ACQ.REASON_TRADE_REFUND_FEE_ERR": "退款金额无效",
    "ACQ.REASON_TRADE_STATUS_INVALID": "交易状态异常",
    "ACQ.REFUND_ACCOUNT_NOT_EXIST": "退款出资账号不存在或账号异常",
    "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL": "退款金额超限",
    "ACQ.REFUND_CHARGE_ERROR": "退收费异常",
    "ACQ.REFUND_FEE_ERROR": "交易退款金额有误",
    "ACQ.SELLER_BALANCE_NOT_ENOUGH": "卖家余额不足",
    "ACQ.SYSTEM_ERROR": "系统错误",
    "ACQ.TRADE_HAS_CLOSE": "交易已关闭",
    "ACQ.TRADE_HAS_FINISHED": "交易已完结",
    "ACQ.TRADE_NOT_ALLOW_REFUND": "当前交易不允许退款",
    "ACQ.TRADE_NOT_EXIST": "交易不存在",
    "ACQ.TRADE_SETTLE_ERROR": "交易结算异常",
    "ACQ.TRADE_STATUS_ERROR": "交易状态不合法",
    "TRADE_NOT_EXIST": "查询退款的交易不存在",
    "aop.invalid-app-auth-token": "无效的应用授权令牌",
    "isp.unknow-error": "系统繁忙",
    "isv.invalid-app-id": "无效的AppID参数",
    "isv.invalid-charset": "字符集错误",
    "isv.invalid-encrypt-type": "无效的加密类型",
    "isv.invalid-format": "无效的数据格式",
    "isv.invalid-method": "不存在的方法名",
    "isv.invalid-parameter": "参数无效",
    "isv.invalid-signature-type": "无效的签名类型",
    "isv.invalid-timestamp": "非法的时间戳参数",
    "isv.missing-app-id": "缺少AppID参数",
    "isv.missing-method": "缺少方法名参数",
    "isv.missing-signature": "缺少签名参数",
    "isv.missing-signature-config": "验签出错, 未配置对应签名算法的公钥或者证书",
    "isv.missing-signature-type": "缺少签名类型参数",
    "isv.missing-timestamp": "缺少时间戳参数",
    "isv.missing-version": "缺少版本参数",
}

WRONG_SIGNATURE: Final = (
    "验签出错，请确认charset参数放在了URL查询字符串中且各参数值使用charset参数"  # noqa: RUF001
    "指示的字符集编码，网关生成的验签字符串为："  # noqa: RUF001
)
"""Alipay's words, before the text that the signature should have been of."""

VERDICTS: Final[Mapping[str, str]] = {
    Verdict.DONE: SUCCESS,
    Verdict.IN_PROCESS: SUCCESS,
    Verdict.FAILED: SUCCESS,
    Verdict.NOT_FOUND: SUCCESS,
    Verdict.UNKNOWN_PAYMENT: "ACQ.TRADE_NOT_EXIST",
    Verdict.PAYMENT_STATUS: "ACQ.TRADE_STATUS_ERROR",
    Verdict.CURRENCY: "ACQ.CURRENCY_NOT_SUPPORT",
    Verdict.WINDOW: "ACQ.TRADE_HAS_FINISHED",
    Verdict.EXCEEDED: "ACQ.REASON_TRADE_REFUND_FEE_ERR",
    Verdict.NOT_TOTAL: "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL",
    Verdict.BALANCE: "ACQ.SELLER_BALANCE_NOT_ENOUGH",
    Verdict.INCONSISTENT: "ACQ.DISCORDANT_REPEAT_REQUEST",
}
"""Alipay's code for each verdict of the ledger; 10000 alone decides nothing about the money."""


def gateway_code(code: str) -> str:
    """Return the gateway's code under which Alipay reports a code of its own or of the API."""
    if code.isdecimal():
        return code
    if code.startswith("isp.") or code == "aop.unknow-error":
        return "20000"
    if code.startswith("aop."):
        return "20001"
    if (code.startswith(_MISSING) and code not in _NOT_MISSING) or code == _DECRYPTION:
        return "40001"
    if code in _PERMISSIONS:
        return "40006"
    return "40002" if code.startswith("isv.") else "40004"


def result(code: str, gateway: str, signed: str) -> dict[str, Any]:
    """Write how every answer begins; to a wrong signature Alipay says what it should have been of."""
    head = {"code": gateway, "msg": _GATEWAY.get(gateway, "Failed")}
    if code.isdecimal():
        return head
    wrong = code == "isv.invalid-signature"
    return {**head, "sub_code": code, "sub_msg": WRONG_SIGNATURE + signed if wrong else _SAYS.get(code, "业务处理失败")}


# --- what a refund that is done may bring -----------------------------------------------------------------------------


def asked_for(refund: Refund, wanted: Collection[str], *, everything: bool) -> dict[str, Any]:
    """Write what comes only for a value of query_options; `everything`: with the parts that are rarely there."""
    fields: dict[str, Any] = {}
    if "refund_detail_item_list" in wanted:
        fields["refund_detail_item_list"] = _funds(refund, everything)
        fields["send_back_fee"] = str(refund.amount)
    back = refund.facts.get("deposit_back")
    if back is not None and "deposit_back_info" in wanted:
        fields["deposit_back_info"] = {"has_deposit_back": "true", **back}
    if back is not None and "deposit_back_info_list" in wanted:
        fields["deposit_back_info_list"] = [{"has_deposit_back": "true", **back}]
    if everything and "refund_voucher_detail_list" in wanted:
        fields["refund_voucher_detail_list"] = [_VOUCHER]
    return fields


def _funds(refund: Refund, everything: bool) -> list[dict[str, str]]:
    if not everything or refund.amount.minor < 2:
        return [{"fund_channel": "ALIPAYACCOUNT", "amount": str(refund.amount), "real_amount": str(refund.amount)}]
    whole = Decimal(str(refund.amount))
    card = (whole / 2).quantize(Decimal("0.01"))
    rest = str(whole - card)
    return [
        {"fund_channel": "ALIPAYACCOUNT", "amount": rest, "real_amount": rest},
        {"fund_channel": "BANKCARD", "amount": str(card), "real_amount": str(card), "fund_type": "DEBIT_CARD"},
    ]


_VOUCHER: Final[dict[str, Any]] = {
    "id": "2015102600073002039000002D5O",
    "name": "XX超市5折优惠",
    "type": "ALIPAY_FIX_VOUCHER",
    "amount": "10.00",
    "merchant_contribute": "9.00",
    "other_contribute": "1.00",
    "memo": "学生专用优惠",
    "template_id": "20171030000730015359000EMZP0",
    "other_contribute_detail": [{"contribute_type": "BRAND", "contribute_amount": "8.00"}],
    "purchase_buyer_contribute": "2.01",
    "purchase_merchant_contribute": "1.03",
    "purchase_ant_contribute": "0.82",
}
RARE: Final[dict[str, Any]] = {
    "refund_hyb_amount": "10.24",
    "refund_charge_info_list": [
        {
            "refund_charge_fee": "0.01",
            "switch_fee_rate": "0.01",
            "charge_type": "trade",
            "refund_sub_fee_detail_list": [{"refund_charge_fee": "0.10", "switch_fee_rate": "0.01"}],
        }
    ],
    "pre_auth_cancel_fee": "12.45",
}
"""What both answers contain for some products, in the words of Alipay's sample."""
ROYALTIES: Final[dict[str, Any]] = {
    "refund_royaltys": [
        {
            "refund_amount": "10",
            "royalty_type": "transfer",
            "result_code": "SUCCESS",
            "trans_out": "2088102210397302",
            "trans_out_email": "alipay-test03@alipay.com",
            "trans_in": "2088102210397302",
            "trans_in_email": "zen_gwen@hotmail.com",
            "ori_trans_out": "2088111111111111",
            "ori_trans_in": "2088111111111111",
        }
    ]
}
"""What the answer to a query contains for one product, in the words of Alipay's sample."""
