"""Messages are read strictly, and nothing of them is lost."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refundry.provider import messages
from refundry.provider.messages import Message
from refundry.provider.strict_json import Unreadable
from refundry_alphapay.messages import (
    Amount,
    InquiryRequest,
    InquiryResponse,
    Refund,
    RefundNotification,
    RefundRequest,
    RefundResponse,
    Result,
)
from tests.plugins.alphapay.given import HERE, sample

# Every field of the messages, copied by hand from the documents.
FIELDS: dict[type[Message], str] = {
    Amount: "value currency",
    Refund: "refundAmount description notifyUrl",
    Result: "resultCode resultMessage resultStatus",
    RefundRequest: "paymentId refundRequestId refund",
    RefundResponse: "refundId paymentId refundRequestId refund refundTime result",
    InquiryRequest: "refundId refundRequestId",
    InquiryResponse: "paymentId refundRequestId refundId refundTime refundStatus refund result",
    RefundNotification: "paymentId refundRequestId refundId refundTime refundStatus refund",
}
KINDS: dict[str, type[Message]] = {
    "refund": RefundResponse,
    "inquiry": InquiryResponse,
    "notification": RefundNotification,
}
SAMPLES = sorted(path.stem for path in (HERE / "samples").glob("*.json"))
UNREADABLE = {"refund_without_result", "refund_amount_as_number", "notification_of_a_payment"}
PARTS: dict[str, Any] = {
    "result": {"resultCode": "SUCCESS", "resultStatus": "S"},
    "refund": {"refundAmount": {"value": "100", "currency": "CAD"}, "description": "d", "notifyUrl": "u"},
    "refundAmount": {"value": "100", "currency": "CAD"},
}


def whole(kind: type[Message]) -> dict[str, Any]:
    """Make a message that holds every documented field."""
    return {name: PARTS.get(name, f"text of {name}") for name in FIELDS[kind].split()}


@pytest.mark.parametrize("kind", FIELDS, ids=lambda kind: kind.__name__)
def test_every_documented_field_has_its_attribute(kind: type[Message]) -> None:
    """A message with every documented field is read with nothing left over, and written back the same."""
    message = messages.read(kind, whole(kind))

    assert {} == message.extra
    assert whole(kind) == messages.to_wire(message)
    assert set(FIELDS[kind].split()) == set(messages.described(kind))


@pytest.mark.parametrize("scenario", SAMPLES)
def test_nothing_is_dropped(scenario: str) -> None:
    """Reading and writing a sample loses nothing, whatever unknown fields it holds."""
    body = sample(scenario)
    kind = KINDS[scenario.split("_")[0]]
    try:
        message = messages.decode(kind, body)
    except Unreadable:
        assert scenario in UNREADABLE
        return

    assert json.loads(body) == messages.to_wire(message)
    assert message == messages.decode(kind, messages.encode(message))


@pytest.mark.parametrize("wrong", [1, True, 1.5, [], {}, ["x"]])
@pytest.mark.parametrize("field", ["refundRequestId", "refundId", "paymentId", "refundStatus"])
def test_a_string_is_a_string(field: str, wrong: object) -> None:
    """A field that decides and is documented as a string is not taken from any other type."""
    body = json.loads(sample("inquiry_success")) | {field: wrong}

    with pytest.raises(Unreadable, match=field):
        messages.read(InquiryResponse, body)


@pytest.mark.parametrize("wrong", ["x", 1, [], {"refundAmount": "1"}, {"refundAmount": {"currency": "CAD"}}])
def test_an_amount_is_whole(wrong: object) -> None:
    """A refund whose amount is not an amount makes the message unreadable."""
    with pytest.raises(Unreadable):
        messages.read(InquiryResponse, json.loads(sample("inquiry_success")) | {"refund": wrong})


def test_what_only_informs_cannot_hide_the_rest() -> None:
    """A time and a description of another shape are kept as they came, and the message is read."""
    message = messages.decode(InquiryResponse, sample("inquiry_success_unusual_time"))

    assert (None, {"refundTime": 20261122}) == (message.refund_time, message.extra)
    assert message.refund is not None
    assert {"description": ["unusual"]} == message.refund.extra


@given(st.text(min_size=1, max_size=64), st.text(max_size=128), st.integers(1, 9_999_999))
def test_requests_survive_the_way(refund_request_id: str, description: str, minor: int) -> None:
    """What is written is read back the same."""
    request = RefundRequest(
        refund_request_id=refund_request_id,
        payment_id="P",
        refund=Refund(refund_amount=Amount(value=str(minor), currency="CAD"), description=description),
    )

    assert request == messages.decode(RefundRequest, messages.encode(request))
