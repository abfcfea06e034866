"""The command line: `refundry --help` says what there is.

The rule of this module: it only asks and shows. What a command prints is on stdout, what goes wrong is one line on
stderr, and the exit status is 0 done, 1 a defect, 2 bad usage, input, configuration, store or plugin, 3 and 4 with
`--wait`, 5 a difference.
"""

import asyncio
import base64
import functools
import getpass
import logging
import math
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

import click
from click.shell_completion import get_completion_class
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from refundry import present
from refundry.bulk import import_file
from refundry.errors import Invalid, RefundryError
from refundry.gateway import Gateway
from refundry.hooks import Plugins, load_plugins
from refundry.journal import Selection
from refundry.policy import Person
from refundry.provider import Code
from refundry.refund import FINAL, Refund, Status
from refundry.untrusted import Unreadable, read_object
from refundry.worker import Worker, drive

DEFECT: Final = 1
REFUSED: Final = 2
FAILED: Final = 3
NOT_FINAL: Final = 4
_PIPED: Final = 4_000
_PAGE: Final = 1_000
_WHOSE: Final = "The account of the refund, where two accounts use its id."

Command = Callable[..., Coroutine[Any, Any, int | None]]


# --- what every command shares ----------------------------------------------------------------------------------------


def _shared(function: Callable[..., None]) -> Callable[..., None]:
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

    return _shared(run)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="refundry", message="refundry %(version)s")
@_shared
def cli(config: str | None, as_json: bool) -> None:
    """Refund through many payment providers: each refund paid at most once, none forgotten, every step on record."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s: %(message)s")
    given = sys.argv[1:] if arguments is None else arguments
    if any("\ud800" <= mark <= "\udfff" for argument in given for mark in argument):
        _fail("the arguments are not UTF-8 text", REFUSED)
    try:
        sys.exit(_with_plugins().main(given, prog_name="refundry", standalone_mode=False) or 0)
    except click.Abort:
        _fail("stopped", DEFECT)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(REFUSED)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except RefundryError as error:
        # An error that does not say what the caller may do is nobody's fault but ours.
        _fail(str(error), DEFECT if error.next == RefundryError.next else REFUSED)
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(DEFECT)


def _with_plugins() -> click.Group:
    """Give the command line with the commands that plugins add; one that would replace ours is refused."""
    whole = click.Group(cli.name, dict(cli.commands), params=cli.params, callback=cli.callback, help=cli.help)
    whole.context_settings = cli.context_settings
    try:
        found = load_plugins()
    except RefundryError:
        return whole  # the command that needs the plugins will say so
    broken = len(found.errors)
    extras = found.commands()
    for plugin in found.errors[broken:]:
        _warn(plugin.error or "")
    for extra in extras:
        if extra.name in whole.commands:
            _warn(f"a plugin's command {extra.name!r} is left out: there is one of this name")
        else:
            whole.add_command(extra)
    return whole


def _warn(text: str) -> None:
    click.echo(f"refundry: {present.plain(text)}", err=True)


def _fail(text: str, status: int) -> NoReturn:
    _warn(text)
    sys.exit(status)


def _print_json(value: Any) -> None:
    click.echo(present.json_line(value))


def _out() -> Console:
    # What is piped on is cut into lines by whoever reads it, not at the width of a terminal that is not there.
    width = None if sys.stdout.isatty() else _PIPED
    return Console(width=width, soft_wrap=width is not None, highlight=False, markup=False, emoji=False)


def _table(columns: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _print_table(table: Table) -> None:
    out = _out()
    with out.capture() as captured:
        out.print(table)
    # A column is as wide as its longest text; what only fills it up is not for a pipe.
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _print_page(columns: Sequence[str], rows: Iterable[Sequence[str]], first: bool) -> None:
    """Print some rows: a table on a terminal, else a line with tabs for each, the names of the columns above all."""
    if sys.stdout.isatty():
        table = _table(columns)
        for row in rows:
            table.add_row(*row)
        _print_table(table)
        return
    for row in [columns, *rows] if first else rows:
        click.echo("\t".join(row))


def _person(by: str | None) -> str:
    try:
        return by or f"cli:{getpass.getuser()}"
    except (OSError, KeyError):
        # In a container the user may have no name.
        return f"cli:{os.getuid()}"


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid("--as-of", f"{text!r} is not a time such as 2026-11-22T09:30:00Z") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


@asynccontextmanager
async def _until_signal(stop: Callable[[], None]) -> AsyncIterator[None]:
    """Call `stop` on SIGTERM and SIGINT."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _progress(as_json: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), disable=as_json or not sys.stderr.isatty())


