"""The `audit` commands: verify the log, export it, prove a refund, write a report, replay the log.

The rule of this module: the commands read the store and never change it. Findings go to stdout; any finding makes the
exit status 5.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import click

from refundry import formatting
from refundry.audit.publication.export import Exported, Part, export
from refundry.audit.publication.report import report
from refundry.audit.replay.findings import Found, Significance, significance
from refundry.audit.replay.replay import replay
from refundry.audit.signing.anchors import read_notes
from refundry.audit.signing.settings import signer_directory
from refundry.audit.signing.signed_notes import Verifier, open_checkpoint
from refundry.audit.signing.signer import read_last_note, read_verifier
from refundry.audit.verification.export_source import ExportSource, is_export
from refundry.audit.verification.findings import Finding, Limit, LimitCode, Verdict
from refundry.audit.verification.verify import Given, verify, verify_part, without_collector
from refundry.cli.base import (
    ACCOUNT_OF_ID,
    Bar,
    command,
    moment,
    new_table,
    open_reader,
    print_json,
    print_table,
    progress_bars,
)
from refundry.cli.exit_status import ExitStatus
from refundry.config import read_config
from refundry.errors import Invalid
from refundry.formatting import counted
from refundry.journal.log_source import StoreSource
from refundry.journal.stores import read_store
from refundry.plugin_host import load_plugins

__all__ = ["checkpoint_", "export_", "prove", "replay_", "report_", "verify_"]

_DIRECTORY = click.Path(file_okay=False)


# --- what to check ----------------------------------------------------------------------------------------------------


@attrs.frozen
class _Place:
    """The store or export to check, and the directory of its signer."""

    path: Path
    directory: Path

    @classmethod
    def of(cls, config: str, place: str | None, directory: str | None) -> "_Place":
        """Return the place that was named, or the one in the configuration."""
        if place is not None:
            path = Path(place)
            return cls(path, Path(directory) if directory else path.with_name(f"{path.name}.audit"))
        settings = read_config(config)
        return cls(settings.store_path, Path(directory) if directory else signer_directory(settings))

    def verifier(self, key: str | None) -> Verifier:
        """Return the public key of the log: the given one, or the one in the signer's directory."""
        if key is not None:
            path = Path(key)
            return Verifier.from_vkey(path.read_text("utf-8", "replace") if path.is_file() else key)
        found = read_verifier(self.directory)
        if found is None:
            raise Invalid("--key", self._why_no_key())
        return found

    def _why_no_key(self) -> str:
        hint = "pass the public key (`refundry audit checkpoint --vkey` prints it)"
        if not self.path.exists():
            return f"there is no public key to check with, because {self.path} does not exist"
        missing = "does not exist" if not self.directory.exists() else "has no public key"
        return f"is required, because the signer's directory {self.directory} {missing}; {hint}"

    def own(self) -> list[Given]:
        """Return the signer's own last checkpoint, if it has signed one."""
        note = read_last_note(self.directory)
        return [] if note is None else [Given("the signer's own checkpoint", note)]


def _given(files: Sequence[str]) -> Iterator[Given]:
    """Yield the checkpoints in the files, each of which holds one or several."""
    for name in files:
        try:
            content = Path(name).read_bytes()
        except OSError as error:
            raise Invalid("--checkpoint", f"{name} cannot be read: {error.strerror}") from None
        notes = read_notes(content) or [content]
        for number, note in enumerate(notes, 1):
            yield Given(name if len(notes) == 1 else f"{name}, number {number},", note)


@contextmanager
def _bar(as_json: bool, description: str) -> Iterator[Any]:
    with progress_bars(as_json) as progress:
        bar = Bar(progress)
        yield lambda done, total: bar(description, done, total)


# --- verify -----------------------------------------------------------------------------------------------------------


@click.command("verify", short_help="Verify the log, its checkpoints and its evidence.")
@click.argument("place", required=False, type=click.Path())
@click.option("--directory", type=_DIRECTORY, help="The signer's directory (default: the store's own).")
@click.option("--key", metavar="VKEY", help="The log's public key, or a file that contains it.")
@click.option(
    "--checkpoint",
    "files",
    multiple=True,
    metavar="FILE",
    help="A file with checkpoints kept elsewhere.",
)
@click.option("--deep", is_flag=True, help="Also compare SQLite's internal indexes with their tables; takes longer.")
@command
async def verify_(
    config: str,
    as_json: bool,
    place: str | None,
    directory: str | None,
    key: str | None,
    files: tuple[str, ...],
    deep: bool,
) -> int:
    """Verify the whole log: events, tree, checkpoints, evidence, invariants, index.

    PLACE is a store's file or the directory of an export (default: the configured store). Nothing is written, and
    nothing but the public key is trusted. Exits with 5 if it finds tampering or a broken invariant.
    """
    where = _Place.of(config, place, directory)
    given = list(_given(files))
    if is_export(where.path):
        verdict = _verify_export(where.path, key, given, as_json)
    else:
        # Read before the snapshot is taken, because a later checkpoint may cover more events than the snapshot has.
        given = [*where.own(), *given]
        with read_store(where.path, deep=deep) as source:
            log = where.verifier(key)
            with _bar(as_json, "events") as bar, without_collector():
                verdict = verify(source, log, given, bar)
    _print_verdict(verdict, as_json)
    return ExitStatus.DONE if verdict.clean else ExitStatus.DIFFERENCE


