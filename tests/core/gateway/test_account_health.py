"""The health of accounts: what calls change, who may call, and what is logged about an outage."""

import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import reduce
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refundry.gateway import Gateway
from refundry.gateway.account_health import AccountState, checked, failed, health_of, outage_since, probed, succeeded
from refundry.gateway.worker import Worker
from refundry.inputs import Operator
from refundry.journal import AccountRecord, Backlog
from refundry.provider import Unknown
from refundry.refund import Status
from tests.core.shop import Shop, open_shop

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
NEW = AccountRecord(account="shop")
ALERT = timedelta(seconds=300)


def later(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def unanswered(times: int, record: AccountRecord = NEW, every: float = 0.1) -> AccountRecord:
    return reduce(lambda after, n: failed(after, later(n * every), "refused", answered=False), range(times), record)


def state(record: AccountRecord, backlog: Backlog | None = None) -> AccountState:
    return health_of(record, backlog or Backlog(account="shop"), AT, ALERT).state


# --- the rules --------------------------------------------------------------------------------------------------------


def test_many_unanswered_calls_make_an_account_unreachable() -> None:
    """A few failures degrade an account, ten unanswered in a row make it unreachable, and one success ends it."""
    states = [state(unanswered(times)) for times in (0, 1, 9, 10, 50)]
    recovered = succeeded(unanswered(50), later(60))

    assert ["ok", "degraded", "degraded", "unreachable", "unreachable"] == states
    assert (AccountState.OK, later(60)) == (state(recovered), recovered.since)
    assert (None, None) == (recovered.probe_at, recovered.failing_since)


def test_an_account_with_few_calls_is_unreachable_sooner() -> None:
    """Three unanswered calls in half a minute are enough; an answered failure shows that the provider is there."""
    few = unanswered(3, every=15)
    answered = failed(unanswered(30), later(9), "SYSTEM_ERROR", answered=True)

    assert (AccountState.DEGRADED, AccountState.UNREACHABLE) == (state(unanswered(2, every=15)), state(few))
    assert AccountState.DEGRADED == state(answered)
    assert later(0) == answered.failing_since


@given(
    st.lists(st.tuples(st.sampled_from(["success", "failure", "answered", "probe"]), st.floats(0, 100)), max_size=60)
)
def test_one_probe_at_a_time(steps: list[tuple[str, float]]) -> None:
    """After any calls, a probe is allowed to one caller, a second has to wait, and no wait is longer than a minute."""
    record, at = NEW, AT
    for step, seconds in steps:
        at += timedelta(seconds=seconds)
        match step:
            case "success":
                record = succeeded(record, at)
            case "probe":
                record = probed(record, at, at + timedelta(seconds=25))
            case _:
                record = failed(record, at, "refused", answered=step == "answered")
        taken = probed(record, at, at + timedelta(seconds=25))

        assert taken == probed(taken, at, at + timedelta(seconds=25))
        assert record.probe_at is None or record.probe_at <= at + timedelta(seconds=60)
        assert (record.probe_at is not None) == (state(record) is AccountState.UNREACHABLE)
        assert AccountState.OK == state(succeeded(record, at))


@pytest.mark.parametrize(
    ("record", "next_due", "since"),
    [
        (NEW, None, None),
        (NEW, later(-400), later(-400)),
        (NEW, later(10), None),
        (attrs.evolve(NEW, last_success=later(-200)), later(-400), later(-200)),
        (attrs.evolve(NEW, last_success=later(+999)), later(-400), later(-400)),
        (attrs.evolve(NEW, failing_since=later(-350), last_success=later(-360)), later(10), later(-350)),
        (attrs.evolve(NEW, failing_since=later(-350)), None, None),
        (attrs.evolve(NEW, paused_at=later(-900)), later(-400), None),
    ],
    ids=["idle", "never", "not due", "busy", "wrong clock", "failing", "nothing to do", "paused"],
)
def test_when_an_outage_began(record: AccountRecord, next_due: datetime | None, since: datetime | None) -> None:
    """An outage is the time without a success while work is due; without work, or on hold, no time counts."""
    backlog = Backlog(account="shop", count=1, next_due=next_due)

    assert since == outage_since(record, backlog, AT)
    assert outage_since(record, attrs.evolve(backlog, blocked_since=AT), AT) is None
    alerted = checked(record, backlog, AT, ALERT)
    assert (since if since is not None and AT - since >= ALERT else None) == alerted.outage_since
    assert alerted == checked(alerted, backlog, AT, ALERT)


# --- a gateway --------------------------------------------------------------------------------------------------------


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path) as opened:
        yield opened


async def health_in(gateway: Gateway) -> AccountState:
    (health,) = await gateway.health()
    return health.state


