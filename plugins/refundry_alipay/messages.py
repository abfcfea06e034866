"""Alipay's messages: refund, refund query, trade notification and deposit-back message, field by field.

The rule of this module: it only describes; how a message is read and written is the rule of
`refundry.provider.messages`. What decides (ids, amounts, status) must be a string; everything else only informs.
Amounts are yuan as the text that was sent, times are Beijing time as the text that was sent. Sources: Alipay Open
Platform, `alipay.trade.refund`, `alipay.trade.fastpay.refund.query`, the asynchronous notification of a trade, and the
models of its official SDKs.
"""

from typing import Any, ClassVar

import attrs

from refundry.provider import messages
from refundry.provider.messages import informs

# --- parts ------------------------------------------------------------------------------------------------------------


@attrs.frozen(slots=True, kw_only=True)
class Message(messages.Message):
    """Every message of Alipay, and every part of one: fields are named in snake_case."""

    camel_case: ClassVar[bool] = False


@attrs.frozen(slots=True, kw_only=True)
class RefundRoyalty(Message):
    """A share of the payment that was taken back from its recipient (RefundRoyaltyResult)."""

    refund_amount: str
    result_code: str
    royalty_type: str | None = None
    trans_out: str | None = None
    trans_out_email: str | None = None
    trans_in: str | None = None
    trans_in_email: str | None = None
    ori_trans_out: str | None = None
    ori_trans_in: str | None = None


@attrs.frozen(slots=True, kw_only=True)
class FundBill(Message):
    """A source of money that the refund went back to (TradeFundBill)."""

    fund_channel: str
    amount: str
    real_amount: str | None = None
    fund_type: str | None = None
    bank_code: str | None = None


@attrs.frozen(slots=True, kw_only=True)
class DepositBack(Message):
    """How the buyer's bank took the money: S, F (it went to the buyer's Alipay balance) or P (DepositBackInfo)."""

    has_deposit_back: Any = None
    """`true` as a string, or as JSON writes it."""
    dback_status: str | None = informs()
    dback_amount: str | None = informs()
    bank_ack_time: str | None = informs()
    est_bank_receipt_time: str | None = informs()


@attrs.frozen(slots=True, kw_only=True)
class Contribution(Message):
    """The part of a voucher that was not paid by the merchant (ContributeDetail)."""

    contribute_type: str
    contribute_amount: str


@attrs.frozen(slots=True, kw_only=True)
class Voucher(Message):
    """A voucher that was used in the payment, with who paid for it (VoucherDetail)."""

    id: str
    name: str
    type: str
    amount: str
    merchant_contribute: str | None = None
    other_contribute: str | None = None
    memo: str | None = None
    template_id: str | None = None
    other_contribute_detail: tuple[Contribution, ...] | None = informs()
    purchase_buyer_contribute: str | None = None
    purchase_merchant_contribute: str | None = None
    purchase_ant_contribute: str | None = None


@attrs.frozen(slots=True, kw_only=True)
class SubFee(Message):
    """The part of a returned fee that belongs to one means of a combined payment (RefundSubFee)."""

    refund_charge_fee: str | None = None
    switch_fee_rate: str | None = None


@attrs.frozen(slots=True, kw_only=True)
class Charge(Message):
    """A fee that Alipay gives back with the refund (RefundChargeInfo)."""

    refund_charge_fee: str | None = None
    switch_fee_rate: str | None = None
    charge_type: str | None = None
    refund_sub_fee_detail_list: tuple[SubFee, ...] | None = informs()


# --- alipay.trade.refund ----------------------------------------------------------------------------------------------


@attrs.frozen(slots=True, kw_only=True)
class RefundRequest(Message):
    """What `alipay.trade.refund` takes. The order of the fields is the order in which they are written."""

    out_request_no: str
    trade_no: str | None = None
    out_trade_no: str | None = None
    refund_amount: str
    refund_currency: str | None = None
    refund_reason: str | None = None
    query_options: Any = None
    refund_goods_detail: Any = None
    refund_royalty_parameters: Any = None
    related_settle_confirm_no: str | None = None
    operator_id: str | None = None
    store_id: str | None = None
    terminal_id: str | None = None
    org_pid: str | None = None


@attrs.frozen(slots=True, kw_only=True)
class Answer(Message):
    """What every answer has: a gateway code, and a sub-code unless it is a success."""

    code: str
    msg: str | None = None
    sub_code: str | None = None
    sub_msg: str | None = None
    trade_no: str | None = None
    out_trade_no: str | None = None


