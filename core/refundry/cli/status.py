"""The command that shows whether everything works, on one screen.

The rule of this module: it writes nothing; its exit status says whether an operator has to act.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from refundry.cli.base import command, open_reader, print_json
from refundry.cli.exit_status import ExitStatus

if TYPE_CHECKING:
    from refundry.gateway.status import StoreStatus

__all__ = ["status"]


@click.command()
@command
async def status(config: str, as_json: bool) -> int:
    """Show accounts, workers, audit and store on one screen.

    The exit status is 5 if something is wrong; the last lines say what.
    """
    from refundry.gateway.status import read_status

    async with open_reader(config) as reader:
        found = await read_status(reader)
    problems = found.problems
    if as_json:
        print_json(status_as_json(found))
    else:
        click.echo("\n".join(_lines(found)))
    return ExitStatus.DIFFERENCE if problems else ExitStatus.DONE


def status_as_json(status: "StoreStatus") -> dict[str, Any]:
    """Return a status as a JSON object."""
    import attrs

    from refundry.views import as_json_value

    def shown(value: Any) -> dict[str, Any]:
        return {field.name: as_json_value(getattr(value, field.name)) for field in attrs.fields(type(value))}

    return {
        "at": as_json_value(status.at),
        "accounts": [shown(health) for health in status.accounts],
        "workers": [shown(worker) | {"silent": status.is_silent(worker)} for worker in status.workers],
        "audit": {
            "signed": status.store.signed,
            "signed_at": as_json_value(status.store.signed_at),
            "unsigned_since": as_json_value(status.unsigned_since),
        },
        "store": shown(status.store),
        "problems": [shown(problem) for problem in status.problems],
    }


def _lines(status: "StoreStatus") -> list[str]:
    from refundry.formatting import counted, plain

    at, store = status.at, status.store
    accounts = [
        (
            plain(health.account),
            health.state,
            _ago(health.since, at),
            _ago(health.last_success, at),
            _ago(health.last_notification, at),
            f"{health.waiting:,}",
            _ago(health.oldest_due, at),
        )
        for health in status.accounts
    ]
    workers = [
        (
            plain(f"{worker.pid}@{worker.host}"),
            "silent" if status.is_silent(worker) else "running",
            _ago(worker.started_at, at),
            _ago(worker.heartbeat_at, at),
            f"{worker.in_progress:,}",
            plain(worker.version),
        )
        for worker in status.workers
    ]
    columns = ("account", "state", "since", "success", "notified", "waiting", "due")
    lines = _columns(columns, accounts, 24) if accounts else ["no accounts"]
    lines += ["", *(_columns(("worker", "state", "since", "heartbeat", "busy", "version"), workers, 32))]
    signed = "nothing signed" if store.signed_at is None else f"signed {_ago(store.signed_at, at)} ago"
    lines += [
        "",
        f"audit  {counted(store.events, 'event')}, {store.events - store.signed} not signed; {signed}",
        f"store  {counted(store.refunds, 'refund')}, {store.needs_review} to review; "
        f"{counted(store.unmatched, 'unmatched notification')}",
        *(f"       observer {plain(name)}: {lag} not delivered" for name, lag in store.observers.items()),
        "",
    ]
    problems = [(f"{problem.account}: " if problem.account else "") + problem.message for problem in status.problems]
    return [*lines, *(_folded(problem) for problem in problems)] if problems else [*lines, "no problems"]


def _columns(names: Sequence[str], rows: Sequence[Sequence[str]], widest: int) -> list[str]:
    """Return rows in aligned columns; only the first is cut, so that a line fits a screen."""
    short = [[_cut(row[0], widest), *row[1:]] for row in (names, *rows)]
    widths = [max(len(row[column]) for row in short) for column in range(len(names))]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in short]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _folded(problem: str) -> str:
    import textwrap

    from refundry.formatting import plain

    return textwrap.fill(plain(problem), 80, initial_indent="! ", subsequent_indent="  ", break_on_hyphens=False)


def _ago(then: datetime | None, now: datetime) -> str:
    """Return how long ago something was, in its largest unit."""
    if then is None:
        return "-"
    past = now - then
    for name, unit in (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1))):
        if past >= 2 * unit:
            return f"{past // unit} {name}"
    return f"{max(0, int(past.total_seconds()))} s"
