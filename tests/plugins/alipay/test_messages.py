"""Messages are read strictly, and nothing of them is lost."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refundry.provider import messages
from refundry.provider.strict_json import Unreadable
from refundry_alipay.messages import (
    Charge,
    Contribution,
    DepositBack,
    DepositBackMessage,
    FundBill,
    Message,
    QueryRequest,
    QueryResponse,
    RefundRequest,
    RefundResponse,
    RefundRoyalty,
    SubFee,
    TradeNotification,
    Voucher,
)
from tests.plugins.alipay.given import HERE, sample, sample_fields

# Every field, copied by hand from the documents.
FIELDS: dict[type[Message], str] = {
    RefundRoyalty: (
        "refund_amount result_code royalty_type trans_out trans_out_email trans_in trans_in_email ori_trans_out"
        " ori_trans_in"
    ),
    FundBill: "fund_channel amount real_amount fund_type",
    DepositBack: "has_deposit_back dback_status dback_amount bank_ack_time est_bank_receipt_time",
    Contribution: "contribute_type contribute_amount",
    Voucher: (
        "id name type amount merchant_contribute other_contribute memo template_id other_contribute_detail"
        " purchase_buyer_contribute purchase_merchant_contribute purchase_ant_contribute"
    ),
    SubFee: "refund_charge_fee switch_fee_rate",
    Charge: "refund_charge_fee switch_fee_rate charge_type refund_sub_fee_detail_list",
    RefundRequest: (
        "refund_amount trade_no out_trade_no out_request_no refund_reason query_options refund_goods_detail"
        " refund_royalty_parameters related_settle_confirm_no refund_currency operator_id store_id terminal_id org_pid"
    ),
    RefundResponse: (
        "code msg sub_code sub_msg trade_no out_trade_no buyer_logon_id fund_change refund_fee gmt_refund_pay"
        " send_back_fee buyer_user_id buyer_open_id store_name refund_detail_item_list refund_charge_info_list"
        " refund_voucher_detail_list refund_hyb_amount pre_auth_cancel_fee"
    ),
    QueryRequest: "out_request_no trade_no out_trade_no query_options",
    QueryResponse: (
        "code msg sub_code sub_msg trade_no out_trade_no out_request_no total_amount refund_amount refund_status"
        " refund_royaltys gmt_refund_pay refund_detail_item_list send_back_fee deposit_back_info"
        " refund_voucher_detail_list pre_auth_cancel_fee refund_hyb_amount refund_charge_info_list"
        " deposit_back_info_list refund_reason refund_channel_list refund_channel_status error_code"
    ),
    TradeNotification: (
        "notify_time notify_type notify_id app_id auth_app_id charset version sign_type sign trade_no out_trade_no"
        " out_biz_no buyer_id buyer_logon_id seller_id seller_email trade_status total_amount receipt_amount"
        " invoice_amount buyer_pay_amount point_amount refund_fee subject body gmt_create gmt_payment gmt_refund"
        " gmt_close fund_bill_list voucher_detail_list passback_params"
    ),
    DepositBackMessage: (
        "trade_no out_trade_no out_request_no dback_status dback_amount bank_ack_time est_bank_receipt_time"
    ),
}
PARTS: dict[str, type[Message]] = {
    "refund_royaltys": RefundRoyalty,
    "refund_detail_item_list": FundBill,
    "deposit_back_info_list": DepositBack,
    "refund_voucher_detail_list": Voucher,
    "other_contribute_detail": Contribution,
    "refund_charge_info_list": Charge,
    "refund_sub_fee_detail_list": SubFee,
}
DECIDING = {
    RefundResponse: "code sub_code trade_no out_trade_no fund_change refund_fee refund_currency",
    QueryResponse: "code sub_code trade_no out_trade_no out_request_no refund_status refund_amount",
    DepositBackMessage: "out_request_no dback_status trade_no out_trade_no",
}
KINDS = {"refund": RefundResponse, "inquiry": QueryResponse, "notification": TradeNotification}
SAMPLES = sorted(
    path.stem
    for path in (HERE / "samples").glob("*.json")
    if not path.stem.startswith("message") and not path.stem.endswith("fraction")
)
UNREADABLE = {"refund_without_code", "refund_success_amount_as_number", "inquiry_success_amount_as_number"}


def whole(kind: type[Message]) -> dict[str, Any]:
    """Make a message, or a part of one, that holds every documented field."""
    return {name: part_of(name) for name in FIELDS[kind].split()}


def part_of(name: str) -> Any:
    if name == "deposit_back_info":
        return whole(DepositBack)
    return [whole(PARTS[name])] * 2 if name in PARTS else f"text of {name}"


@pytest.mark.parametrize("kind", FIELDS, ids=lambda kind: kind.__name__)
def test_every_documented_field_has_its_attribute(kind: type[Message]) -> None:
    """A message with every documented field is read with nothing left over, and written back the same."""
    message = messages.read(kind, whole(kind))

    assert {} == message.extra
    assert whole(kind) == messages.to_wire(message)


@pytest.mark.parametrize("scenario", SAMPLES)
def test_nothing_is_dropped(scenario: str) -> None:
    """Reading and writing a sample loses nothing, whatever unknown fields it holds."""
    kind = KINDS[scenario.split("_")[0]]
    if scenario in UNREADABLE:
        with pytest.raises(Unreadable):
            messages.decode(kind, sample(scenario))
        return

    assert sample_fields(scenario) == messages.to_wire(messages.decode(kind, sample(scenario)))


def test_the_answer_of_the_document() -> None:
    """Every structure of the document's sample is a typed part, down to the fees of a fee and the half of a voucher."""
    answer = messages.decode(QueryResponse, sample("inquiry_with_everything"))

    assert {} == answer.extra
    assert answer.refund_royaltys is not None
    assert ("10", "transfer") == (answer.refund_royaltys[0].refund_amount, answer.refund_royaltys[0].royalty_type)
    assert answer.refund_detail_item_list == (
        FundBill(fund_channel="alipayaccount", amount="10", real_amount="11.21", fund_type="debit_card"),
    )
    assert answer.deposit_back_info is not None
    assert (answer.deposit_back_info,) == answer.deposit_back_info_list
    assert answer.refund_charge_info_list is not None
    assert answer.refund_charge_info_list[0].refund_sub_fee_detail_list == (
        SubFee(refund_charge_fee="0.10", switch_fee_rate="0.01"),
    )
    assert answer.refund_voucher_detail_list is not None
    voucher = answer.refund_voucher_detail_list[0]
    assert voucher.other_contribute_detail == (Contribution(contribute_type="brand", contribute_amount="8.00"),)
    assert ("10.24", "12.45", "88") == (answer.refund_hyb_amount, answer.pre_auth_cancel_fee, answer.send_back_fee)


