"""What the commands share: options, output, errors.

The rule of this module: it is imported to list commands, so what takes long to import is imported where it is used.
"""

from __future__ import annotations

import functools
import json
import math
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from refundry.cli.exit_status import ExitStatus
from refundry.cli.logs import FORMATS, LEVELS, written_logs
from refundry.cli.output import continue_without_output
from refundry.errors import Invalid

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from refundry.gateway import Gateway
    from refundry.gateway.queries import Reader

ACCOUNT_OF_ID: Final = "Account of the refund, if two accounts use the same id."
BY: Final = "Who requests it (default: the OS user)."
MAY_HAVE_BEEN_SENT: Final = "It may have been sent before, by a store that was lost: inquire first."
_DEFAULT: Final = "refundry.toml"
_PIPED: Final = 4_000

Command = Callable[..., Coroutine[Any, Any, int | None]]


# --- options ----------------------------------------------------------------------------------------------------------


def shared(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options of every command to a command; they may also be given before it."""
    function = click.option("--log-format", type=click.Choice(FORMATS), help="Format of log lines on stderr.")(function)
    function = click.option("--log-level", type=click.Choice(LEVELS), help="Least level of log lines on stderr.")(
        function
    )
    function = click.option("--json", "as_json", is_flag=True, help="Print JSON: one object, or one per line.")(
        function
    )
    return click.option("--config", type=click.Path(dir_okay=False), help="Configuration file.")(function)


def command(command: Command) -> Callable[..., None]:
    """Make a command of a coroutine function: settle the shared options, run it, exit with what it returns."""

    @functools.wraps(command)
    def run(config: str | None, as_json: bool, log_level: str | None, log_format: str | None, **arguments: Any) -> None:
        import asyncio

        context = click.get_current_context()
        shared = context.find_root().params
        chosen = config or shared.get("config") or os.environ.get("REFUNDRY_CONFIG") or _DEFAULT
        with written_logs(log_level or shared.get("log_level"), log_format or shared.get("log_format")):
            status = asyncio.run(command(config=chosen, as_json=as_json or bool(shared.get("as_json")), **arguments))
        context.exit(status or ExitStatus.DONE)

    return shared(run)


def configs_in(arguments: Sequence[str]) -> Sequence[str]:
    """Return every configuration that a command line may name, while it is not known which options its command takes.

    `--config` after another option may be a value of that option. Then the default counts as well, so that no way to
    write a command line loads a plugin that the configuration does not allow.
    """
    found: list[str] = []
    certain = others = False
    for word, after in pairwise([*arguments, ""]):
        name, equals, value = word.partition("=")
        if name == "--config":
            found.append(value if equals else after)
            certain |= not others
        else:
            others |= word.startswith("-") and word != "--json"
    default = os.environ.get("REFUNDRY_CONFIG") or _DEFAULT
    return [config or default for config in (found if certain else [*found, default])]


class Number(click.ParamType[float]):
    """An option that takes a number within bounds; the message names the bounds."""

    def __init__(self, metavar: str, kind: type[float], minimum: float, maximum: float | None = None) -> None:
        self.name = metavar
        self._kind = kind
        self._minimum = minimum
        self._maximum = maximum

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number; fail with the bounds if it is out of them or not a number."""
        try:
            number = self._kind(value)
        except ValueError:
            number = math.nan
        if math.isfinite(number) and self._minimum <= number <= (math.inf if self._maximum is None else self._maximum):
            return number
        what = "an integer" if self._kind is int else "a number"
        bounds = f"{self._minimum} or more" if self._maximum is None else f"from {self._minimum} to {self._maximum}"
        return self.fail(f"{value!r} is not {what}: {bounds}", param, ctx)


def integer(metavar: str, minimum: int, maximum: int | None = None) -> Number:
    """Return the type of an option that takes an integer."""
    return Number(metavar, int, minimum, maximum)


SECONDS: Final = Number("SECONDS", float, 0)
PORT: Final = integer("PORT", 0, 65_535)
POSITION: Final = integer("POSITION", 0, (1 << 63) - 1)
VERSION: Final = integer("VERSION", 1, (1 << 63) - 1)


def read_pairs(option: str, given: tuple[str, ...]) -> list[tuple[str, str]]:
    """Read the NAME=VALUE of an option; `Invalid` names the option."""
    for pair in given:
        if not pair.partition("=")[0] or "=" not in pair:
            raise Invalid(option, f"{pair!r} is not NAME=VALUE")
    return [(name, value) for name, _, value in (pair.partition("=") for pair in given)]


def moment(text: str | None, option: str = "--as-of", *, local: bool = False) -> datetime | None:
    """Read a time; one without an offset is in UTC, or keeps no offset if it is `local`."""
    from datetime import UTC, datetime

    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(option, f"{text!r} is not a time such as 2026-11-22T09:30:00Z") from None
    return at if local or at.tzinfo is not None else at.replace(tzinfo=UTC)


def operator(by: str | None) -> str:
    """Return who acts: the given name, or the OS user."""
    import getpass

    try:
        return by or f"cli:{getpass.getuser()}"
    except (OSError, KeyError):
        # In a container the user may have no name.
        return f"cli:{os.getuid()}"


# --- the store --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def open_gateway(config: str) -> AsyncIterator[Gateway]:
    """Open the gateway of a configuration, for a command that changes something."""
    from refundry.gateway import Gateway

    continue_without_output()
    async with Gateway.open(config) as gateway:
        yield gateway


@asynccontextmanager
async def open_reader(config: str) -> AsyncIterator[Reader]:
    """Open the store of a configuration for reading; it needs no private key and writes nothing."""
    from refundry.gateway.queries import Reader

    async with Reader.open(config) as reader:
        yield reader


@asynccontextmanager
async def until_signal(stop: Callable[[], None]) -> AsyncIterator[None]:
    """Call `stop` on SIGTERM and SIGINT."""
    import asyncio

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


# --- output -----------------------------------------------------------------------------------------------------------


def warn(text: str) -> None:
    """Print one line on stderr."""
    from refundry.formatting import plain

    click.echo(f"refundry: {plain(text)}", err=True)


def fail(text: str, status: ExitStatus = ExitStatus.REFUSED) -> NoReturn:
    """Print what is wrong in one line on stderr, and exit."""
    warn(text)
    sys.exit(status)


def print_json(value: Any) -> None:
    """Print one line of JSON, in ASCII if standard output cannot take every character."""
    from refundry.formatting import json_line

    line = json_line(value)
    try:
        line.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        line = json.dumps(value)
    click.echo(line)


def console() -> Console:
    """Return the console for text on stdout."""
    from rich.console import Console

    # Piped output is not wrapped: there is no terminal whose width would matter.
    width = None if sys.stdout.isatty() else _PIPED
    return Console(width=width, soft_wrap=width is not None, highlight=False, markup=False, emoji=False)


def new_table(columns: Sequence[str]) -> Table:
    """Return an empty table in the style of all tables."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def print_table(table: Table) -> None:
    """Print a table."""
    out = console()
    with out.capture() as captured:
        out.print(table)
    # The padding of the last column is for the eye only.
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def print_page(columns: Sequence[str], rows: Iterable[Sequence[str]], first: bool) -> None:
    """Print rows: a table on a terminal, else tab-separated lines, with the column names before the first page."""
    if sys.stdout.isatty():
        table = new_table(columns)
        for row in rows:
            table.add_row(*row)
        print_table(table)
        return
    for row in [columns, *rows] if first else rows:
        click.echo("\t".join(row))


def progress_bars(as_json: bool) -> Progress:
    """Return progress bars on stderr; they are shown only on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), disable=as_json or not sys.stderr.isatty())


class Bar:
    """One progress bar at a time: a new description starts a new bar."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, Any] = {}

    def __call__(self, description: str, done: int, total: int | None) -> None:
        """Show the progress."""
        if description not in self._bars:
            self._bars[description] = self._progress.add_task(description, total=total)
        self._progress.update(self._bars[description], completed=done, total=total)
