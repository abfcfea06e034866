"""Further fields of a request reach Antom as the platform gave them, or are refused by name."""

import json
import random
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refundry.errors import Invalid
from refundry.provider import RefundInstruction, messages
from refundry_antom import request_fields
from refundry_antom.messages import RefundRequest
from tests.plugins.antom.given import AT, DETAILS, INSTRUCTION, provider

ANTOM = provider()


def instruction(given_details: Any) -> RefundInstruction:
    return attrs.evolve(INSTRUCTION, details=given_details)


def body(given_details: Any) -> bytes:
    ANTOM.check(instruction(given_details))
    return ANTOM.refund(instruction(given_details), AT).body


def other_instruction(value: Any) -> Any:
    """Return the same JSON value with the keys of its objects in some other order."""
    if isinstance(value, dict):
        names = list(value)
        random.Random(len(names)).shuffle(names)
        return {name: other_instruction(value[name]) for name in names}
    return [other_instruction(part) for part in value] if isinstance(value, list) else value


# --- what is written --------------------------------------------------------------------------------------------------


def test_every_field_of_the_request_can_be_given() -> None:
    """The fixed fields come first, then the given ones in one order, with nothing changed and nothing lost."""
    written = json.loads(body(DETAILS))

    assert ["refundRequestId", "paymentId", "refundAmount"] == list(written)[:3]
    further = {name: item for name, item in written.items() if name in DETAILS}
    assert further == DETAILS
    fixed = {"refundRequestId", "paymentId", "refundAmount", "refundReason", "refundNotifyUrl"}
    assert {*DETAILS, *fixed} == messages.described(RefundRequest).keys()
    assert list(DETAILS) == list(written)[3:]


def test_the_order_in_which_fields_are_given_does_not_matter() -> None:
    """Equal details give equal bytes, in the exact spelling that is signed."""
    expected = (
        b'{"refundRequestId":"REFUND_20261122_0001","paymentId":"20261122194010800100188000000000001",'
        b'"refundAmount":{"currency":"USD","value":"1000"},"captureId":"C1",'
        b'"actualRefundAmount":{"currency":"USD","value":"990"},"goods":[{"a":"1","b":{"c":"2","d":"3"}}]}'
    )
    given_details = {
        "goods": [{"b": {"d": "3", "c": "2"}, "a": "1"}],
        "actualRefundAmount": {"value": "990", "currency": "USD"},
        "captureId": "C1",
    }

    assert expected == body(given_details)
    assert body(DETAILS) == body(other_instruction(DETAILS))


@pytest.mark.parametrize("nothing", [None, {}])
def test_no_details_change_nothing(nothing: Any) -> None:
    """Without details the body is what it always was."""
    assert ANTOM.refund(INSTRUCTION, AT).body == body(nothing)


def test_a_resend_is_the_same_bytes() -> None:
    """What was sent wins over the details too."""
    assert b"{}" == ANTOM.refund(attrs.evolve(instruction(DETAILS), sent=b"{}"), AT).body


texts = st.text(st.characters(codec="utf-8"), max_size=8)
names = st.from_regex(r"[a-z]{1,6}", fullmatch=True)
parts = st.recursive(texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner), max_leaves=6)
objects = st.dictionaries(names, parts, max_size=3)
some_details = st.fixed_dictionaries(
    {},
    optional={
        "metadata": texts,
        "extendInfo": texts,
        "goods": st.lists(objects, max_size=2),
        "refundToBankInfo": objects,
        "splitDetails": st.lists(objects, max_size=2),
    },
)


@given(some_details)
def test_details_survive_the_way(given_details: dict[str, Any]) -> None:
    """Accepted fields are in the body as given, and in the same bytes after a round trip through a store."""
    written = body(given_details)

    assert given_details == {name: item for name, item in json.loads(written).items() if name in request_fields._FIELDS}
    assert written == body(json.loads(json.dumps(other_instruction(given_details))))


# --- what is refused --------------------------------------------------------------------------------------------------

EUR = {"currency": "EUR", "value": "1"}


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = {"a": value}
    return value


def each(name: str, *wrong: Any) -> list[tuple[Any, str]]:
    return [({name: value}, f"details.{name}") for value in wrong]


def amounts(part: str, *wrong: Any) -> list[tuple[Any, str]]:
    field = f"details.actualRefundAmount.{part}"
    return [({"actualRefundAmount": EUR | {part: value}}, field) for value in wrong]


