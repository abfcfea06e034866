"""The real command line in real processes."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import attrs

from tests.system.shop import RefundInstruction

# Python ignores SIGXFSZ, so what goes beyond the limit is an error of the write.
_LIMITED: Final = """
import os, resource, sys
limit = int(sys.argv[2])
resource.setrlimit(getattr(resource, sys.argv[1]), (limit, limit))
os.execv(sys.argv[3], sys.argv[3:])
"""


@attrs.frozen
class Ended:
    """How a process ended."""

    status: int | None
    out: str
    err: str

    @property
    def json(self) -> list[Any]:
        """Every line as JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


async def refundry(config: Path, *arguments: str, file_size: int | None = None) -> Ended:
    """Run a command to its end; with `file_size`, no file it writes can grow beyond so many bytes."""
    async with started(config, *arguments, file_size=file_size) as process:
        out, err = await process.communicate()
        return Ended(process.returncode, out.decode(), err.decode())


@asynccontextmanager
async def started(
    config: Path, *arguments: str, file_size: int | None = None, files: int | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a command, with a limit of the size or the number of its files, and kill it at the end if it still runs."""
    limits = [("RLIMIT_FSIZE", file_size), ("RLIMIT_NOFILE", files)]
    # Without -B, Python would leave truncated bytecode behind, which every later process fails to import.
    limited = [
        word
        for name, limit in limits
        if limit is not None
        for word in ("-c", _LIMITED, name, str(limit), sys.executable, "-B")
    ]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *limited, "-m", "refundry", "--config", str(config), *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def asking(instruction: RefundInstruction) -> list[str]:
    """Return the arguments that ask for a refund."""
    asked = instruction.request
    named = {"account": asked.account, "payment": asked.payment, "amount": str(asked.amount), "currency": "EUR"}
    options = [part for name, value in named.items() for part in (f"--{name}", value)]
    return ["request", *options, "--id", instruction.id, "--json", *([] if instruction.submit else ["--record-only"])]


def write_csv(path: Path, instructions: list[RefundInstruction]) -> Path:
    """Write the file that `import` takes."""
    rows = [",".join((o.account, o.request.payment, str(o.request.amount), "EUR", o.id)) for o in instructions]
    path.write_text("\n".join(["account,payment,amount,currency,id", *rows, ""]), "utf-8")
    return path
