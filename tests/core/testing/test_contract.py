"""The contract passes what is careful and names what is careless."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from refundry.provider import ProviderPlugin, Terms
from refundry.testing.contract import CHECKS, ProviderContract, Result, check_plugin
from refundry.testing.simulator.settings import SimulatorPlugin
from tests.core.contract_doc import contract_page
from tests.core.testing.faulty import PLUGINS
from tests.core.testing.reference_provider import SIMULATOR, Acme, AcmeSettings, plugin

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "contract.md"


class TestReference(ProviderContract):
    """A careful provider passes every check, through the door that plugin authors use."""

    @pytest.fixture
    def plugin(self) -> ProviderPlugin:
        return plugin()

    @pytest.fixture
    def simulator(self) -> SimulatorPlugin:
        return SIMULATOR


class Deaf:
    """Acme without notifications: everything but `parse_notification`."""

    def __init__(self, settings: AcmeSettings, terms: Terms) -> None:
        acme = Acme(settings, terms)
        self.identity, self.terms = acme.identity, acme.terms
        self.exponent, self.check, self.refund, self.inquire = acme.exponent, acme.check, acme.refund, acme.inquire


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("acme-keys")


def failed(results: Sequence[Result]) -> set[str]:
    return {result.name for result in results if result.status == "failed"}


async def test_the_whole_contract_in_one_call(keys: Path) -> None:
    """A careful provider passes; every check is told as it ends, and given in the order of the table."""
    reported: list[Result] = []

    results = await check_plugin(plugin(), SIMULATOR, progress=reported.append, keys=keys)

    assert [] == [result for result in results if result.status != "passed"]
    assert list(CHECKS) == [result.name for result in results]
    assert sorted(CHECKS) == sorted(result.name for result in reported)


@pytest.mark.parametrize("name", PLUGINS)
async def test_a_careless_provider_is_caught_by_name(name: str, keys: Path) -> None:
    """Each of the checks that are named beside the mistake fails, and says what is wrong."""
    faulty, caught_by = PLUGINS[name]

    results = await check_plugin(faulty, SIMULATOR, keys=keys, only=caught_by)

    assert caught_by == failed(results)
    assert all(len(result.text) > 10 for result in results)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(PLUGINS)[:: 1 if os.environ.get("REFUNDRY_CARELESS") == "all" else 9])
async def test_a_careless_provider_is_caught_by_nothing_else(name: str, keys: Path) -> None:
    """The other checks pass: what fails names the mistake. The campaign (`nox -s careless`) looks at every one."""
    faulty, caught_by = PLUGINS[name]

    results = await check_plugin(faulty, SIMULATOR, keys=keys)

    assert caught_by == failed(results)


def test_there_are_enough_careless_providers() -> None:
    """There are at least twenty, each is caught by something, and each check catches somebody."""
    assert 20 <= len(PLUGINS)
    assert [] == [name for name, (_, caught_by) in PLUGINS.items() if not caught_by]
    assert set(CHECKS) == set().union(*(caught_by for _, caught_by in PLUGINS.values()))


async def test_what_is_not_there_is_not_passed(keys: Path) -> None:
    """A provider without notifications is told that those checks do not apply, and is not told that it passed them."""
    deaf = plugin(build=Deaf)

    results = await check_plugin(deaf, SIMULATOR, keys=keys, only=[name for name in CHECKS if "notification" in name])

    assert {"not applicable"} == {result.status for result in results}


def test_the_page_shows_the_checks() -> None:
    """The checked-in page is the one that the table gives."""
    assert contract_page() == PAGE.read_text(encoding="utf-8")
