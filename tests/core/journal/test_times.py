"""Times are stored exactly: to the microsecond, in order, wherever in time they are."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import example, given
from hypothesis import strategies as st

from refundry.journal.sqlite.rows import from_micros, to_micros

_LAST = datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)
_ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_DAYS = (datetime(1, 1, 3, tzinfo=UTC), datetime(9999, 12, 29, tzinfo=UTC))
_TIMES = st.datetimes(*(day.replace(tzinfo=None) for day in _DAYS), timezones=_ZONES)


@given(_TIMES)
@example(_LAST)
@example(_LAST - timedelta(microseconds=1))
@example(datetime(2026, 11, 22, 4, 0, 0, 1, UTC))
@example(datetime(4026, 11, 22, 4, 0, 0, 123457, UTC))
def test_a_time_comes_back_as_it_was(at: datetime) -> None:
    """A time is read back equal, in UTC."""
    assert at == from_micros(to_micros(at))
    assert UTC is from_micros(to_micros(at)).tzinfo


@given(_TIMES, st.integers(1, 10))
@example(_LAST, 1)
def test_neighbors_keep_their_order_and_distance(at: datetime, micros: int) -> None:
    """Times that are microseconds apart stay as many apart."""
    assert micros == to_micros(at) - to_micros(at - timedelta(microseconds=micros))
