"""Replay: the installed code and plugins come to the stored results, or every difference is reported."""

import asyncio
import random
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest

from refundry.audit.replay import replay as module
from refundry.audit.replay.findings import WORDINGS_KEPT, Found, ReplayKind, Significance, Wordings, significance
from refundry.audit.replay.replay import replay
from refundry.config import read_config
from refundry.errors import StoreError
from refundry.inputs import Operator
from refundry.plugin_host import Plugins, load_plugins
from refundry.provider import (
    Notification,
    Outcome,
    Pending,
    Succeeded,
)
from refundry.refund import Inquired, NextStep, Refund
from refundry.testing.simulator.faults import Plan
from refundry.testing.simulator.ledger import State
from refundry.testing.simulator.messages import Draft
from refundry_antom.provider import PLUGIN
from tests.core.audit.later_plugin import with_change
from tests.core.shop import Shop, open_shop

NOTIFY = "/notifications/shop"


async def notify(shop: Shop, id: str) -> None:
    """Deliver the simulator's notification about a refund."""
    book = shop.antom.ledger.refunds[id]
    response = Draft(operation="notification", path=NOTIFY, code="SUCCESS", refund=book, state=book.state)
    message = await shop.antom._write(response, Plan())
    await shop.gateway.receive_notification("shop", Notification("POST", NOTIFY, tuple(message.headers), message.body))


async def lives(shop: Shop, count: int, seed: int) -> list[Refund]:
    """Run refunds through answers of every kind, in an order that depends on the seed."""
    chance = random.Random(seed)
    codes = ["UNKNOWN_EXCEPTION", "RISK_REJECT", "SYSTEM_ERROR", "REFUND_IN_PROCESS", "INVALID_CONTRACT"]
    ids = [f"R{number}" for number in range(count)]
    for id in ids:
        match chance.randrange(6):
            case 0 | 1:
                shop.antom.fault("answer", code=chance.choice(codes), operation="refund", refund_request_id=id)
            case 2:
                shop.antom.fault("corrupt", kind="html", operation="any", refund_request_id=id)
            case 3:
                shop.antom.fault("drop_response", operation="refund", refund_request_id=id)
            case _:
                pass
        await shop.request(id, payment=f"P-{id}", reason=f"reason of {id}", by="orders")
        await shop.gateway.resume_account("shop", Operator(by="ops", why="fixed"))
    for _ in range(6):
        for id in ids:
            book = shop.antom.ledger.refunds.get(id)
            if book is not None and book.state is State.PROCESSING and chance.random() < 0.5:
                shop.antom.ledger.finish(book, State.SUCCESS, shop.clock())
            if book is not None and chance.random() < 0.3:
                await notify(shop, id)
            await shop.later(await shop.gateway.get(id), 7)
    return [await shop.gateway.get(id) for id in ids]


def found(shop: Shop, plugins: Plugins | None = None, **more: Any) -> list[Found]:
    """Replay the store of a shop."""
    return list(replay(read_config(shop.config), plugins or load_plugins(), **more))


def rewrite(shop: Shop, statement: str, *values: Any) -> None:
    """Change the store without Refundry."""
    with closing(sqlite3.connect(shop.store)) as connection, connection:
        connection.execute(statement, values)


@pytest.fixture
async def shop(tmp_path: Path) -> Any:
    """Open a shop whose provider processes every refund asynchronously."""
    async with open_shop(tmp_path, mode="async", async_delay=None) as opened:
        yield opened


# --- no difference ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
async def test_the_installed_version_comes_to_the_recorded_results(shop: Shop, seed: int) -> None:
    """After answers of every kind, lost, corrupted, late and repeated, every decision comes out the same."""
    refunds = await lives(shop, 12, seed)

    assert 12 == len(refunds)
    assert [] == found(shop)


async def test_it_needs_neither_the_private_key_nor_the_provider(tmp_path: Path) -> None:
    """Replaying works without the provider, and with a configuration that has no private key."""
    async with open_shop(tmp_path) as shop:
        await shop.request()
        text = shop.config.read_text("utf-8")
        elsewhere = shop.config.with_name("auditor.toml")
        elsewhere.write_text(text.replace("private_key", "#"), "utf-8")
    config = read_config(elsewhere)

    assert [] == list(replay(config, load_plugins()))


