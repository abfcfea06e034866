"""The skew between a provider's clock and ours, as its answers show it."""

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest

from refundry.gateway import Gateway
from refundry.outbound.skew import TOLERATED, Skews, measured
from refundry.provider import Answer
from tests.core.shop import open_shop

SENT = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
RECEIVED = SENT + timedelta(seconds=2)


def dated(*dates: str) -> Answer:
    return Answer(200, tuple(("Date", date) for date in dates), b"")


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("Sun, 22 Nov 2026 12:00:01 GMT", 0),
        ("Sun, 22 Nov 2026 13:00:01 +0100", 0),
        ("Sun, 22 Nov 2026 12:00:01 -0000", 0),
        ("Sun, 22 Nov 2026 12:10:01 GMT", 600),
        ("Mon, 22 Nov 2027 12:00:01 GMT", 365 * 86_400),
        ("Sun, 22 Nov 2026 11:59:01 GMT", -60),
    ],
)
def test_a_skew_is_the_date_against_the_middle_of_the_call(date: str, seconds: int) -> None:
    """The provider wrote its date between sending and receiving."""
    assert timedelta(seconds=seconds) == measured(dated(date), SENT, RECEIVED)


@pytest.mark.parametrize(
    "dates",
    [
        (),
        ("",),
        ("yesterday",),
        ("Sun, 99 Nov 2026 12:00:01 GMT",),
        ("Sun, 22 Nov 2026 12:00:01 GMT",) * 2,
        ("Sun, 22 Nov 2026 12:00:01 +9999",),
        ("Sun, 22 Nov 2026 12:00:01 +999999999999",),
    ],
)
def test_an_answer_without_a_readable_date_measures_nothing(dates: tuple[str, ...]) -> None:
    """No date, two dates and nonsense give no measurement and no error."""
    assert measured(dated(*dates), SENT, RECEIVED) is None


def test_a_skew_is_logged_when_it_begins_and_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    """One warning for a clock that differs, however many answers show it, and one line when it agrees again."""
    caplog.set_level(logging.INFO, "refundry")
    skews, late = Skews(), TOLERATED + timedelta(seconds=1)
    for shift in (timedelta(0), late, late, TOLERATED, late, -late, timedelta(0)):
        moved = SENT - shift
        skews.note("shop", dated("Sun, 22 Nov 2026 12:00:01 GMT"), moved, moved + timedelta(seconds=2))

    lines = [(record.levelname, record.getMessage().split(" account=")[0]) for record in caplog.records]
    begins, ends = ("WARNING", "clock differs from the provider's"), ("INFO", "clock agrees with the provider's again")
    assert [begins, ends, begins, ends] == lines
    assert "provider_ahead_seconds=61" in caplog.text
    assert {"shop": timedelta(0)} == dict(skews.of)


async def test_a_gateway_knows_how_far_its_clock_is_off(tmp_path: Path) -> None:
    """Each answer is measured, and every account has its own skew."""
    async with open_shop(tmp_path) as shop:
        assert {} == shop.gateway.clock_skews
        await shop.request()
        assert {"shop": timedelta(0)} == shop.gateway.clock_skews
        now = shop.clock()
        late = attrs.evolve(shop.gateway.ports, now=lambda: now - timedelta(hours=1))
        async with Gateway.open(shop.config, ports=late) as gateway:
            await gateway.inquire((await gateway.list())[0].id)
            assert {"shop": timedelta(hours=1)} == gateway.clock_skews
