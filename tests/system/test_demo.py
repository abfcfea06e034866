"""The demo is a promise: whoever runs it sees books that agree."""

import asyncio
import json
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("name", ["", "refundry.toml/demo"])
async def test_a_directory_that_cannot_be_used_is_one_line(tmp_path: Path, name: str) -> None:
    """A directory that is not empty, or cannot be made, is refused before anything is started."""
    (tmp_path / "refundry.toml").write_text("mine", "utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "refundry", "demo", str(tmp_path / name),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    assert (2, b"", 1) == (process.returncode, out, err.count(b"\n"))
    assert err.startswith(b"refundry: DIRECTORY: ")
    assert "mine" == (tmp_path / "refundry.toml").read_text("utf-8")


@pytest.mark.slow
async def test_the_demo_agrees(tmp_path: Path) -> None:
    """`refundry demo` ends with 0: at least 300 refunds, several kills, every fault met, and both books agree."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "refundry", "demo", str(tmp_path / "demo"), "--json", stdout=asyncio.subprocess.PIPE
    )
    try:
        out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    verdict = json.loads(out)

    assert 0 == process.returncode
    assert True is verdict["agree"]
    assert {"paid twice": [], "lost": [], "still open": [], "not as the provider has it": []} == verdict["wrong"]
    assert verdict["refunds"] >= 300
    assert verdict["kills"] >= 3
    assert all(verdict["planned"].values())
