"""A key that is missing or broken takes its own account out of use, loudly, and nothing else."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from refundry.audit.replay.findings import ReplayKind
from refundry.audit.replay.replay import replay
from refundry.audit.verification.findings import Finding
from refundry.config import read_config
from refundry.errors import ConfigError
from refundry.gateway import Gateway
from refundry.gateway.queries import Reader
from refundry.gateway.request import RefundRequest
from refundry.gateway.worker import Worker
from refundry.plugin_host import load_plugins
from refundry.provider import signatures
from refundry.refund import Refund, Status
from refundry.web import answer
from tests.core.shop import TERMS, keys, simulator, write_config

BROKEN = {
    "missing private key": ("private_key", None),
    "broken private key": ("private_key", "not a key"),
    "missing public key": ("provider_public_key", None),
    "broken public key": ("provider_public_key", "not a key"),
}


@pytest.fixture
async def config(tmp_path: Path) -> AsyncIterator[Path]:
    """A configuration with the accounts `shop` and `other`; the keys of `other` are in files of their own."""
    async with simulator() as antom:
        path = write_config(tmp_path, {"shop": antom.url, "other": antom.url}, TERMS | {"timeout": 60})
        own = tmp_path / "own"
        own.mkdir()
        for key in (keys().merchant, keys().provider_public):
            (own / key.name).write_bytes(key.read_bytes())
        shop, section, other = path.read_text("utf-8").partition("[accounts.other]")
        path.write_text(shop + section + other.replace(str(keys().directory), str(own)), "utf-8")
        yield path


def _break(config: Path, key: str, content: str | None) -> Callable[[], object]:
    """Break a key of `other`; return a function that repairs it."""
    own = config.parent / "own"
    file = own / (keys().merchant.name if key == "private_key" else keys().provider_public.name)
    before = file.read_bytes()
    file.unlink() if content is None else file.write_text(content)
    return lambda: file.write_bytes(before)


async def _request(gateway: Gateway, account: str, *, submit: bool = True) -> Refund:
    request = RefundRequest(
        account=account, payment="P1", amount="1.00", currency="EUR", refund_request_id=f"{account}-1"
    )
    return await gateway.request(request, submit=submit)


@pytest.mark.parametrize("case", BROKEN)
async def test_a_bad_key_stops_its_account_only(config: Path, caplog: pytest.LogCaptureFixture, case: str) -> None:
    """The account's requests are refused with the key's name, and logged once; another account is not affected."""
    key, content = BROKEN[case]
    _break(config, key, content)

    async with Gateway.open(config) as gateway:
        for _ in range(2):
            with pytest.raises(ConfigError, match=rf"accounts\.other\.{key}: "):
                await _request(gateway, "other")
        settled = await _request(gateway, "shop")
        listed = await gateway.list(account="other")

    assert (Status.SETTLED, []) == (settled.status, listed)
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert ["account out of use account=other reason=" in error for error in errors] == [True]


@pytest.mark.parametrize("case", BROKEN)
async def test_refunds_wait_for_the_key(config: Path, case: str) -> None:
    """A worker leaves the account's refunds alone without failing, and the next one continues once it is repaired."""
    key, content = BROKEN[case]
    async with Gateway.open(config) as gateway:
        waiting = await _request(gateway, "other", submit=False)
        await _request(gateway, "shop", submit=False)
    repair = _break(config, key, content)

    async with Gateway.open(config) as gateway:
        worker = Worker(gateway)
        await worker.run(until_idle=True)
        history = await gateway.history(waiting.id)
        statuses = {row.account: row.status for row in await gateway.list()}

    assert (["other"], {}) == (list(worker.unusable_accounts), worker.failures)
    assert (1, {"shop": Status.SETTLED, "other": Status.REQUESTED}) == (len(history), statuses)
    repair()
    async with Gateway.open(config) as gateway:
        await Worker(gateway).run(until_idle=True)
        assert (await gateway.get(waiting.id)).status is Status.SETTLED


@pytest.mark.parametrize("case", BROKEN)
async def test_reading_needs_no_key(config: Path, case: str) -> None:
    """Refunds are listed and shown whatever is wrong with a key."""
    async with Gateway.open(config) as gateway:
        asked = await _request(gateway, "other")
    _break(config, *BROKEN[case])

    async with Reader.open(read_config(config)) as reader:
        assert [asked.id] == [row.id for row in await reader.list()]
        assert asked == await reader.get(asked.id)
        await reader.next_step(asked)
        assert [] == list(await reader.readings(await reader.history(asked.id)))
    findings = [found for found in replay(read_config(config), load_plugins()) if isinstance(found, Finding)]
    assert {found.kind for found in findings} <= {ReplayKind.ACCOUNT}


async def test_a_notification_that_cannot_be_verified_is_sent_again(config: Path) -> None:
    """Without the provider's key a notification is answered with 503, so that it is not lost."""
    _break(config, "provider_public_key", None)

    async with Gateway.open(config) as gateway:
        path = "/notifications/other"
        reply = await answer(gateway, "other", method="POST", path=path, headers=(), body=b"{}")

    assert 503 == reply.status


async def test_keys_are_parsed_on_first_use(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening parses no private key, and using an account parses its own, once."""
    parsed: list[str] = []
    load = signatures.load_private_key

    def counted(data: bytes, field: str) -> object:
        parsed.append(field)
        return load(data, field)

    monkeypatch.setattr(signatures, "load_private_key", counted)

    async with Gateway.open(config) as gateway:
        opened = len(parsed)
        await _request(gateway, "shop")
        await gateway.inquire("shop-1")

    assert (0, ["private_key"]) == (opened, parsed)
