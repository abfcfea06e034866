"""No secret anywhere: after a full run every byte of the store, its log, what was printed and exported is searched."""

import base64
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from refundry.gateway import Gateway
from refundry.gateway.request import RefundRequest
from refundry.inputs import Operator
from refundry.refund import Status
from refundry.testing.simulator.settings import Keys
from tests.system.command import Ended, asking, refundry, started
from tests.system.shop import RefundInstruction, Shop, open_shop

TOKEN = "agent-token-canary-4711"
MANUAL_REVIEW = "canary-operator"
REASON = "canary-reason"
ENV = "CANARY_PRIVATE_KEY"


@pytest.fixture
async def shop(tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shop]:
    """Return a shop whose accounts have an agent token; one has its private key from the environment."""
    monkeypatch.setenv(ENV, keys.merchant.read_text("utf-8"))
    async with open_shop(tmp_path, keys) as opened:
        text = opened.config.read_text("utf-8").replace("client_id =", f'agent_token = "{TOKEN}"\nclient_id =')
        opened.config.write_text(text.replace(f'private_key = "{keys.merchant}"', f'private_key = "env:{ENV}"', 1))
        yield opened


def secrets(pem: bytes) -> Iterator[tuple[str, bytes]]:
    """Return every form in which a private key could lie about: its lines, its bytes, its numbers."""
    body = [line for line in pem.splitlines() if line and not line.startswith(b"-----")]
    der = base64.b64decode(b"".join(body))
    yield from (("a line of a private key", line) for line in body if len(line) >= 40)
    yield "a private key in base64", b"".join(body)[60:200]
    yield "a private key in binary", der[-64:]
    yield "a private key in hex", der[-64:].hex().encode()
    key = load_pem_private_key(pem, None)
    if isinstance(key, RSAPrivateKey):
        yield "a private number", str(key.private_numbers().d).encode()
        yield "a private number in hex", f"{key.private_numbers().p:x}".encode()


def found_in(files: dict[str, bytes], wanted: list[tuple[str, bytes]]) -> list[str]:
    """Return each secret with the place where it is."""
    return [f"{what} in {name}" for name, content in files.items() for what, secret in wanted if secret in content]


def every_file(directory: Path) -> dict[str, bytes]:
    """Return the bytes of everything that was written, but the configuration and the keys themselves."""
    kept = {"refundry.toml", "key.pem"}
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name not in kept
    }


async def test_a_search_that_would_find_one_finds_it(tmp_path: Path, keys: Keys) -> None:
    """The search works only if it finds a planted key."""
    wanted = list(secrets(keys.merchant.read_bytes()))
    (tmp_path / "leak.txt").write_bytes(b"x" + keys.merchant.read_bytes())

    assert found_in(every_file(tmp_path), wanted)


