"""The command line: `refundry --help` says what there is.

The rule of this module: it only asks and shows. What a command prints is on stdout, what goes wrong is one line on
stderr, and the exit status is 0 done, 1 a defect, 2 bad usage, input, configuration, store or plugin, 3 and 4 with
`--wait`, 5 a difference.
"""

import asyncio
import base64
import logging
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import click
from click.shell_completion import get_completion_class

from refundry import formatting, views
from refundry.audit.replay.reinterpretation import reading_as_json, reading_in_words
from refundry.batch.csv_import import import_file
from refundry.cli.audit import audit
from refundry.cli.base import (
    DEFECT,
    FAILED,
    NOT_FINAL,
    REFUSED,
    WHOSE,
    Bar,
    command,
    console,
    fail,
    new_table,
    person,
    print_json,
    print_page,
    print_table,
    progress_bars,
    read_pairs,
    shared,
    until_signal,
    warn,
)
from refundry.cli.erase import erase
from refundry.cli.plugins import config_in, plugins, plugins_of
from refundry.cli.reconcile import reconcile_
from refundry.cli.totals import as_of_options, read_as_of, totals
from refundry.errors import Invalid, RefundryError
from refundry.gateway import Gateway
from refundry.gateway.queries import AsOf, select_then
from refundry.gateway.request import RefundRequest
from refundry.gateway.worker import Worker, process
from refundry.inputs import Operator
from refundry.journal import Recorded, Selection
from refundry.provider.strict_json import Unreadable, read_object
from refundry.refund import FINAL, Refund, Status, fold
from refundry.refund.policy import ManualReview

