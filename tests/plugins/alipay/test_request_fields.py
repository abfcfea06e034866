"""Further fields of a refund are taken as Alipay describes them, or refused by name."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refundry.errors import Invalid
from refundry.provider import validation
from refundry_alipay import request_fields
from tests.plugins.alipay.given import DETAILS


def test_every_field_that_alipay_describes() -> None:
    """All of them together are taken, and each alone."""
    request_fields.check(DETAILS)
    for name, value in DETAILS.items():
        request_fields.check({name: value})


@pytest.mark.parametrize(
    ("given_details", "field"),
    [
        ({"refund_currency": "USD"}, "details.refund_currency"),
        ({"refund_currency": 1}, "details.refund_currency"),
        ({"query_options": "deposit_back_info"}, "details.query_options"),
        ({"query_options": ["gmt_refund_pays"]}, "details.query_options"),
        ({"query_options": ["deposit_back_info", "deposit_back_info"]}, "details.query_options"),
        ({"query_options": [1]}, "details.query_options"),
        ({"refund_goods_detail": {}}, "details.refund_goods_detail"),
        ({"refund_goods_detail": []}, "details.refund_goods_detail"),
        ({"refund_goods_detail": [{}] * 101}, "details.refund_goods_detail"),
        ({"refund_goods_detail": ["x"]}, "details.refund_goods_detail[0]"),
        ({"refund_goods_detail": [{}, {"price": 1}]}, "details.refund_goods_detail[1].price"),
        ({"refund_goods_detail": [{"refund_amount": "1.001"}]}, "details.refund_goods_detail[0].refund_amount"),
        ({"refund_goods_detail": [{"refund_amount": "-1"}]}, "details.refund_goods_detail[0].refund_amount"),
        ({"refund_goods_detail": [{"refund_amount": "１"}]}, "details.refund_goods_detail[0].refund_amount"),
        ({"refund_goods_detail": [{"goods_id": None}]}, "details.refund_goods_detail[0].goods_id"),
        ({"refund_goods_detail": [{"goods_id": True}]}, "details.refund_goods_detail[0].goods_id"),
        ({"refund_goods_detail": [{"goods_id": ""}]}, "details.refund_goods_detail[0].goods_id"),
        ({"refund_goods_detail": [{"goods_id": "a\x00"}]}, "details.refund_goods_detail[0].goods_id"),
        ({"refund_goods_detail": [{"goods id": "a"}]}, "details.refund_goods_detail[0]"),
        ({"refund_goods_detail": [{"a": [{"b": [{"c": "d"}]}]}]}, "details.refund_goods_detail[0].a[0].b[0]"),
        ({"refund_royalty_parameters": [{"amount": "1e3"}]}, "details.refund_royalty_parameters[0].amount"),
        ({"related_settle_confirm_no": "s" * 65}, "details.related_settle_confirm_no"),
        ({"operator_id": "o" * 31}, "details.operator_id"),
        ({"store_id": ""}, "details.store_id"),
        ({"terminal_id": 7}, "details.terminal_id"),
        ({"org_pid": "p" * 17}, "details.org_pid"),
        ({"org_pid": "\ud800"}, "details.org_pid"),
        ({"out_request_no": "x"}, "details.out_request_no"),
        ({"trade_no": "x"}, "details.trade_no"),
        ({"refund_reason": "x"}, "details.refund_reason"),
        ({"notify_url": "x"}, "details.notify_url"),
        ({"notify_url": 1}, "details.notify_url"),
        ({"a\nb": "x"}, r"details.'a\nb'"),
        ({7: "x"}, "details.7"),
        ([], "details"),
    ],
)
def test_what_alipay_does_not_describe(given_details: Any, field: str) -> None:
    """It is refused by the name of its field."""
    with pytest.raises(Invalid) as caught:
        request_fields.check(given_details)

    assert field == caught.value.field


def test_what_is_written_elsewhere_says_where() -> None:
    """A field that Refundry writes itself names what it is written from."""
    with pytest.raises(Invalid, match="is written from amount"):
        request_fields.check({"refund_amount": "1"})


def test_order_does_not_matter() -> None:
    """Equal fields are arranged alike, at every depth."""
    there = {"b": {"y": 1, "x": [{"d": 1, "c": 2}]}, "a": 1}
    back = {"a": 1, "b": {"x": [{"c": 2, "d": 1}], "y": 1}}

    assert list(validation.sorted_fields(there)) == ["a", "b"]
    assert repr(validation.sorted_fields(there)) == repr(validation.sorted_fields(back))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(DETAILS)) | st.text(max_size=6), values))
def test_checking_is_total(given_details: dict[str, Any]) -> None:
    """Anything at all is taken or refused as `Invalid`; nothing else is raised."""
    try:
        request_fields.check(given_details)
    except Invalid as error:
        assert error.field.startswith("details")
