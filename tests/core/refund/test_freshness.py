"""How old a notification may be: within the terms, by either clock being ahead."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refundry.provider import Terms
from refundry.refund.policy import is_fresh

_NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@given(st.floats(1, 86_400), st.floats(-200_000, 200_000))
def test_only_what_was_signed_near_now_is_fresh(limit: float, age: float) -> None:
    """A notification from further away than the limit, in the past or in the future, decides nothing."""
    terms = Terms(notification_freshness=limit)
    signed_at = _NOW - timedelta(seconds=age)

    assert (abs(timedelta(seconds=age)) <= timedelta(seconds=limit)) == is_fresh(signed_at, _NOW, terms)


@pytest.mark.parametrize(("age", "fresh"), [(300, True), (301, False), (-300, True), (-301, False), (-(10**7), False)])
def test_the_limit_itself_is_fresh(age: float, fresh: bool) -> None:
    """Exactly as old as allowed is fresh; one second more, either way, is not."""
    assert fresh is is_fresh(_NOW - timedelta(seconds=age), _NOW, Terms(notification_freshness=300))


def test_without_a_time_it_is_not_fresh() -> None:
    """A notification that does not state when it was signed decides nothing."""
    assert False is is_fresh(None, _NOW, Terms())