def _verify_export(folder: Path, key: str | None, given: Sequence[Given], as_json: bool) -> Verdict:
    with ExportSource.read(folder) as source, _bar(as_json, "events") as bar:
        log = source.verifier() if key is None else _Place(folder, folder).verifier(key)
        own = Given("the export's checkpoint", source.note(), outside=False)
        verdict = verify(source, log, [own, *given], bar) if source.whole else verify_part(source, log, given, bar)
    if key is not None:
        return verdict
    text = "The public key was taken from the export itself: get it from another source, and pass it with --key."
    return attrs.evolve(verdict, limits=[*verdict.limits, Limit(LimitCode.KEY_FROM_EXPORT, text)])


def _print_verdict(verdict: Verdict, as_json: bool) -> None:
    if as_json:
        print_json(verdict.as_json())
        return
    click.echo(
        f"{verdict.origin}: {counted(verdict.events, 'event')} of {counted(verdict.refunds, 'refund')}, "
        f"{counted(verdict.contents, 'kept record')}; "
        f"{counted(verdict.signed, 'event')} covered by {counted(verdict.checkpoints, 'checkpoint')}"
    )
    if verdict.totals:
        table = new_table(("currency", "refunds", "requested", "settled", "failed", "open"))
        for currency, exponent, refunds, *amounts in verdict.totals:
            table.add_row(currency, str(refunds), *(_decimal(amount, exponent) for amount in amounts))
        print_table(table)
    for finding in verdict.findings:
        _print_finding(finding)
    for decision in verdict.decisions:
        click.echo(formatting.plain(f"decision against the provider's report: {decision.where}: {decision.text}"))
    for limit in verdict.limits:
        click.echo(f"limitation: {formatting.plain(limit.text)}")
    click.echo("OK: no findings" if verdict.clean else counted(len(verdict.findings), "finding"))


def _decimal(minor: int, exponent: int) -> str:
    digits = f"{minor:0{exponent + 1}d}"
    return f"{digits[:-exponent]}.{digits[-exponent:]}" if exponent else digits


def _print_finding(finding: Finding[Any]) -> None:
    click.echo(formatting.plain(f"{finding.kind}: {finding.where}: {finding.text}"))


# --- export, proofs and reports ---------------------------------------------------------------------------------------


@click.command("export", short_help="Export the log for an independent auditor.")
@click.argument("directory", type=_DIRECTORY)
@click.option("--account", help="Only refunds of this account.")
@click.option("--payment", help="Only refunds of this payment.")
@click.option("--from", "since", metavar="TIME", help="Only events from this time on.")
@click.option("--to", "until", metavar="TIME", help="Only events before this time.")
@command
async def export_(
    config: str,
    as_json: bool,
    directory: str,
    account: str | None,
    payment: str | None,
    since: str | None,
    until: str | None,
) -> None:
    """Export the log to a new directory, for an auditor who checks it without Refundry.

    The export contains the events as JSON lines, the evidence, the tree, the checkpoints, the public key, and a README
    with instructions. A part of the log has a proof for each event instead of the tree.
    """
    await _check_account(config, account)
    part = Part(account=account, payment=payment, since=moment(since, "--from"), until=moment(until, "--to"))
    where = _Place.of(config, None, None)
    own = where.own()
    with read_store(where.path) as source:
        _export(source, where, own, directory, part, as_json, prove=False)


@click.command("prove", short_help="Export one refund's history with proofs.")
@click.argument("id")
@click.argument("directory", type=_DIRECTORY)
@click.option("--account", help=ACCOUNT_OF_ID)
@command
async def prove(config: str, as_json: bool, id: str, directory: str, account: str | None) -> None:
    """Export one refund's history to a new directory, with a proof for each event that it is in the signed log."""
    where = _Place.of(config, None, None)
    own = where.own()
    with read_store(where.path) as source:
        part = Part(refund=source.resolve(id, account))
        _export(source, where, own, directory, part, as_json, prove=True)


async def _check_account(config: str, account: str | None) -> None:
    """Raise `UnknownAccount` for a misspelled account; one that was removed still has its refunds in the store."""
    if account is not None and account not in read_config(config).accounts:
        async with open_reader(config) as reader:
            await reader.check_account(account)


