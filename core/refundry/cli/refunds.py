"""Commands that ask for refunds: one by one, or from a file.

The rule of this module: a refund is recorded before anything is sent, and the exit status tells how far it came.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

import click

from refundry.cli.base import (
    BY,
    MAY_HAVE_BEEN_SENT,
    SECONDS,
    Bar,
    command,
    fail,
    open_gateway,
    operator,
    print_json,
    progress_bars,
    read_pairs,
    warn,
)
from refundry.cli.exit_status import ExitStatus
from refundry.cli.output import continue_without_output
from refundry.errors import Invalid

if TYPE_CHECKING:
    from refundry.gateway import Gateway
    from refundry.refund import Refund

__all__ = ["import_", "request"]


@click.command("request")
@click.option("--account", required=True, help="Account, as named in refundry.toml.")
@click.option("--payment", required=True, help="The provider's id of the payment.")
@click.option("--amount", required=True, help="Decimal amount, such as 12.33.")
@click.option("--currency", required=True, help="ISO 4217 code, such as EUR.")
@click.option("--id", "refund_request_id", required=True, help="Your refund id (idempotency key).")
@click.option("--payment-total", help="Original payment amount; refunds of the payment may not exceed it.")
@click.option("--correct-total", is_flag=True, help="Replace the total that earlier refunds of the payment state.")
@click.option("--why", help="Why the total is corrected; with --correct-total.")
@click.option("--reason", help="Reason; the customer may see it.")
@click.option("--retry-of", help="The failed refund that this one replaces.")
@click.option(
    "--detail",
    "details",
    multiple=True,
    metavar="NAME=VALUE",
    help="Provider-specific field; a value that begins with { or [ is JSON, unless the field is a text.",
)
@click.option("--by", help=BY)
@click.option("--wait", type=SECONDS, metavar="SECONDS", help="Keep processing for up to SECONDS.")
@click.option("--record-only", is_flag=True, help="Leave the first attempt to the workers.")
@click.option("--may-have-been-sent", is_flag=True, help=MAY_HAVE_BEEN_SENT)
@command
async def request(
    config: str,
    as_json: bool,
    wait: float | None,
    record_only: bool,
    by: str | None,
    details: tuple[str, ...],
    **fields: Any,
) -> int:
    """Record a refund and make the first attempt."""
    from refundry.cli.show import show_refund
    from refundry.gateway.request import RefundRequest
    from refundry.gateway.worker import process

    if record_only and wait is not None:
        raise Invalid("--wait", "cannot be combined with --record-only, which makes no attempt")
    if fields["correct_total"] and by is None:
        raise Invalid("--by", "is required with --correct-total: who corrects it")
    asked = RefundRequest(**fields, by=operator(by), details_text=_details(details))
    async with open_gateway(config) as gateway:
        refund = await gateway.request(asked, submit=not record_only)
        if wait is not None:
            refund = await process(gateway, refund, wait)
        await show_refund(gateway, refund, as_json)
        return ExitStatus.DONE if wait is None else await _waited(gateway, refund)


async def _waited(gateway: "Gateway", refund: "Refund") -> ExitStatus:
    from refundry.refund import Status
    from refundry.refund.policy import ManualReview

    match refund.status:
        case Status.SETTLED:
            return ExitStatus.DONE
        case Status.FAILED:
            return ExitStatus.NOT_PAID
        case Status.REQUESTED | Status.SUBMITTED | Status.PENDING | Status.UNKNOWN:
            on_hold = isinstance(await gateway.next_step(refund), ManualReview)
            return ExitStatus.NOT_PAID if on_hold else ExitStatus.NOT_FINAL
        case _:
            assert_never(refund.status)


def _details(pairs: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in read_pairs("--detail", pairs):
        if name in found:
            raise Invalid("--detail", f"{name!r} is given twice")
        found[name] = value
    return found


@click.command("import")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--by", help=BY)
@click.option("--dry-run", is_flag=True, help="Check every row and store nothing.")
@click.option("--may-have-been-sent", is_flag=True, help=MAY_HAVE_BEEN_SENT)
@command
async def import_(
    config: str, as_json: bool, file: str, by: str | None, dry_run: bool, may_have_been_sent: bool
) -> None:
    """Record many refunds from a CSV file for the workers.

    The columns are account, payment, amount, currency, id, reason, payment_total; the last two may be absent or empty.
    A column details.NAME holds a provider-specific field, as --detail of `request` does. Every row is checked before
    the first one is stored. Importing a file again continues where it stopped: existing rows are recognized by their
    id. FILE may be - for standard input.
    """
    from refundry.batch.csv_import import BadRows, import_file
    from refundry.formatting import counted, money

    if not dry_run:
        continue_without_output()
    source = sys.stdin.buffer if file == "-" else Path(file)
    try:
        with progress_bars(as_json) as progress:
            result = await import_file(
                config, source, by=operator(by), dry_run=dry_run, progress=Bar(progress),
                may_have_been_sent=may_have_been_sent,
            )  # fmt: skip
    except BadRows as error:
        for one in error.errors:
            warn(str(one))
        fail(error.summary)
    if as_json:
        counts: dict[str, Any] = {
            "rows": result.rows,
            "recorded": result.recorded,
            "known": result.known,
            "dry_run": dry_run,
        }
        print_json(counts | {"totals": [money(total) for total in result.totals], "sha256": result.sha256})
    elif dry_run:
        totals = ", ".join(f"{total} {total.currency}" for total in result.totals) or "no amounts"
        click.echo(f"{counted(result.rows, 'row')} OK (dry run, nothing stored): {totals}; SHA-256 {result.sha256}")
    else:
        click.echo(f"{counted(result.recorded, 'refund')} recorded, {result.known} already existed")
