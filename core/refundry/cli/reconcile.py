"""`refundry reconcile`: compare Refundry's records with a provider's report."""

from collections import Counter
from pathlib import Path

import click

from refundry import formatting
from refundry.batch.reconcile import Finding, FindingKind, Period, reconcile
from refundry.batch.report import chosen_format, read_format
from refundry.cli.base import Bar, command, moment, open_gateway, operator, print_json, progress_bars
from refundry.cli.exit_status import ExitStatus
from refundry.errors import Invalid


@click.command("reconcile")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--account", required=True, help="The account that the report covers.")
@click.option("--format", "name", help="The format of the report, if the plugin knows several.")
@click.option("--mapping", type=click.Path(dir_okay=False), help="A TOML file that assigns columns to fields.")
@click.option(
    "--from",
    "start",
    metavar="TIME",
    help="Start of the report period (inclusive), without an offset in the report's time zone.",
)
@click.option("--to", "end", metavar="TIME", help="End of the report period (exclusive), in the same way.")
@click.option("--by", help="Who reconciles (default: the OS user).")
@click.option("--dry-run", is_flag=True, help="Compare without flagging refunds for review.")
@command
async def reconcile_(
    config: str,
    as_json: bool,
    file: str,
    account: str,
    name: str | None,
    mapping: str | None,
    start: str | None,
    end: str | None,
    by: str | None,
    dry_run: bool,
) -> int:
    """Compare Refundry's records with a provider's CSV report.

    Differences are listed, and their refunds are flagged for review; nothing else changes. Exits with 5 if there are
    differences.
    """
    if name is not None and mapping is not None:
        raise Invalid("--mapping", "cannot be combined with --format")
    period = Period(moment(start, "--from", local=True), moment(end, "--to", local=True))
    counts: Counter[FindingKind] = Counter()
    async with open_gateway(config) as gateway:
        reports = gateway.account(account).plugin.reports
        kind = read_format(Path(mapping)) if mapping is not None else chosen_format(reports, name)
        if mapping is None and not as_json:
            click.echo(f"format: {kind.name}")
        with progress_bars(as_json) as progress:
            findings = reconcile(
                gateway, account, Path(file), kind,
                by=operator(by), period=period, dry_run=dry_run, progress=Bar(progress),
            )  # fmt: skip
            async for finding in findings:
                counts[finding.kind] += 1
                if finding.kind is not FindingKind.MATCHED:
                    _print(finding, as_json)
    summary = {kind.value: counts[kind] for kind in FindingKind}
    if as_json:
        print_json({"account": account, "format": kind.name, "summary": summary})
    else:
        click.echo(", ".join(f"{count} {kind}" for kind, count in summary.items()))
    return ExitStatus.DONE if counts.total() == counts[FindingKind.MATCHED] else ExitStatus.DIFFERENCE


def _print(finding: Finding, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "kind": finding.kind,
                "refund_request_id": finding.refund_request_id,
                "id": finding.refund_id,
                "line": finding.line,
                "text": finding.text,
            }
        )
    else:
        where = "" if finding.line is None else f" (line {finding.line})"
        click.echo(formatting.plain(f"{finding.kind}: {finding.refund_request_id}{where}: {finding.text}"))