# --- asking -----------------------------------------------------------------------------------------------------------


@cli.command("request")
@click.option("--account", required=True, help="The account, as refundry.toml names it.")
@click.option("--payment", required=True, help="The provider's id of the payment.")
@click.option("--amount", required=True, help="A decimal amount, such as 12.33.")
@click.option("--currency", required=True, help="An ISO 4217 code, such as EUR.")
@click.option(
    "--id", "refund_request_id", required=True, help="Your id of this refund: the same id is the same refund."
)
@click.option("--payment-total", help="What was paid in all; its refunds may not exceed it.")
@click.option("--reason", help="Why, in words the customer may see.")
@click.option("--retry-of", help="The failed refund that this one replaces.")
@click.option(
    "--detail",
    "details",
    multiple=True,
    metavar="NAME=VALUE",
    help="A field of the provider's own; {...}, [...] is JSON.",
)
@click.option("--by", help="Who asks; by default the user of this machine.")
@click.option("--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="Drive it on for so long.")
@click.option("--record-only", is_flag=True, help="Leave the first attempt to the workers.")
@command
async def request_(
    config: str,
    as_json: bool,
    wait: float | None,
    record_only: bool,
    by: str | None,
    details: tuple[str, ...],
    **order: str | None,
) -> int:
    """Record a refund and make the first attempt."""
    if record_only and wait is not None:
        raise Invalid("--wait", "goes with an attempt; --record-only makes none")
    if wait is not None and not math.isfinite(wait):
        raise Invalid("--wait", "must be a number of seconds")
    given: dict[str, Any] = order | {"by": _person(by), "details": _details(details) or None}
    async with Gateway.open(config) as gateway:
        refund = await gateway.request(**given, submit=not record_only)
        if wait is not None:
            refund = await drive(gateway, refund, wait)
        await _show(gateway, refund, as_json)
        return 0 if wait is None else await _waited(gateway, refund)


async def _waited(gateway: Gateway, refund: Refund) -> int:
    if refund.status is Status.SETTLED:
        return 0
    if refund.status is Status.FAILED or isinstance(await gateway.next_step(refund), Person):
        return FAILED
    return NOT_FINAL


def _details(pairs: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in _pairs("--detail", pairs):
        if name in found:
            raise Invalid("--detail", f"{name!r} is given twice")
        found[name] = _json(name, value) if value.startswith(("{", "[")) else value
    return found


def _json(name: str, text: str) -> Any:
    try:
        # The name of an object of one key: what closes it early is no value.
        ((_, value),) = read_object(b'{"value":%b}' % text.encode()).items()
    except (Unreadable, ValueError) as error:
        raise Invalid("--detail", f"{name!r} begins as JSON and is none: {error}") from None
    return value


def _pairs(option: str, given: tuple[str, ...]) -> list[tuple[str, str]]:
    for pair in given:
        if not pair.partition("=")[0] or "=" not in pair:
            raise Invalid(option, f"{pair!r} is not NAME=VALUE")
    return [(name, value) for name, _, value in (pair.partition("=") for pair in given)]


@cli.command("import")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--by", help="Who asks; by default the user of this machine.")
@click.option("--dry-run", is_flag=True, help="Check every row and store nothing.")
@command
async def import_(config: str, as_json: bool, file: str, by: str | None, dry_run: bool) -> None:
    """Record many refunds from a CSV file, for the workers.

    The columns are account, payment, amount, currency, id, reason, payment_total; the last two may be absent or empty.
    Every row is checked before the first is stored; a file may be imported again and goes on where it stopped.
    """
    with _progress(as_json) as progress:
        result = await import_file(config, Path(file), by=_person(by), dry_run=dry_run, progress=_Bar(progress))
    if as_json:
        _print_json({"rows": result.rows, "recorded": result.recorded, "known": result.known, "dry_run": dry_run})
    elif dry_run:
        click.echo(f"{result.rows} rows are in order; nothing was stored")
    else:
        click.echo(f"{result.recorded} refunds recorded, {result.known} were there already")


class _Bar:
    """One progress bar at a time: a new description is a new bar."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, Any] = {}

    def __call__(self, description: str, done: int, total: int | None) -> None:
        if description not in self._bars:
            self._bars[description] = self._progress.add_task(description, total=total)
        self._progress.update(self._bars[description], completed=done, total=total)


# --- driving ----------------------------------------------------------------------------------------------------------


@cli.command()
@click.option("--until-idle", is_flag=True, help="End when every refund is final or waits for a person.")
@click.option("--concurrency", type=click.IntRange(1, 10_000), default=64, show_default=True, help="Refunds at once.")
@command
async def work(config: str, as_json: bool, until_idle: bool, concurrency: int) -> int:
    """Drive what is due; SIGTERM stops it cleanly."""
    ended = {Status.SETTLED: 0, Status.FAILED: 0}
    async with Gateway.open(config) as gateway:
        waiting, _ = await gateway.journal.waiting()
        with _progress(as_json) as progress:
            bar = progress.add_task("driving", total=waiting if until_idle else None)

            def advanced(refund: Refund) -> None:
                if refund.final:
                    ended[refund.status] += 1
                    progress.advance(bar)

            worker = Worker(gateway, concurrency=concurrency, on_advance=advanced)
            async with _until_signal(worker.stop):
                await worker.run(until_idle=until_idle)
        driving, left = await _count_open(gateway)
    summary = {"settled": ended[Status.SETTLED], "failed": ended[Status.FAILED], "driving": driving, "waiting": left}
    if as_json:
        _print_json(summary)
    else:
        click.echo(", ".join(f"{count} {name}" for name, count in summary.items()))
    for name in sorted(worker.strangers):
        _warn(f"accounts.{name}: is not in the configuration; its refunds wait")
    for refund_id in worker.stuck:
        _warn(f"{refund_id} cannot be advanced; the reason is in the log above")
    return REFUSED if worker.strangers else DEFECT if worker.stuck else 0


async def _count_open(gateway: Gateway) -> tuple[int, int]:
    """Count the refunds that workers drive on, and those that wait for a person, alone or with their account."""
    able = {name for name in gateway.accounts if not await gateway.journal.blocked(name)}
    driving = waiting = 0
    for status in set(Status) - FINAL:
        after = ""
        while rows := await gateway.list(status=status, after=after, limit=_PAGE):
            after = rows[-1].id
            driven = sum(row.due_at is not None and row.account in able for row in rows)
            driving, waiting = driving + driven, waiting + len(rows) - driven
    return driving, waiting


@cli.command()
@click.argument("id")
@click.option("--account", help=_WHOSE)
@command
async def inquire(config: str, as_json: bool, id: str, account: str | None) -> None:
    """Ask the provider about a refund now, whatever is planned."""
    async with Gateway.open(config) as gateway:
        refund = await gateway.get(id, account=account)
        await _show(gateway, await gateway.inquire(refund.id), as_json)


@cli.command()
@click.argument("id")
@click.option("--account", help=_WHOSE)
@click.option("--settled", "settled", flag_value=True, type=bool, default=None, help="It was paid.")
@click.option("--failed", "settled", flag_value=False, type=bool, help="It was not paid and will not be.")
@click.option("--by", required=True, help="The person who decides.")
@click.option("--why", required=True, help="What the decision rests on.")
@command
async def resolve(
    config: str, as_json: bool, id: str, account: str | None, settled: bool | None, by: str, why: str
) -> None:
    """Record a person's decision about a refund."""
    if settled is None:
        raise Invalid("--settled/--failed", "say which of the two")
    async with Gateway.open(config) as gateway:
        refund = await gateway.get(id, account=account)
        await _show(gateway, await gateway.resolve(refund.id, settled=settled, by=by, why=why), as_json)


@cli.command()
@click.argument("id", required=False)
@click.option("--account", help="With ID: its account. Alone: every refund there that waits for a person.")
@click.option("--by", required=True, help="The person who mended it.")
@click.option("--why", required=True, help="What was mended.")
@command
async def resume(config: str, as_json: bool, id: str | None, account: str | None, by: str, why: str) -> None:
    """Say that what stood in the way is mended: go on, with the same id."""
    async with Gateway.open(config) as gateway:
        if id is not None:
            refund = await gateway.get(id, account=account)
            await _show(gateway, await gateway.resume(refund.id, by=by, why=why), as_json)
        elif account is not None:
            resumed = await gateway.resume_account(account, by=by, why=why)
            if not as_json:
                click.echo(f"{len(resumed)} refunds of {account} go on")
            for refund in resumed if as_json else ():
                await _show(gateway, refund, as_json)
        else:
            raise Invalid("ID", "name a refund, or an account with --account")


# --- looking ----------------------------------------------------------------------------------------------------------


async def _show(gateway: Gateway, refund: Refund, as_json: bool, as_of: datetime | None = None) -> None:
    history = [item for item in await gateway.history(refund.id) if as_of is None or item.event.at <= as_of]
    known = refund.account in gateway.accounts
    step = await gateway.next_step(refund) if known else None
    shown = present.refund_as_json(refund, history, step)
    if as_json:
        _print_json(shown)
        return
    out = _out()
    money = f"{refund.amount} {refund.amount.currency}"
    out.print(
        f"{refund.refund_request_id}  {money} of payment {refund.payment} at {refund.account} ({refund.provider})"
    )
    out.print(present.plain(f"{refund.status}" + (f" at {refund.settled_at}" if refund.settled_at else "")))
    if refund.failure is not None:
        out.print(present.plain(f"{refund.failure.code}: {refund.failure.cause} {refund.failure.advice}"))
    if refund.attention is not None:
        out.print(present.plain(f"a person should look: {refund.attention}"))
    if isinstance(step, Person):
        # What is already said above is not said twice.
        out.print(present.plain("waits for a person" + (f": {step.reason}" if step.reason != refund.attention else "")))
    elif shown["next"] is not None:
        out.print(f"next: {shown['next']['step']} at {shown['next']['at']}")
    table = _table(("position", "at", "event", "what it says"))
    for event in shown["events"]:
        table.add_row(str(event["position"]), event["at"], event["event"], present.event_in_words(event))
    _print_table(table)


@cli.command()
@click.argument("id")
@click.option("--account", help=_WHOSE)
@click.option("--as-of", metavar="TIME", help="What we knew then.")
@command
async def show(config: str, as_json: bool, id: str, account: str | None, as_of: str | None) -> None:
    """Show a refund and everything that happened to it. ID is Refundry's id or the refund_request_id."""
    at = _moment(as_of)
    async with Gateway.open(config) as gateway:
        await _show(gateway, await gateway.get(id, account=account, as_of=at), as_json, at)


@cli.command("list")
@click.option("--status", type=click.Choice([str(status) for status in Status]), help="Only refunds that stand there.")
@click.option("--account", help="Only refunds of this account.")
@click.option("--payment", help="Only refunds of this payment: the provider's id.")
@click.option("--attention", is_flag=True, help="Only what a person should look at.")
@click.option("--parked", is_flag=True, help="Instead: notifications about refunds that the store does not know.")
@command
async def list_(
    config: str,
    as_json: bool,
    status: str | None,
    account: str | None,
    payment: str | None,
    attention: bool,
    parked: bool,
) -> None:
    """List refunds, oldest first."""
    if parked and (status or payment or attention):
        raise Invalid("--parked", "goes with --account only")
    async with Gateway.open(config) as gateway:
        if parked:
            await _list_parked(gateway, account, as_json)
            return
        selection = Selection(
            status=Status(status) if status else None, account=account, payment=payment, attention=attention
        )
        await _list_refunds(gateway, selection, as_json)


async def _list_refunds(gateway: Gateway, selection: Selection, as_json: bool) -> None:
    columns = ("id", "account", "refund_request_id", "payment", "amount", "status", "attention")
    after = ""
    while rows := await gateway.journal.select(selection, after=after, limit=_PAGE):
        if as_json:
            for row in rows:
                _print_json(present.row_as_json(row))
        else:
            _print_page(columns, map(present.row_in_words, rows), not after)
        after = rows[-1].id
    if not after and not as_json:
        _print_page(columns, [], True)


async def _list_parked(gateway: Gateway, account: str | None, as_json: bool) -> None:
    found = [parked for parked in await gateway.parked() if account in (None, parked.account)]
    shown = [present.parked_as_json(parked) for parked in found]
    for parked in shown if as_json else ():
        _print_json(parked)
    if not as_json:
        rows = [[present.plain(text) for text in parked.values()] for parked in shown]
        _print_page(("at", "account", "refund_request_id", "evidence"), rows, True)


@cli.command()
@click.argument("digest")
@command
async def evidence(config: str, as_json: bool, digest: str) -> None:
    """Write the bytes that an event names by `digest` or `evidence`: raw into a pipe, escaped on a terminal."""
    async with Gateway.open(config) as gateway:
        kept = await gateway.evidence(digest)
    if as_json:
        _print_json({"digest": digest, "base64": base64.b64encode(kept).decode("ascii")})
    elif sys.stdout.isatty():
        click.echo(present.kept(kept))
    else:
        click.echo(kept, nl=False)


@cli.command()
@click.argument("id", required=False)
@click.option("--account", help=f"With ID: {_WHOSE[0].lower()}{_WHOSE[1:]}")
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="N", help="Only what stands after position N.")
@command
async def events(config: str, as_json: bool, id: str | None, account: str | None, after: int) -> None:
    """Print the log: of one refund, or whole."""
    async with Gateway.open(config) as gateway:
        if id is not None:
            for item in await gateway.history(id, account=account):
                if item.position > after:
                    _print_event(item.refund_id, present.event_as_json(item), as_json)
        else:
            async for item in gateway.journal.log(after):
                _print_event(item.refund_id, present.event_as_json(item), as_json)


def _print_event(refund_id: str, shown: dict[str, Any], as_json: bool) -> None:
    if as_json:
        _print_json({"refund": refund_id} | shown)
    else:
        line = f"{shown['position']:>8} {shown['at']} {refund_id} {shown['event']:<9} {present.event_in_words(shown)}"
        click.echo(line)


# --- plugins, simulators, service -------------------------------------------------------------------------------------


@cli.group()
def plugins() -> None:
    """Look at plugins."""


@plugins.command("list")
@command
async def plugins_list(config: str, as_json: bool) -> int:
    """List every plugin with its version, origin, providers and terms; those that cannot be used with the reason."""
    found = load_plugins()
    rows = list(_plugin_rows(found))
    if as_json:
        for row in rows:
            _print_json(row)
    else:
        table = _table(("name", "version", "origin", "codes", "simulator", "terms"))
        for row in rows:
            if row["error"] is None:
                terms = ", ".join(f"{name} {value}" for name, value in row["terms"].items())
                simulator = "yes" if row["simulator"] else "no"
                table.add_row(row["name"], row["version"], row["origin"], str(row["codes"]), simulator, terms)
        _print_table(table)
    for plugin in found.errors:
        _warn(plugin.error or "")
    return DEFECT if found.errors else 0


def _plugin_rows(found: Plugins) -> Iterable[dict[str, Any]]:
    simulators = found.simulators()
    found.commands()  # to learn which plugins fail there
    origins = {plugin.name: f"{plugin.distribution} {plugin.version}" for plugin in found.loaded}
    for name, provider in sorted(found.providers.items()):
        terms = provider.terms
        tables: list[Iterable[Code]] = [table.values() for table in provider.codes.values()]
        yield {
            "name": name,
            "version": provider.version,
            "origin": origins.get(name, ""),
            "codes": sum(len(list(table)) for table in tables),
            "simulator": name in simulators,
            "terms": {
                "inquire_by": " or ".join(terms.inquire_by),
                "not_found": f"{1 + terms.not_found_tries} times, {terms.not_found_interval:g} s apart",
                "resend_after": ", ".join(sorted(terms.resend_after)) or "never",
                "id_length": terms.id_length,
            },
            "error": None,
        }
    for plugin in found.errors:
        yield {"name": plugin.name, "version": plugin.version, "origin": plugin.distribution, "error": plugin.error}


@cli.command()
@click.argument("provider")
@click.option("--port", type=click.IntRange(0, 65_535), default=8701, show_default=True, help="0: any free one.")
@click.option("--keys", type=click.Path(file_okay=False), default="keys", show_default=True, help="Made on first use.")
@click.option("--notify-url", help="Where its notifications go: http://127.0.0.1:PORT/notifications/ACCOUNT.")
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="A setting of the simulator.")
@command
async def simulate(
    config: str, as_json: bool, provider: str, port: int, keys: str, notify_url: str | None, options: tuple[str, ...]
) -> None:
    """Run a provider on loopback, with its own books, until SIGTERM."""
    found = load_plugins()
    simulators = found.simulators()
    if provider not in simulators:
        for broken in found.errors:
            _warn(broken.error or "")
        raise Invalid("PROVIDER", f"there is no simulator {provider!r}; there are: {', '.join(sorted(simulators))}")
    plugin, given = simulators[provider], dict(_pairs("--option", options))
    directory = Path(keys).absolute()
    plugin.make_keys(directory)
    stopped = asyncio.Event()
    async with _until_signal(stopped.set), plugin.run("127.0.0.1", port, directory, given) as running:
        section = plugin.account_section("shop", running.url, directory, notify_url)
        if as_json:
            _print_json({"provider": provider, "url": running.url, "section": section})
        else:
            click.echo(f"# {provider} on {running.url}; its books: {running.url}/control/books\n{section}")
        await stopped.wait()


