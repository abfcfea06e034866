"""What the simulated Alipay reports of refunds: the fields of its answers and of its notifications.

The rule of this module: it is written from Alipay's documents alone; a field is present if they state so.
"""

import json
from datetime import datetime, timedelta, timezone
from typing import Any, Final

import attrs

from refundry.testing.simulator.ledger import Payment, Refund, State, Verdict
from refundry.testing.simulator.messages import Draft
from refundry_alipay.simulator.keys import APP_ID
from refundry_alipay.simulator.requests import AlipayRequest
from refundry_alipay.simulator.settings import CHARSETS, AlipaySettings
from refundry_alipay.simulator.texts import RARE, ROYALTIES, SUCCESS, VERDICTS, asked_for, gateway_code, result

SELLER_ID: Final = "2088102146225135"
DEPOSIT_BACK: Final = "alipay.trade.refund.depositback.completed"
_BUYER: Final = {"buyer_logon_id": "159****5620", "buyer_user_id": "2088102122524333"}
_BEIJING: Final = timezone(timedelta(hours=8))


def request_of(draft: Draft) -> AlipayRequest:
    """Return the request that is answered."""
    assert isinstance(draft.request, AlipayRequest)
    return draft.request


def code_of(draft: Draft) -> str:
    """Return Alipay's code of a message: a sub_code, or the gateway's code if it has no sub_code."""
    if draft.code == Verdict.PAYMENT_STATUS and draft.payment is not None and draft.payment.status != "PROCESSING":
        return "ACQ.TRADE_HAS_CLOSE"
    return VERDICTS.get(draft.code, draft.code)


