"""The log of a command: levels, formats, and what must not be in it."""

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from refundry.cli.logs import written_logs
from refundry.errors import Invalid
from refundry.inputs import Operator
from refundry.logs import log
from tests.core.shop import keys, open_shop


@pytest.fixture(autouse=True)
def without_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the variable of the environment that runs the tests."""
    monkeypatch.delenv("REFUNDRY_LOG", raising=False)


def written(capsys: pytest.CaptureFixture[str], level: str | None, format: str | None) -> list[str]:
    with written_logs(level, format):
        log(logging.DEBUG, "detail")
        log(logging.INFO, "call", account="shop", ms=12, code=None)
        log(logging.WARNING, "notification refused", path="/a b\n2026 forged", by="ann", missing=None)
        logging.getLogger("refundry").error("refund %s failed\x1b[2J", "R1")
        logging.getLogger("aiohttp").info("a body")
    log(logging.ERROR, "after the command")
    return capsys.readouterr().err.splitlines()


def test_the_levels(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings and worse are written by default; the option comes before the variable, which may have both parts."""
    counts = [len(written(capsys, level, None)) for level in (None, "error", "info", "debug")]
    monkeypatch.setenv("REFUNDRY_LOG", "info,json")
    from_variable = written(capsys, None, None)
    option = written(capsys, "error", "logfmt")
    monkeypatch.setenv("REFUNDRY_LOG", "loud")

    assert [2, 1, 3, 4] == counts
    assert ["call", "notification refused"] == [json.loads(line)["event"] for line in from_variable[:2]]
    assert [True] == [" level=error " in f" {line} " for line in option]
    with pytest.raises(Invalid, match="REFUNDRY_LOG: 'loud' is not one of debug, info"):
        written(capsys, None, None)


def test_the_formats(capsys: pytest.CaptureFixture[str]) -> None:
    """Each format has one line per message with time, level, event and fields, whatever the fields contain."""
    found = {format: written(capsys, "info", format) for format in ("json", "logfmt", "console")}
    line: dict[str, Any] = json.loads(found["json"][1])

    assert {3} == {len(lines) for lines in found.values()}
    assert line.pop("timestamp").endswith("Z")
    path = "/a b\ufffd2026 forged"
    assert {"level": "warning", "event": "notification refused", "path": path, "by": "ann"} == line
    assert f'level=warning event="notification refused" path="{path}" by=ann' in found["logfmt"][1]
    assert "[info] call account=shop ms=12" in found["console"][0]
    assert "\\x1b" not in str(list(found.values()))


async def test_one_line_for_each_step(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A refund that is blocked and resumed leaves a line for each event, call, review, block and operator's action."""
    caplog.set_level(logging.INFO, "refundry")
    async with open_shop(tmp_path) as shop:
        shop.antom.fault("answer", code="ACCESS_DENIED", operation="refund", refund_request_id="R1")
        refund = await shop.request("R1", reason="a personal reason")
        await shop.gateway.resume(refund.id, Operator(by="ann", why="a personal note"))
        await shop.later(refund)

    lines = [(record.levelname, record.getMessage()) for record in caplog.records]
    events = [(level, " ".join(text.split(" account=")[0].split())) for level, text in lines]
    assert [
        ("INFO", "recorded"),
        ("INFO", "recorded"),
        ("INFO", "recorded"),
        ("WARNING", "review raised"),
        ("ERROR", "account blocked"),
        ("INFO", "call"),
        ("INFO", "operator action"),
        ("INFO", "review cleared"),
        ("INFO", "account no longer blocked by this refund"),
    ] == events[:9]
    call = next(text for _, text in lines if text.startswith("call "))
    expected = "call account=shop refund=R1 operation=refund attempt=1 outcome=blocked code=ACCESS_DENIED ms="
    assert call.startswith(expected)
    assert any(text.startswith("operator action account=shop refund=R1 type=Inquired") for _, text in lines)
    assert "personal" not in str(lines)
    assert "status=settled" in str(lines)


async def test_no_secret_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At the lowest level of every logger, a refund writes neither a key nor a body nor anything personal."""
    with written_logs("debug", "json"):
        logging.getLogger().setLevel(logging.DEBUG)
        async with open_shop(tmp_path) as shop:
            await shop.request("R1", reason="a personal reason")
    err = capsys.readouterr().err

    secrets = [line for path in keys().directory.iterdir() for line in path.read_text().splitlines()[1:-1]]
    assert len(secrets) > 20
    assert [] == [secret for secret in [*secrets, "personal", "refundAmount", "signature="] if secret in err]
    assert "call" in {json.loads(line)["event"] for line in err.splitlines()}


def test_help_does_not_import_it() -> None:
    """The help and a command that logs nothing pay nothing for the formats."""
    code = """import sys; from refundry.cli import main
try: main(["--help"])
except SystemExit: print("structlog" in sys.modules)"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "False" == done.stdout.splitlines()[-1]