WRONG: list[tuple[Any, str]] = [
    ([], "details"),
    ("x", "details"),
    ({"a\nb": "1"}, r"details.'a\nb'"),
    ({5: "1"}, "details.5"),
    *each("captureID", "1"),
    *each("walletBrand", "1"),
    *each("refundRequestId", "1"),
    *each("paymentId", "1"),
    *each("refundReason", "1"),
    *each("refundAmount", EUR),
    *each("refundNotifyUrl", "shop.example"),
    *each("referenceRefundId", "r" * 65),
    *each("captureId", "", "c" * 65, "a\nb", 1, None, ["c"], "\ud800"),
    *each("metadata", 1, 1.5, True, None, {}, [], "\ud800"),
    *each("isAsyncRefund", True, "yes", "True", None, []),
    *each("goods", "x", {}, None, 1),
    ({"goods": ["x"]}, "details.goods[0]"),
    ({"goods": [{"a": "1"}, {"goodsQuantity": 1}]}, "details.goods[1].goodsQuantity"),
    ({"goods": [{"tags": ["a", None]}]}, "details.goods[0].tags[1]"),
    ({"goods": [{"a b": "1"}]}, "details.goods[0]"),
    *each("refundToBankInfo", [{"accountNo": "1"}]),
    ({"refundToBankInfo": {"accountNo": 12}}, "details.refundToBankInfo.accountNo"),
    ({"refundToBankInfo": nested(9)}, "details.refundToBankInfo" + ".a" * 8),
    *each("actualRefundAmount", "1", {}, {"value": "1"}, EUR | {"x": "1"}, None),
    *amounts("value", 1, "1.00", "-1", "", "01", "9" * 17, "١", None),
    *amounts("currency", "eur", "XYZ", "", 978, None, []),
    ({"actualRefundAmount": {"currency": "IDR", "value": "150"}}, "details.actualRefundAmount.value"),
    ({"splitDetails": [{"splitAmount": "100"}]}, "details.splitDetails[0].splitAmount"),
    ({"splitDetails": [{"splitAmount": EUR | {"value": 1}}]}, "details.splitDetails[0].splitAmount.value"),
    ({"metadata": "x" * 16 * 1024}, "details"),
    ({"metadata": "é" * 8 * 1024}, "details"),
]


@pytest.mark.parametrize(("wrong", "field"), WRONG)
def test_what_antom_does_not_describe(wrong: Any, field: str) -> None:
    """A field of another name or shape than described is refused by its name."""
    with pytest.raises(Invalid) as caught:
        ANTOM.check(instruction(wrong))

    assert field == caught.value.field


def test_an_unknown_name_lists_the_known_ones() -> None:
    """A misspelled field lists the known ones; a reserved field names where its value comes from."""
    with pytest.raises(Invalid, match="known fields are referenceRefundId, captureId, .*splitDetails"):
        ANTOM.check(instruction({"captureID": "1"}))
    with pytest.raises(Invalid, match="written from amount and cannot be set twice"):
        ANTOM.check(instruction({"refundAmount": EUR}))


@pytest.mark.parametrize("edge", [{"metadata": "x" * (16 * 1024 - 15)}, {"refundToBankInfo": nested(8)}, {"goods": []}])
def test_details_at_the_edge(edge: Any) -> None:
    """Details just inside the rules are taken."""
    ANTOM.check(instruction(edge))


def test_no_value_is_shown() -> None:
    """An error about an account number names the field and not the number."""
    with pytest.raises(Invalid) as caught:
        ANTOM.check(instruction({"refundToBankInfo": {"accountNo": ["canary-7f3a", 5]}}))

    assert "canary" not in str(caught.value)


def test_a_refund_may_have_its_own_notification_address() -> None:
    """RefundNotifyUrl among the details takes the place of the account's, as Antom's page has it."""
    account = provider(notify_url="https://shop.example/account")
    own = instruction({"refundNotifyUrl": "https://shop.example/own"})
    account.check(own)

    assert "https://shop.example/own" == json.loads(account.refund(own, AT).body)["refundNotifyUrl"]
    assert "https://shop.example/account" == json.loads(account.refund(INSTRUCTION, AT).body)["refundNotifyUrl"]


def test_an_inquiry_by_antoms_id() -> None:
    """With inquire_by_refund_id the refundId is sent alone once it is known, and until then the refundRequestId."""
    account, known = provider(inquire_by_refund_id=True), attrs.evolve(INSTRUCTION, provider_refund_id="AR1")

    assert {"refundId": "AR1"} == json.loads(account.inquire(known, AT).body)
    expected = {"refundRequestId": INSTRUCTION.refund_request_id}
    assert expected == json.loads(account.inquire(INSTRUCTION, AT).body) == json.loads(ANTOM.inquire(known, AT).body)
