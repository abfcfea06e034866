"""`refundry erase`: erase the personal data and the evidence of a refund.

The rule of this module: erasure cannot be undone, so an operator confirms it, at a terminal or with `--yes`.
"""

import sys

import click

from refundry.audit.erasure import Erased
from refundry.cli.base import ACCOUNT_OF_ID, command, open_gateway, print_json, warn
from refundry.errors import Invalid
from refundry.formatting import counted
from refundry.inputs import Operator

_QUESTION = (
    "Permanently erase the personal data and all evidence of refund {id} ({amount} {currency}, {status})? "
    "This cannot be undone."
)


@click.command("erase")
@click.argument("id")
@click.option("--account", help=ACCOUNT_OF_ID)
@click.option("--by", required=True, help="Who erases it; stored permanently in plain text.")
@click.option("--why", required=True, help="Why; stored permanently in plain text.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@command
async def erase(config: str, as_json: bool, id: str, account: str | None, by: str, why: str, yes: bool) -> None:
    """Erase the reason, names, details and all evidence of a final refund.

    No event changes: the audit and all proofs still pass, and list what was erased.
    """
    async with open_gateway(config) as gateway:
        refund = await gateway.get(id, account=account)
        if not yes:
            _confirm(
                _QUESTION.format(
                    id=refund.id, status=refund.status, amount=refund.amount, currency=refund.amount.currency
                )
            )
        _print(await gateway.erase(refund.id, Operator(by=by, why=why)), as_json)


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise Invalid("--yes", "is required when stdin is not a terminal: erasure cannot be undone")
    click.confirm(question, abort=True, err=True)


def _print(done: Erased, as_json: bool) -> None:
    if as_json:
        print_json({"id": done.refund_id, "erased": list(done.digests), "shared": done.shared, "everywhere": done.gone})
    else:
        shared = f"; {counted(done.shared, 'record')} shared with another refund kept" if done.shared else ""
        click.echo(f"erased {counted(len(done.digests), 'record')} of refund {done.refund_id}{shared}")
    if not done.gone:
        warn("another process was reading, so copies stay in the write-ahead log until you run this command again")