@attrs.frozen(slots=True, kw_only=True)
class RefundResponse(Answer):
    """What `alipay.trade.refund` answers. `refund_fee` is the sum of all refunds of the trade, not this one."""

    fund_change: str | None = None
    refund_fee: str | None = None
    refund_currency: str | None = None
    gmt_refund_pay: str | None = informs()
    send_back_fee: str | None = informs()
    buyer_logon_id: str | None = informs()
    buyer_user_id: str | None = informs()
    buyer_open_id: str | None = informs()
    store_name: str | None = informs()
    refund_detail_item_list: tuple[FundBill, ...] | None = informs()
    refund_charge_info_list: tuple[Charge, ...] | None = informs()
    refund_voucher_detail_list: tuple[Voucher, ...] | None = informs()
    refund_preset_paytool_list: Any = None
    refund_charge_amount: str | None = informs()
    refund_hyb_amount: str | None = informs()
    refund_settlement_id: str | None = informs()
    pre_auth_cancel_fee: str | None = informs()
    present_refund_buyer_amount: str | None = informs()
    present_refund_discount_amount: str | None = informs()
    present_refund_mdiscount_amount: str | None = informs()
    deposit_back_info: DepositBack | None = informs()
    deposit_back_info_list: tuple[DepositBack, ...] | None = informs()


# --- alipay.trade.fastpay.refund.query --------------------------------------------------------------------------------


@attrs.frozen(slots=True, kw_only=True)
class QueryRequest(Message):
    """What `alipay.trade.fastpay.refund.query` takes. If both numbers of the trade are sent, `trade_no` counts."""

    out_request_no: str
    trade_no: str | None = None
    out_trade_no: str | None = None
    query_options: Any = None


@attrs.frozen(slots=True, kw_only=True)
class QueryResponse(Answer):
    """What the query answers. `code` speaks of the query; `refund_status` and `refund_amount` of this one refund."""

    out_request_no: str | None = None
    refund_status: str | None = None
    refund_amount: str | None = None
    total_amount: str | None = informs()
    refund_royaltys: tuple[RefundRoyalty, ...] | None = informs()
    gmt_refund_pay: str | None = informs()
    refund_detail_item_list: tuple[FundBill, ...] | None = informs()
    send_back_fee: str | None = informs()
    deposit_back_info: DepositBack | None = informs()
    refund_voucher_detail_list: tuple[Voucher, ...] | None = informs()
    pre_auth_cancel_fee: str | None = informs()
    refund_hyb_amount: str | None = informs()
    refund_charge_info_list: tuple[Charge, ...] | None = informs()
    deposit_back_info_list: tuple[DepositBack, ...] | None = informs()
    error_code: str | None = informs()
    refund_reason: str | None = informs()
    refund_channel_list: Any = None
    refund_channel_status: str | None = informs()
    present_refund_buyer_amount: str | None = informs()
    present_refund_discount_amount: str | None = informs()
    present_refund_mdiscount_amount: str | None = informs()


# --- what Alipay posts ------------------------------------------------------------------------------------------------


@attrs.frozen(slots=True, kw_only=True)
class TradeNotification(Message):
    """A form that Alipay posts when a trade changes. With `refund_fee` and `gmt_refund` a refund changed it."""

    notify_time: str | None = None
    notify_type: str | None = None
    notify_id: str | None = None
    app_id: str | None = None
    auth_app_id: str | None = None
    charset: str | None = None
    version: str | None = None
    sign_type: str | None = None
    sign: str | None = None
    alipay_cert_sn: str | None = None
    trade_no: str | None = None
    out_trade_no: str | None = None
    out_biz_no: str | None = None
    trade_status: str | None = None
    refund_fee: str | None = None
    gmt_refund: str | None = None
    buyer_id: str | None = None
    buyer_logon_id: str | None = None
    seller_id: str | None = None
    seller_email: str | None = None
    subject: str | None = None
    body: str | None = None
    passback_params: str | None = None
    total_amount: str | None = None
    receipt_amount: str | None = None
    invoice_amount: str | None = None
    buyer_pay_amount: str | None = None
    point_amount: str | None = None
    send_back_fee: str | None = None
    gmt_create: str | None = None
    gmt_payment: str | None = None
    gmt_close: str | None = None
    fund_bill_list: str | None = None
    voucher_detail_list: str | None = None


@attrs.frozen(slots=True, kw_only=True)
class DepositBackMessage(Message):
    """The `biz_content` of `alipay.trade.refund.depositback.completed`: what the buyer's bank did with a refund."""

    out_request_no: str
    dback_status: str
    trade_no: str | None = None
    out_trade_no: str | None = None
    dback_amount: str | None = informs()
    bank_ack_time: str | None = informs()
    est_bank_receipt_time: str | None = informs()
