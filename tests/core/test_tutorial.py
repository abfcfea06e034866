"""What the tutorial shows for the shell works as it is written."""

import asyncio
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Final

import pytest

from refundry.gateway import Gateway
from tests.ports import free_port

PAGE: Final = Path(__file__).parents[2] / "docs" / "tutorial.md"
PATIENCE: Final = 120


def shell(port: int) -> str:
    """Return all shell blocks of the page as one script, with a free port, that leaves no process behind."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return "\n".join(["set -e", "trap 'kill $!; wait' EXIT", *blocks]).replace("8701", str(port))


def summary() -> str:
    """Return the line that the page says `work` prints."""
    (line,) = re.findall(r"```console\n(1 settled, .*)\n```", PAGE.read_text(encoding="utf-8"))
    return str(line)


@pytest.mark.slow
async def test_the_shell_blocks_run(tmp_path: Path) -> None:
    """Every command of the page succeeds, and what is printed and how the refunds end is what the page says."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", shell(free_port()), cwd=tmp_path, env=environment, start_new_session=True,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        output, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    printed = output.decode()
    last = json.loads(printed.splitlines()[-1])
    async with Gateway.open(tmp_path / "refundry.toml") as gateway:
        ended = {row.refund_request_id: str(row.status) for row in await gateway.list()}

    assert process.returncode == 0, printed
    assert {"R1": "settled", "R2": "settled", "R3": "settled"} == ended
    assert summary() in printed
    assert 2 == last["attempts"]
    assert 4 == [event.get("outcome") for event in last["events"]].count("not_found")