async def test_an_answer_that_proves_nothing_is_an_answer(shop: Shop) -> None:
    """However many signed answers leave a refund unknown, the provider is there; without any, it is unreachable."""
    for _ in range(20):
        await shop.gateway.monitor.called("shop", Unknown("no money moved by this call"))
    answered = await health_in(shop.gateway)
    for _ in range(20):
        await shop.gateway.monitor.called("shop", Unknown("HTTP status 502", answered=False))

    assert (AccountState.DEGRADED, AccountState.UNREACHABLE) == (answered, await health_in(shop.gateway))


async def test_an_outage_is_reported_once_and_probed(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """During an outage new refunds are recorded and not sent, one probe is made at a time, and one ERROR is logged."""
    caplog.set_level(logging.INFO, "refundry")
    await shop.request("R0", payment="P0")
    await shop.antom.__aexit__()
    for number in range(40):
        await shop.request(f"R{number + 1}", payment=f"P{number + 1}")
    sent = [await shop.gateway.get(f"R{number + 1}") for number in range(40)]
    async with shop.reopened() as elsewhere:
        for number in range(40):
            shop.clock.move(10)
            for gateway in (shop.gateway, elsewhere):
                await gateway.advance((await gateway.get(f"R{number + 1}")).id)
                await gateway.monitor.check(["shop"])
        (health,) = await elsewhere.health()

    assert 10 == sum(refund.attempts for refund in sent)
    assert (AccountState.UNREACHABLE, 40) == (health.state, health.waiting)
    assert health.last_success is not None
    assert health.outage_since == health.last_success
    alerts = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert 1 == len(alerts), alerts
    assert alerts[0].startswith("outage began account=shop since=2026-11-22T12:00:00+00:00 seconds=3")


async def test_the_first_answer_ends_an_outage(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """The call that succeeds ends the outage in every process at once, and one INFO says how long it was."""
    caplog.set_level(logging.INFO, "refundry")
    await shop.gateway.journal.change_account("shop", lambda record: unanswered(10, record))
    refund = await shop.request("R1")
    shop.clock.move(400)
    await shop.gateway.monitor.check(["shop"])
    before = await health_in(shop.gateway)

    settled = await shop.gateway.advance(refund.id)

    async with shop.reopened() as elsewhere:
        assert (AccountState.UNREACHABLE, AccountState.OK) == (before, await health_in(elsewhere))
    assert (0, Status.SETTLED) == (refund.attempts, settled.status)
    ended = [record.getMessage() for record in caplog.records if "outage ended" in record.getMessage()]
    assert ["outage ended account=shop since=2026-11-22T12:00:00+00:00 seconds=400"] == ended


async def test_a_worker_reports_an_outage_and_its_heartbeat(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """A worker is listed while it runs and forgotten when it stops, and it reports an outage after its first check."""
    await shop.request("R1", submit=False)
    worker = Worker(shop.gateway)

    await worker._beat()
    (listed,) = await shop.gateway.workers()
    shop.clock.move(400)
    await worker._beat()
    (beaten,) = await shop.gateway.workers()
    await worker._finish()

    assert (shop.clock.at, beaten.started_at) == (beaten.heartbeat_at, listed.started_at)
    assert ["outage began"] == [record.getMessage()[:12] for record in caplog.records]
    assert [] == await shop.gateway.workers()


async def test_a_blocked_account_has_no_outage(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    """An account that its provider blocked is shown as blocked, and no outage is reported for it."""
    shop.antom.fault("answer", code="ACCESS_DENIED", operation="refund", refund_request_id="R1")
    await shop.request("R1")
    await shop.request("R2", payment="P2", submit=False)
    shop.clock.move(400)

    await shop.gateway.monitor.check(["shop"])

    (health,) = await shop.gateway.health()
    assert (AccountState.BLOCKED, None) == (health.state, health.outage_since)
    assert [] == [record for record in caplog.records if "outage" in record.getMessage()]


async def test_a_paused_account_sends_nothing_in_any_process(shop: Shop) -> None:
    """While an account is paused, refunds are recorded and not sent, no outage is reported; unpausing sends them."""
    waiting = await shop.request("R1", submit=False)
    async with shop.reopened() as elsewhere:
        await elsewhere.pause_account("shop", Operator(by="ann", why="a bad file"))
        await elsewhere.pause_account("shop", Operator(by="bob", why="too"))
        shop.clock.move(400)
        paused = [await shop.gateway.advance(waiting.id), await shop.request("R2", payment="P2")]
        await Worker(shop.gateway).run(until_idle=True)
        await shop.gateway.monitor.check(["shop"])
        (health,) = await shop.gateway.health()

        await elsewhere.unpause_account("shop", Operator(by="ann", why="a good file"))
        shop.clock.move(1)
        await Worker(shop.gateway).run(until_idle=True)

    assert [0, 0] == [refund.attempts for refund in paused]
    assert (AccountState.PAUSED, "ann", "a bad file") == (health.state, health.paused_by, health.paused_why)
    assert (2, None) == (health.waiting, health.outage_since)
    assert [Status.SETTLED] * 2 == [(await shop.gateway.get(id)).status for id in ("R1", "R2")]
    assert AccountState.OK is await health_in(shop.gateway)
