"""The processes of the demo: started, watched and ended, each with a log file of its own.

The rule of this module: a process that the demo started never outlives it.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs

from refundry.errors import RefundryError

__all__ = ["CommandLine"]

_TAIL = 5
"""Lines of a log that are shown if its process fails."""


@attrs.frozen
class CommandLine:
    """The `refundry` command line in processes of its own, with one configuration."""

    config: Path
    logs: Path
    """The directory of the log files: what the processes write to stderr about injected faults is kept there."""

    @asynccontextmanager
    async def started(self, log: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Start a command, and end it at the end of the block."""
        self.logs.mkdir(exist_ok=True)
        with (self.logs / f"{log}.log").open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "refundry", "--config", str(self.config), *arguments,
                stdout=asyncio.subprocess.PIPE, stderr=errors,
            )  # fmt: skip
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()

    async def run(self, log: str, *arguments: str, expected: tuple[int, ...] = (0,)) -> tuple[int, bytes]:
        """Run a command to its end; return its exit status and output. `RefundryError` for an unexpected status."""
        async with self.started(log, *arguments) as process:
            out, _ = await process.communicate()
        if process.returncode not in expected:
            raise self.failure(log, f"refundry {arguments[0]} ended with status {process.returncode}")
        assert process.returncode is not None
        return process.returncode, out

    async def first_line(self, log: str, process: asyncio.subprocess.Process) -> Any:
        """Return the first line that a process prints, as JSON; it prints it when it listens."""
        assert process.stdout is not None
        line = await process.stdout.readline()
        if not line:
            raise self.failure(log, f"{log} did not start")
        return json.loads(line)

    def failure(self, log: str, what: str) -> RefundryError:
        """Return the error of a process that failed, with the end of its log."""
        path = self.logs / f"{log}.log"
        tail = path.read_text("utf-8", "replace").splitlines()[-_TAIL:]
        return RefundryError(f"{what}; the end of {path}: {' | '.join(tail) or 'empty'}")