def test_unknown_fields_are_kept_where_they_stood() -> None:
    """An undocumented field stays with the part of the message it came in, within a list too."""
    answer = messages.decode(RefundResponse, sample("refund_success_unknown_fields"))

    assert {"wallet": {"brand": "x", "tiers": ["a", 1, None]}} == answer.extra
    assert answer.refund_detail_item_list is not None
    assert {"trace": "t1"} == answer.refund_detail_item_list[0].extra


@pytest.mark.parametrize("wrong", [1, True, [], {}, ["x"]])
@pytest.mark.parametrize(
    ("kind", "field"), [(kind, field) for kind, fields in DECIDING.items() for field in fields.split()]
)
def test_what_decides_is_a_string(kind: type[Message], field: str, wrong: object) -> None:
    """A field that decides is not taken from any other type."""
    with pytest.raises(Unreadable, match=field):
        messages.read(kind, whole(kind) | {field: wrong})


@pytest.mark.parametrize("wrong", [7, "text", {}, [7], ["text"], [{}], [{"refund_amount": "1"}], [[]]])
@pytest.mark.parametrize("field", ["refund_royaltys", "refund_detail_item_list", "refund_voucher_detail_list"])
def test_what_only_informs_cannot_hide_the_rest(field: str, wrong: object) -> None:
    """A list of another shape is kept as it came, and the message is read."""
    answer = messages.read(QueryResponse, sample_fields("inquiry_success") | {field: wrong})

    assert getattr(answer, field) is None
    assert {field: wrong} == answer.extra


def test_amounts_are_not_numbers() -> None:
    """An amount that came as a number is kept to the last digit, as text."""
    body = b'{"code":"10000","send_back_fee":0.10,"total_amount":123456789012345678.10}'
    answer = messages.decode(QueryResponse, body)

    assert ("0.10", "123456789012345678.10") == (answer.send_back_fee, answer.total_amount)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(FIELDS[QueryResponse].split() + FIELDS[Voucher].split()) | st.text(max_size=8)


@given(st.sampled_from(sorted(FIELDS, key=lambda kind: kind.__name__)), st.dictionaries(names, json_values))
def test_reading_is_total(kind: type[Message], value: dict[str, Any]) -> None:
    """Any JSON object is read as a message that says the same, or is unreadable; nothing else is raised."""
    described = messages.described(kind)
    try:
        message = messages.read(kind, value)
    except Unreadable:
        return
    kept = {name: item for name, item in value.items() if item is not None or name not in described}

    assert kept.keys() == messages.to_wire(message).keys()


@given(st.text(min_size=1, max_size=64), st.text(max_size=256), st.integers(1, 10**10))
def test_requests_survive_the_way(number: str, reason: str, fen: int) -> None:
    """What is written is read back the same."""
    request = RefundRequest(
        out_request_no=number, trade_no="T", refund_amount=f"{fen // 100}.{fen % 100:02}", refund_reason=reason
    )

    assert request == messages.decode(RefundRequest, messages.encode(request))
    assert json.loads(messages.encode(request))["out_request_no"] == number