_PAGE: Final = 1_000


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="refundry", message="refundry %(version)s")
@shared
def cli(config: str | None, as_json: bool) -> None:
    """Refund through many payment providers: each refund paid at most once, none forgotten, every step on record."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s: %(message)s")
    given = sys.argv[1:] if arguments is None else arguments
    if any("\ud800" <= mark <= "\udfff" for argument in given for mark in argument):
        fail("the arguments are not UTF-8 text", REFUSED)
    try:
        sys.exit(_with_plugins(given).main(given, prog_name="refundry", standalone_mode=False) or 0)
    except click.Abort:
        fail("stopped", DEFECT)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(REFUSED)
    except click.ClickException as error:
        fail(error.format_message(), error.exit_code)
    except RefundryError as error:
        # An error that does not say what the caller may do is nobody's fault but ours.
        fail(str(error), DEFECT if error.next == RefundryError.next else REFUSED)
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(DEFECT)


def _with_plugins(given: list[str]) -> click.Group:
    """Give the command line with the commands that plugins add; one that would replace ours is refused."""
    whole = click.Group(cli.name, dict(cli.commands), params=cli.params, callback=cli.callback, help=cli.help)
    whole.context_settings = cli.context_settings
    try:
        found = plugins_of(config_in(given))
    except RefundryError:
        return whole  # the command that needs the plugins will say so
    broken = len(found.errors)
    extras = found.commands()
    for plugin in found.errors[broken:]:
        warn(plugin.error or "")
    for extra in extras:
        if extra.name in whole.commands:
            warn(f"a plugin's command {extra.name!r} is left out: there is one of this name")
        else:
            whole.add_command(extra)
    return whole


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
    **fields: Any,
) -> int:
    """Record a refund and make the first attempt."""
    if record_only and wait is not None:
        raise Invalid("--wait", "goes with an attempt; --record-only makes none")
    if wait is not None and not math.isfinite(wait):
        raise Invalid("--wait", "must be a number of seconds")
    request = RefundRequest(**fields, by=person(by), details=_details(details) or None)
    async with Gateway.open(config) as gateway:
        refund = await gateway.request(request, submit=not record_only)
        if wait is not None:
            refund = await process(gateway, refund, wait)
        await _show(gateway, refund, as_json)
        return 0 if wait is None else await _waited(gateway, refund)


async def _waited(gateway: Gateway, refund: Refund) -> int:
    if refund.status is Status.SETTLED:
        return 0
    if refund.status is Status.FAILED or isinstance(await gateway.next_step(refund), ManualReview):
        return FAILED
    return NOT_FINAL


def _details(pairs: tuple[str, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in read_pairs("--detail", pairs):
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
    with progress_bars(as_json) as progress:
        result = await import_file(config, Path(file), by=person(by), dry_run=dry_run, progress=Bar(progress))
    if as_json:
        print_json({"rows": result.rows, "recorded": result.recorded, "known": result.known, "dry_run": dry_run})
    elif dry_run:
        click.echo(f"{result.rows} rows are in order; nothing was stored")
    else:
        click.echo(f"{result.recorded} refunds recorded, {result.known} were there already")


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
        with progress_bars(as_json) as progress:
            bar = progress.add_task("in_progress", total=waiting if until_idle else None)

            def advanced(refund: Refund) -> None:
                if refund.final:
                    ended[refund.status] += 1
                    progress.advance(bar)

            worker = Worker(gateway, concurrency=concurrency, on_advance=advanced)
            async with until_signal(worker.stop):
                await worker.run(until_idle=until_idle)
        in_progress, left = await _count_open(gateway)
    summary = {
        "settled": ended[Status.SETTLED],
        "failed": ended[Status.FAILED],
        "in_progress": in_progress,
        "waiting": left,
    }
    if as_json:
        print_json(summary)
    else:
        click.echo(", ".join(f"{count} {name}" for name, count in summary.items()))
    for name in sorted(worker.unknown_accounts):
        warn(f"accounts.{name}: is not in the configuration; its refunds wait")
    for refund_id in worker.stuck:
        warn(f"{refund_id} cannot be advanced; the reason is in the log above")
    return REFUSED if worker.unknown_accounts else DEFECT if worker.stuck else 0


async def _count_open(gateway: Gateway) -> tuple[int, int]:
    """Count the refunds that workers drive on, and those that wait for a person, alone or with their account."""
    able = {name for name in gateway.accounts if not await gateway.journal.blocked(name)}
    in_progress = waiting = 0
    for status in set(Status) - FINAL:
        after = ""
        while rows := await gateway.list(status=status, after=after, limit=_PAGE):
            after = rows[-1].id
            processed = sum(row.due_at is not None and row.account in able for row in rows)
            in_progress, waiting = in_progress + processed, waiting + len(rows) - processed
    return in_progress, waiting


@cli.command()
@click.argument("id")
@click.option("--account", help=WHOSE)
@command
async def inquire(config: str, as_json: bool, id: str, account: str | None) -> None:
    """Ask the provider about a refund now, whatever is planned."""
    async with Gateway.open(config) as gateway:
        refund = await gateway.get(id, account=account)
        await _show(gateway, await gateway.inquire(refund.id), as_json)


@cli.command()
@click.argument("id")
@click.option("--account", help=WHOSE)
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
        await _show(gateway, await gateway.resolve(refund.id, Operator(by=by, why=why), settled=settled), as_json)


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
            await _show(gateway, await gateway.resume(refund.id, Operator(by=by, why=why)), as_json)
        elif account is not None:
            resumed = await gateway.resume_account(account, Operator(by=by, why=why))
            if not as_json:
                click.echo(f"{len(resumed)} refunds of {account} go on")
            for refund in resumed if as_json else ():
                await _show(gateway, refund, as_json)
        else:
            raise Invalid("ID", "name a refund, or an account with --account")


# --- looking ----------------------------------------------------------------------------------------------------------


async def _show(gateway: Gateway, refund: Refund, as_json: bool, known_then: Sequence[Recorded] | None = None) -> None:
    history = known_then or await gateway.history(refund.id)
    known = refund.account in gateway.accounts
    step = await gateway.next_step(refund) if known else None
    shown = views.refund_as_json(refund, history, step)
    readings = await gateway.readings(history)
    if as_json:
        print_json(
            shown
            | {"readings": [reading_as_json(reading) for reading in readings if not reading.wording]}
            | {"wording": [reading_as_json(reading) for reading in readings if reading.wording]}
        )
        return
    out = console()
    money = f"{refund.amount} {refund.amount.currency}"
    out.print(
        f"{refund.refund_request_id}  {money} of payment {refund.payment} at {refund.account} ({refund.provider})"
    )
    out.print(formatting.plain(f"{refund.status}" + (f" at {refund.settled_at}" if refund.settled_at else "")))
    if refund.failure is not None:
        out.print(formatting.plain(f"{refund.failure.code}: {refund.failure.cause} {refund.failure.advice}"))
    if refund.review is not None:
        out.print(formatting.plain(f"a person should look: {refund.review}"))
    for note in refund.notes:
        out.print(formatting.plain(f"{note.code or 'informational'}: {note.cause}"))
    if isinstance(step, ManualReview):
        # What is already said above is not said twice.
        out.print(formatting.plain("waits for a person" + (f": {step.reason}" if step.reason != refund.review else "")))
    elif shown["next"] is not None:
        out.print(f"next: {shown['next']['step']} at {shown['next']['at']}")
    table = new_table(("position", "at", "event", "what it says"))
    for event in shown["events"]:
        table.add_row(str(event["position"]), event["at"], event["event"], views.event_in_words(event))
    print_table(table)
    for reading in readings:
        differs = "worded" if reading.wording else "read"
        place = f"position {reading.recorded.position}"
        out.print(f"would be {differs} differently now: {place}, {reading_in_words(reading)}")


@cli.command()
@click.argument("id")
@click.option("--account", help=WHOSE)
@as_of_options
@command
async def show(
    config: str, as_json: bool, id: str, account: str | None, as_of: str | None, as_of_position: int | None
) -> None:
    """Show a refund and everything that happened to it. ID is Refundry's id or the refund_request_id."""
    then = read_as_of(as_of, as_of_position)
    async with Gateway.open(config) as gateway:
        history = await gateway.history(id, account=account, as_of=then)
        refund = fold(history[0].refund_id, [item.event for item in history])
        await _show(gateway, refund, as_json, history)


