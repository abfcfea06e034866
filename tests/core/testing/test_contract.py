"""The contract passes a correct provider and names what is wrong with a faulty one."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from refundry.provider import Answer, ProviderPlugin, Terms
from refundry.testing.contract import CHECKS, ProviderContract, Result, check_plugin
from refundry.testing.contract.reading import contains_word
from refundry.testing.simulator.settings import SimulatorPlugin
from tests.core.contract_doc import contract_page
from tests.core.testing.faulty import PLUGINS
from tests.core.testing.reference_provider import SIMULATOR, Acme, AcmeSettings, plugin

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "contract.md"


class TestReference(ProviderContract):
    """A correct provider passes every check, run the way plugin authors run it."""

    @pytest.fixture
    def plugin(self) -> ProviderPlugin:
        return plugin()

    @pytest.fixture
    def simulator(self) -> SimulatorPlugin:
        return SIMULATOR


class WithoutNotifications:
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


@pytest.mark.slow
async def test_the_whole_contract_in_one_call(keys: Path) -> None:
    """A correct provider passes; every check is reported as it ends, and returned in the order of the table."""
    reported: list[Result] = []

    results = await check_plugin(plugin(), SIMULATOR, progress=reported.append, keys=keys)

    assert [] == [result for result in results if result.status != "passed"]
    assert list(CHECKS) == [result.name for result in results]
    assert sorted(CHECKS) == sorted(result.name for result in reported)


@pytest.mark.slow
@pytest.mark.parametrize("name", PLUGINS)
async def test_a_faulty_provider_is_caught_by_name(name: str, keys: Path) -> None:
    """Each check that is named for the mistake fails and states what is wrong."""
    faulty, caught_by = PLUGINS[name]

    results = await check_plugin(faulty, SIMULATOR, keys=keys, only=caught_by)

    assert caught_by == failed(results)
    assert all(len(result.text) > 10 for result in results)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(PLUGINS)[:: 1 if os.environ.get("REFUNDRY_FAULTY") == "all" else 9])
async def test_a_faulty_provider_is_caught_by_nothing_else(name: str, keys: Path) -> None:
    """The other checks pass, so a failure names the mistake. The campaign (`nox -s faulty`) tries every provider."""
    faulty, caught_by = PLUGINS[name]

    results = await check_plugin(faulty, SIMULATOR, keys=keys)

    assert caught_by == failed(results)


@pytest.mark.parametrize(
    ("body", "contained"),
    [
        (b'{"currency":"USD","sign":"aGVs+bG8="}', True),
        (b"amount=1.00&currency=USD", True),
        (b"currency=USD&amount=1.00", True),
        (b'{"currency":"CNY","sign":"aGVsUSDbG8="}', False),
        (b'{"currency":"CNY","sign":"USDsbG8="}', False),
        (b'{"currency":"CNY","sign":"aGVsbUSD="}', False),
        (b'{"currency":"CNY","sign":"aG+USD/sbG8="}', False),
    ],
)
def test_a_currency_within_a_signature_is_not_what_an_answer_states(body: bytes, contained: bool) -> None:
    """A currency counts as stated only as a whole word: a signature may contain the same three letters."""
    assert contained == contains_word(Answer(200, (), body), b"USD")


def test_there_are_enough_faulty_providers() -> None:
    """There are at least twenty, each is caught by some check, and each check catches at least one."""
    assert 20 <= len(PLUGINS)
    assert [] == [name for name, (_, caught_by) in PLUGINS.items() if not caught_by]
    assert set(CHECKS) == set().union(*(caught_by for _, caught_by in PLUGINS.values()))


async def test_what_is_not_there_is_not_passed(keys: Path) -> None:
    """For a provider without notifications those checks are reported as not applicable, never as passed."""
    without = plugin(build=WithoutNotifications)

    results = await check_plugin(
        without, SIMULATOR, keys=keys, only=[name for name in CHECKS if "notification" in name]
    )

    assert {"not applicable"} == {result.status for result in results}


def test_the_page_shows_the_checks() -> None:
    """The checked-in page is the one that the table gives."""
    assert contract_page() == PAGE.read_text(encoding="utf-8")
