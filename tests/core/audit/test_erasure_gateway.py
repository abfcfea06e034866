"""Erasing through the gateway and the command line: confirmation, display and audit afterwards."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from refundry.audit.replay.findings import ReplayKind, Significance, significance
from refundry.audit.replay.replay import replay
from refundry.audit.signing.settings import signer_directory
from refundry.audit.signing.signer import read_verifier
from refundry.audit.verification.verify import verify
from refundry.cli import cli
from refundry.config import read_config
from refundry.errors import ConfigError, Conflict, Invalid
from refundry.gateway import Gateway
from refundry.inputs import Operator
from refundry.journal.stores import read_store
from refundry.plugin_host import load_plugins
from refundry.refund import Status
from tests.core.shop import Shop, open_shop


async def run(shop: Shop, *arguments: str, answer: str = "") -> Result:
    """Run a command in a thread, where it has its own event loop."""
    whole = ["--config", str(shop.config), *arguments]
    return await asyncio.to_thread(CliRunner().invoke, cli, whole, input=answer)


async def erased(shop: Shop, **more: Any) -> str:
    """Record, settle and erase a refund, and return its id."""
    refund = await shop.request(reason="canary", by="ann", **more)
    assert Status.SETTLED is refund.status
    await shop.gateway.erase(refund.id, Operator(by="privacy officer", why="asked"))
    return refund.id


async def test_requesting_an_erased_refund_again_returns_it(tmp_path: Path) -> None:
    """Erased texts cannot be compared; everything else still is."""
    async with open_shop(tmp_path) as shop:
        id = await erased(shop, details={"metadata": "canary"})

        for again in ({}, {"reason": "canary"}, {"reason": "other", "details": {"metadata": "x"}, "by": "ben"}):
            assert id == (await shop.request(**again)).id
        with pytest.raises(Conflict, match="^amount"):
            await shop.request(amount="12.34")
        assert 1 == len(shop.antom.ledger.movements)


async def test_show_events_and_list_mark_what_was_erased(tmp_path: Path) -> None:
    """Every command that shows a refund still works, with a mark in place of the texts."""
    async with open_shop(tmp_path) as shop:
        id = await erased(shop)
        shown = json.loads((await run(shop, "show", "R1", "--json")).output)
        events = (await run(shop, "events", id)).output
        listed = (await run(shop, "list")).output
        evidence = await run(shop, "evidence", shown["events"][2]["evidence"])

        assert ("(erased)", "(erased)") == (shown["reason"], shown["requested_by"])
        assert [] == shown["readings"]
        assert "reason=(erased)" in events
        assert "settled" in listed
        assert 0 != evidence.exit_code


async def test_the_audit_passes_and_lists_what_was_erased(tmp_path: Path) -> None:
    """`verify` and `replay` report no differences afterwards; both count what was erased."""
    async with open_shop(tmp_path) as shop:
        await erased(shop)
        await shop.request("R2", payment="P2", reason="kept")
    config = read_config(shop.config)
    log = read_verifier(signer_directory(config))
    assert log is not None

    with read_store(config.store_path) as source:
        verdict = verify(source, log)
    findings = list(replay(config, load_plugins()))

    assert [] == verdict.findings
    assert 3 == verdict.erased
    assert [ReplayKind.ERASED] == [each.kind for each in findings if significance(each.kind) is Significance.UNREAD]
    assert 1 == len(findings)


async def test_an_open_refund_is_not_erased(tmp_path: Path) -> None:
    """The error names the rule, and nothing is erased."""
    async with open_shop(tmp_path, mode="async", async_delay=None) as shop:
        refund = await shop.request(reason="canary")

        with pytest.raises(Invalid, match="^id: is pending; only a final refund"):
            await shop.gateway.erase(refund.id, Operator(by="ann", why="asked"))
        assert "canary" == (await shop.gateway.get(refund.id)).reason


async def test_a_gateway_without_a_configuration_cannot_sign(tmp_path: Path) -> None:
    """Nothing is erased without a signed note."""
    async with open_shop(tmp_path) as shop:
        refund = await shop.request(reason="canary")
        other = Gateway(shop.gateway.accounts, shop.gateway.journal, None, load_plugins(), shop.gateway.ports)  # type: ignore[arg-type]

        with pytest.raises(ConfigError, match="^audit: "):
            await other.erase(refund.id, Operator(by="ann", why="asked"))
        await other._close()


async def test_the_command_erases_only_after_confirmation(tmp_path: Path) -> None:
    """Without a terminal, --yes is required; then the number of erased records is printed, the second time 0."""
    async with open_shop(tmp_path) as shop:
        await shop.request(reason="canary")
        words = ("erase", "R1", "--by", "officer", "--why", "asked")
        refused = await run(shop, *words)
        first = await run(shop, *words, "--yes")
        second = await run(shop, *words, "--yes", "--json")

        assert isinstance(refused.exception, Invalid)
        assert "erased 3 records of refund" in first.output
        assert [] == json.loads(second.output)["erased"]
        assert "(erased)" == (await shop.gateway.get("R1")).reason
