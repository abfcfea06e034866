"""The command that erases what is personal of a refund.

The rule of this module: what is gone is gone, so a person says yes to it, at a terminal or with `--yes`.
"""

import sys

import click

from refundry.audit.erasure import Erased
from refundry.cli.base import ACCOUNT_OF_ID, command, print_json, warn
from refundry.errors import Invalid
from refundry.gateway import Gateway
from refundry.inputs import Operator

_QUESTION = "Erase what persons wrote and all evidence of {id} ({status}, {amount} {currency})? It cannot be undone"


@click.command("erase")
@click.argument("id")
@click.option("--account", help=ACCOUNT_OF_ID)
@click.option("--by", required=True, help="Who erases; kept in clear, for good.")
@click.option("--why", required=True, help="On what ground; kept in clear, for good.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@command
async def erase(config: str, as_json: bool, id: str, account: str | None, by: str, why: str, yes: bool) -> None:
    """Erase reason, names, details and all evidence of a refund that is final.

    No event is changed: audit and proofs still pass and say what was erased.
    """
    async with Gateway.open(config) as gateway:
        refund = await gateway.get(id, account=account)
        if not yes:
            _confirm(
                _QUESTION.format(
                    id=refund.id, status=refund.status, amount=refund.amount, currency=refund.amount.currency
                )
            )
        _say(await gateway.erase(refund.id, Operator(by=by, why=why)), as_json)


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise Invalid("--yes", "is needed where nobody can be asked: what is erased cannot be brought back")
    click.confirm(question, abort=True, err=True)


def _say(done: Erased, as_json: bool) -> None:
    if as_json:
        print_json({"id": done.refund_id, "erased": list(done.digests), "shared": done.shared, "everywhere": done.gone})
    else:
        shared = f"; {done.shared} stay, because another refund has the same" if done.shared else ""
        click.echo(f"{len(done.digests)} texts of {done.refund_id} are erased{shared}")
    if not done.gone:
        warn("another process was reading: copies stay in the write-ahead log until the same command is run again")