@pytest.mark.slow(seconds=25)
async def test_after_a_full_run_no_secret_is_anywhere(
    shop: Shop, keys: Keys, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Simulator, gateway, service, worker, notifications, people, mistakes, audit and export: nothing shows a key.

    Log lines are kept at every level. Operators' texts are in no log and no error; once erased, they are nowhere but in
    the log, where an operator is named by lines of operator actions only.
    """
    caplog.set_level(logging.DEBUG, "refundry")
    ended = await full_run(shop)
    outputs = {f"output of {number}": (each.out + each.err).encode() for number, each in enumerate(ended)}
    written = every_file(tmp_path) | outputs | {"log": caplog.text.encode()}
    wanted: list[tuple[str, bytes]] = [("the agent token", TOKEN.encode())]
    for key in (keys.merchant, keys.provider, tmp_path / "refunds.db.audit" / "key.pem"):
        wanted += secrets(key.read_bytes())

    assert len(wanted) > 60
    assert [] == found_in(written, wanted)

    operators = [("an operator", MANUAL_REVIEW.encode()), ("a reason", REASON.encode())]
    errors = {f"stderr of {number}": each.err.encode() for number, each in enumerate(ended)}
    assert [] == found_in(errors | {"log": caplog.text.encode()}, operators)

    assert found_in(every_file(tmp_path), operators)
    caplog.clear()
    await erase_all(shop)
    others = [line for line in caplog.text.splitlines() if " operator action account=" not in line]
    assert 'by="privacy officer"' in caplog.text
    assert MANUAL_REVIEW not in "\n".join(others)
    assert [] == found_in({"log": caplog.text.encode()}, wanted + operators[1:])
    store = {name: content for name, content in every_file(tmp_path).items() if name.startswith("refunds.db")}
    assert [] == found_in(store, operators)
    after = await refundry(shop.config, "audit", "export", str(tmp_path / "after"))
    assert 0 == after.status, after.err
    assert [] == found_in(every_file(tmp_path / "after"), operators)


async def full_run(shop: Shop) -> list[Ended]:
    """Do everything that there is to do with refunds, right and wrong."""
    shop.fault("corrupt", kind="html", operation="any", probability=20, times=None)
    shop.fault("drop_response", operation="refund", probability=20, times=None)
    instructions = [
        RefundInstruction(("now", "later")[number % 2], f"C-{number}", 100 + number, number % 3 > 0)
        for number in range(8)
    ]
    ended: list[Ended] = []
    async with started(shop.config, "serve", "--port", str(shop.port)) as serving:
        for instruction in instructions:
            asked = asking(instruction)
            ended.append(await refundry(shop.config, *asked, "--reason", REASON, "--by", MANUAL_REVIEW))
        ended.append(await refundry(shop.config, "work", "--until-idle", "--json"))
        shop.clear_faults()
        ended += await with_a_gateway(shop)
        serving.terminate()
        out, err = await serving.communicate()
    ended.append(Ended(serving.returncode, out.decode(), err.decode()))
    for command in (
        ["show", "C-1"],
        ["list", "--json"],
        ["totals"],
        ["plugins", "list", "--json"],
        ["audit", "verify"],
        ["audit", "replay"],
        ["audit", "export", str(shop.directory / "export")],
        ["evidence", "nonsense"],
        ["--config", "nowhere.toml", "list"],
    ):
        ended.append(await refundry(shop.config, *command))
    ended += await with_mistakes(shop)
    assert sum(each.status == 0 for each in ended) > 12
    return ended


async def with_a_gateway(shop: Shop) -> list[Ended]:
    """Use the library in this process, whose log is kept at every level."""
    async with Gateway.open(shop.config) as gateway:
        await gateway.request(
            RefundRequest(
                account="now",
                payment="PAY-LIB",
                amount="1.00",
                currency="EUR",
                refund_request_id="LIB",
                by=MANUAL_REVIEW,
                reason=REASON,
                details={"metadata": REASON},
            )
        )
        accounts = gateway.accounts.values()
        shown = [repr(gateway.accounts), repr(gateway.plugins), *(repr(account.provider) for account in accounts)]
    return [Ended(0, "\n".join(shown), "")]


async def with_mistakes(shop: Shop) -> list[Ended]:
    """Break the configuration in every way in which an error could show a secret."""
    text, ended = shop.config.read_text("utf-8"), []
    for old, new in (
        (f'"env:{ENV}"', '"env:NOT_SET"'),
        (f'"env:{ENV}"', f'"env:{ENV}2"'),
        ("agent_token", "agent_tokens"),
        (TOKEN, f"{TOKEN} with spaces"),
        ("key_version = 1", "key_version = true"),
        ("https", "ftp"),
        ('provider = "antom"', 'provider = "none"'),
        ("base_url", "base"),
    ):
        broken = shop.config.with_name("broken.toml")
        broken.write_text(text.replace(old, new), "utf-8")
        ended.append(await refundry(broken, "list"))
        broken.unlink()
    return ended


async def erase_all(shop: Shop) -> None:
    """End and erase every refund."""
    async with Gateway.open(shop.config) as gateway:
        for row in await gateway.list():
            operator = Operator(by=MANUAL_REVIEW, why=REASON)
            if row.status not in (Status.SETTLED, Status.FAILED):
                await gateway.resolve(
                    row.id, operator, settled=False, version=row.version, offline=True, against_evidence=True
                )
            await gateway.resume(row.id, operator)
            done = await gateway.erase(row.id, Operator(by="privacy officer", why="the test asks"))
            assert done.gone
