"""A platform whose process stops, by SIGSTOP, between the record of an attempt and its first byte."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from refundry.gateway import Gateway
from refundry.ports import Ports
from tests.system.shop import RefundInstruction

STEP = "request signed"
"""The last step before the request is handed to the transport."""


async def request(directory: Path) -> None:
    """Request one refund; stop when its first attempt is recorded and signed."""

    def stop(step: str) -> None:
        if step == STEP:
            os.kill(os.getpid(), signal.SIGSTOP)

    async with Gateway.open(directory / "refundry.toml", ports=Ports(step=stop)) as gateway:
        await gateway.request(RefundInstruction("now", "R1", 1233).request)


if __name__ == "__main__":
    signal.alarm(60)
    asyncio.run(request(Path(sys.argv[1])))
