"""The list of commands: data that needs no imports, and that agrees with the commands."""

import json
import os
import subprocess
import sys
from typing import Final

import click
import pytest

from refundry.cli.groups import audit, plugins
from refundry.cli.lazy import LazyCommand
from refundry.cli.main import COMMANDS, main

HEAVY: Final = ("aiohttp", "cryptography", "eventsourcing", "attrs", "asyncio", "rich", "sqlite3")
_LISTED: Final = """
import json, sys
from refundry.cli import main
try:
    main({arguments!r})
except SystemExit as ended:
    print(json.dumps([ended.code, sorted(set(sys.modules) & set({heavy!r}))]), file=sys.stderr)
"""


def imported(*arguments: str, **environment: str) -> tuple[str, list[str]]:
    """Return what a command line printed in a process of its own, and which heavy modules it imported."""
    script = _LISTED.format(arguments=list(arguments), heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, check=True, timeout=60, env=os.environ | environment,
    )  # fmt: skip
    status, modules = json.loads(done.stderr.splitlines()[-1])

    assert 0 == status
    return done.stdout, modules


def test_help_imports_nothing_heavy() -> None:
    """`refundry --help` lists every command and imports no HTTP client, no cryptography and no event store."""
    text, modules = imported("--help")

    assert [] == modules
    assert all(f"  {command.name} " in text for command in COMMANDS)


def test_completion_imports_nothing_heavy() -> None:
    """Completing the name of a command is as light as the help, and shows the same help lines."""
    words = {"_REFUNDRY_COMPLETE": "zsh_complete", "COMP_WORDS": "refundry re", "COMP_CWORD": "1"}
    text, modules = imported(**words)

    assert [] == modules
    assert ["request", "resolve", "resume", "reconcile"] == text.splitlines()[1::3]
    assert "Record a refund and make the first attempt." in text


@pytest.mark.parametrize("group", ["audit", "plugins"])
def test_help_of_a_group_imports_nothing_heavy(group: str) -> None:
    """The help of a group lists its commands and imports none of them."""
    text, modules = imported(group, "--help")

    assert [] == modules
    assert all(f"  {name} " in text for name in {"audit": audit, "plugins": plugins}[group].commands)


IN_GROUPS: Final = [
    command for group in (audit, plugins) for command in group.commands.values() if isinstance(command, LazyCommand)
]


@pytest.mark.parametrize("command", [*COMMANDS, *IN_GROUPS], ids=lambda command: command.target)
def test_the_table_is_that_of_the_commands(command: LazyCommand) -> None:
    """Every entry names a command that exists, with the name and help line of the command itself."""
    loaded = command.load()

    assert isinstance(loaded, click.Command)
    assert (loaded.name, loaded.get_short_help_str(limit=200)) == (command.name, command.help)


def test_bytecode_that_is_cut_off_is_not_a_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a prompt can be canceled: an `EOFError` of an import stays an internal error."""

    def load(_: LazyCommand) -> click.Command:
        raise EOFError("marshal data too short")

    monkeypatch.setattr(LazyCommand, "load", load)

    with pytest.raises(EOFError, match="marshal data"):
        main(["list"])
