"""What the commands of the command line share: options, output, exit statuses.

The rule of this module: what a command prints is on stdout, what goes wrong is one line on stderr, and the exit status
is 0 done, 1 a defect, 2 bad usage, input, configuration, store or plugin, 3 and 4 with `--wait`, 5 a difference.
"""

import asyncio
import functools
import getpass
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from refundry import formatting
from refundry.errors import Invalid

DEFECT: Final = 1
REFUSED: Final = 2
FAILED: Final = 3
NOT_FINAL: Final = 4
DIFFERENT: Final = 5
_PIPED: Final = 4_000
WHOSE: Final = "The account of the refund, where two accounts use its id."

Command = Callable[..., Coroutine[Any, Any, int | None]]


def shared(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--config` and `--json`; both may stand before the command as well."""
    function = click.option("--json", "as_json", is_flag=True, help="Print JSON: one object, or one per line.")(
        function
    )
    return click.option("--config", type=click.Path(dir_okay=False), help="The configuration file.")(function)


def command(command: Command) -> Callable[..., None]:
    """Make a command of a coroutine function: settle `--config` and `--json`, run it, exit with what it returns."""

    @functools.wraps(command)
    def run(config: str | None, as_json: bool, **arguments: Any) -> None:
        context = click.get_current_context()
        shared = context.find_root().params
        chosen = config or shared.get("config") or os.environ.get("REFUNDRY_CONFIG") or "refundry.toml"
        status = asyncio.run(command(config=chosen, as_json=as_json or bool(shared.get("as_json")), **arguments))
        context.exit(status or 0)

    return shared(run)


def warn(text: str) -> None:
    """Say one line on stderr."""
    click.echo(f"refundry: {formatting.plain(text)}", err=True)


def fail(text: str, status: int) -> NoReturn:
    """Say what is wrong in one line, and exit."""
    warn(text)
    sys.exit(status)


def print_json(value: Any) -> None:
    """Print one line of JSON."""
    click.echo(formatting.json_line(value))


def console() -> Console:
    """Give what prints for people, on stdout."""
    # What is piped on is cut into lines by whoever reads it, not at the width of a terminal that is not there.
    width = None if sys.stdout.isatty() else _PIPED
    return Console(width=width, soft_wrap=width is not None, highlight=False, markup=False, emoji=False)


def new_table(columns: Sequence[str]) -> Table:
    """Give an empty table in the style of all of them."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def print_table(table: Table) -> None:
    """Print a table."""
    out = console()
    with out.capture() as captured:
        out.print(table)
    # A column is as wide as its longest text; what only fills it up is not for a pipe.
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def print_page(columns: Sequence[str], rows: Iterable[Sequence[str]], first: bool) -> None:
    """Print some rows: a table on a terminal, else a line with tabs for each, the names of the columns above all."""
    if sys.stdout.isatty():
        table = new_table(columns)
        for row in rows:
            table.add_row(*row)
        print_table(table)
        return
    for row in [columns, *rows] if first else rows:
        click.echo("\t".join(row))


def person(by: str | None) -> str:
    """Give who acts: the name that was given, or the user of this machine."""
    try:
        return by or f"cli:{getpass.getuser()}"
    except (OSError, KeyError):
        # In a container the user may have no name.
        return f"cli:{os.getuid()}"


def moment(text: str | None, option: str = "--as-of") -> datetime | None:
    """Read a time; without a zone it is in UTC."""
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(option, f"{text!r} is not a time such as 2026-11-22T09:30:00Z") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


@asynccontextmanager
async def until_signal(stop: Callable[[], None]) -> AsyncIterator[None]:
    """Call `stop` on SIGTERM and SIGINT."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def progress_bars(as_json: bool) -> Progress:
    """Give progress bars on stderr, shown where a person watches."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), disable=as_json or not sys.stderr.isatty())


class Bar:
    """One progress bar at a time: a new description is a new bar."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, Any] = {}

    def __call__(self, description: str, done: int, total: int | None) -> None:
        """Say how far it is."""
        if description not in self._bars:
            self._bars[description] = self._progress.add_task(description, total=total)
        self._progress.update(self._bars[description], completed=done, total=total)


def read_pairs(option: str, given: tuple[str, ...]) -> list[tuple[str, str]]:
    """Read the NAME=VALUE of an option; `Invalid` names the option."""
    for pair in given:
        if not pair.partition("=")[0] or "=" not in pair:
            raise Invalid(option, f"{pair!r} is not NAME=VALUE")
    return [(name, value) for name, _, value in (pair.partition("=") for pair in given)]
