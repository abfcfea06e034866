"""How plugins are found, loaded and asked."""

from refundry.plugin_host.hookspecs import GROUP, Hooks, hookimpl, hookspec
from refundry.plugin_host.loader import Loaded, Plugins, load_plugins

__all__ = [
    "GROUP",
    "hookimpl",
    "Hooks",
    "hookspec",
    "load_plugins",
    "Loaded",
    "Plugins",
]
