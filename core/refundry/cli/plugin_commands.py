"""The commands that plugins add to the command line.

The rule of this module: plugins are loaded only if one is installed that did not come with Refundry, and a command of
Refundry is never replaced.
"""

from collections.abc import Collection, Mapping, Sequence

import click

from refundry.cli.base import configs_in, warn
from refundry.errors import RefundryError

__all__ = ["has_third_party_plugins", "plugin_commands"]


def plugin_commands(taken: Collection[str], arguments: Sequence[str]) -> Mapping[str, click.Command]:
    """Return the commands of plugins by name, without those whose name is taken; each one left out is a warning."""
    if not has_third_party_plugins():
        return {}
    from refundry.cli.plugins import plugins_of

    try:
        found = plugins_of(*configs_in(arguments))
    except RefundryError:
        return {}  # a command that needs the plugins reports it
    broken = len(found.errors)
    commands = found.commands()
    for plugin in found.errors[broken:]:
        warn(plugin.error or "")
    added: dict[str, click.Command] = {}
    for command in commands:
        if command.name in taken or command.name in added:
            warn(f"a plugin's command {command.name!r} is left out: the name is already in use")
        else:
            added[str(command.name)] = command
    return added


def has_third_party_plugins() -> bool:
    """Return whether a distribution other than Refundry's own announces a plugin; imports none."""
    from importlib.metadata import entry_points

    return any(point.dist is None or point.dist.name != "refundry" for point in entry_points(group="refundry"))