def compact(value: Any) -> str:
    """Write JSON without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def beijing(moment: datetime) -> str:
    """Write a time as Alipay does."""
    return f"{moment.astimezone(_BEIJING):%Y-%m-%d %H:%M:%S}"


def answer(settings: AlipaySettings, draft: Draft) -> bytes:
    """Write an answer, in the charset of its request unless a setting names one, without its signature."""
    parsed, code = request_of(draft), code_of(draft)
    gateway = draft.status or gateway_code(code)
    node = result(code, gateway, parsed.signed)
    if gateway == SUCCESS:
        node |= _WRITERS.get(draft.operation, _nothing)(settings, draft)
    elif gateway == "40004" and draft.operation == "refund" and draft.payment is not None:
        # Seen on failures of refunds; it says nothing about the trade's other refunds.
        node |= {"out_trade_no": _order_number(draft.payment), "refund_fee": "0.00", "send_back_fee": "0.00"}
    at_the_gateway = gateway not in (SUCCESS, "40004")
    name = "error_response" if not parsed.known or (settings.error_response and at_the_gateway) else _name(parsed)
    return compact({name: node}).encode(CHARSETS[charset_of(settings, parsed).lower()], "replace")


def charset_of(settings: AlipaySettings, parsed: AlipayRequest) -> str:
    """Return the charset of the answer to a request."""
    return parsed.charset if settings.answer_charset == "requested" else settings.answer_charset


def _name(parsed: AlipayRequest) -> str:
    return f"{parsed.method.replace('.', '_')}_response"


def _order_number(payment: Payment) -> str:
    return payment.merchant_id or f"ORDER{payment.id}"[:64]


def _nothing(settings: AlipaySettings, draft: Draft) -> dict[str, Any]:
    return {}


def _fund_change(settings: AlipaySettings, draft: Draft) -> dict[str, str]:
    """Return fund_change: Y only to the request that moved the money, or where a fault claims it."""
    done = draft.moved if draft.code in VERDICTS else draft.state is State.SUCCESS
    if draft.code not in VERDICTS and draft.state is None:
        return {}
    if done:
        return {"fund_change": "Y"}
    in_process = draft.refund is not None and draft.refund.state is State.PROCESSING
    return {} if in_process and settings.accepted == "absent" else {"fund_change": "N"}


def _refund_fields(settings: AlipaySettings, draft: Draft) -> dict[str, Any]:
    refund, payment = draft.refund, draft.payment
    if refund is None or payment is None:
        return _fund_change(settings, draft)
    fields: dict[str, Any] = {
        **_BUYER,
        **_fund_change(settings, draft),
        "out_trade_no": _order_number(payment),
        "refund_fee": _refund_fee(draft, refund),
        "trade_no": payment.id,
    }
    if draft.amount is not None and draft.amount.currency != "CNY":
        fields["refund_currency"] = draft.amount.currency
    if refund.finished_at is not None and refund.state is State.SUCCESS:
        fields["gmt_refund_pay"] = beijing(refund.finished_at)
        fields |= asked_for(refund, request_of(draft).wanted, everything=settings.details)
        fields |= RARE if settings.details else {}
    return fields


def _refund_fee(draft: Draft, refund: Refund) -> str:
    """Return what of the trade has been refunded so far; a fault may claim more."""
    assert draft.refunded is not None
    more = 0 if draft.amount is None else draft.amount.minor - refund.amount.minor
    return str(attrs.evolve(draft.refunded, minor=draft.refunded.minor + more))


def _query_fields(settings: AlipaySettings, draft: Draft) -> dict[str, Any]:
    refund, payment = draft.refund, draft.payment
    state = draft.state or (refund.state if refund else None)
    if refund is None or payment is None or state is State.FAIL:
        return {}
    fields: dict[str, Any] = {
        "out_request_no": refund.refund_request_id,
        "out_trade_no": _order_number(payment),
        "refund_amount": str(draft.amount or refund.amount),
        "total_amount": str(payment.amount),
        "trade_no": payment.id,
    }
    if state is not State.SUCCESS:
        return fields
    fields["refund_status"] = "REFUND_SUCCESS"
    if "gmt_refund_pay" in request_of(draft).wanted and refund.finished_at is not None:
        fields["gmt_refund_pay"] = beijing(refund.finished_at)
    fields |= asked_for(refund, request_of(draft).wanted, everything=settings.details)
    return fields | (RARE | ROYALTIES if settings.details else {})


_WRITERS: Final = {"refund": _refund_fields, "inquiry": _query_fields}


def trade_changed(draft: Draft, refund: Refund, payment: Payment, at: datetime) -> dict[str, str]:
    """Write that a trade changed; by a refund, if one is done or claimed."""
    total = str(payment.amount)
    fields = {
        "notify_time": beijing(at),
        "notify_type": "trade_status_sync",
        "auth_app_id": APP_ID,
        "trade_no": payment.id,
        "out_trade_no": _order_number(payment),
        "buyer_id": _BUYER["buyer_user_id"],
        "buyer_logon_id": _BUYER["buyer_logon_id"],
        "seller_id": SELLER_ID,
        "subject": "大乐透 2.1 & more",
        "total_amount": total,
        "receipt_amount": total,
        "buyer_pay_amount": total,
        "fund_bill_list": compact([{"amount": total, "fundChannel": "ALIPAYACCOUNT"}]),
        "gmt_create": "2026-01-01 11:00:00",
        "gmt_payment": "2026-01-01 11:00:05",
        "trade_status": "TRADE_SUCCESS" if draft.code in VERDICTS else draft.code,
    }
    if draft.state is not State.SUCCESS:
        return fields
    done_at = refund.finished_at or at
    fields["refund_fee"] = _refund_fee(draft, refund)
    fields["out_biz_no"] = refund.refund_request_id
    fields["gmt_refund"] = f"{beijing(done_at)}.{done_at.microsecond // 1000:03d}"
    if fields["refund_fee"] == total and draft.code in VERDICTS:
        fields |= {"trade_status": "TRADE_CLOSED", "gmt_close": beijing(done_at)}
    return fields


def deposit_back(draft: Draft, refund: Refund, payment: Payment, at: datetime) -> dict[str, str]:
    """Write how the bank took the money."""
    content = {
        "trade_no": payment.id,
        "out_trade_no": _order_number(payment),
        "out_request_no": refund.refund_request_id,
        **refund.facts["deposit_back"],
    }
    return {
        "msg_method": DEPOSIT_BACK,
        "utc_timestamp": str(int(at.timestamp() * 1000)),
        "biz_content": compact(content),
    }
