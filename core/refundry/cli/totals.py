"""`refundry totals`, and the options with which commands query the past.

The rule of this module: the past is given as a time or as a position in the log, never as both.
"""

from collections.abc import Callable
from typing import Any

import click

from refundry import formatting
from refundry.cli.base import POSITION, command, moment, open_reader, print_json, print_page
from refundry.errors import Invalid
from refundry.gateway.as_of import AsOf
from refundry.gateway.totals import Total, total_as_json

_NAMES = ("requested", "settled", "failed", "open")


def as_of_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--as-of` and `--as-of-position` to a command."""
    function = click.option("--as-of-position", type=POSITION, metavar="N", help="State as of event N of the log.")(
        function
    )
    return click.option("--as-of", metavar="TIME", help="State as of this time, such as 2026-11-22T09:30:00Z.")(
        function
    )


def read_as_of(time: str | None, position: int | None) -> AsOf:
    """Return the moment that the options of `as_of_options` name; raise `Invalid` for both at once."""
    if time is not None and position is not None:
        raise Invalid("--as-of", "cannot be combined with --as-of-position")
    return AsOf(moment(time), position=position)


@click.command("totals")
@click.option("--account", help="Only refunds of this account.")
@click.option("--by-payment", is_flag=True, help="Separately for each payment.")
@as_of_options
@command
async def totals(
    config: str, as_json: bool, account: str | None, by_payment: bool, as_of: str | None, as_of_position: int | None
) -> None:
    """Sum what was requested, settled, failed and is open, for each account and currency."""
    then = read_as_of(as_of, as_of_position)
    async with open_reader(config) as reader:
        found = await reader.totals(account=account, by_payment=by_payment, as_of=then)
    if as_json:
        for total in found:
            print_json(total_as_json(total))
        return
    columns = ("account", *(("payment",) if by_payment else ()), "currency", "refunds", *_NAMES)
    print_page(columns, (_cells(total) for total in found), first=True)


def _cells(total: Total) -> tuple[str, ...]:
    payment = () if total.payment is None else (formatting.plain(total.payment),)
    amounts = (str(getattr(total, name)) for name in _NAMES)
    return total.account, *payment, total.currency, str(total.refunds), *amounts
