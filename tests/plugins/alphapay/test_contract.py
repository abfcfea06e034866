"""AlphaPay keeps the contract, through the door that every plugin author uses."""

import pytest

from refundry.provider import ProviderPlugin
from refundry.testing.contract import ProviderContract
from refundry.testing.simulator.settings import SimulatorPlugin
from refundry_alphapay.provider import PLUGIN
from refundry_alphapay.simulator import PLUGIN as SIMULATOR


@pytest.mark.slow
class TestAlphaPay(ProviderContract):
    """Every check of the contract."""

    @pytest.fixture
    def plugin(self) -> ProviderPlugin:
        return PLUGIN

    @pytest.fixture
    def simulator(self) -> SimulatorPlugin:
        return SIMULATOR
