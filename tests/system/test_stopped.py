"""A process that is stopped before the first byte of an attempt, while an operator decides, and that wakes up later."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest

from refundry.gateway import Gateway
from refundry.inputs import Operator
from refundry.refund import Status
from refundry.testing.simulator.settings import Keys
from tests.system.shop import RefundInstruction, open_shop

ADA = Operator("ada", "it is nowhere at the provider")
WAIT = 1.3
"""Longer than `timeout` and `first_inquiry` of the account together."""


@asynccontextmanager
async def stopped(directory: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a platform and wait until it has stopped itself."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.system.stopped", str(directory))
    try:
        _, status = await asyncio.to_thread(os.waitpid, process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.slow(seconds=4)
async def test_an_attempt_that_was_stopped_is_not_sent_after_its_replacement(tmp_path: Path, keys: Keys) -> None:
    """Stopped before the first byte, given up by an operator and replaced, an attempt pays nothing when it wakes."""
    async with (
        open_shop(tmp_path, keys, accounts=["now"]) as shop,
        stopped(tmp_path) as process,
        Gateway.open(shop.config) as gateway,
    ):
        first = await gateway.get("R1", account="now")
        assert (Status.SUBMITTED, {}) == (first.status, shop.providers["now"].ledger.refunds)
        await asyncio.sleep(WAIT)
        await gateway.resolve(first.id, ADA, settled=False, version=first.version, offline=True)
        replacement = attrs.evolve(
            RefundInstruction("now", "R2", 1233).request, payment=first.payment, retry_of=first.id
        )
        assert Status.SETTLED is (await gateway.request(replacement)).status
        process.send_signal(signal.SIGCONT)

        assert 0 == await process.wait()
        assert {"R2"} == set(shop.providers["now"].ledger.refunds)
        assert Status.FAILED is (await gateway.get(first.id)).status


@pytest.mark.slow(seconds=3)
async def test_an_attempt_that_was_stopped_briefly_is_not_sent_after_a_decision(tmp_path: Path, keys: Keys) -> None:
    """However short the stop is, what was decided during it comes first."""
    async with (
        open_shop(tmp_path, keys, accounts=["now"]) as shop,
        stopped(tmp_path) as process,
        Gateway.open(shop.config) as gateway,
    ):
        first = await gateway.get("R1", account="now")
        await gateway.resolve(first.id, ADA, settled=False, version=first.version, offline=True)
        process.send_signal(signal.SIGCONT)

        assert 0 == await process.wait()
        assert {} == shop.providers["now"].ledger.refunds
        assert Status.FAILED is (await gateway.get(first.id)).status
