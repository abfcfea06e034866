"""The commands of the audit: check the log, hand it on, prove a refund, report, replay.

The rule of this module: they read and never change the store. What they find is on stdout; a difference is the exit
status 5.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import click

from refundry import formatting
from refundry.audit.publication.export import Exported, Part, export
from refundry.audit.publication.report import report
from refundry.audit.replay.replay import NOTES, replay
from refundry.audit.signing.anchors import read_notes
from refundry.audit.signing.note import Verifier, open_checkpoint
from refundry.audit.signing.settings import signer_directory
from refundry.audit.signing.signer import read_last_note, read_verifier
from refundry.audit.verification.exported import ExportSource, is_export
from refundry.audit.verification.findings import Finding, Verdict
from refundry.audit.verification.source import SqliteSource
from refundry.audit.verification.verify import Given, verify, verify_part, without_collector
from refundry.cli.base import (
    DIFFERENT,
    WHOSE,
    Bar,
    command,
    moment,
    new_table,
    print_json,
    print_table,
    progress_bars,
)
from refundry.cli.witness import witness
from refundry.config import read_config
from refundry.errors import Invalid
from refundry.plugin_host import load_plugins

__all__ = ["audit"]

_FOLDER = click.Path(file_okay=False)


@click.group("audit")
def audit() -> None:
    """Check the log and what it rests on, and hand it to those who check it themselves."""


# --- where to look ----------------------------------------------------------------------------------------------------


@attrs.frozen
class _Place:
    """What is looked at, and where its signer's folder is."""

    path: Path
    directory: Path

    @classmethod
    def of(cls, config: str, place: str | None, directory: str | None) -> "_Place":
        """Take what is named, or else what the configuration names."""
        if place is not None:
            path = Path(place)
            return cls(path, Path(directory) if directory else path.with_name(f"{path.name}.audit"))
        settings = read_config(config)
        return cls(settings.store_path, Path(directory) if directory else signer_directory(settings))

    def verifier(self, key: str | None) -> Verifier:
        """Give the public key of the log: the given one, or else the one in the signer's folder."""
        if key is not None:
            path = Path(key)
            return Verifier.from_vkey(path.read_text("utf-8", "replace") if path.is_file() else key)
        found = read_verifier(self.directory)
        if found is None:
            raise Invalid("--key", f"is needed: {self.directory} has no public key; without one nothing can be checked")
        return found

    def own(self) -> list[Given]:
        """Give the signer's own last checkpoint."""
        note = read_last_note(self.directory)
        return [] if note is None else [Given("the signer's own checkpoint", note)]


def _given(files: Sequence[str]) -> Iterator[Given]:
    """Read checkpoints from files, each with one or many."""
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


@audit.command("verify")
@click.argument("place", required=False, type=click.Path())
@click.option("--directory", type=_FOLDER, help="The signer's folder; by default the one that belongs to the store.")
@click.option("--key", metavar="VKEY", help="The log's public key, or a file with it.")
@click.option(
    "--checkpoint", "files", multiple=True, metavar="FILE", help="Checkpoints from elsewhere: an anchor's file, a note."
)
@click.option("--deep", is_flag=True, help="Also compare each of SQLite's own indexes with its table; takes longer.")
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
    """Check the whole log: events, tree, checkpoints, evidence, invariants, index.

    PLACE is a store's file or the folder of an export; without it, the store of the configuration. Nothing is written,
    and nothing but the public key is believed. Exits with 5 if anything was tampered with or does not hold.
    """
    where = _Place.of(config, place, directory)
    given = list(_given(files))
    if is_export(where.path):
        verdict = _verify_export(where.path, key, given, as_json)
    else:
        # Before the snapshot is taken: what is signed later may be of more events than are in it.
        log, given = where.verifier(key), [*where.own(), *given]
        with SqliteSource.open(where.path, deep=deep) as source, _bar(as_json, "events") as bar, without_collector():
            verdict = verify(source, log, given, bar)
    _print_verdict(verdict, as_json)
    return 0 if verdict.clean else DIFFERENT


def _verify_export(folder: Path, key: str | None, given: Sequence[Given], as_json: bool) -> Verdict:
    with ExportSource.read(folder) as source, _bar(as_json, "events") as bar:
        log = source.verifier() if key is None else _Place(folder, folder).verifier(key)
        own = Given("the export's checkpoint", source.note(), outside=False)
        verdict = verify(source, log, [own, *given], bar) if source.whole else verify_part(source, log, given, bar)
    if key is not None:
        return verdict
    limit = "The public key is the one in the export: get it from somebody else, and name it with --key."
    return attrs.evolve(verdict, limits=[*verdict.limits, limit])


def _print_verdict(verdict: Verdict, as_json: bool) -> None:
    if as_json:
        print_json(verdict.as_json())
        return
    click.echo(
        f"{verdict.origin}: {verdict.events} events of {verdict.refunds} refunds, {verdict.contents} kept texts; "
        f"{verdict.signed} events are under {verdict.checkpoints} checkpoints"
    )
    if verdict.totals:
        table = new_table(("currency", "refunds", "requested", "settled", "failed", "open"))
        for currency, exponent, refunds, *amounts in verdict.totals:
            table.add_row(currency, str(refunds), *(_decimal(amount, exponent) for amount in amounts))
        print_table(table)
    for finding in verdict.findings:
        _print_finding(finding)
    for limit in verdict.limits:
        click.echo(f"not excluded: {formatting.plain(limit)}")
    click.echo("nothing was found" if verdict.clean else f"{len(verdict.findings)} findings")


