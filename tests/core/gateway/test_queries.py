"""What we knew then: refunds, lists and totals at a time and at a place in the log."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest
from click.testing import CliRunner

from refundry.audit.replay.reinterpretation import reading_as_json, reading_in_words
from refundry.audit.replay.replay import replay
from refundry.cli import cli
from refundry.cli.totals import totals
from refundry.config import read_config
from refundry.errors import ConfigError, Invalid, StoreError, UnknownAccount, UnknownRefund
from refundry.gateway import Gateway
from refundry.gateway.queries import AsOf, Reader
from refundry.gateway.request import RefundRequest
from refundry.inputs import Operator
from refundry.journal import Recorded, Row
from refundry.journal.index import row_of
from refundry.journal.sqlite.reader import SqliteReader
from refundry.refund import Refund, Status, Submitted, fold
from refundry.testing.simulator.ledger import State
from tests.core.audit.later_plugin import with_change
from tests.core.shop import Shop, open_shop, write_config

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """Return a shop with five refunds at different stages, recorded over some minutes."""
    async with open_shop(tmp_path, mode="async", async_delay=None) as opened:
        for number in range(5):
            opened.clock.move(60)
            await opened.request(f"R{number}", amount=f"{number + 1}.10", payment=f"P{number % 2}")
        for number in (0, 1):
            opened.antom.ledger.finish(opened.antom.ledger.refunds[f"R{number}"], State.SUCCESS, opened.clock())
            await opened.later(await opened.gateway.get(f"R{number}"), 60)
        opened.clock.move(60)
        refund = await opened.gateway.get("R2")
        await opened.gateway.resolve(
            refund.id,
            Operator(by="ops", why="stopped"),
            settled=False,
            version=refund.version,
            offline=True,
            against_evidence=True,
        )
        yield opened


async def whole_log(shop: Shop) -> list[Recorded]:
    """Return every event there is."""
    return [item async for item in shop.gateway.journal.log()]


def rows(log: list[Recorded]) -> list[Row]:
    """Fold the beginning of a log by hand."""
    refunds = {item.refund_id: [other.event for other in log if other.refund_id == item.refund_id] for item in log}
    return [row_of(fold(id, refunds[id])) for id in sorted(refunds)]


async def test_at_every_position_the_list_is_the_fold_of_the_log(shop: Shop) -> None:
    """For every position, and for the time of every event, the list is the fold of what was there."""
    log = await whole_log(shop)

    assert len(log) > 15
    for item in log:
        before = [other for other in log if other.position <= item.position]
        assert rows(before) == await shop.gateway.list(as_of=AsOf(position=item.position))
        before = [other for other in log if other.event.at <= item.event.at]
        assert rows(before) == await shop.gateway.list(as_of=AsOf(at=item.event.at))
    assert [] == await shop.gateway.list(as_of=AsOf(position=0))
    assert rows(log) == await shop.gateway.list() == await shop.gateway.list(as_of=AsOf(position=10_000))


async def test_a_list_of_then_is_narrowed_by_what_held_then(shop: Shop) -> None:
    """A refund that is settled now, and was pending then, is listed as pending then."""
    first = (await shop.gateway.history("R0"))[2]

    then = await shop.gateway.list(status=Status.PENDING, as_of=AsOf(position=first.position))
    now = await shop.gateway.list(status=Status.PENDING, account="shop", payment="P0")

    assert ["R0"] == [row.refund_request_id for row in then]
    assert ["R4"] == [row.refund_request_id for row in now]


async def test_a_list_of_then_goes_on_where_a_page_ended(shop: Shop) -> None:
    """Pages of one follow each other and end."""
    found: list[Row] = []
    after = ""
    while page := await shop.gateway.list(status=Status.PENDING, as_of=AsOf(position=15), after=after, limit=1):
        found += page
        after = page[-1].id

    assert found == await shop.gateway.list(status=Status.PENDING, as_of=AsOf(position=15))
    assert len(found) > 2


async def test_a_refund_is_shown_as_it_was(shop: Shop) -> None:
    """State and history of then go together; before its first event there was no refund."""
    history = await shop.gateway.history("R0")
    states = [fold(history[0].refund_id, [item.event for item in history[: n + 1]]) for n in range(len(history))]

    for item, state in zip(history, states, strict=True):
        found: Refund = await shop.gateway.get("R0", as_of=AsOf(position=item.position))
        assert state == found
        assert history[: state.version] == await shop.gateway.history("R0", as_of=AsOf(position=item.position))
    with pytest.raises(UnknownRefund, match="as of"):
        await shop.gateway.get("R0", as_of=AsOf(at=history[0].event.at - timedelta(microseconds=1)))


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"at": NOON, "position": 1}, "as_of"),
        ({"position": -1}, "as_of_position"),
        ({"at": NOON.replace(tzinfo=None)}, "as_of"),
    ],
)
def test_an_impossible_moment_is_refused(wrong: dict[str, Any], field: str) -> None:
    """A time with a position, a position below zero and a time without a zone are refused, and the field is named."""
    with pytest.raises(Invalid, match=f"^{field}: "):
        AsOf(**wrong)


async def test_totals_are_exact_and_add_up(shop: Shop) -> None:
    """At every place: requested = settled + failed + open, in minor units, and equal to what the list says."""
    for position in range(len(await whole_log(shop)) + 1):
        listed = await shop.gateway.list(as_of=AsOf(position=position))
        found = await shop.gateway.totals(as_of=AsOf(position=position))
        assert (1 if listed else 0) == len(found)
        for total in found:
            moved = {
                status: sum(row.amount.minor for row in listed if row.status is status)
                for status in (Status.SETTLED, Status.FAILED)
            }
            assert sum(row.amount.minor for row in listed) == total.requested.minor
            assert (moved[Status.SETTLED], moved[Status.FAILED]) == (total.settled.minor, total.failed.minor)
            assert total.requested.minor == total.settled.minor + total.failed.minor + total.open.minor
            assert len(listed) == total.refunds


async def test_totals_of_each_payment(shop: Shop) -> None:
    """By payment there is one line for each; an account that does not exist is an error, and no empty sum."""
    found = await shop.gateway.totals(by_payment=True)

    assert [("P0", "9.30", "1.10", "3.10", "5.10"), ("P1", "6.20", "2.10", "0.00", "4.10")] == [
        (each.payment, *(str(getattr(each, name)) for name in ("requested", "settled", "failed", "open")))
        for each in found
    ]
    with pytest.raises(UnknownAccount):
        await shop.gateway.totals(account="other")


async def test_both_readings_are_shown_where_they_differ(shop: Shop) -> None:
    """A refund whose answer today's plugin reads otherwise shows then and now; one that does not shows nothing."""
    assert () == tuple(await shop.gateway.readings(await shop.gateway.history("R0")))

    def change(outcome: Any) -> Any:
        return attrs.evolve(outcome, code="other", cause="cause") if outcome.kind == "pending" else outcome

    plugins = with_change(change)
    async with Gateway.open(shop.config, plugins=plugins) as later:
        found = [reading_as_json(each) for each in await later.readings(await later.history("R3"))]
        words = [reading_in_words(each) for each in await later.readings(await later.history("R3"))]

    assert {"code", "cause"} == {each["field"] for each in found}
    assert {("REFUND_IN_PROCESS", "other")} == {
        (each["then"], each["now"]) for each in found if each["field"] == "code"
    }
    assert {"antom 9.9.9"} == {each["plugin_now"] for each in found}
    assert any(each.startswith('code: then "REFUND_IN_PROCESS", now "other"') for each in words)
    assert set(words) <= {each.text for each in replay(read_config(shop.config), plugins)}


