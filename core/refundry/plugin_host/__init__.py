"""How plugins are found, loaded and asked."""

from refundry.plugin_host.hookspecs import GROUP, Hooks, hookimpl, hookspec
from refundry.plugin_host.interfaces import AnchorPlugin, Observer, SigningKey, SimulatorPlugin, Start, observer
from refundry.plugin_host.loader import Loaded, Plugins, load_plugins

__all__ = [
    "AnchorPlugin",
    "GROUP",
    "hookimpl",
    "Hooks",
    "hookspec",
    "load_plugins",
    "Loaded",
    "observer",
    "Observer",
    "Plugins",
    "SigningKey",
    "SimulatorPlugin",
    "Start",
]
