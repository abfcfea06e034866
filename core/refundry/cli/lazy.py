"""Groups of commands whose modules are imported only when a command runs.

The rule of this module: names and help lines are data. Listing and completing commands imports none of them.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["LazyCommand", "LazyGroup"]


class LazyCommand(click.Command):
    """A command known by its name and help line; `load` imports the module that defines it."""

    def __init__(self, name: str, target: str, help: str, section: str = "Commands") -> None:
        """Take the target as "module:attribute"."""
        super().__init__(name, help=help)
        self.target = target
        self.section = section

    def load(self) -> click.Command:
        """Import the module and return the command itself."""
        module, _, attribute = self.target.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


class LazyGroup(click.Group):
    """A group that shows its lazy commands by section, in the order in which they were given."""

    def __init__(self, name: str | None = None, lazy: tuple[LazyCommand, ...] = (), **settings: Any) -> None:
        super().__init__(name, {str(command.name): command for command in lazy}, **settings)

    def available(self, ctx: click.Context) -> Mapping[str, click.Command]:
        """Return all commands by name, in the order of the help."""
        return self.commands

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands in the order of the help."""
        return list(self.available(ctx))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of this name, importing its module; `None` for an unknown name."""
        found = self.commands.get(cmd_name) or self.available(ctx).get(cmd_name)
        return found.load() if isinstance(found, LazyCommand) else found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the help lines of all commands, a section for each group of them."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.available(ctx).items():
            section = command.section if isinstance(command, LazyCommand) else "Commands of plugins"
            sections.setdefault(section, []).append((name, command.get_short_help_str(limit=200)))
        for section, rows in sections.items():
            with formatter.section(section):
                formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Return the commands and options that begin like this."""
        from click.shell_completion import CompletionItem

        commands = [
            CompletionItem(name, help=command.get_short_help_str(limit=200))
            for name, command in self.available(ctx).items()
            if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]
