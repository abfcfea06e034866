"""Refunds through the Alipay Open Platform (gateway.do): a plugin that ships with Refundry.

The rule of this module: it only registers. The simulator is imported when its hook is called, and not before.
"""

from typing import Any, Final

import pluggy

from refundry.provider import ProviderPlugin

__version__: Final = "0.1.0"

_hook = pluggy.HookimplMarker("refundry")


@_hook
def refundry_providers() -> list[ProviderPlugin]:
    """Return the provider `alipay`."""
    from refundry_alipay.provider import PLUGIN

    return [PLUGIN]


@_hook
def refundry_simulators() -> list[Any]:
    """Return the simulator of Alipay."""
    from refundry_alipay.simulator import PLUGIN

    return [PLUGIN]
