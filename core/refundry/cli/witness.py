"""`refundry audit witness`: the second party's command, and how it is asked.

The rule of this module: it needs no configuration and no key of the log's keeper. The witness's own folder is all that
it trusts; a log that is not the one it saw before is the exit status 5.
"""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from refundry.audit.signing.signed_notes import Verifier
from refundry.audit.signing.witness import Request, Witness, open_witness, request_over
from refundry.audit.verification.exported import ExportSource, is_export
from refundry.audit.verification.source import SqliteSource
from refundry.cli.base import command, fail, print_json
from refundry.cli.exit_status import ExitStatus
from refundry.config import read_config
from refundry.errors import Invalid, Tampered

__all__ = ["witness"]


@click.command("witness")
@click.argument("place", required=False, type=click.Path())
@click.option("--folder", type=click.Path(file_okay=False), help="The witness's own folder, made on first use.")
@click.option("--name", help="The witness's name, such as platform.example/witness; needed on first use.")
@click.option("--log", metavar="VKEY", help="The public key of the log, or a file with it; needed on first use.")
@click.option("--request", type=click.File("rb"), metavar="FILE", help="What is asked, instead of PLACE; - is stdin.")
@click.option("--ask", type=click.IntRange(0), metavar="SIZE", help="Print a request for a witness that has seen SIZE.")
@command
async def witness(
    config: str,
    as_json: bool,
    place: str | None,
    folder: str | None,
    name: str | None,
    log: str | None,
    request: BinaryIO | None,
    ask: int | None,
) -> None:
    """Check that a log only grew since the last time, and countersign its newest checkpoint.

    Run it as a second party, on a machine of your own. PLACE is a store's file or the folder of an export; without it,
    the store of the configuration. Where you are not to see the log, its keeper sends you what --ask prints, and you
    take it with --request. Prints the checkpoint with your signature. Exits with 5, and signs nothing, if the log is
    not the one that you saw before.
    """
    if ask is not None:
        click.echo(_ask(config, place, ask).to_bytes(), nl=False)
        return
    if folder is None:
        raise Invalid("--folder", "is needed: it holds the witness's key and what it saw last")
    watching = open_witness(Path(folder), name=name, log=None if log is None else _verifier(log))
    asked = request.read() if request is not None else _ask(config, place, watching.size()).to_bytes()
    _print(watching, _signed(watching, asked), as_json)


def _signed(watching: Witness, asked: bytes) -> bytes:
    try:
        return watching.add_checkpoint(asked, int(time.time()))
    except Tampered as error:
        fail(f"{error}; nothing was signed", ExitStatus.DIFFERENCE)


def _print(watching: Witness, signed: bytes, as_json: bool) -> None:
    if as_json:
        print_json({"size": watching.size(), "vkey": watching.verifier.vkey, "note": signed.decode()})
    else:
        click.echo(signed, nl=False)


def _verifier(log: str) -> Verifier:
    path = Path(log)
    return Verifier.from_vkey(path.read_text("utf-8", "replace") if path.is_file() else log)


def _ask(config: str, place: str | None, old: int) -> Request:
    path = read_config(config).store_path if place is None else Path(place)
    with _opened(path) as (source, note):
        return request_over(([hash for _, _, hash in batch] for batch in source.leaves()), old, note)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[SqliteSource, bytes]]:
    """Open a store or an export with its newest checkpoint."""
    if is_export(path):
        with ExportSource.read(path) as source:
            yield source, source.note()
        return
    with SqliteSource.open(path) as source:
        newest = deque(source.checkpoints(), maxlen=1)
        if not newest:
            raise Invalid("place", f"{path} has no checkpoint yet")
        yield source, newest[0][1]
