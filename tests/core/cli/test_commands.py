"""The command line: what it prints, where, and with which exit status."""

import base64
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import attrs
import pytest

from refundry.cli import main
from refundry.errors import (
    ConfigError,
    Conflict,
    Invalid,
    PluginError,
    RefundryError,
    Stale,
    StoreError,
    UnknownRefund,
)
from refundry.refund import IllegalEvent
from tests.core.shop import keys, write_config

FAST = {
    "timeout": 2, "first_inquiry": 0.05, "inquiry_intervals": [0.05], "not_found_interval": 0.05,
    "not_found_tries": 1, "resend_delay": 0.05,
}  # fmt: skip
ASK = ("request", "--account", "shop", "--payment", "P1", "--currency", "EUR", "--by", "ann")
DOCUMENTED = {
    "id", "account", "provider", "payment", "amount", "refund_request_id", "status", "review", "provider_refund_id",
    "settled_at", "failure", "attempts", "next", "events",
}  # fmt: skip


@contextmanager
def process(*arguments: str, directory: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run the command line in a process of its own, and end it."""
    command = [sys.executable, "-m", "refundry", *arguments]
    running = subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield running
    finally:
        running.kill()
        running.communicate()


@attrs.frozen
class Provider:
    """A simulator in another process."""

    url: str

    def control(self, method: str, path: str, data: Any = None) -> Any:
        body = None if data is None else json.dumps(data).encode()
        with urlopen(Request(f"{self.url}/control/{path}", data=body, method=method), timeout=10) as answer:
            return json.load(answer)

    def fault(self, name: str, **fields: Any) -> None:
        self.control("POST", "faults", {"fault": name, **fields})

    def movements(self) -> list[str]:
        return [item["refund_request_id"] for item in self.control("GET", "ledger")["movements"]]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """One simulator for all tests."""
    place = tmp_path_factory.mktemp("provider")
    options = ("--port", "0", "--keys", str(keys().directory), "--option", "time_scale=0.001", "--json")
    with process("simulate", "antom", *options, directory=place) as simulator:
        assert simulator.stdout is not None
        yield Provider(json.loads(simulator.stdout.readline())["url"])


@pytest.fixture
def provider(running: Provider) -> Provider:
    """The simulator with an empty ledger and without faults."""
    running.control("POST", "reset")
    running.control("POST", "settings", {"mode": "sync", "notify_url": None})
    return running


@attrs.frozen
class Result:
    status: int
    out: str
    err: str

    @property
    def one(self) -> Any:
        (line,) = self.out.splitlines()
        return json.loads(line)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Result]


@pytest.fixture
def place(tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration for the simulator; it is the working directory."""
    write_config(tmp_path, {"shop": provider.url, "other": provider.url}, FAST)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REFUNDRY_CONFIG", raising=False)
    return tmp_path


@pytest.fixture
def run(place: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    def running(*arguments: str) -> Result:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        assert isinstance(ended.value.code, int)
        return Result(ended.value.code, *capfd.readouterr())

    return running


def is_refused(result: Result, *words: str) -> bool:
    """Return whether this is exit status 2 with one line that says these words, and nothing else."""
    assert 2 == result.status, result
    assert "" == result.out
    assert result.err.startswith("refundry: ")
    assert 1 == result.err.count("\n")
    assert result.err.endswith("\n")
    return all(word in result.err for word in words)


def events_in(place: Path) -> int:
    path = place / "refunds.db"
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path)) as connection, connection:
        count: int = connection.execute("SELECT count(*) FROM stored_events").fetchone()[0]
    return count


# --- request ----------------------------------------------------------------------------------------------------------


