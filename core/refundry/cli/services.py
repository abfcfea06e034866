"""Commands that run until they are stopped: the worker, the notification service, simulators and the demo.

The rule of this module: SIGTERM ends each of them cleanly, with status 0.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from refundry.cli.base import (
    PORT,
    command,
    integer,
    open_gateway,
    print_json,
    progress_bars,
    read_pairs,
    until_signal,
    warn,
)
from refundry.cli.exit_status import ExitStatus
from refundry.cli.logs import prepare_logs
from refundry.errors import Invalid

if TYPE_CHECKING:
    from refundry.gateway import Gateway

__all__ = ["demo", "serve", "simulate", "work"]

_PAGE: Final = 1_000


@click.command()
@click.option("--until-idle", is_flag=True, help="End when every refund is final or needs an operator.")
@click.option(
    "--concurrency",
    type=integer("N", 1, 10_000),
    metavar="N",
    default=64,
    show_default=True,
    help="Refunds of one account processed at the same time.",
)
@click.option("--account", help="Process only refunds of this account.")
@command
async def work(config: str, as_json: bool, until_idle: bool, concurrency: int, account: str | None) -> int:
    """Process refunds that are due, until SIGTERM."""
    from refundry.gateway.worker import Worker
    from refundry.refund import Refund, Status

    prepare_logs()
    ended = {Status.SETTLED: 0, Status.FAILED: 0}
    async with open_gateway(config) as gateway:
        waiting = await gateway.journal.waiting(account)
        with progress_bars(as_json) as progress:
            bar = progress.add_task("final", total=waiting if until_idle else None)

            def advanced(refund: Refund) -> None:
                if refund.final:
                    ended[refund.status] += 1
                    progress.advance(bar)

            worker = Worker(gateway, concurrency=concurrency, account=account, on_advance=advanced)
            async with until_signal(worker.stop):
                await worker.run(until_idle=until_idle)
        in_progress, on_hold = await _count_open(gateway, account)
    summary = {
        "settled": ended[Status.SETTLED],
        "failed": ended[Status.FAILED],
        "in_progress": in_progress,
        "on_hold": on_hold,
    }
    if as_json:
        print_json(summary)
    else:
        click.echo(", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in summary.items()))
    for name in sorted(worker.unknown_accounts):
        warn(f"accounts.{name}: is not in the configuration; its refunds are on hold until it is")
    for name, why in sorted(worker.unusable_accounts.items()):
        warn(f"{why}; the refunds of {name} are on hold until it is corrected")
    for refund_id in worker.stuck:
        warn(f"{refund_id} cannot be processed; the log above has the reason")
    for refund_id, why in sorted(worker.unreadable.items()):
        warn(f"{refund_id} is left alone: {why}")
    return _status(
        refused=bool(worker.unknown_accounts or worker.unusable_accounts or worker.unreadable), stuck=bool(worker.stuck)
    )


def _status(*, refused: bool, stuck: bool) -> ExitStatus:
    if refused:
        return ExitStatus.REFUSED
    return ExitStatus.INTERNAL_ERROR if stuck else ExitStatus.DONE


async def _count_open(gateway: "Gateway", account: str | None) -> tuple[int, int]:
    """Count the open refunds that workers continue with, and those that wait for an operator."""
    from refundry.refund import FINAL, Status

    able = {name for name in gateway.accounts if not await gateway.journal.blocked(name)}
    in_progress = on_hold = 0
    for status in set(Status) - FINAL:
        after = ""
        while rows := await gateway.list(status=status, account=account, after=after, limit=_PAGE):
            after = rows[-1].id
            processed = sum(row.due_at is not None and not row.review and row.account in able for row in rows)
            in_progress, on_hold = in_progress + processed, on_hold + len(rows) - processed
    return in_progress, on_hold


@click.command()
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on; 0.0.0.0 in a container whose port only your web server reaches.",
)
@click.option("--port", type=PORT, metavar="PORT", default=8700, show_default=True, help="Port; 0: any free one.")
@command
async def serve(config: str, as_json: bool, host: str, port: int) -> None:
    """Receive provider notifications, until SIGTERM.

    They are received at /notifications/ACCOUNT, in plain HTTP. Put your own web server in front of it, which ends TLS
    and passes the path and the body through unchanged.
    """
    import asyncio
    from contextlib import AsyncExitStack

    from refundry.formatting import os_reason
    from refundry.web.listener import listening

    prepare_logs()
    stopped = asyncio.Event()
    async with open_gateway(config) as gateway, until_signal(stopped.set), AsyncExitStack() as stack:
        try:
            url = await stack.enter_async_context(listening(gateway, host, port))
        except (OSError, UnicodeError) as error:
            rule = os_reason(error) if isinstance(error, OSError) else "not an address of this machine"
            raise Invalid("--host/--port", f"cannot listen on {host} port {port}: {rule}") from None
        _print_addresses(url, sorted(gateway.accounts), as_json)
        await stopped.wait()


def _print_addresses(url: str, accounts: list[str], as_json: bool) -> None:
    if as_json:
        print_json({"url": url, "accounts": accounts})
    else:
        lines = [f"listening on {url}/notifications/{name}" for name in accounts]
        click.echo("\n".join(lines or [f"listening on {url}"]))


@click.command()
@click.argument("provider")
@click.option(
    "--port", type=PORT, metavar="PORT", default=8701, show_default=True, help="Port on loopback; 0: any free one."
)
@click.option(
    "--keys",
    type=click.Path(file_okay=False),
    default="keys",
    show_default=True,
    help="Directory of the keys; created on first use.",
)
@click.option(
    "--notify-url", metavar="URL", help="Where notifications go, such as http://127.0.0.1:PORT/notifications/ACCOUNT."
)
@click.option("--option", "options", multiple=True, metavar="NAME=VALUE", help="A setting of the simulator.")
@command
async def simulate(
    config: str, as_json: bool, provider: str, port: int, keys: str, notify_url: str | None, options: tuple[str, ...]
) -> None:
    """Run a simulated provider on loopback, with a ledger of its own, until SIGTERM."""
    import asyncio

    from refundry.cli.plugins import plugins_of

    found = plugins_of(config)
    simulators = found.simulators()
    if provider not in simulators:
        for broken in found.errors:
            warn(broken.error or "")
        available = ", ".join(sorted(simulators)) or "none"
        raise Invalid("PROVIDER", f"no installed plugin simulates {provider!r}; available: {available}")
    plugin, given = simulators[provider], dict(read_pairs("--option", options))
    directory = Path(keys).absolute()
    plugin.make_keys(directory)
    stopped = asyncio.Event()
    async with until_signal(stopped.set), plugin.run("127.0.0.1", port, directory, given) as running:
        section = plugin.account_section("shop", running.url, directory, notify_url)
        if as_json:
            print_json({"provider": provider, "url": running.url, "section": section})
        else:
            click.echo(f"# {provider} on {running.url}; its ledger: {running.url}/control/ledger\n{section}")
        await stopped.wait()


@click.command()
@click.argument("directory", required=False, type=click.Path(file_okay=False))
@click.option(
    "--refunds", type=integer("N", 300), metavar="N", default=320, show_default=True, help="Number of refunds."
)
@click.option(
    "--seed",
    type=int,
    metavar="N",
    default=1,
    show_default=True,
    help="Chooses the amounts and which refund meets which fault; the same seed gives the same result.",
)
@command
async def demo(config: str, as_json: bool, directory: str | None, refunds: int, seed: int) -> int:
    """Watch refunds survive injected faults and killed workers, on this machine.

    Everything runs on loopback against simulated providers: first a naive retry loop, then Refundry, under the same
    faults. DIRECTORY must be empty or new; by default it is a new temporary directory.
    """
    from refundry.cli.demo import run_demo

    return await run_demo(directory, refunds=refunds, seed=seed, as_json=as_json)