@cli.command()
@click.option("--port", type=click.IntRange(0, 65_535), default=8700, show_default=True, help="0: any free one.")
@command
async def serve(config: str, as_json: bool, port: int) -> None:
    """Take providers' notifications at /notifications/ACCOUNT on loopback, until SIGTERM.

    Put your own web server in front of it; it needs the path and the bytes as they came.
    """
    from aiohttp import web

    from refundry.web import init_app

    stopped = asyncio.Event()
    async with Gateway.open(config) as gateway, _until_signal(stopped.set):
        # What is signed are the bytes as they came, so nothing is unpacked.
        runner = web.AppRunner(init_app(web.Application(), gateway), access_log=None, auto_decompress=False)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", port)
            try:
                await site.start()
            except OSError as error:
                raise Invalid("--port", f"{port} cannot be used: {error.strerror}") from None
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            accounts = sorted(gateway.accounts)
            if as_json:
                _print_json({"url": url, "accounts": accounts})
            else:
                lines = [f"listening on {url}/notifications/{name}" for name in accounts]
                click.echo("\n".join(lines or [f"listening on {url}"]))
            await stopped.wait()
        finally:
            await runner.cleanup()


@cli.command()
@click.argument("directory", required=False, type=click.Path(file_okay=False))
@click.option("--refunds", type=click.IntRange(min=300), default=320, show_default=True, help="How many.")
@click.option("--seed", type=int, default=1, show_default=True, help="Which refunds meet which fault.")
@command
async def demo(config: str, as_json: bool, directory: str | None, refunds: int, seed: int) -> int:
    """Watch refunds travel through a provider that loses answers, with a worker that is killed, on this machine."""
    from refundry.demo import run_demo

    return await run_demo(directory, refunds=refunds, seed=seed, as_json=as_json)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes a shell complete this command line: eval "$(refundry completion bash)"."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "refundry", "_REFUNDRY_COMPLETE").source())
