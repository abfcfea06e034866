"""Refunds through AlphaPay (Canada), API version 2.0: a plugin that ships with Refundry.

The rule of this module: it only registers. The simulator is imported when its hook is called, and not before.
"""

from typing import Any, Final

import pluggy

from refundry.provider import ProviderPlugin

__version__: Final = "0.1.0"

_hook = pluggy.HookimplMarker("refundry")


@_hook
def refundry_providers() -> list[ProviderPlugin]:
    """Return the provider `alphapay`."""
    from refundry_alphapay.provider import PLUGIN

    return [PLUGIN]


@_hook
def refundry_simulators() -> list[Any]:
    """Return the simulator of AlphaPay."""
    from refundry_alphapay.simulator import PLUGIN

    return [PLUGIN]
