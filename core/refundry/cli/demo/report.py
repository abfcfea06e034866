"""The report of the demo: a headline, what the naive loop did, what Refundry did, and what the audit found.

The rule of this module: it only formats; a color never carries anything that the words do not.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from refundry.cli.demo.ledgers import Tally
from refundry.cli.demo.naive import ControlRun
from refundry.money import Money

__all__ = ["Verdict", "audit_lines", "print_report"]

Verdict = Mapping[str, Any]

_WRONG: Final = {
    "paid_twice": "refunded more than once",
    "lost": "lost",
    "still_open": "still open",
    "mismatched": "recorded differently from the provider",
}
_AUDIT: Final = {
    "intact": "audit verify: the log is intact",
    "replay_matches": "audit replay: replay matches the log",
    "tampering_found": "one byte changed in a copy by the demo: detected",
}


def print_report(out: Console, verdict: Verdict, tallies: Mapping[str, Tally], control: ControlRun) -> None:
    """Print the report; the headline is at the end, where a terminal shows it."""
    out.print()
    out.print(_accounts(tallies))
    after = ", ".join(f"{name} {count}" for name, count in control.paid_twice_after.items())
    out.print(f"the naive loop refunded more than once after these faults: {after or 'none'}", soft_wrap=True)
    for name, text in _WRONG.items():
        found = verdict["wrong"][name]
        out.print(f"Refundry, {text}: {', '.join(found) if found else 'none'}")
    happened = ", ".join(f"{name} {count}" for name, count in sorted(verdict["faults_injected"].items()))
    out.print(f"faults injected by the demo: {happened}", soft_wrap=True)
    out.print(
        f"workers killed by the demo: {verdict['kills']}; decisions by the demo's operator: "
        f"{verdict['operator_decisions']}, of which requested again with a new id: {verdict['requested_again']}",
        soft_wrap=True,
    )
    out.print()
    _print_headline(out, _headline(verdict, tallies, control))
    directory = verdict["directory"]
    out.print(f"Look around: refundry --config {directory}/refundry.toml list", soft_wrap=True)
    out.print(f"What the processes logged about the injected faults: {directory}/logs", soft_wrap=True)


def audit_lines(audit: Mapping[str, bool]) -> Iterator[str]:
    """Yield what the audit found, a line for each check."""
    return (f"  {text}: {'yes' if audit[name] else 'NO'}" for name, text in _AUDIT.items())


def _headline(verdict: Verdict, tallies: Mapping[str, Tally], control: ControlRun) -> Sequence[tuple[str, str]]:
    """Return the lines of the headline, each with its color."""
    paid, refused = (sum(getattr(tally, name) for tally in tallies.values()) for name in ("settled", "refused"))
    naive = f"Naive retry loop: {len(control.paid_twice)} of {control.refunds} payments refunded more than once"
    if control.overpaid:
        naive += f", {_amounts(control.overpaid)} too much"
    mistaken = f"; {len(control.paid_but_recorded_as_failed)} recorded as failed although paid"
    ours = f"Refundry, same faults: {paid} refunded once, {refused} refused by the provider, none refunded twice"
    passed = (f"PASS  {ours}; the ledgers match to the cent", "bold green")
    failed = ("FAIL  Refundry: the ledgers do not match, or the audit found a difference; see the lists", "bold red")
    return (naive + mistaken, "bold yellow"), passed if verdict["agree"] else failed


def _print_headline(out: Console, headline: Sequence[tuple[str, str]]) -> None:
    for text, color in headline:
        out.print(text, style=color, soft_wrap=True)


def _amounts(minor: Mapping[str, int]) -> str:
    return " + ".join(f"{Money(amount, currency, 2)} {currency}" for currency, amount in minor.items())


def _accounts(tallies: Mapping[str, Tally]) -> Table:
    table = Table(title="Refundry's records and the providers' ledgers", title_justify="left", box=None, pad_edge=False)
    for column in ("account", "settled", "refused", "open", "recorded", "at provider", "movements"):
        table.add_column(column, justify="left" if column == "account" else "right", no_wrap=True)
    for name, tally in tallies.items():
        sums = (f"{Money(minor, tally.currency, 2)}" for minor in (tally.settled_minor, tally.moved_minor))
        recorded, moved = sums
        counts = (str(count) for count in (tally.settled, tally.refused, tally.open))
        table.add_row(name, *counts, f"{recorded} {tally.currency}", moved, str(tally.moves))
    return table
