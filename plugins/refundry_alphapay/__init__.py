"""Refunds through AlphaPay (Canada), API version 2.0: a plugin that comes with Refundry.

The rule of this module: it only registers. The simulator is imported when somebody asks for it, and not before.
"""

from typing import Any, Final

import pluggy

from refundry.provider import ProviderPlugin

__version__: Final = "0.1.0"

_hook = pluggy.HookimplMarker("refundry")


@_hook
def refundry_providers() -> list[ProviderPlugin]:
    """Give the provider `alphapay`."""
    from refundry_alphapay.provider import PLUGIN

    return [PLUGIN]


@_hook
def refundry_simulators() -> list[Any]:
    """Give the simulator of AlphaPay."""
    from refundry_alphapay.simulator import PLUGIN

    return [PLUGIN]
