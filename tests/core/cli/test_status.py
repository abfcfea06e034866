"""`refundry status`: one screen, and an exit status that a monitor can rely on."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from refundry.cli import main
from refundry.cli.status import _lines, status_as_json
from refundry.gateway import Gateway
from refundry.gateway.account_health import failed, health_of, succeeded
from refundry.gateway.request import RefundRequest
from refundry.gateway.status import ProblemCode, StoreStatus, read_status
from refundry.journal import AccountRecord, Backlog, StoreRecord, WorkerRecord
from tests.core.shop import open_shop, write_config

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
STORE = StoreRecord(
    events=12, refunds=4, needs_review=0, unmatched=0, signed=12, signed_at=AT - timedelta(seconds=7), observers={}
)
WORKER = WorkerRecord(
    id="w1", host="a-host-with-a-rather-long-name.shop.example", pid=12345, version="0.1.0",
    started_at=AT - timedelta(hours=5), heartbeat_at=AT - timedelta(seconds=3), in_progress=64,
)  # fmt: skip


def ago(**units: float) -> datetime:
    return AT - timedelta(**units)


def record(name: str = "shop") -> AccountRecord:
    return succeeded(AccountRecord(account=name), ago(minutes=9))


def failing(seconds: float) -> AccountRecord:
    broken = record()
    for n in range(10):
        broken = failed(broken, ago(seconds=seconds - n), "no connection: ClientConnectorError", answered=False)
    return broken


def status(
    account: AccountRecord | None = None, workers: Sequence[WorkerRecord] = (WORKER,), **changes: Any
) -> StoreStatus:
    """Return a status without problems, with these changes."""
    account = account or record()
    waiting = {name: changes.pop(name) for name in ("next_due", "blocked_since") if name in changes}
    backlog = Backlog(account=account.account, count=2, **waiting)
    unsigned_since = changes.pop("unsigned_since", None)
    return StoreStatus(
        at=AT,
        accounts=[health_of(account, backlog, AT, timedelta(seconds=300))],
        workers=workers,
        store=attrs.evolve(STORE, **changes),
        unsigned_since=unsigned_since,
    )


@pytest.mark.parametrize(
    ("found", "codes"),
    [
        (status(), []),
        (status(failing(400), next_due=ago(seconds=1)), [ProblemCode.OUTAGE]),
        (status(failing(20), next_due=ago(seconds=1)), [ProblemCode.UNREACHABLE]),
        (status(blocked_since=ago(hours=1)), [ProblemCode.BLOCKED]),
        (status(attrs.evolve(record(), paused_at=ago(hours=1)), next_due=ago(hours=1)), []),
        (status(workers=()), []),
        (status(workers=(), next_due=ago(seconds=40)), [ProblemCode.NO_WORKER]),
        (
            status(workers=[attrs.evolve(WORKER, heartbeat_at=ago(seconds=31))], next_due=ago(seconds=40)),
            [ProblemCode.NO_WORKER],
        ),
        (status(workers=[attrs.evolve(WORKER, gave_up=1)]), [ProblemCode.WORKER_GAVE_UP]),
        (status(workers=[attrs.evolve(WORKER, unknown_accounts=("old",))]), [ProblemCode.UNKNOWN_ACCOUNT]),
        (status(needs_review=1), [ProblemCode.NEEDS_REVIEW]),
        (status(signed=11, unsigned_since=ago(seconds=59)), []),
        (status(signed=11, unsigned_since=ago(seconds=61)), [ProblemCode.NOT_SIGNED]),
    ],
)
def test_what_is_wrong(found: StoreStatus, codes: list[ProblemCode]) -> None:
    """Each problem is found alone, and what is only unusual is not a problem."""
    assert codes == [problem.code for problem in found.problems]
    assert codes == [problem["code"] for problem in status_as_json(found)["problems"]]


def test_the_screen_has_80_columns() -> None:
    """Accounts, workers, audit, store and problems fit an 80-column screen, however long their names are."""
    long = attrs.evolve(failing(400), account="a" * 64)
    found = status(
        long, next_due=ago(seconds=1), needs_review=3, workers=[WORKER, attrs.evolve(WORKER, heartbeat_at=ago(hours=2))]
    )
    lines = "\n".join(_lines(found)).split("\n")

    assert 80 >= max(map(len, lines)), "\n".join(lines)
    assert lines[:2] == [
        "account                   state        since  success  notified  waiting  due",
        "aaaaaaaaaaaaaaaaaaaaaaa…  unreachable  6 min  9 min    -         2        1 s",
    ]
    assert any(line.split()[1:] == ["silent", "5", "h", "2", "h", "64", "0.1.0"] for line in lines)
    assert "audit  12 events, 0 not signed; signed 7 s ago" in lines
    assert "store  4 refunds, 3 to review; 0 unmatched notifications" in lines
    assert "! 3 refunds to review: refundry list --needs-review" == lines[-1]


async def test_the_status_is_read_from_the_store(tmp_path: Path) -> None:
    """What one process did, another reads: health, what waits, what is signed and what is delivered."""
    async with open_shop(tmp_path) as shop:
        await shop.request("R1")
        await shop.request("R2", payment="P2", submit=False)
        unsigned = await read_status(shop.gateway)
        assert shop.gateway.checkpointer is not None
        await shop.gateway.checkpointer.checkpoint_now()
        signed = await read_status(shop.gateway)

    (health,) = signed.accounts
    assert ("ok", shop.clock.at, 1, shop.clock.at) == (
        health.state, health.last_success, health.waiting, health.oldest_due,
    )  # fmt: skip
    assert (4, 2, 0) == (signed.store.events, signed.store.refunds, signed.store.needs_review)
    assert (shop.clock.at, None) == (unsigned.unsigned_since, signed.unsigned_since)
    assert 4 == signed.store.signed


@pytest.mark.parametrize("as_json", [False, True])
def test_the_exit_status(
    as_json: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command exits with 0 when nothing is wrong and with 5 when something is, and writes nothing."""
    config = write_config(tmp_path, {"shop": "http://127.0.0.1:9"})
    monkeypatch.chdir(tmp_path)

    async def use(*ids: str) -> None:
        async with Gateway.open(config) as gateway:
            for id in ids:
                asked = RefundRequest(account="shop", payment=id, amount="1.00", currency="EUR", refund_request_id=id)
                await gateway.request(asked, submit=False)
            if ids:
                await gateway.journal.change_account("shop", lambda record: attrs.evolve(record, probe_at=AT))

    def run() -> tuple[Any, str]:
        with pytest.raises(SystemExit) as ended:
            main(["status", *(["--json"] if as_json else [])])
        return ended.value.code, capsys.readouterr().out

    asyncio.run(use())
    good = run()
    asyncio.run(use("R1"))
    bad = run()

    assert (0, 5) == (good[0], bad[0])
    if as_json:
        assert [] == json.loads(good[1])["problems"]
        assert ["unreachable"] == [problem["code"] for problem in json.loads(bad[1])["problems"]]
        assert "unreachable" == json.loads(bad[1])["accounts"][0]["state"]
    else:
        assert good[1].endswith("no problems\n")
        assert bad[1].endswith("! shop: the provider does not answer\n")


def test_pause_and_unpause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An account is paused and unpaused by name, and one that does not exist is refused."""
    write_config(tmp_path, {"shop": "http://127.0.0.1:9"})
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[Any, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        return ended.value.code, *capsys.readouterr()

    run("init")
    who = ("--by", "ann", "--why", "a bad file")
    paused = run("pause", "shop", *who, "--json")
    shown = json.loads(run("status", "--json")[1])
    unpaused = run("unpause", "shop", *who)
    unknown = run("pause", "shpo", *who)

    assert (0, {"account": "shop", "state": "paused"}) == (paused[0], json.loads(paused[1]))
    assert "operator action account=shop type=paused by=ann" in paused[2]
    assert ("paused", "ann", []) == (
        shown["accounts"][0]["state"], shown["accounts"][0]["paused_by"], shown["problems"],
    )  # fmt: skip
    assert (0, "account shop is unpaused\n") == unpaused[:2]
    assert (2, "") == unknown[:2]