def test_request_makes_the_first_attempt(run: Run, provider: Provider) -> None:
    """One command records, sends and shows the refund; asked again it shows the same one."""
    first = run(*ASK, "--amount", "12.33", "--id", "R1", "--reason", "broken", "--payment-total", "100.00", "--json")
    again = run(*ASK, "--amount", "12.33", "--id", "R1", "--reason", "broken", "--payment-total", "100.00", "--json")

    assert (0, "") == (first.status, first.err)
    assert "settled" == first.one["status"]
    assert {"value": "12.33", "currency": "EUR"} == first.one["amount"]
    assert first.one == again.one
    assert ["R1"] == provider.movements()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        *[({"--amount": text}, "amount: ") for text in ("12.345", "１２", "1e3", "-1", "0", "NaN", "", "1,5", "+1")],
        *[({"--currency": text}, "currency: ") for text in ("EUU", "eur", "€", "XXX")],
        ({"--account": "missing"}, "account: there is no account 'missing'"),
        ({"--account": "-x"}, "account: "),
        ({"--id": "R 1"}, "refund_request_id: "),
        ({"--id": "R\n1"}, "refund_request_id: "),
        ({"--payment-total": "1.00"}, "payment_total: "),
        ({"--reason": "\x1b[2J"}, "reason: "),
        ({"--reason": "\udcff"}, "UTF-8"),
        ({"--retry-of": "R0"}, "there is no refund 'R0'"),
        ({"--wait": "-1"}, "--wait"),
        ({"--wait": "nan"}, "--wait"),
        ({"--wait": "soon"}, "--wait"),
        ({"--detail": "x"}, "--detail: 'x' is not NAME=VALUE"),
        ({"--detail": "=x"}, "--detail"),
        ({"--detail": "nope=x"}, "nope"),
        ({"--detail": "goods=[1"}, "details.goods: is not valid JSON"),
        ({"--detail": 'goods={}, "x": {}'}, "details.goods: is not valid JSON"),
        ({"--detail": 'goods={"a": 1, "a": 2}'}, "details.goods: is not valid JSON"),
        ({"--detail": "goods=" + "[" * 500}, "details.goods: is not valid JSON"),
    ],
)
def test_a_wrong_request_is_one_line(run: Run, place: Path, changes: dict[str, str], word: str) -> None:
    """What is wrong is named in one line; nothing is stored."""
    given = {"--account": "shop", "--payment": "P1", "--amount": "12.33", "--currency": "EUR", "--id": "R1"} | changes
    result = run("request", *(part for item in given.items() for part in item))

    assert is_refused(result, word)
    assert 0 == events_in(place)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["request"],
        ["request", "--colour", "red"],
        ["list", "--status", "foo"],
        ["list", "surplus"],
        ["work", "--concurrency", "0"],
        ["serve", "--port", "99999"],
        ["resolve", "R1", "--by", "a", "--why", "b"],
        ["resume", "--by", "a", "--why", "b"],
        ["show", "R1", "--as-of", "yesterday"],
        ["show", "\udcff"],
        ["simulate", "missing"],
        ["simulate", "antom", "--option", "x"],
        ["list", "--unmatched", "--needs-review"],
        ["list", "--unmatched", "--payment", "P1"],
        ["evidence"],
        ["evidence", "xyz"],
        ["evidence", "00" * 32],
        ["demo", "/proc/zz"],
        ["completion", "tcsh"],
        ["--config"],
    ],
)
def test_wrong_usage_is_one_line(run: Run, arguments: list[str]) -> None:
    """Wrong usage is reported in one line."""
    assert is_refused(run(*arguments))


def test_an_id_with_another_amount_is_a_conflict(run: Run, place: Path) -> None:
    """An id belongs to one refund permanently."""
    run(*ASK, "--amount", "12.33", "--id", "R1", "--record-only")
    result = run(*ASK, "--amount", "12.34", "--id", "R1")

    assert is_refused(result, "amount", "12.33")
    assert 1 == events_in(place)


def test_waiting_ends_with_what_became_of_it(run: Run, provider: Provider) -> None:
    """With --wait the exit status is 0 if settled, 3 if failed or in need of an operator, 4 if not final in time."""
    provider.fault("drop_response", operation="refund", refund_request_id="SETTLES")
    provider.fault("answer", operation="refund", code="RISK_REJECT", refund_request_id="FAILS")
    provider.fault("answer", operation="refund", code="INVALID_MERCHANT_STATUS", refund_request_id="BLOCKS")
    provider.fault("drop_response", operation="refund", refund_request_id="WAITS")
    settles = run(*ASK, "--amount", "1", "--id", "SETTLES", "--wait", "20", "--json")
    fails = run(*ASK, "--amount", "1", "--id", "FAILS", "--wait", "20", "--json")
    blocks = run(*ASK, "--amount", "1", "--id", "BLOCKS", "--wait", "20", "--json")
    waits = run(*ASK, "--account", "other", "--amount", "1", "--id", "WAITS", "--wait", "0", "--json")

    assert [0, 3, 3, 4] == [result.status for result in (settles, fails, blocks, waits)]
    assert ("settled", 1) == (settles.one["status"], settles.one["attempts"])
    assert "RISK_REJECT" == fails.one["failure"]["code"]
    assert "manual_review" == blocks.one["next"]["step"]
    assert ["BLOCKED_ACCOUNT"] == [review["code"] for review in blocks.one["review"]]
    assert ("unknown", "inquire") == (waits.one["status"], waits.one["next"]["step"])


def test_a_blocked_account_is_reported(run: Run, provider: Provider) -> None:
    """A refund on hold for its account only is reported so, as text and as JSON; waiting for it ends with 3 at once."""
    provider.fault("answer", operation="refund", code="INVALID_MERCHANT_STATUS", refund_request_id="BLOCKS")
    run(*ASK, "--amount", "1", "--id", "BLOCKS")
    waits = run(*ASK, "--amount", "1", "--id", "WAITS", "--wait", "20", "--json")
    shown = run("show", "WAITS").out
    worked = run("work", "--until-idle", "--json")

    assert (3, [], "manual_review") == (waits.status, waits.one["review"], waits.one["next"]["step"])
    assert "account shop is blocked" in waits.one["next"]["reason"]["message"]
    assert "on hold: the account shop is blocked" in shown
    assert {"settled": 0, "failed": 0, "in_progress": 0, "on_hold": 2} == worked.one


def test_details_go_to_the_provider(run: Run) -> None:
    """What begins as JSON is JSON, unless the provider's field is a text; both are part of the refund."""
    goods, metadata = '[{"referenceGoodsId": "G1", "goodsName": "x"}]', '{"order": "=7"}'
    details = ("--detail", f"metadata={metadata}", "--detail", f"goods={goods}")
    asked = run(*ASK, "--amount", "1", "--id", "R1", *details, "--json")
    expected = {"metadata": metadata, "goods": json.loads(goods)}

    assert (0, "settled", expected) == (asked.status, asked.one["status"], asked.one["request_details"])
    sent = json.loads(run("evidence", asked.one["events"][1]["digest"]).out)
    assert expected == {name: sent[name] for name in expected}
    assert is_refused(run(*ASK, "--amount", "1", "--id", "R1", "--detail", "metadata=c"), "details")
    assert is_refused(run(*ASK, "--amount", "1", "--id", "R2", *details, "--detail", "metadata=c"), "given twice")


