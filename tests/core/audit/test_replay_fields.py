"""A later version of a plugin that reads one field of a settlement differently is found, whichever field it is."""

from pathlib import Path
from typing import Any

import attrs
import pytest

from refundry.audit.replay.findings import ReplayKind
from refundry.audit.replay.replay import replay
from refundry.config import read_config
from refundry.money import Money
from refundry.provider import Outcome, Quote, Succeeded
from tests.core.audit.later_plugin import with_change
from tests.core.shop import open_shop

CHANGES: dict[str, Any] = {
    "provider_refund_id": "another",
    "settled_at": "2020-01-01T00:00:00+00:00",
    "settlement_amount": Money(1, "HKD", 2),
    "quote": Quote(pair="EUR/HKD", price="9"),
    "details": {"arn": "another"},
    "payment_alias": "merchant:another",
}


@pytest.mark.parametrize("field", CHANGES)
async def test_a_field_that_is_read_differently_is_a_difference(tmp_path: Path, field: str) -> None:
    """The field is named, and no other."""

    def change(outcome: Outcome) -> Outcome:
        return attrs.evolve(outcome, **{field: CHANGES[field]}) if isinstance(outcome, Succeeded) else outcome

    async with open_shop(tmp_path) as shop:
        await shop.request()
    found = list(replay(read_config(shop.config), with_change(change), processes=1))

    assert [(ReplayKind.READING, field)] == [(each.kind, each.text.partition(":")[0]) for each in found]