def _export(
    source: StoreSource,
    where: _Place,
    own: Sequence[Given],
    directory: str,
    part: Part,
    as_json: bool,
    *,
    prove: bool,
) -> None:
    notes = [each.note for each in own]
    with _bar(as_json, "events") as bar:
        done = export(source, where.verifier(None), notes, Path(directory), part, bar, prove=prove)
    _print_exported(done, as_json)


def _print_exported(done: Exported, as_json: bool) -> None:
    if as_json:
        shown = {"directory": str(done.place), "events": done.events, "refunds": done.refunds}
        print_json(shown | {"contents": done.contents, "size": done.checkpoint.size, "left_out": done.left_out})
        return
    events, refunds = counted(done.events, "event"), counted(done.refunds, "refund")
    click.echo(f"{done.place}: {events} of {refunds}, {counted(done.contents, 'kept record')}")
    click.echo(f"covered by the checkpoint of {done.checkpoint.origin} of size {done.checkpoint.size}")
    if done.left_out:
        click.echo(f"left out: {counted(done.left_out, 'newer event')} not covered by a checkpoint yet")


@click.command("report", short_help="Write a table or a page for people to read.")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--account", help="Only refunds of this account.")
@click.option("--payment", help="Only refunds of this payment.")
@click.option("--id", help="Only this refund.")
@click.option("--from", "since", metavar="TIME", help="Only refunds with an event from this time on.")
@click.option("--to", "until", metavar="TIME", help="Only refunds with an event before this time.")
@command
async def report_(
    config: str,
    as_json: bool,
    file: str,
    account: str | None,
    payment: str | None,
    id: str | None,
    since: str | None,
    until: str | None,
) -> None:
    """Write a report for people: a table (FILE.csv), or a page with a timeline of each refund (FILE.html)."""
    await _check_account(config, account)
    where = _Place.of(config, None, None)
    with read_store(where.path) as source:
        refund = None if id is None else source.resolve(id, account)
        times = {"since": moment(since, "--from"), "until": moment(until, "--to")}
        count = report(source, Path(file), Part(account=account, payment=payment, refund=refund, **times))
    if as_json:
        print_json({"file": file, "refunds": count})
    else:
        click.echo(f"{file}: {counted(count, 'refund')}")


@click.command("checkpoint", short_help="Print the last signed checkpoint.")
@click.option("--vkey", is_flag=True, help="Print the public key instead.")
@click.option("--directory", type=_DIRECTORY, help="The signer's directory (default: the store's own).")
@command
async def checkpoint_(config: str, as_json: bool, vkey: bool, directory: str | None) -> None:
    """Print the last signed checkpoint, to be kept outside the store or given to an auditor."""
    where = _Place.of(config, None, directory)
    log, own = where.verifier(None), where.own()
    if not own and not vkey:
        raise Invalid("audit", f"nothing has been signed yet: {where.directory} has no checkpoint")
    if as_json:
        shown: dict[str, Any] = {"origin": log.name, "vkey": log.vkey}
        for each in own:
            found = open_checkpoint(each.note, log)
            shown |= {"size": found.size, "root": found.root.hex(), "note": each.note.decode()}
        print_json(shown)
    else:
        click.echo(log.vkey if vkey else own[0].note.decode(), nl=vkey)


# --- replay -----------------------------------------------------------------------------------------------------------


@click.command("replay", short_help="Replay the log with the installed version.")
@command
async def replay_(config: str, as_json: bool) -> int:
    """Replay the log with the installed version, and read every stored message again with the installed plugins.

    Needs no private key and no network. Exits with 5 if a state, the index, a total or the meaning of a message differs
    from what was recorded. A changed wording is listed and is not a difference.
    """
    settings = read_config(config)
    found: dict[Significance, list[Found]] = {each: [] for each in Significance}
    with _bar(as_json, "events") as bar:
        for finding in replay(settings, load_plugins(allow=settings.plugins), bar):
            found[significance(finding.kind)].append(finding)
    _print_replayed(found, as_json)
    return ExitStatus.DIFFERENCE if found[Significance.DIFFERENCE] else ExitStatus.DONE


def _print_replayed(found: Mapping[Significance, Sequence[Found]], as_json: bool) -> None:
    different, unread = found[Significance.DIFFERENCE], found[Significance.UNREAD]
    wording = found[Significance.WORDING]
    if as_json:
        listed = {"findings": different, "wording": wording, "unread": unread}
        shown = {name: [finding.as_json() for finding in findings] for name, findings in listed.items()}
        print_json({"clean": not different} | shown)
        return
    for finding in different:
        _print_finding(finding)
    _print_list("wording (the same decisions in other words, not a difference)", wording)
    _print_list("not read again (not a difference)", unread)
    click.echo(counted(len(different), "difference") if different else "OK: replay matches the log")


def _print_list(heading: str, findings: Sequence[Found]) -> None:
    if findings:
        click.echo(f"{heading}:")
    for finding in findings:
        click.echo(formatting.plain(f"  {finding.where}: {finding.text}"))
