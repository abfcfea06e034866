"""Fault rules: whatever is sent as a rule is a rule or a named error, and every fault is documented."""

from pathlib import Path
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from refundry.errors import Invalid
from refundry.testing.simulator.faults import CORRUPTIONS, FAULTS, Faults, Rule, corrupted
from refundry.testing.simulator.ledger import Ledger

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
FIELDS = sorted({"operation", "times", "probability", "refund_request_id", "skip"} | {
    field for fault in FAULTS.values() for field in fault.params
})  # fmt: skip


@given(fault=st.sampled_from([*FAULTS, "explode"]), fields=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4))
def test_a_rule_or_a_named_error(fault: str, fields: dict[str, object]) -> None:
    """Any JSON is read as a rule that can be shown and planned, or refused with a field that was sent or is missing."""
    try:
        rule = Rule.parse({"fault": fault, **fields})
    except Invalid as error:
        assert error.field in {"fault", *fields, *(FAULTS[fault].params if fault in FAULTS else ())}
        return

    rules = Faults(Random(0), [rule])
    for operation in ("refund", "inquiry", "notification"):
        rules.plan(operation, "R1", Ledger())
    assert fault == rule.as_json()["fault"]


def test_delays_add_up() -> None:
    """Faults of one kind compose, in the order in which they were added."""
    rules = Faults(Random(0))
    for seconds in ("0.5", "0.25"):
        rules.add({"fault": "delay", "seconds": seconds})
    rules.add({"fault": "corrupt", "kind": "half_json"})
    rules.add({"fault": "corrupt", "kind": "duplicate_keys"})
    plan = rules.plan("refund", None, Ledger())

    assert (0.75, ["half_json", "duplicate_keys"]) == (plan.wait_after, plan.corruptions)


@given(body=st.binary(max_size=40), kind=st.sampled_from(CORRUPTIONS))
def test_corrupting_never_fails(body: bytes, kind: str) -> None:
    """Faults compose, so anything can be corrupted."""
    status, _, _ = corrupted(kind, body, Random(0))

    assert 200 <= status < 600


def test_every_fault_is_documented() -> None:
    """The page for users has every fault, every parameter and every type of corruption."""
    page = (Path(__file__).parents[3] / "docs" / "simulator.md").read_text(encoding="utf-8")
    names = [*FAULTS, *CORRUPTIONS, *(field for fault in FAULTS.values() for field in fault.params)]

    assert [] == [name for name in names if f"`{name}`" not in page]
