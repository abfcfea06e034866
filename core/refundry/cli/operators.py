"""Commands by which an operator acts on a refund: query, decide, continue.

The rule of this module: a decision is recorded with who made it and why.
"""

import sys

import click

from refundry.cli.base import ACCOUNT_OF_ID, VERSION, command, open_gateway, print_json, warn
from refundry.errors import Invalid
from refundry.formatting import counted, plain
from refundry.inputs import Operator

__all__ = ["inquire", "pause", "resolve", "resume", "unpause"]


@click.command()
@click.argument("id")
@click.option("--account", help=ACCOUNT_OF_ID)
@command
async def inquire(config: str, as_json: bool, id: str, account: str | None) -> None:
    """Query the provider about a refund now."""
    from refundry.cli.show import show_refund

    async with open_gateway(config) as gateway:
        refund = await gateway.get(id, account=account)
        await show_refund(gateway, await gateway.inquire(refund.id), as_json)


@click.command()
@click.argument("id")
@click.option("--account", help=ACCOUNT_OF_ID)
@click.option("--settled", is_flag=True, help="It was paid.")
@click.option("--failed", is_flag=True, help="It was not paid and never will be.")
@click.option("--by", required=True, help="Who decides.")
@click.option("--why", required=True, help="What the decision is based on.")
@click.option(
    "--version", type=VERSION, metavar="N", help="The version of the refund that you saw, as `show` prints it."
)
@click.option("--offline", is_flag=True, help="Do not ask the provider first; recorded.")
@click.option("--against-evidence", is_flag=True, help="Decide against what the provider reported; recorded.")
@command
async def resolve(
    config: str, as_json: bool, id: str, account: str | None, settled: bool, failed: bool, by: str, why: str,
    version: int | None, **more: bool,
) -> None:  # fmt: skip
    """Record an operator's decision: paid or not paid.

    Base it on what the provider's dashboard shows. The provider is asked first; if its answer ends the refund in the
    same way, no decision is recorded. On a terminal, the command shows the refund and asks for confirmation, unless
    --version names the version that you saw.
    """
    from refundry.cli.show import show_refund

    if settled == failed:
        raise Invalid("--settled/--failed", "exactly one of them is required")
    decided = Operator(by=by, why=why)
    async with open_gateway(config) as gateway:
        refund = await gateway.get(id, account=account)
        if version is None:
            if as_json or not sys.stdin.isatty():
                raise Invalid("--version", "is required unless a terminal can show the refund; `show` prints it")
            await show_refund(gateway, refund, as_json)
            question = f"Record that {refund.refund_request_id} {'was paid' if settled else 'will never be paid'}?"
            click.confirm(plain(question), abort=True, err=True)
        refund = await gateway.resolve(
            refund.id, decided, settled=settled, version=refund.version if version is None else version, **more
        )
        await show_refund(gateway, refund, as_json)


@click.command()
@click.argument("account")
@click.option("--by", required=True, help="Who pauses it.")
@click.option("--why", required=True, help="The reason.")
@command
async def pause(config: str, as_json: bool, account: str, by: str, why: str) -> None:
    """Send and query nothing for an account.

    Until `unpause`, new refunds are only recorded. Calls in progress end, and `inquire` and `resolve` still ask.
    """
    async with open_gateway(config) as gateway:
        await gateway.pause_account(account, Operator(by=by, why=why))
    _print_state(account, "paused", as_json)


@click.command()
@click.argument("account")
@click.option("--by", required=True, help="Who continues it.")
@click.option("--why", required=True, help="The reason.")
@command
async def unpause(config: str, as_json: bool, account: str, by: str, why: str) -> None:
    """Resume a paused account."""
    async with open_gateway(config) as gateway:
        await gateway.unpause_account(account, Operator(by=by, why=why))
    _print_state(account, "unpaused", as_json)


def _print_state(account: str, state: str, as_json: bool) -> None:
    if as_json:
        print_json({"account": account, "state": state})
    else:
        click.echo(f"account {account} is {state}")


@click.command()
@click.argument("id", required=False)
@click.option("--account", help="With ID: the account of the refund. Alone: every refund on hold in this account.")
@click.option("--by", required=True, help="Who fixed the cause.")
@click.option("--why", required=True, help="What was fixed.")
@command
async def resume(config: str, as_json: bool, id: str | None, account: str | None, by: str, why: str) -> None:
    """Resume refunds on hold after fixing the cause.

    Each continues with the same id. On a final refund, the command acknowledges that it was reviewed.
    """
    from refundry.cli.show import show_refund

    if id is None and account is None:
        raise Invalid("ID", "name a refund, or an account with --account")
    async with open_gateway(config) as gateway:
        if id is not None:
            before = await gateway.get(id, account=account)
            refund = await gateway.resume(before.id, Operator(by=by, why=why))
            await show_refund(gateway, refund, as_json)
            if refund.version == before.version:
                warn(f"nothing to resume: the refund is {refund.status} and needs no review")
            return
        resumed = await gateway.resume_account(account or "", Operator(by=by, why=why))
        if not resumed:
            warn(f"nothing to resume: no refund of account {account} is on hold")
        elif not as_json:
            click.echo(f"resumed {counted(len(resumed), 'refund')} of account {account}")
        for refund in resumed if as_json else ():
            await show_refund(gateway, refund, as_json)
