"""Whoever may rewrite the whole database, but has not the key, is found out: by ten kinds of tampering, many times.

REFUNDRY_TRIALS says how many trials, REFUNDRY_SEED makes a campaign again; the seed is printed.
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
from refundry.audit.verification.source import SqliteSource
from refundry.audit.verification.verify import Given, verify
from refundry.cli.audit import audit
from refundry.errors import ConfigError, StoreError
from refundry.journal import Selection
from tests.core.audit.made import Made, life, lives, new_key
from tests.core.shop import open_shop
from tests.system.tampering import KINDS, Target, record, tamper

TRIALS = int(os.environ.get("REFUNDRY_TRIALS", "2000"))
SEED = int(os.environ.get("REFUNDRY_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
LOG = new_key().verifier()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Target, Target, Given]:
    """Give two states of one store, at rest, and the signer's own newest checkpoint; and the later one's future."""
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
    """Give the verdict, or the words with which the file is refused."""
    try:
        with SqliteSource.open(path) as source:
            return verify(source, LOG, [own])
    except (ConfigError, StoreError) as error:
        return str(error)


def test_what_nobody_touched_is_clean(made: tuple[Target, Target, Given], tmp_path: Path) -> None:
    """Nothing is found in a store at rest, and nothing in what it grew into."""
    path = tmp_path / "refunds.db"
    for target in made[:2]:
        path.write_bytes(target.whole)
        verdict = audited(path, made[2])

        assert isinstance(verdict, Verdict)
        assert [] == verdict.findings
        assert verdict.events == verdict.signed


def test_what_grew_as_it_should_is_clean(tmp_path: Path) -> None:
    """Nothing is found in logs of any growth, with erased texts and with every checkpoint from before."""
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
        with SqliteSource.open(path, deep=True) as source:
            verdict = verify(source, LOG, luck.sample(given, luck.randrange(1, len(given) + 1)))
        path.unlink()

        assert [] == verdict.findings, f"seed {SEED}, store {number}"


async def _trade(directory: Path) -> None:
    """Make refunds through a gateway, some of whose answers are lost or wrong."""
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
    """Nothing is found in what the gateway wrote, whatever was lost on the way, nor in its export; a change is."""
    asyncio.run(_trade(tmp_path))
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


@pytest.mark.slow
def test_tampering_is_found(made: tuple[Target, Target, Given], tmp_path: Path) -> None:
    """In every trial the tampering is found; a flipped bit that changes nothing recorded is none."""
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
