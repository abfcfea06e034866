"""`refundry audit witness`: the command with which a second party checks and countersigns a log.

The rule of this module: a witness needs no configuration and no key of the log's operator, and trusts only its own
directory. A log that does not extend the one it saw before makes the exit status 5.
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
from refundry.audit.verification.export_source import ExportSource, is_export
from refundry.cli.base import POSITION, command, fail, print_json
from refundry.cli.exit_status import ExitStatus
from refundry.config import read_config
from refundry.errors import Invalid, Tampered
from refundry.journal.log_source import LogSource
from refundry.journal.stores import read_store

__all__ = ["witness"]


@click.command("witness", short_help="Countersign the log as a second party.")
@click.argument("place", required=False, type=click.Path())
@click.option(
    "--directory", type=click.Path(file_okay=False), help="The witness's own directory, created on first use."
)
@click.option("--name", help="The witness's name, such as platform.example/witness; required on first use.")
@click.option("--log", metavar="VKEY", help="The log's public key, or a file that contains it; required on first use.")
@click.option("--request", type=click.File("rb"), metavar="FILE", help="Read the request from FILE (- for stdin).")
@click.option("--ask", type=POSITION, metavar="SIZE", help="Print a request for a witness that has seen SIZE.")
@command
async def witness(
    config: str,
    as_json: bool,
    place: str | None,
    directory: str | None,
    name: str | None,
    log: str | None,
    request: BinaryIO | None,
    ask: int | None,
) -> None:
    """Verify that a log has only grown since the last time, and countersign its newest checkpoint.

    Run it as a second party, on your own machine. PLACE is a store's file or the directory of an export (default: the
    configured store). If you must not see the log, its operator sends you the output of --ask, and you pass it with
    --request. Prints the checkpoint with your signature. Exits with 5, and signs nothing, if the log does not extend
    the one that you saw before.
    """
    if ask is not None:
        click.echo(_ask(config, place, ask).to_bytes(), nl=False)
        return
    if directory is None:
        raise Invalid("--directory", "is required: it holds the witness's key and the last checkpoint it saw")
    watching = open_witness(Path(directory), name=name, log=None if log is None else _verifier(log))
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
def _opened(path: Path) -> Iterator[tuple[LogSource, bytes]]:
    """Open a store or an export, and yield it with its newest checkpoint."""
    if is_export(path):
        with ExportSource.read(path) as source:
            yield source, source.note()
        return
    with read_store(path) as source:
        newest = deque(source.checkpoints(), maxlen=1)
        if not newest:
            raise Invalid("place", f"{path} has no checkpoint yet")
        yield source, newest[0][1]
