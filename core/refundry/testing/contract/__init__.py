"""The contract that every provider plugin must satisfy, built-in or third-party.

The rule of this package: it knows no provider. What a plugin must do follows from its own terms and codes and from the
ledger of its own simulator, and everything goes through the interfaces that a platform uses: refundry.toml, the gateway
on a real store, HTTP on loopback, and the simulator's control API.

In a plugin's tests:

    from refundry.testing.contract import ProviderContract

    class TestAcme(ProviderContract):
        @pytest.fixture
        def plugin(self): return PLUGIN                # the ProviderPlugin

        @pytest.fixture
        def simulator(self): return SIMULATOR          # the SimulatorPlugin
"""

# The modules add their checks to the table as they are imported: this order is the order of the table.
from refundry.testing.contract import declaration, limits, purity, money, answers  # noqa: F401, I001
from refundry.testing.contract import matching, codes, lifecycle, notifications, secrecy  # noqa: F401
from refundry.testing.contract.base import CHECKS, Breach, Check, NotApplicable, Result
from refundry.testing.contract.runner import ProviderContract, check_plugin, run

__all__ = ["CHECKS", "Breach", "Check", "NotApplicable", "ProviderContract", "Result", "check_plugin", "run"]