async def test_a_reader_answers_every_query_without_private_keys(shop: Shop) -> None:
    """With the private keys gone, the account is out of use, and a reader returns what the gateway returns."""
    toml = shop.config.read_text("utf-8")
    config = shop.config.with_name("reader.toml")
    config.write_text(re.sub(r'(?m)^private_key = ".*"$', 'private_key = "gone.pem"', toml), "utf-8")

    async with Gateway.open(config) as without_key:
        with pytest.raises(ConfigError, match=r"private_key: .*gone\.pem"):
            await without_key.request(
                RefundRequest(account="shop", payment="P1", amount="1.00", currency="EUR", refund_request_id="NEW")
            )
    async with Reader.open(config, ports=shop.gateway.ports) as reader:
        refund = await reader.get("R0")
        evidence = next(item.event.digest for item in await reader.history("R0") if isinstance(item.event, Submitted))

        assert refund == await shop.gateway.get("R0")
        assert await reader.history("R1") == await shop.gateway.history("R1")
        assert await reader.list() == await shop.gateway.list()
        assert await reader.totals(by_payment=True) == await shop.gateway.totals(by_payment=True)
        assert await reader.next_step(refund) == await shop.gateway.next_step(refund)
        assert () == tuple(await reader.readings(await reader.history("R0")))
        assert await reader.evidence(evidence) == await shop.gateway.evidence(evidence)
        assert [] == await reader.unmatched()