async def test_it_reports_its_progress(shop: Shop) -> None:
    """The progress ends at the number of events."""
    refunds = await lives(shop, 3, 1)
    seen: list[tuple[int, int]] = []

    found(shop, progress=lambda done, total: seen.append((done, total)))

    count = sum(refund.version for refund in refunds)
    assert (count, count) == seen[-1]


async def test_any_number_of_parts_finds_the_same(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the log is divided, every refund is replayed once, and the totals cover all of it."""
    await lives(shop, 10, 2)
    rewrite(shop, "UPDATE refund_index SET amount = amount + 1")
    whole = found(shop)

    monkeypatch.setattr(module, "PART", 7)

    assert 10 == [finding.kind for finding in whole].count(ReplayKind.INDEX)
    assert whole == found(shop)
    assert whole == found(shop, processes=1)


_PARALLEL = """
import sys
from refundry.config import read_config
from refundry.audit.replay import replay
from refundry.plugin_host import load_plugins
replay.PART = 7
for finding in replay.replay(read_config(sys.argv[1]), load_plugins(), processes=2):
    print(finding.kind, finding.where, finding.text)
"""


@pytest.mark.slow
async def test_parallel_processes_find_the_same(shop: Shop) -> None:
    """Two processes that share the work report what one reports, in the same order."""
    await lives(shop, 10, 2)
    rewrite(shop, "UPDATE refund_index SET amount = amount + 1")

    command = [sys.executable, "-c", _PARALLEL, str(shop.config)]
    done = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, text=True, timeout=60)

    assert [f"{each.kind} {each.where} {each.text}" for each in found(shop)] == done.stdout.splitlines()


# --- differences ------------------------------------------------------------------------------------------------------


async def test_a_changed_reading_is_listed_with_both_values(shop: Shop) -> None:
    """A field that the installed plugin reads differently is named, with both values and both versions."""
    refund = await shop.request()

    def change(outcome: Outcome) -> Outcome:
        return attrs.evolve(outcome, code="WORKING") if isinstance(outcome, Pending) else outcome

    (finding,) = found(shop, with_change(change))

    assert (ReplayKind.READING, f"position 3 (refund {refund.id}, version 3)") == (finding.kind, finding.where)
    assert Significance.DIFFERENCE is significance(finding.kind)
    assert finding.text.startswith('code: then "')
    assert finding.text.endswith(f'now "WORKING" (read by antom {PLUGIN.version} then, by antom 9.9.9 now)')


async def test_a_changed_wording_is_listed_once_and_is_not_a_difference(shop: Shop) -> None:
    """A new text for people concerns every event with the code, and is reported once with their number."""
    await shop.request()
    await shop.request("R2", payment="P2")

    def change(outcome: Outcome) -> Outcome:
        return attrs.evolve(outcome, cause="Antom works on it.") if isinstance(outcome, Pending) else outcome

    (finding,) = found(shop, with_change(change))

    assert ReplayKind.WORDING is finding.kind
    assert finding.where.endswith("version 3) and 1 more event")
    assert Significance.WORDING is significance(finding.kind)
    assert finding.text.startswith('cause: then "')
    assert finding.text.endswith(f'now "Antom works on it." (read by antom {PLUGIN.version} then, by antom 9.9.9 now)')


async def test_a_wording_does_not_hide_a_difference(shop: Shop) -> None:
    """If code and wording differ in one event, each is reported for what it is."""
    await shop.request()

    def change(outcome: Outcome) -> Outcome:
        return attrs.evolve(outcome, code="NEW", cause="New.") if isinstance(outcome, Pending) else outcome

    assert [ReplayKind.READING, ReplayKind.WORDING] == [finding.kind for finding in found(shop, with_change(change))]


def test_only_so_many_wordings_are_listed() -> None:
    """A wording that differs in every event fills no memory: further ones are only counted."""
    wordings, others = Wordings(), Wordings()
    for number in range(WORDINGS_KEPT):
        wordings.add(f"text {number}", "position 1")
    others.add("text 0", "position 2", 3)
    others.add("text of another", "position 3")
    wordings.update(others)
    listed = list(wordings.findings())

    assert WORDINGS_KEPT + 1 == len(listed)
    assert "position 1 and 3 more events" == listed[0].where
    assert "1 more event would be worded differently" == listed[-1].text


async def test_another_decision_is_another_event(shop: Shop) -> None:
    """If the installed plugin would end a refund that stayed open, both events are named."""
    await shop.request()

    def change(outcome: Outcome) -> Outcome:
        return Succeeded(money) if isinstance(outcome, Pending) else outcome

    money = (await shop.gateway.get("R1")).amount
    (finding,) = found(shop, with_change(change))

    assert finding.text.startswith('event: then "inquired (pending)", now "settled"')


async def test_a_plugin_that_fails_is_a_difference(shop: Shop) -> None:
    """A reader that raises does not understand the message, and stops nothing."""
    await lives(shop, 3, 3)

    def change(outcome: Outcome) -> Outcome:
        raise RuntimeError("no")

    # A message that was not understood then is not understood now either: the same decision in other words.
    kinds = {finding.kind for finding in found(shop, with_change(change))}
    assert {ReplayKind.READING, ReplayKind.WORDING} == kinds


async def test_a_changed_notification_is_a_difference(shop: Shop) -> None:
    """Evidence that was changed does not verify, whatever its digest."""
    await shop.request()
    shop.antom.ledger.finish(shop.antom.ledger.refunds["R1"], State.SUCCESS, shop.clock())
    await notify(shop, "R1")
    rewrite(shop, "UPDATE evidence SET bytes = CAST(replace(CAST(bytes AS TEXT), 'SUCCESS', 'FAILURE') AS BLOB)")

    texts = [finding.text for finding in found(shop)]

    assert any("Forged" in text for text in texts)


async def test_lost_evidence_is_found(shop: Shop) -> None:
    """Bytes that are missing without a note are a finding at every event that names them."""
    await shop.request()
    rewrite(shop, "DELETE FROM evidence WHERE digest IN (SELECT digest FROM evidence ORDER BY rowid DESC LIMIT 1)")

    (finding,) = found(shop)

    assert "evidence" == finding.kind
    assert finding.where.startswith("position 3 ")


async def test_an_edited_index_is_found(shop: Shop) -> None:
    """Every field of every row, missing rows, rows without a refund, and the totals are compared."""
    first, second, third = await lives(shop, 3, 4)
    rewrite(shop, "UPDATE refund_index SET amount=1, payment='other' WHERE id=?", first.id)
    rewrite(shop, "DELETE FROM refund_index WHERE id=?", second.id)
    rewrite(shop, "UPDATE refund_index SET id='zzz' WHERE id=?", third.id)

    kinds = [(finding.kind, finding.where, finding.text.partition(":")[0]) for finding in found(shop)]

    assert ("index", f"refund {first.id}", "payment") in kinds
    assert ("index", f"refund {first.id}", "amount") in kinds
    assert ("index", f"refund {second.id}", "row") in kinds
    assert ("index", f"refund {third.id}", "row") in kinds
    assert ("index", "refund zzz", "row") in kinds
    assert ("totals", "shop EUR", "requested") in kinds


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("UPDATE refund_index SET status='lost'", "index"),
        ("UPDATE refund_index SET amount='much'", "index"),
        ("UPDATE refund_index SET requested_at=9e18", "index"),
        ("UPDATE refund_index SET id=CAST(id AS BLOB)", "index"),
        ("UPDATE stored_events SET originator_id=CAST(originator_id AS BLOB)", "event"),
        ("UPDATE stored_events SET originator_id=7 WHERE originator_version=1", "event"),
        ("UPDATE stored_events SET state=7", "event"),
        ("UPDATE stored_events SET topic=x'00'", "event"),
    ],
)
async def test_values_that_refundry_never_writes_are_findings(shop: Shop, change: str, kind: str) -> None:
    """Values of other types and sizes are findings, and stop nothing."""
    await shop.request()
    rewrite(shop, change)

    assert kind in {finding.kind for finding in found(shop)}


async def test_other_tables_are_a_finding(shop: Shop) -> None:
    """A table with other definitions is reported, because equal values in it may not be amounts."""
    await shop.request()
    rewrite(shop, "CREATE INDEX other ON refund_index (amount)")

    (finding,) = found(shop)

    assert ("index", "tables") == (finding.kind, finding.where)


async def test_an_escalation_without_a_reason_is_a_difference(tmp_path: Path) -> None:
    """The plan always gives a reason, so an event that escalates a refund without one differs."""
    async with open_shop(tmp_path, mode="async", async_delay=None, terms={"escalate_after": 0.001}) as shop:
        await shop.later(await shop.request())
        *before, last = await shop.gateway.history("R1")
        assert isinstance(last.event, Inquired)
        assert last.event.next_step == NextStep.MANUAL_REVIEW
        mute = attrs.evolve(last, event=attrs.evolve(last.event, review=()))

        (reading,) = await shop.gateway.readings([*before, mute])

    assert ("review", (), last.event.review) == (reading.field, reading.then, reading.now)


async def test_another_message_of_the_same_reason_is_a_wording(tmp_path: Path) -> None:
    """The reasons for a review are compared by code; their messages are text for people."""
    async with open_shop(tmp_path, mode="async", async_delay=None, terms={"escalate_after": 0.001}) as shop:
        await shop.later(await shop.request())
        *before, last = await shop.gateway.history("R1")
        assert isinstance(last.event, Inquired)
        reasons = tuple(attrs.evolve(reason, message="An earlier text.") for reason in last.event.review)
        reworded = attrs.evolve(last, event=attrs.evolve(last.event, review=reasons))

        (reading,) = await shop.gateway.readings([*before, reworded])

    assert reasons
    assert ("review", True) == (reading.field, reading.wording)


async def test_a_damaged_file_is_one_error(shop: Shop) -> None:
    """A store that SQLite cannot read completely is one error."""
    await lives(shop, 5, 6)
    with closing(sqlite3.connect(shop.store)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(shop.store.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    copy = shop.config.with_name("copy.toml")
    copy.write_text(shop.config.read_text("utf-8").replace("refunds.db", "copy.db"), "utf-8")
    shop.store.with_name("copy.db").write_bytes(content)

    with pytest.raises(StoreError, match="^store: "):
        list(replay(read_config(copy), load_plugins()))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE stored_events SET topic='settled' WHERE originator_version=2",
        "UPDATE stored_events SET state='{}' WHERE originator_version=2",
        "DELETE FROM stored_events WHERE originator_version=2",
        "DELETE FROM stored_events WHERE originator_version=1",
    ],
)
async def test_a_log_that_does_not_fold_is_found(shop: Shop, statement: str) -> None:
    """An event that is missing or invalid is a finding about its refund; the others are replayed."""
    bad = await shop.request("R1")
    await shop.request("R2", payment="P2")
    rewrite(shop, f"{statement} AND originator_id=?", bad.id)

    findings = found(shop)

    assert {("event", f"refund {bad.id}")} == {(finding.kind, finding.where) for finding in findings} - {
        (finding.kind, finding.where) for finding in findings if finding.kind == "totals"
    }


# --- what cannot be read again ----------------------------------------------------------------------------------------


async def test_erased_messages_are_listed_and_are_not_a_difference(shop: Shop) -> None:
    """After an erasure, states, index and totals are the same; the erased messages are listed once per refund."""
    await shop.request(reason="canary")
    known = await shop.gateway.get("R1")
    refund = await shop.gateway.resolve(
        known.id, Operator(by="ops", why="seen"), settled=True, version=known.version, offline=True
    )
    await shop.gateway.erase(refund.id, Operator(by="privacy officer", why="asked"))

    (finding,) = found(shop)

    assert ("erased", f"refund {refund.id}") == (finding.kind, finding.where)
    assert Significance.UNREAD is significance(finding.kind)
    assert "2 messages were erased" in finding.text


async def test_an_account_that_is_not_configured_is_listed_once(shop: Shop) -> None:
    """Its refunds are rebuilt and compared; its messages cannot be read."""
    await lives(shop, 3, 5)
    shop.config.write_text(shop.config.read_text("utf-8").replace("accounts.shop", "accounts.other"), "utf-8")

    (finding,) = found(shop)

    assert ("account", "shop") == (finding.kind, finding.where)
    assert Significance.UNREAD is significance(finding.kind)


async def test_an_account_with_another_identity_is_listed(shop: Shop) -> None:
    """A message to another client cannot be read with this one's settings, which is not a difference of the log."""
    await shop.request()
    text = shop.config.read_text("utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith("client_id")]
    shop.config.write_text(text.replace(line, 'client_id = "SANDBOX_ANOTHER_CLIENT"'), "utf-8")

    findings: Sequence[Found] = found(shop)

    assert findings
    assert {ReplayKind.SENDER} == {finding.kind for finding in findings}
    assert Significance.UNREAD is significance(ReplayKind.SENDER)