def test_without_waiting_a_recorded_refund_is_done(run: Run, provider: Provider) -> None:
    """Without --wait it is enough that the refund is on record, whatever became of it."""
    provider.fault("answer", operation="refund", code="RISK_REJECT")

    assert 0 == run(*ASK, "--amount", "1", "--id", "R1").status


def test_recorded_only_it_is_left_to_the_workers(run: Run, provider: Provider) -> None:
    """--record-only sends nothing; `work --until-idle` sends it and ends."""
    recorded = run(*ASK, "--amount", "12.33", "--id", "R1", "--record-only", "--json")
    before = provider.movements()
    worked = run("work", "--until-idle", "--json")

    assert ("requested", "submit") == (recorded.one["status"], recorded.one["next"]["step"])
    assert [] == before
    assert {"settled": 1, "failed": 0, "in_progress": 0, "on_hold": 0} == worked.one
    assert (["R1"], 0) == (provider.movements(), worked.status)
    assert is_refused(run(*ASK, "--amount", "1", "--id", "R2", "--record-only", "--wait", "1"), "--wait")


# --- where the options stand ------------------------------------------------------------------------------------------


def test_json_and_config_stand_anywhere(run: Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--json and --config may stand before and after the command; REFUNDRY_CONFIG names the file otherwise."""
    run(*ASK, "--amount", "1", "--id", "R1", "--record-only")
    expected = run("show", "R1", "--json").one
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    path = str(place / "refundry.toml")
    results = [run("--json", "--config", path, "show", "R1"), run("show", "R1", "--config", path, "--json")]
    monkeypatch.setenv("REFUNDRY_CONFIG", path)
    results.append(run("--json", "show", "R1"))
    chosen = run("--config", "nowhere.toml", "show", "R1")

    assert [expected] * 3 == [result.one for result in results]
    assert is_refused(chosen, "there is no file nowhere.toml")


# --- looking ----------------------------------------------------------------------------------------------------------


def test_show_has_the_documented_keys(run: Run, provider: Provider) -> None:
    """Programs rely on these keys; there may be more."""
    provider.fault("answer", operation="refund", code="RISK_REJECT")
    shown = run(*ASK, "--amount", "12.33", "--id", "R1", "--json").one

    assert set(shown) >= DOCUMENTED
    assert {"code", "cause", "advice", "provider_message", "details"} == set(shown["failure"])
    assert [shown["failure"]] == [row["failure"] for row in run("list", "--json").lines]
    assert shown["next"] is None
    assert all(set(event) >= {"position", "version", "event", "at"} for event in shown["events"])
    assert ["Requested", "Submitted", "Failed"] == [event["event"] for event in shown["events"]]
    assert "reply" == shown["events"][-1]["channel"]
    assert shown == run("show", shown["id"], "--json").one


def test_lists_and_events_are_one_object_per_line(run: Run, provider: Provider) -> None:
    """A program reads line by line; people see a table whose rows stay whole in a pipe."""
    provider.fault("answer", operation="refund", code="INVALID_MERCHANT_STATUS", refund_request_id="R2")
    for id in ("R1", "R2", "R3"):
        run(*ASK, "--amount", "1", "--id", id)
    ids = [row["refund_request_id"] for row in run("list", "--json").lines]
    positions = [event["position"] for event in run("events", "--json").lines]
    table = run("list").out

    assert ["R1", "R2", "R3"] == ids
    assert list(range(1, len(positions) + 1)) == positions
    assert positions[3:] == [event["position"] for event in run("events", "--after", "3", "--json").lines]
    assert {"R2"} == {row["refund_request_id"] for row in run("list", "--needs-review", "--json").lines}
    assert {"R1"} == {row["refund_request_id"] for row in run("list", "--status", "settled", "--json").lines}
    assert [] == run("list", "--account", "other", "--json").lines
    assert 3 == len(run("list", "--payment", "P1", "--json").lines)
    assert 4 == len(table.splitlines())
    assert len(run("events").out.splitlines()) == len(positions)


def test_a_pipe_gets_no_padding(run: Run, provider: Provider) -> None:
    """A long text in one row makes no other line longer: no line ends in blanks, and `list` has tabs."""
    provider.fault("answer", operation="refund", code="INVALID_MERCHANT_STATUS", refund_request_id="R2")
    for id in ("R1", "R2"):
        run(*ASK, "--amount", "1", "--id", id)
    head, first, second = run("list").out.splitlines()
    others = [run("show", "R2").out, run("plugins", "list").out, run("list", "--account", "other").out]

    assert 7 == len(head.split("\t")) == len(first.split("\t")) == len(second.split("\t"))
    assert ["shop", "R1", "P1", "1.00 EUR", "settled", ""] == first.split("\t")[1:]
    assert not [line for text in [first, second, *others] for line in text.splitlines() if line.rstrip(" ") != line]
    assert f"{head}\n" == others[-1]


def test_evidence_is_given_raw(run: Run, provider: Provider) -> None:
    """The bytes that went out and came back are given as they are kept; a program may have them in base64."""
    shown = run(*ASK, "--amount", "1", "--id", "R1", "--json").one
    sent, received = shown["events"][1]["digest"], shown["events"][2]["evidence"]
    raw, coded = run("evidence", sent), run("evidence", sent, "--json").one

    assert (0, sent) == (raw.status, hashlib.sha256(raw.out.encode()).hexdigest())
    assert (sent, raw.out.encode()) == (coded["digest"], base64.b64decode(coded["base64"]))
    assert "R1" == json.loads(raw.out)["refundRequestId"]
    assert run("evidence", received).out
    assert is_refused(run("evidence", "00" * 32), "there is no evidence")


@pytest.mark.slow
def test_unmatched_notifications_are_listed(run: Run, place: Path, provider: Provider) -> None:
    """A notification for a refund that is not in the store is kept and can be read."""
    with process("serve", "--port", "0", "--json", directory=place) as serving:
        assert serving.stdout is not None
        url = json.loads(serving.stdout.readline())["url"]
        settings = {"mode": "async", "async_delay": "never", "notify_url": f"{url}/notifications/shop"}
        provider.control("POST", "settings", settings)
        run(*ASK, "--amount", "1", "--id", "R1")
        for path in place.glob("refunds.db*"):
            path.rename(path.with_name("other" + path.name))
        config = place / "other.toml"
        config.write_text((place / "refundry.toml").read_text("utf-8"), "utf-8")
    run("init")
    with process("serve", "--port", url.rpartition(":")[2], directory=place) as serving:
        assert serving.stdout is not None
        serving.stdout.readline()
        provider.control("POST", "refunds/R1", {"status": "SUCCESS"})
        while not provider.control("GET", "refunds/R1")["notifications"]["acknowledged"]:
            assert serving.poll() is None
    (unmatched,) = run("list", "--unmatched", "--json").lines
    table = run("list", "--unmatched", "--account", "shop").out.splitlines()

    assert {"at", "account", "refund_request_id", "evidence"} == set(unmatched)
    assert ("shop", "R1") == (unmatched["account"], unmatched["refund_request_id"])
    assert "R1" in run("evidence", unmatched["evidence"]).out
    assert [list(unmatched), list(unmatched.values())] == [line.split("\t") for line in table]
    assert [] == run("list", "--unmatched", "--account", "other", "--json").lines


@pytest.mark.slow
def test_serve_listens_on_the_address_that_is_given(run: Run, place: Path) -> None:
    """`--host` chooses the address, a container's for example, and one that is not the machine's is refused."""
    with process("serve", "--host", "127.0.0.2", "--port", "0", "--json", directory=place) as serving:
        assert serving.stdout is not None
        url = json.loads(serving.stdout.readline())["url"]
        with urlopen(f"{url}/health", timeout=10) as answer:
            health = json.load(answer)
        taken = run("serve", "--host", "127.0.0.2", "--port", url.rpartition(":")[2])

    assert is_refused(taken, f"port {url.rpartition(':')[2]}: Address already in use\n")
    assert url.startswith("http://127.0.0.2:")
    assert "ok" == health["status"]
    assert is_refused(run("serve", "--host", "192.0.2.1", "--port", "0"), "cannot listen on 192.0.2.1")


@pytest.mark.slow
def test_on_a_terminal_there_are_tables_and_nothing_raw(place: Path, run: Run, provider: Provider) -> None:
    """A terminal sees aligned columns, and evidence whose control characters are escaped."""
    provider.fault("corrupt", operation="refund", kind="html")
    shown = run(*ASK, "--amount", "1", "--id", "R1", "--json").one
    received = next(event["evidence"] for event in shown["events"] if "evidence" in event)
    listed, kept = on_a_terminal(place, "list"), on_a_terminal(place, "evidence", received)

    assert "\t" not in listed
    assert "R1" in listed
    assert "html" in kept.lower()
    assert not [mark for mark in kept if ord(mark) < 32 and mark not in "\r\n"]


def on_a_terminal(place: Path, *arguments: str, typed: str | None = None) -> str:
    """Run the command line with a terminal as stdout, or as stdin and stderr too if something is typed into it."""
    import pty

    ours, theirs = pty.openpty()
    try:
        command = [sys.executable, "-m", "refundry", *arguments]
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "200"}
        others: dict[str, Any] = {} if typed is None else {"stdin": theirs, "stderr": theirs}
        os.write(ours, (typed or "").encode())
        subprocess.run(command, cwd=place, stdout=theirs, env=environment, timeout=60, check=typed is None, **others)
        os.set_blocking(ours, False)
        return os.read(ours, 65_536).decode()
    finally:
        os.close(ours)
        os.close(theirs)


def test_show_as_of(run: Run) -> None:
    """A refund is shown as it was known then; before it was requested, it is unknown."""
    shown = run(*ASK, "--amount", "1", "--id", "R1", "--json").one
    asked, sent, _ = [datetime.fromisoformat(event["at"]) for event in shown["events"]]
    then = run("show", "R1", "--as-of", sent.isoformat(), "--json").one
    before = run("show", "R1", "--as-of", (asked - timedelta(seconds=1)).isoformat())
    after = run("show", "R1", "--as-of", (sent + timedelta(days=1)).isoformat(), "--json").one

    assert ("submitted", 2) == (then["status"], len(then["events"]))
    assert is_refused(before, "there is no refund 'R1' as of")
    assert "settled" == after["status"]


def test_an_id_of_two_accounts_needs_the_account(run: Run) -> None:
    """An id that two accounts use is refused until the account is named."""
    for account in ("shop", "other"):
        run(*ASK, "--account", account, "--amount", "1", "--id", "R1", "--record-only")

    assert is_refused(run("show", "R1"), "several accounts")
    assert "other" == run("show", "R1", "--account", "other", "--json").one["account"]
    assert is_refused(run("show", "R2"), "there is no refund 'R2'")
    assert is_refused(run("events", "R2"), "there is no refund 'R2'")


def test_what_a_hostile_provider_writes_cannot_move_the_cursor(run: Run, place: Path) -> None:
    """No control character of a provider reaches the terminal raw, in words or in JSON."""
    run(*ASK, "--amount", "1", "--id", "R1")
    hostile = "\x1b[2J\x9b2J\u202egnol\u2066\x07:smile:[red]"
    with closing(sqlite3.connect(place / "refunds.db")) as connection, connection:
        (rowid, state) = connection.execute(
            "SELECT rowid, state FROM stored_events WHERE topic LIKE '%settled%' ORDER BY rowid"
        ).fetchone()
        event = json.loads(state)
        event["settled_at"] = event["provider_refund_id"] = hostile
        for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type='trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute("UPDATE stored_events SET state=? WHERE rowid=?", (json.dumps(event).encode(), rowid))
    shown = [run("show", "R1"), run("events", "R1"), run("show", "R1", "--json"), run("events", "--json")]

    for result in shown:
        assert 0 == result.status, result
        assert not [mark for mark in "\x1b\x9b\u202e\u2066\x07" if mark in result.out]
    assert ":smile:[red]" in shown[0].out
    assert hostile == shown[2].one["settled_at"]


# --- operators --------------------------------------------------------------------------------------------------------


def test_inquire_asks_now(run: Run, provider: Provider) -> None:
    """A lost answer is asked for by hand."""
    provider.fault("drop_response", operation="refund")
    lost = run(*ASK, "--amount", "1", "--id", "R1", "--json").one
    found = run("inquire", "R1", "--json").one

    assert ("unknown", "settled") == (lost["status"], found["status"])


def test_a_decision_needs_a_name_and_a_reason(run: Run, provider: Provider) -> None:
    """A decision needs its author, its reason and the version that they saw, and is refused if it states both."""
    provider.fault("drop_response", operation="refund")
    run(*ASK, "--amount", "1", "--id", "R1")
    for missing in (["--by", "ann"], ["--why", "seen"], ["--by", "", "--why", "seen"], ["--by", "ann", "--why", ""]):
        assert is_refused(run("resolve", "R1", "--settled", *missing))
    both = run("resolve", "R1", "--settled", "--failed", "--by", "ann", "--why", "seen")
    assert is_refused(both, "--settled/--failed: exactly one of them is required")
    unseen = run("resolve", "R1", "--settled", "--by", "ann", "--why", "seen")
    assert is_refused(unseen, "--version: is required unless a terminal can show the refund")
    version = str(run("show", "R1", "--json").one["version"])
    by_ann = ("--by", "ann", "--why", "seen", "--version", version)
    asked = run("resolve", "R1", "--failed", *by_ann)
    assert is_refused(asked, "against_evidence: the provider reported that the refund is settled")
    assert is_refused(run("resolve", "R1", "--failed", *by_ann, "--against-evidence"), "not 3")
    now = run("show", "R1", "--json").one
    failed = run(
        "resolve", "R1", "--failed", "--by", "bob", "--why", "not seen", "--version", str(now["version"]), "--json",
        "--offline", "--against-evidence",
    ).one  # fmt: skip

    assert ("settled", "failed") == (now["status"], failed["status"])
    keys = ("channel", "by", "why", "offline", "against_evidence")
    assert ("operator", "bob", "not seen", True, True) == tuple(failed["events"][-1][key] for key in keys)
    assert ["DECIDED_AGAINST_EVIDENCE"] == [review["code"] for review in failed["review"]]


@pytest.mark.slow(seconds=2)
def test_on_a_terminal_a_decision_shows_the_refund_and_asks(run: Run, place: Path, provider: Provider) -> None:
    """Without --version, a terminal shows the state and asks; the answer no changes nothing."""
    provider.fault("drop_request", operation="refund")
    run(*ASK, "--amount", "1", "--id", "R1")
    arguments = ("resolve", "R1", "--failed", "--offline", "--by", "ann", "--why", "seen")
    refused = on_a_terminal(place, *arguments, typed="n\n")
    before = run("show", "R1", "--json").one["status"]
    decided = on_a_terminal(place, *arguments, typed="y\n")

    assert "(version 3)" in refused
    assert "Record that R1 will never be paid?" in refused
    assert ("unknown", "failed") == (before, run("show", "R1", "--json").one["status"])
    assert "failed (version 4)" in decided


def test_what_blocked_is_resumed(run: Run, provider: Provider) -> None:
    """A blocked refund, or all that block an account, continue when an operator resumes them."""
    provider.fault("answer", operation="refund", code="INVALID_MERCHANT_STATUS", refund_request_id="R1")
    run(*ASK, "--amount", "1", "--id", "R1")
    run(*ASK, "--amount", "1", "--id", "R2")
    idle = run("work", "--until-idle", "--json")
    resumed = run("resume", "--account", "shop", "--by", "ann", "--why", "fixed", "--json")
    worked = run("work", "--until-idle", "--json")

    assert (0, 2) == (idle.one["in_progress"], idle.one["on_hold"])
    assert [] != resumed.lines
    assert {"R1"} == {refund["refund_request_id"] for refund in resumed.lines}
    assert (2, 0) == (worked.one["settled"], worked.one["on_hold"])
    again, account = (run("resume", *what, "--by", "a", "--why", "b") for what in (("R1",), ("--account", "shop")))
    assert "refundry: nothing to resume: the refund is settled and needs no review\n" == again.err
    assert (0, "", "refundry: nothing to resume: no refund of account shop is on hold\n") == (
        account.status, account.out, account.err,
    )  # fmt: skip
    assert is_refused(run("resume", "--account", "missing", "--by", "ann", "--why", "fixed"), "no account 'missing'")
    assert is_refused(run("resume", "R9", "--by", "ann", "--why", "fixed"), "no refund 'R9'")


REPORT = """\
transactionType,transactionRequestId,transactionAmountValue,transactionCurrency
REFUND,R1,200.00,EUR
<END>
"""


def test_a_difference_is_flagged_until_it_is_reviewed(run: Run, place: Path) -> None:
    """A report names its format; what it flags needs a review until an operator resumes the refund, and not after."""
    run(*ASK, "--amount", "1", "--id", "R1")
    (place / "report.csv").write_text(REPORT)
    found = run("reconcile", "report.csv", "--account", "shop")
    flagged = run("show", "R1").out
    run("resume", "R1", "--by", "ann", "--why", "the report is wrong")
    reviewed = run("show", "R1").out

    assert (5, "format: settlement_details") == (found.status, found.out.splitlines()[0])
    assert 1 == flagged.count("needs review since")
    assert 0 == flagged.count("reviewed since")
    assert 0 == reviewed.count("needs review since")
    assert 1 == reviewed.count(", and reviewed since: ")


# --- output -----------------------------------------------------------------------------------------------------------


def ended(*arguments: str) -> int:
    """Run the command line with the standard output that is set; return its exit status."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_a_full_disk_behind_the_output_fails_no_command_that_changed_something(
    run: Run, place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request ends as it would have ended, and one line names the cause; a command that only reads fails."""
    statuses = []
    for arguments in ((*ASK, "--amount", "1", "--id", "R1", "--record-only"), ("list",), ("--help",)):
        with Path("/dev/full").open("w", encoding="utf-8") as full, monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", full)
            statuses.append(ended(*arguments))

    cause = "refundry: the output could not be written: No space left on device"
    assert [0, 1, 1] == statuses
    assert [f"{cause}; the command itself was carried out", cause, cause] == capfd.readouterr().err.splitlines()
    assert 1 == events_in(place)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "cp936"])
def test_what_the_terminal_cannot_show_is_escaped(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    """A text in another script is printed with escapes, and JSON stays JSON."""
    reason = "ｒetour \N{GRINNING FACE} é中"
    run(*ASK, "--amount", "1", "--id", "R1", "--record-only", "--reason", reason)
    texts = []
    for options in ((), ("--json",)):
        with (tmp_path / "out").open("w+", encoding=encoding) as out, monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", out)
            status = ended("show", "R1", *options)
            out.seek(0)
            texts.append(out.read())
        assert 0 == status
    plain, as_json = texts

    assert reason.encode(encoding, "backslashreplace").decode(encoding) in plain
    assert reason == json.loads(as_json)["reason"]


def test_a_reader_that_has_enough_is_no_error(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    """Output to a pipe whose reader is gone, as with `head`, ends quietly with exit status 0."""
    run(*ASK, "--amount", "1", "--id", "R1", "--record-only")
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe, pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "stdout", pipe)
        status = ended("list")

    assert (0, "") == (status, capfd.readouterr().err)


# --- import -----------------------------------------------------------------------------------------------------------


def csv_file(place: Path, rows: Sequence[str], head: str = "account,payment,amount,currency,id") -> str:
    (place / "refunds.csv").write_text("\n".join([head, *rows]) + "\n", "utf-8")
    return "refunds.csv"


def test_import_records_for_the_workers(run: Run, place: Path, provider: Provider) -> None:
    """A dry run stores nothing; an import stores every row once, and says so on stdout alone."""
    name = csv_file(place, [f"shop,P{number},1.5,EUR,R{number}" for number in range(30)])
    dry = run("import", name, "--dry-run", "--json")
    stored = events_in(place)
    first, again = run("import", name, "--by", "ann"), run("import", name, "--json")

    totals = [{"value": "45.00", "currency": "EUR"}]
    sha256 = hashlib.sha256((place / name).read_bytes()).hexdigest()
    counts = {"rows": 30, "recorded": 0, "known": 0, "dry_run": True, "sha256": sha256}
    assert (counts | {"totals": totals}, 0) == (dry.one, stored)
    assert ("30 refunds recorded, 0 already existed\n", "", 0) == (first.out, first.err, first.status)
    assert counts | {"known": 30, "dry_run": False, "totals": totals} == again.one
    checked = f"30 rows OK (dry run, nothing stored): 45.00 EUR; SHA-256 {sha256}\n"
    assert checked == run("import", name, "--dry-run").out
    assert [] == provider.movements()


def test_a_bad_row_stops_the_whole_file(run: Run, place: Path) -> None:
    """One wrong row in the middle is named with its line; nothing of the file is stored."""
    rows = [f"shop,P{number},1.5,EUR,R{number}" for number in range(10)]
    rows[5] = "shop,P5,1.555,EUR,R5"

    assert is_refused(run("import", csv_file(place, rows)), "line 7: amount", "1.555")
    assert 0 == events_in(place)


def test_a_payment_is_not_refunded_beyond_its_total_by_a_file(run: Run, place: Path) -> None:
    """A dry run and an import find the line that exceeds the payment's total, and store nothing."""
    rows = ["shop,P1,60,EUR,R1,100", "shop,P1,60,EUR,R2,100"]
    name = csv_file(place, rows, "account,payment,amount,currency,id,payment_total")

    assert is_refused(run("import", name, "--dry-run"), "line 3: amount: ")
    assert is_refused(run("import", name), "line 3: amount: ")
    assert 0 == events_in(place)


@pytest.mark.slow
def test_an_import_that_was_killed_goes_on(run: Run, place: Path) -> None:
    """A killed import leaves whole refunds, and the next one adds what is missing."""
    count = 3000
    name = csv_file(place, [f"shop,P{number},1.5,EUR,R{number}" for number in range(count)])
    with process("import", name, directory=place) as importing:
        while events_in_progress(place) < 200 and importing.poll() is None:
            pass
        importing.kill()
        importing.wait()
    before = events_in(place)
    again = run("import", name, "--json").one

    assert before >= 200
    assert {"rows": count, "recorded": count - before, "known": before, "dry_run": False}.items() <= again.items()
    assert count == events_in(place)


def events_in_progress(place: Path) -> int:
    try:
        return events_in(place)
    except sqlite3.Error:
        return 0  # not made yet


# --- accounts that are gone, bugs ----------------------------------------------------------------------------------


def test_refunds_of_an_account_that_is_gone_wait(run: Run, place: Path, provider: Provider) -> None:
    """The worker processes the rest, names the account in one line without a traceback, and ends with 2."""
    for account, id in (("other", "R1"), ("other", "R2"), ("shop", "R3")):
        run(*ASK, "--account", account, "--amount", "1", "--id", id, "--record-only")
    write_config(place, {"shop": provider.url}, FAST)
    worked = run("work", "--until-idle", "--json")

    assert (2, {"settled": 1, "failed": 0, "in_progress": 0, "on_hold": 2}) == (worked.status, worked.one)
    assert "refundry: accounts.other: is not in the configuration; its refunds are on hold until it is\n" == worked.err
    assert "requested" == run("show", "R1", "--json").one["status"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (IllegalEvent("it cannot follow"), 1),
        (RefundryError("a bug"), 1),
        (Invalid("field", "rule"), 2),
        (ConfigError("key", "rule"), 2),
        (Conflict("another"), 2),
        (UnknownRefund("none"), 2),
        (Stale("moved"), 2),
        (StoreError("full"), 2),
        (PluginError("broken"), 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_bugs_exit_with_1(run: Run, monkeypatch: pytest.MonkeyPatch, error: RefundryError, status: int) -> None:
    """An error that the caller can fix is 2, a bug in Refundry is 1; both are one line, with the next step."""

    async def failing(*_: object, **__: object) -> Any:
        raise error

    run(*ASK, "--amount", "1", "--id", "R1", "--record-only")
    monkeypatch.setattr("refundry.gateway.queries.Reader.history", failing)
    result = run("show", "R1")

    advice = "" if type(error) is Invalid else f" ({error.next})"
    assert (status, "", f"refundry: {error}{advice}\n") == (result.status, result.out, result.err)


# --- stores and configurations ----------------------------------------------------------------------------------------


def test_a_wrong_configuration_is_one_line(run: Run, place: Path) -> None:
    """A mistake in the file, a key or a URL is reported in one line, without the key."""
    path = place / "refundry.toml"
    good = path.read_text("utf-8")
    key = keys().merchant.read_text("ascii")
    changes = {
        "a key in the file": good.replace(json.dumps(str(keys().merchant)), f'"""{key}"""', 1),
        "an unknown key": "colour = 1\n" + good,
        "an unknown term": good + "colour = 1\n",
        "an address in the clear": good.replace("http://127.0.0.1", "http://10.0.0.1"),
        "no TOML": good + "[",
        "another database": good.replace("sqlite:///", "mysql:///"),
        "no folder": good.replace("refunds.db", "nowhere/refunds.db"),
    }
    for what, text in changes.items():
        path.write_text(text, "utf-8")
        result = run("work", "--until-idle")

        assert text != good, what
        assert is_refused(result), what
        assert not [line for line in key.splitlines()[1:-1] if line in result.err]
    path.write_text(good.replace(str(keys().merchant), "nowhere.pem"), "utf-8")
    result = run("work", "--until-idle")
    assert (2, True) == (result.status, "accounts.shop.private_key: nowhere.pem cannot be read" in result.err)
    path.unlink()
    assert is_refused(run("list"), "there is no file refundry.toml")


def test_a_file_that_is_no_store_is_refused_and_left_alone(run: Run, place: Path) -> None:
    """A foreign file, a foreign database and a store of another version stay as they are."""
    path = place / "refunds.db"
    path.write_bytes(b"Dear diary, " * 1000)
    diary = path.read_bytes()
    assert is_refused(run("list"), "store: ")
    assert diary == path.read_bytes()

    path.unlink()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE mine (a)")
    assert is_refused(run("list"), "store: ")

    path.unlink()
    run(*ASK, "--amount", "1", "--id", "R1", "--record-only")
    with closing(sqlite3.connect(path)) as connection, connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {version + 1}")
    assert is_refused(run("list"), "store: ")


# --- completion -------------------------------------------------------------------------------------------------------


def test_completion_is_a_script(run: Run) -> None:
    """The output is a script for `eval`, with which a shell completes the names of commands."""
    result = run("completion", "zsh")

    assert (0, "") == (result.status, result.err)
    assert "_REFUNDRY_COMPLETE" in result.out


# --- processes --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_serve_takes_notifications(run: Run, place: Path, provider: Provider) -> None:
    """A refund in process is settled by the notification that the provider posts to `serve`."""
    with process("serve", "--port", "0", "--json", directory=place) as serving:
        assert serving.stdout is not None
        url = json.loads(serving.stdout.readline())["url"]
        provider.control("POST", "settings", {"mode": "async", "async_delay": "never"})
        provider.control("POST", "settings", {"notify_url": f"{url}/notifications/shop"})
        pending = run(*ASK, "--amount", "1", "--id", "R1", "--json").one
        provider.control("POST", "refunds/R1", {"status": "SUCCESS"})
        while not provider.control("GET", "refunds/R1")["notifications"]["acknowledged"]:
            assert serving.poll() is None
        settled = run("show", "R1", "--json").one
        serving.send_signal(signal.SIGTERM)
        _, err = serving.communicate(timeout=20)

    assert ("pending", "settled") == (pending["status"], settled["status"])
    assert "notification" == settled["events"][-1]["channel"]
    assert (0, "") == (serving.returncode, err)


@pytest.mark.slow
def test_a_worker_stops_on_sigterm(place: Path, run: Run, provider: Provider) -> None:
    """SIGTERM ends the worker with status 0 once what is under way is done."""
    run(*ASK, "--amount", "1", "--id", "R1", "--record-only")
    with process("work", "--json", directory=place) as working:
        while provider.movements() != ["R1"]:
            assert working.poll() is None
        working.send_signal(signal.SIGTERM)
        out, err = working.communicate(timeout=20)

    assert (0, "") == (working.returncode, err)
    assert 1 == json.loads(out)["settled"]


@pytest.mark.slow
def test_a_real_process_prints_one_line_and_shows_no_key(place: Path) -> None:
    """From outside: an error is one line on stderr with status 2, without a traceback and without the key."""
    with process(*ASK, "--amount", "12.345", "--id", "R1", directory=place) as asking:
        out, err = asking.communicate(timeout=60)

    assert (2, "") == (asking.returncode, out)
    assert "refundry: amount: '12.345' has 3 decimals; EUR has 2\n" == err


@pytest.mark.slow
def test_progress_bars_are_for_terminals(place: Path) -> None:
    """A terminal sees the bar; a pipe sees nothing but the result."""
    import pty

    name = csv_file(place, [f"shop,P{number},1.5,EUR,R{number}" for number in range(300)])
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "refundry", "import", name],
            cwd=place, stdout=subprocess.PIPE, stderr=theirs, text=True, timeout=60, check=False,
            env=os.environ | {"TERM": "xterm"},
        )  # fmt: skip
        os.set_blocking(ours, False)
        seen = os.read(ours, 65_536).decode()
    finally:
        os.close(ours)
        os.close(theirs)

    assert (0, "300 refunds recorded, 0 already existed\n") == (done.returncode, done.stdout)
    assert "recording" in seen


# --- misspelled accounts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ("list",), ("list", "--json"), ("list", "--needs-review"), ("list", "--unmatched"), ("totals",),
        ("totals", "--json"), ("work", "--until-idle"), ("resume", "--by", "ann", "--why", "w"),
        ("audit", "report", "report.csv"), ("audit", "export", "export"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_misspelled_account_is_an_error(command: tuple[str, ...], run: Run, place: Path) -> None:
    """No command takes an account that does not exist for one without refunds, which would keep a monitor green."""
    run("init")

    assert is_refused(run(*command, "--account", "shpo"), "there is no account 'shpo'; there are: other, shop")
    assert not {"report.csv", "export"} & {path.name for path in place.iterdir()}


def test_an_account_that_was_removed_can_be_read(run: Run, place: Path) -> None:
    """An account with refunds is known as long as the store has them, whatever the configuration has."""
    run("init")
    run(*ASK, "--amount", "12.33", "--id", "R1", "--record-only")
    write_config(place, {"other": "http://127.0.0.1:9"}, FAST)

    assert ["R1"] == [row["refund_request_id"] for row in run("list", "--account", "shop", "--json").lines]
    assert 0 == run("totals", "--account", "shop").status
    assert is_refused(run("events", "--account", "shop"), "--account: can only be combined with ID")