async def test_a_reader_writes_nothing_and_opens_no_connection(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening a reader makes no HTTP session; its connection refuses to write, and the store stays as it is."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a reader must not open an HTTP session")

    monkeypatch.setattr(aiohttp, "ClientSession", refuse)
    before = shop.store.read_bytes()
    async with Reader.open(shop.config) as reader:
        rows = await reader.list()
        assert isinstance(reader.journal, SqliteReader)
        with pytest.raises(StoreError, match="cannot be written"):
            await reader.journal._rows("DELETE FROM refund_index")

    assert before == shop.store.read_bytes()
    assert rows == await shop.gateway.list()


async def test_a_reader_makes_no_store(tmp_path: Path) -> None:
    """Without a store there is nothing to read: a reader refuses to open, and makes none."""
    config = write_config(tmp_path, {"shop": "http://127.0.0.1:1"})
    (tmp_path / "refunds.db").unlink()
    with pytest.raises(ConfigError, match="there is no store"):
        async with Reader.open(config):
            pass

    assert not (tmp_path / "refunds.db").exists()


async def test_the_command_prints_a_line_for_each(tmp_path: Path) -> None:
    """`totals` is a table with tabs for a pipe, and JSON with exact amounts."""
    async with open_shop(tmp_path) as shop:
        await shop.request()
        path = str(shop.config)

    shown = await asyncio.to_thread(CliRunner().invoke, totals, ["--config", path, "--by-payment"])
    as_json = await asyncio.to_thread(CliRunner().invoke, totals, ["--config", path, "--json", "--as-of-position", "1"])

    assert "shop\tP1\tEUR\t1\t12.33\t12.33\t0.00\t0.00" == shown.output.splitlines()[1]
    assert '"open": {"value": "12.33", "currency": "EUR"}' in as_json.output


async def test_the_command_line_looks_back(shop: Shop) -> None:
    """`show` and `list` take a place in the log; both moments at once, and none, are refused in one line."""
    first = (await shop.gateway.history("R0"))[2]
    position = str(first.position)
    config = ["--config", str(shop.config)]

    async def run(*arguments: str) -> Any:
        return await asyncio.to_thread(CliRunner().invoke, cli, [*config, *arguments])

    shown = json.loads((await run("show", "R0", "--as-of-position", position, "--json")).output)
    listed = (await run("list", "--as-of-position", position)).output.splitlines()
    both = await run("list", "--as-of-position", position, "--as-of", "2026-11-22T09:30:00Z")
    unmatched = await run("list", "--unmatched", "--as-of-position", position)
    early = await run("show", "R4", "--as-of-position", position)

    assert ("pending", 3, []) == (shown["status"], len(shown["events"]), shown["readings"])
    assert 2 == len(listed)
    assert isinstance(both.exception, Invalid)
    assert isinstance(unmatched.exception, Invalid)
    assert isinstance(early.exception, UnknownRefund)
