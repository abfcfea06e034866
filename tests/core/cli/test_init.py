"""`refundry init` creates what every other command refuses to create: a configuration and a store."""

import tomllib
from pathlib import Path

import pytest

from refundry.cli.init import TEMPLATE
from refundry.config import read_config
from refundry.errors import ConfigError
from refundry.gateway import Gateway
from tests.core.cli.test_commands import Run, is_refused, provider, run, running  # noqa: F401 (fixtures)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REFUNDRY_CONFIG", raising=False)
    return tmp_path


def test_init_creates_a_configuration_and_a_store(run: Run, place: Path) -> None:  # noqa: F811
    """In an empty directory both are created, and other commands then find a store without refunds."""
    made = run("init", "shop", "--json").one
    again = run("init", "shop", "--json").one
    listed = run("list", "--config", "shop/refundry.toml")

    assert (True, True) == (made["config_written"], made["store_created"])
    assert (False, False) == (again["config_written"], again["store_created"])
    assert (place / "shop" / "refunds.db").is_file()
    assert (0, "") == (listed.status, listed.err)


def test_init_changes_nothing_that_exists(run: Run, place: Path) -> None:  # noqa: F811
    """A configuration is left as it is, and the store that it names is created."""
    (place / "refundry.toml").write_text('store = "sqlite:///other.db"\n', "utf-8")
    result = run("init")

    assert 0 == result.status
    assert 'store = "sqlite:///other.db"\n' == (place / "refundry.toml").read_text("utf-8")
    assert (place / "other.db").is_file()


def test_the_template_is_a_configuration_once_it_is_filled_in() -> None:
    """With the comment signs removed, the template has an account with the documented keys."""
    filled = "\n".join(
        line.removeprefix("# ") if " = " in line or "[" in line else line for line in TEMPLATE.splitlines()
    )

    assert {"store"} == tomllib.loads(TEMPLATE).keys()
    keys = "provider base_url client_id private_key provider_public_key key_version notify_url"
    assert set(keys.split()) == tomllib.loads(filled)["accounts"]["shop"].keys()


@pytest.mark.parametrize(
    "arguments",
    [
        ["request", "--account", "a", "--payment", "P", "--amount", "1", "--currency", "EUR", "--id", "R"],
        ["import", "refunds.csv"],
        ["work", "--until-idle"],
        ["serve", "--port", "0"],
        ["inquire", "R1"],
        ["resume", "R1", "--by", "ann", "--why", "fixed"],
        ["resolve", "R1", "--failed", "--by", "ann", "--why", "seen", "--version", "1"],
        ["erase", "R1", "--by", "ann", "--why", "asked", "--yes"],
        ["list"],
        ["show", "R1"],
        ["events"],
        ["totals"],
        ["status"],
    ],
    ids=lambda arguments: str(arguments[0]),
)
def test_no_other_command_creates_a_store(run: Run, place: Path, arguments: list[str]) -> None:  # noqa: F811
    """A store that is missing is an error in one line, and it stays missing."""
    (place / "refundry.toml").write_text(TEMPLATE, "utf-8")
    (place / "refunds.csv").write_text("account,payment,amount,currency,id\n", "utf-8")

    assert is_refused(run(*arguments), "there is no store at")
    assert not (place / "refunds.db").exists()


async def test_a_gateway_creates_a_store_only_with_create(place: Path) -> None:
    """`Gateway.open` refuses a missing or empty file; with `create` it makes a store of it."""
    (place / "refundry.toml").write_text(TEMPLATE, "utf-8")
    with pytest.raises(ConfigError, match="there is no store at .*refundry init"):
        async with Gateway.open("refundry.toml"):
            pass
    read_config("refundry.toml").store_path.touch()
    with pytest.raises(ConfigError, match="is not a Refundry store"):
        async with Gateway.open("refundry.toml"):
            pass
    async with Gateway.open("refundry.toml", create=True) as gateway:
        assert [] == list(await gateway.list())
    async with Gateway.open("refundry.toml") as gateway:
        assert [] == list(await gateway.list())