def _decimal(minor: int, exponent: int) -> str:
    digits = f"{minor:0{exponent + 1}d}"
    return f"{digits[:-exponent]}.{digits[-exponent:]}" if exponent else digits


def _print_finding(finding: Finding) -> None:
    click.echo(formatting.plain(f"{finding.kind}: {finding.where}: {finding.text}"))


# --- handing it on ----------------------------------------------------------------------------------------------------


@audit.command("export")
@click.argument("directory", type=_FOLDER)
@click.option("--account", help="Only refunds of this account.")
@click.option("--payment", help="Only refunds of this payment.")
@click.option("--from", "since", metavar="TIME", help="Only events from then on.")
@click.option("--to", "until", metavar="TIME", help="Only events before then.")
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
    """Write the log to a new folder, for somebody who checks it without us.

    In it are the events as JSON lines, evidence, the tree, checkpoints, the public key, and a README that says how to
    check them. A part of the log has a proof for each event instead of the tree.
    """
    part = Part(account=account, payment=payment, since=moment(since, "--from"), until=moment(until, "--to"))
    where = _Place.of(config, None, None)
    own = where.own()
    with SqliteSource.open(where.path) as source:
        _export(source, where, own, directory, part, as_json, prove=False)


@audit.command("prove")
@click.argument("id")
@click.argument("directory", type=_FOLDER)
@click.option("--account", help=WHOSE)
@command
async def prove(config: str, as_json: bool, id: str, directory: str, account: str | None) -> None:
    """Write one refund's history to a new folder, with a proof for each event that it is in the signed log."""
    where = _Place.of(config, None, None)
    own = where.own()
    with SqliteSource.open(where.path) as source:
        part = Part(refund=source.named(id, account))
        _export(source, where, own, directory, part, as_json, prove=True)


def _export(
    source: SqliteSource,
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
    click.echo(f"{done.place}: {done.events} events of {done.refunds} refunds, {done.contents} kept texts")
    click.echo(f"under the checkpoint of {done.checkpoint.origin} of size {done.checkpoint.size}")
    if done.left_out:
        click.echo(f"{done.left_out} newer events are under no checkpoint yet and are not in it")


@audit.command("report")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--account", help="Only refunds of this account.")
@click.option("--payment", help="Only refunds of this payment.")
@click.option("--id", help="Only this refund.")
@click.option("--from", "since", metavar="TIME", help="Only refunds to which something happened from then on.")
@click.option("--to", "until", metavar="TIME", help="Only refunds to which something happened before then.")
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
    """Write a report for people: a table (FILE.csv), or a page with a picture of each refund's way (FILE.html)."""
    where = _Place.of(config, None, None)
    with SqliteSource.open(where.path) as source:
        refund = None if id is None else source.named(id, account)
        times = {"since": moment(since, "--from"), "until": moment(until, "--to")}
        count = report(source, Path(file), Part(account=account, payment=payment, refund=refund, **times))
    if as_json:
        print_json({"file": file, "refunds": count})
    else:
        click.echo(f"{file}: {count} refunds")


@audit.command("checkpoint")
@click.option("--vkey", is_flag=True, help="Print the public key instead, for whoever checks.")
@click.option("--directory", type=_FOLDER, help="The signer's folder; by default the one that belongs to the store.")
@command
async def checkpoint_(config: str, as_json: bool, vkey: bool, directory: str | None) -> None:
    """Print what was signed last: keep it elsewhere, or hand it to somebody who will ask about it later."""
    where = _Place.of(config, None, directory)
    log, own = where.verifier(None), where.own()
    if not own and not vkey:
        raise Invalid("audit", f"nothing was signed yet: {where.directory} has no checkpoint")
    if as_json:
        shown: dict[str, Any] = {"origin": log.name, "vkey": log.vkey}
        for each in own:
            found = open_checkpoint(each.note, log)
            shown |= {"size": found.size, "root": found.root.hex(), "note": each.note.decode()}
        print_json(shown)
    else:
        click.echo(log.vkey if vkey else own[0].note.decode(), nl=vkey)


# --- replay -----------------------------------------------------------------------------------------------------------


@audit.command("replay")
@command
async def replay_(config: str, as_json: bool) -> int:
    """Fold the whole log with today's code, and read every kept answer again with today's plugins.

    Needs no private key and no network. Exits with 5 if states, index or totals are not what is stored, or if an answer
    reads otherwise today than it did when it was recorded.
    """
    different = unread = 0
    settings = read_config(config)
    with _bar(as_json, "events") as bar:
        for finding in replay(settings, load_plugins(allow=settings.plugins), bar):
            unread += finding.kind in NOTES
            different += finding.kind not in NOTES
            if as_json:
                print_json(finding.as_json())
            else:
                _print_finding(finding)
    if not as_json:
        click.echo(f"{different} differences" if different else "everything comes out as it was recorded")
        if unread:
            click.echo(f"{unread} of what is listed above could not be looked at, and is no difference")
    return DIFFERENT if different else 0


audit.add_command(witness)
