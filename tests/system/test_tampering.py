"""An insider who can rewrite the whole database but does not have the key is detected, in many trials of ten kinds.

REFUNDRY_TRIALS sets the number of trials, and REFUNDRY_SEED repeats a campaign; the seed is printed.
"""

import asyncio
import json
import os
import random
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from refundry.audit.verification.findings import Verdict
from refundry.audit.verification.verify import Given, verify
from refundry.cli.groups import audit
from refundry.errors import ConfigError, StoreError
from refundry.journal import Selection
from refundry.journal.stores import read_store
from tests.core.audit.made import Made, life, lives, new_key
from tests.core.shop import open_shop
from tests.system.tampering import KINDS, Target, record, tamper

TRIALS = int(os.environ.get("REFUNDRY_TRIALS", "2000"))
SEED = int(os.environ.get("REFUNDRY_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
LOG = new_key().verifier()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Target, Target, Given]:
    """Make two closed states of one store, each with an earlier backup, and the signer's own newest checkpoint."""
    path = tmp_path_factory.mktemp("store") / "refunds.db"
    store = Made(path)
    for first in range(0, 12, 3):
        store.write(list(lives(3, first)), interleaved=True)
    store.erase(life(1))
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    backup = path.read_bytes()
    store.write(list(lives(4, 12)), interleaved=True)
    store.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole, note = path.read_bytes(), store.sign()
    store.write(list(lives(3, 16)))
    store.close()
    return Target(whole, backup), Target(path.read_bytes(), whole), Given("the signer's own checkpoint", note)


def audited(path: Path, own: Given) -> Verdict | str:
    """Return the verdict, or the error with which the file is refused."""
    try:
        with read_store(path) as source:
            return verify(source, LOG, [own])
    except (ConfigError, StoreError) as error:
        return str(error)


def test_an_untouched_store_is_clean(made: tuple[Target, Target, Given], tmp_path: Path) -> None:
    """Neither a closed store nor the store that it grew into has findings."""
    path = tmp_path / "refunds.db"
    for target in made[:2]:
        path.write_bytes(target.whole)
        verdict = audited(path, made[2])

        assert isinstance(verdict, Verdict)
        assert [] == verdict.findings
        assert verdict.events == verdict.signed


@pytest.mark.slow
def test_a_store_that_grew_properly_is_clean(tmp_path: Path) -> None:
    """Logs that grew in any steps, with erased records and any earlier checkpoints, have no findings."""
    luck = random.Random(SEED)
    for number in range(max(10, TRIALS // 20)):
        path = tmp_path / f"{number}.db"
        store, first, given = Made(path), 0, []
        for _ in range(luck.randrange(1, 5)):
            count = luck.randrange(1, 9)
            some = list(lives(count, first))
            store.write(some, interleaved=luck.random() < 0.5)
            if luck.random() < 0.5:
                store.erase(luck.choice(some))
            given.append(Given("given", store.sign()))
            first += count
        store.close()
        with read_store(path, deep=True) as source:
            verdict = verify(source, LOG, luck.sample(given, luck.randrange(1, len(given) + 1)))
        path.unlink()

        assert [] == verdict.findings, f"seed {SEED}, store {number}"


async def _process_refunds(directory: Path) -> None:
    """Process refunds through a gateway, some with lost or wrong answers."""
    async with open_shop(directory) as shop:
        for number, fault in enumerate(("", "drop_request", "drop_response", "bad_signature", "")):
            shop.antom.clear_faults()
            if fault:
                shop.antom.fault(fault)
            await shop.request(f"R{number}", payment=f"P{number}", reason="too small", by="ada@example.com")
        shop.antom.clear_faults()
        for row in await shop.gateway.journal.select(Selection()):
            refund = await shop.later(await shop.gateway.get(row.id))
            await shop.later(refund, 300)


def test_a_real_store_is_clean(tmp_path: Path) -> None:
    """A store that a gateway wrote despite faults has no findings, nor has its export; a changed one has."""
    asyncio.run(_process_refunds(tmp_path))
    runner = CliRunner()
    config = ["--config", str(tmp_path / "refundry.toml")]
    clean = runner.invoke(audit, ["verify", *config, "--deep", "--json"])
    exported = runner.invoke(audit, ["export", *config, str(tmp_path / "out")])
    again = runner.invoke(audit, ["verify", str(tmp_path / "out"), "--json"])
    store = tmp_path / "refunds.db"
    store.write_bytes(store.read_bytes().replace(b'"minor":1233', b'"minor":1234', 1))

    assert [] == json.loads(clean.stdout)["findings"]
    assert 0 == exported.exit_code
    assert [] == json.loads(again.stdout)["findings"]
    assert 5 == runner.invoke(audit, ["verify", *config]).exit_code


@pytest.mark.slow(seconds=20)
def test_tampering_is_found(made: tuple[Target, Target, Given], tmp_path: Path) -> None:
    """Every trial is detected, except for flipped bits that change nothing recorded."""
    target, _, own = made
    path = tmp_path / "refunds.db"
    path.write_bytes(target.whole)
    before = record(path)
    luck = random.Random(SEED)
    found: Counter[str] = Counter()
    missed: list[str] = []
    for trial in range(TRIALS):
        kind = KINDS[trial % len(KINDS)]
        tamper(kind, target, path, luck)
        verdict = audited(path, own)
        if isinstance(verdict, str) or not verdict.clean:
            found[kind] += 1
        elif kind == "flip a bit" and record(path) == before:
            found["flip a bit that changes nothing"] += 1
        else:
            missed.append(f"trial {trial}: {kind}")
            path.with_name(f"missed-{trial}.db").write_bytes(path.read_bytes())
    print(f"seed {SEED}, {TRIALS} trials: {dict(found)}")

    assert [] == missed, f"seed {SEED}"
