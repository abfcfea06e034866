"""Commands that read: one refund, a list, the log, stored bytes.

The rule of this module: nothing is changed, and long lists are printed page by page.
"""

import base64
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import click

from refundry.cli.base import ACCOUNT_OF_ID, POSITION, command, open_reader, print_json, print_page, warn
from refundry.cli.exit_status import ExitStatus
from refundry.cli.totals import as_of_options, read_as_of
from refundry.errors import Invalid
from refundry.refund import Status

if TYPE_CHECKING:
    from refundry.errors import UnreadableEvent
    from refundry.gateway.as_of import AsOf
    from refundry.gateway.queries import Reader
    from refundry.journal import Recorded, Row, Selection
    from refundry.refund import Refund

__all__ = ["events", "evidence", "list_", "show"]

_PAGE: Final = 1_000


@click.command()
@click.argument("id")
@click.option("--account", help=ACCOUNT_OF_ID)
@as_of_options
@command
async def show(
    config: str, as_json: bool, id: str, account: str | None, as_of: str | None, as_of_position: int | None
) -> None:
    """Show a refund and its history.

    ID is Refundry's id or the refund_request_id.
    """
    from refundry.cli.show import show_refund
    from refundry.gateway.queries import folded

    then = read_as_of(as_of, as_of_position)
    async with open_reader(config) as reader:
        history = await reader.history(id, account=account, as_of=then)
        await show_refund(reader, folded(history), as_json, history)


@click.command("list")
@click.option("--status", type=click.Choice([str(status) for status in Status]), help="Only refunds with this status.")
@click.option("--account", help="Only refunds of this account.")
@click.option("--payment", help="Only refunds of this payment (the provider's id).")
@click.option("--needs-review", is_flag=True, help="Only refunds that need review.")
@click.option("--unmatched", is_flag=True, help="List notifications for unknown refunds instead.")
@as_of_options
@command
async def list_(
    config: str,
    as_json: bool,
    status: str | None,
    account: str | None,
    payment: str | None,
    needs_review: bool,
    unmatched: bool,
    as_of: str | None,
    as_of_position: int | None,
) -> None:
    """List refunds, oldest first."""
    from refundry.journal import Selection

    then = read_as_of(as_of, as_of_position)
    if unmatched and (status or payment or needs_review or not then.now):
        raise Invalid("--unmatched", "can only be combined with --account")
    async with open_reader(config) as reader:
        await reader.check_account(account)
        if unmatched:
            await _list_unmatched(reader, account, as_json)
            return
        chosen = Status(status) if status else None
        selection = Selection(status=chosen, account=account, payment=payment, review=needs_review)
        await _list_refunds(reader, selection, then, as_json)


async def _list_refunds(reader: "Reader", selection: "Selection", then: "AsOf", as_json: bool) -> None:
    from refundry import views
    from refundry.gateway.as_of import select_as_of

    columns = ("id", "account", "refund_request_id", "payment", "amount", "status", "review")
    after = ""
    while rows := await select_as_of(reader.journal, selection, then, after=after, limit=_PAGE):
        if as_json:
            failed = await _failed(reader, rows, then)
            for row in rows:
                print_json(views.row_as_json(row, failed.get(row.id)))
        else:
            print_page(columns, map(views.row_in_words, rows), not after)
        after = rows[-1].id
    if not after and not as_json:
        print_page(columns, [], True)


async def _failed(reader: "Reader", rows: "Sequence[Row]", then: "AsOf") -> "Mapping[str, Refund]":
    """Return the refunds among the rows that failed, as they were at a moment: the index does not state why."""
    from refundry.refund import fold

    failed = [row.id for row in rows if row.status is Status.FAILED]
    histories = await reader.journal.histories(failed) if failed else ()
    return {
        history[0].refund_id: fold(history[0].refund_id, [recorded.event for recorded in history])
        for history in map(then.history, histories)
    }


async def _list_unmatched(reader: "Reader", account: str | None, as_json: bool) -> None:
    from refundry import views
    from refundry.formatting import plain

    found = [unmatched for unmatched in await reader.unmatched() if account in (None, unmatched.account)]
    shown = [views.unmatched_as_json(unmatched) for unmatched in found]
    for unmatched in shown if as_json else ():
        print_json(unmatched)
    if not as_json:
        rows = [[plain(text) for text in unmatched.values()] for unmatched in shown]
        print_page(("at", "account", "refund_request_id", "evidence"), rows, True)


@click.command()
@click.argument("digest")
@command
async def evidence(config: str, as_json: bool, digest: str) -> None:
    """Print the stored bytes that an event names by `digest` or `evidence`.

    They are written raw into a pipe, and with control characters escaped on a terminal.
    """
    from refundry.formatting import kept

    async with open_reader(config) as reader:
        content = await reader.evidence(digest)
    if as_json:
        print_json({"digest": digest, "base64": base64.b64encode(content).decode("ascii")})
    elif sys.stdout.isatty():
        click.echo(kept(content))
    else:
        click.echo(content, nl=False)


@click.command()
@click.argument("id", required=False)
@click.option("--account", help=f"With ID: {ACCOUNT_OF_ID[0].lower()}{ACCOUNT_OF_ID[1:]}")
@click.option("--after", type=POSITION, default=0, metavar="N", help="Only events after position N.")
@command
async def events(config: str, as_json: bool, id: str | None, account: str | None, after: int) -> int:
    """Print the log: of one refund, or all of it.

    An event that cannot be read is reported on stderr, and the status is 2.
    """
    from refundry.errors import UnreadableEvent

    if id is None and account is not None:
        raise Invalid("--account", "can only be combined with ID")
    unreadable = 0
    async with open_reader(config) as reader:
        async for entry in _entries(reader, id, account, after):
            if isinstance(entry, UnreadableEvent):
                unreadable += 1
                warn(str(entry))
            else:
                _print_event(entry, as_json)
    return ExitStatus.REFUSED if unreadable else ExitStatus.DONE


async def _entries(
    reader: "Reader", id: str | None, account: str | None, after: int
) -> "AsyncIterator[Recorded | UnreadableEvent]":
    if id is None:
        async for entry in reader.journal.entries(after):
            yield entry
        return
    for entry in await reader.entries(id, account=account):
        if entry.position > after:
            yield entry


def _print_event(recorded: "Recorded", as_json: bool) -> None:
    from refundry.views import event_as_json, event_in_words

    shown = event_as_json(recorded)
    if as_json:
        print_json({"refund": recorded.refund_id} | shown)
    else:
        line = f"{shown['position']:>8} {shown['at']} {recorded.refund_id} {shown['event']:<9} {event_in_words(shown)}"
        click.echo(line)
