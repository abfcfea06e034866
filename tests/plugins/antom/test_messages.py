"""Messages are read strictly, and nothing of them is lost."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refundry.provider import messages
from refundry.provider.messages import Message
from refundry.provider.strict_json import Unreadable
from refundry_antom.messages import (
    Amount,
    InquiryRequest,
    InquiryResponse,
    Quote,
    RefundNotification,
    RefundRequest,
    RefundResponse,
    Result,
)
from tests.plugins.antom.given import HERE, sample

# Every field of the three messages, copied by hand from the documents.
FIELDS: dict[type[Message], str] = {
    Amount: "currency value",
    Quote: "quoteId quoteCurrencyPair quotePrice quoteStartTime quoteExpiryTime guaranteed",
    Result: "resultCode resultStatus resultMessage",
    RefundRequest: (
        "refundRequestId paymentId referenceRefundId refundAmount refundReason refundNotifyUrl captureId metadata"
        " isAsyncRefund actualRefundAmount refundDetails goods refundToBankInfo splitDetails extendInfo"
    ),
    RefundResponse: (
        "result refundRequestId refundId paymentId refundAmount refundTime grossSettlementAmount settlementQuote"
        " acquirerReferenceNo actualRefundAmount acquirerInfo"
    ),
    InquiryRequest: "refundRequestId refundId merchantAccountId",
    InquiryResponse: (
        "result refundId refundRequestId refundAmount refundTime refundStatus grossSettlementAmount settlementQuote"
        " arn rrn metadata authorizationCode customizedInfo"
    ),
    RefundNotification: (
        "notifyType result refundStatus refundRequestId refundId refundAmount refundTime grossSettlementAmount"
        " settlementQuote arn metadata actualRefundAmount customizedInfo authorizationCode"
    ),
}
KINDS = {"refund": RefundResponse, "inquiry": InquiryResponse, "notification": RefundNotification}
SAMPLES = sorted(path.stem for path in (HERE / "samples").glob("*.json"))


def kind_of(scenario: str) -> type[Message]:
    return KINDS[scenario.split("_")[0]]


def whole(kind: type[Message]) -> dict[str, Any]:
    """Make a message that holds every documented field."""
    parts: dict[str, Any] = {
        "result": {"resultCode": "SUCCESS", "resultStatus": "S"},
        "settlementQuote": {"quoteCurrencyPair": "HKD/USD", "quotePrice": "0.128"},
    }
    amounts = {name: {"currency": "EUR", "value": "1"} for name in FIELDS[kind].split() if name.endswith("Amount")}
    return (
        {name: f"text of {name}" for name in FIELDS[kind].split()}
        | amounts
        | {name: part for name, part in parts.items() if name in FIELDS[kind].split()}
    )


@pytest.mark.parametrize("kind", FIELDS, ids=lambda kind: kind.__name__)
def test_every_documented_field_has_its_attribute(kind: type[Message]) -> None:
    """A message with every documented field is read with nothing left over, and written back the same."""
    message = messages.read(kind, whole(kind))

    assert {} == message.extra
    assert whole(kind) == messages.to_wire(message)


@pytest.mark.parametrize("scenario", SAMPLES)
def test_nothing_is_dropped(scenario: str) -> None:
    """Reading and writing a sample loses nothing but nulls, whatever unknown fields it holds."""
    body = sample(scenario)
    kept = {name: item for name, item in json.loads(body).items() if item is not None}
    try:
        message = messages.decode(kind_of(scenario), body)
    except Unreadable:
        assert scenario in {"refund_without_result", "refund_success_amount_as_number"}
        return

    assert kept == messages.to_wire(message)


def test_unknown_fields_are_kept_where_they_stood() -> None:
    """An undocumented field stays with the part of the message it came in."""
    message = messages.decode(RefundResponse, sample("refund_success_unknown_fields"))

    assert {"walletBrand": {"name": "x", "tiers": ["a", 1, None]}} == message.extra
    assert {"traceId": "t1"} == message.result.extra
    assert message.refund_amount is not None
    assert {"precision": "2"} == message.refund_amount.extra


@pytest.mark.parametrize("wrong", [1, True, 1.5, [], {}, ["x"]])
@pytest.mark.parametrize("field", ["refundRequestId", "refundId", "paymentId", "refundTime"])
def test_a_string_is_a_string(field: str, wrong: object) -> None:
    """A field that decides and is documented as String is not taken from any other type."""
    body = json.loads(sample("refund_success")) | {field: wrong}

    with pytest.raises(Unreadable, match=field):
        messages.read(RefundResponse, body)


@pytest.mark.parametrize("part", ["result", "refundAmount"])
@pytest.mark.parametrize("wrong", ["x", 1, [], {}, {"currency": "USD"}, {"resultCode": "SUCCESS"}])
def test_a_part_is_whole(part: str, wrong: object) -> None:
    """A result or an amount without its required fields makes the message unreadable."""
    with pytest.raises(Unreadable):
        messages.read(RefundResponse, json.loads(sample("refund_success")) | {part: wrong})


def test_what_is_missing_is_named_as_on_the_wire() -> None:
    """The fields that a message lacks are named as Antom names them."""
    with pytest.raises(Unreadable, match=r"^refundRequestId, paymentId, refundAmount missing in RefundRequest$"):
        messages.read(RefundRequest, {"refundReason": "x"})


@pytest.mark.parametrize("wrong", [7, "7.79", [1], {"currency": "HKD"}, {"currency": "HKD", "value": 7790}])
def test_what_only_informs_cannot_hide_the_rest(wrong: object) -> None:
    """A settlement amount of another shape is kept as it came, and the message is read."""
    body = json.loads(sample("refund_success")) | {"grossSettlementAmount": wrong}

    message = messages.read(RefundResponse, body)

    assert message.gross_settlement_amount is None
    assert {"grossSettlementAmount": wrong} == message.extra


def test_half_a_character_is_refused() -> None:
    """A string that could never be written down again is not read."""
    body = sample("refund_success").replace(b'"success."', b'"\\ud800"')

    with pytest.raises(Unreadable):
        messages.decode(RefundResponse, body)


def test_whole_characters_are_read() -> None:
    """Escapes of complete characters are accepted."""
    body = sample("refund_success").replace(b'"success."', b'"\\ud83d\\ude00 \\u00e9"')

    assert "😀 é" == messages.decode(RefundResponse, body).result.result_message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(FIELDS[RefundNotification].split()) | st.text(max_size=8)


@given(st.sampled_from(sorted(FIELDS, key=lambda kind: kind.__name__)), st.dictionaries(names, json_values))
def test_reading_is_total(kind: type[Message], value: dict[str, Any]) -> None:
    """Any JSON object is read as a message that says the same, or is unreadable; nothing else is raised."""
    try:
        message = messages.read(kind, value)
    except Unreadable:
        return
    known = {name: item for name, item in value.items() if item is not None or name not in FIELDS[kind].split()}

    assert known.keys() == messages.to_wire(message).keys() | {name for name in known if known[name] is None}


@given(st.text(min_size=1, max_size=64), st.text(max_size=256), st.integers(1, 10**16 - 1))
def test_requests_survive_the_way(refund_request_id: str, reason: str, minor: int) -> None:
    """What is written is read back the same."""
    request = RefundRequest(
        refund_request_id=refund_request_id,
        payment_id="P",
        refund_amount=Amount(currency="EUR", value=str(minor)),
        refund_reason=reason,
    )

    assert request == messages.decode(RefundRequest, messages.encode(request))