@cli.command("list")
@click.option("--status", type=click.Choice([str(status) for status in Status]), help="Only refunds that stand there.")
@click.option("--account", help="Only refunds of this account.")
@click.option("--payment", help="Only refunds of this payment: the provider's id.")
@click.option("--needs-review", "review", is_flag=True, help="Only what a person should look at.")
@click.option("--unmatched", is_flag=True, help="Instead: notifications about refunds that the store does not know.")
@as_of_options
@command
async def list_(
    config: str,
    as_json: bool,
    status: str | None,
    account: str | None,
    payment: str | None,
    review: bool,
    unmatched: bool,
    as_of: str | None,
    as_of_position: int | None,
) -> None:
    """List refunds, oldest first."""
    then = read_as_of(as_of, as_of_position)
    if unmatched and (status or payment or review or not then.now):
        raise Invalid("--unmatched", "goes with --account only")
    async with Gateway.open(config) as gateway:
        if unmatched:
            await _list_unmatched(gateway, account, as_json)
            return
        selection = Selection(
            status=Status(status) if status else None, account=account, payment=payment, review=review
        )
        await _list_refunds(gateway, selection, then, as_json)


async def _list_refunds(gateway: Gateway, selection: Selection, then: AsOf, as_json: bool) -> None:
    columns = ("id", "account", "refund_request_id", "payment", "amount", "status", "review")
    after = ""
    while rows := await select_then(gateway.journal, selection, then, after=after, limit=_PAGE):
        if as_json:
            for row in rows:
                print_json(views.row_as_json(row))
        else:
            print_page(columns, map(views.row_in_words, rows), not after)
        after = rows[-1].id
    if not after and not as_json:
        print_page(columns, [], True)


async def _list_unmatched(gateway: Gateway, account: str | None, as_json: bool) -> None:
    found = [unmatched for unmatched in await gateway.unmatched() if account in (None, unmatched.account)]
    shown = [views.unmatched_as_json(unmatched) for unmatched in found]
    for unmatched in shown if as_json else ():
        print_json(unmatched)
    if not as_json:
        rows = [[formatting.plain(text) for text in unmatched.values()] for unmatched in shown]
        print_page(("at", "account", "refund_request_id", "evidence"), rows, True)


@cli.command()
@click.argument("digest")
@command
async def evidence(config: str, as_json: bool, digest: str) -> None:
    """Write the bytes that an event names by `digest` or `evidence`: raw into a pipe, escaped on a terminal."""
    async with Gateway.open(config) as gateway:
        kept = await gateway.evidence(digest)
    if as_json:
        print_json({"digest": digest, "base64": base64.b64encode(kept).decode("ascii")})
    elif sys.stdout.isatty():
        click.echo(formatting.kept(kept))
    else:
        click.echo(kept, nl=False)


@cli.command()
@click.argument("id", required=False)
@click.option("--account", help=f"With ID: {WHOSE[0].lower()}{WHOSE[1:]}")
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="N", help="Only what stands after position N.")
@command
async def events(config: str, as_json: bool, id: str | None, account: str | None, after: int) -> None:
    """Print the log: of one refund, or whole."""
    async with Gateway.open(config) as gateway:
        if id is not None:
            for item in await gateway.history(id, account=account):
                if item.position > after:
                    _print_event(item.refund_id, views.event_as_json(item), as_json)
        else:
            async for item in gateway.journal.log(after):
                _print_event(item.refund_id, views.event_as_json(item), as_json)


def _print_event(refund_id: str, shown: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json({"refund": refund_id} | shown)
    else:
        line = f"{shown['position']:>8} {shown['at']} {refund_id} {shown['event']:<9} {views.event_in_words(shown)}"
        click.echo(line)


# --- plugins, simulators, service -------------------------------------------------------------------------------------


cli.add_command(plugins)


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
    found = plugins_of(config)
    simulators = found.simulators()
    if provider not in simulators:
        for broken in found.errors:
            warn(broken.error or "")
        raise Invalid("PROVIDER", f"there is no simulator {provider!r}; there are: {', '.join(sorted(simulators))}")
    plugin, given = simulators[provider], dict(read_pairs("--option", options))
    directory = Path(keys).absolute()
    plugin.make_keys(directory)
    stopped = asyncio.Event()
    async with until_signal(stopped.set), plugin.run("127.0.0.1", port, directory, given) as running:
        section = plugin.account_section("shop", running.url, directory, notify_url)
        if as_json:
            print_json({"provider": provider, "url": running.url, "section": section})
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
    async with Gateway.open(config) as gateway, until_signal(stopped.set):
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
                print_json({"url": url, "accounts": accounts})
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
    """Watch refunds travel through providers that lose answers, with a worker that is killed, on this machine."""
    from refundry.cli.demo import run_demo

    return await run_demo(directory, refunds=refunds, seed=seed, as_json=as_json)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes a shell complete this command line: eval "$(refundry completion bash)"."""
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "refundry", "_REFUNDRY_COMPLETE").source())


# --- commands of other modules ----------------------------------------------------------------------------------------

for _command in (reconcile_, totals, erase, audit):
    cli.add_command(_command)
