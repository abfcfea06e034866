"""The command line: `refundry --help` lists the commands.

The rule of this module: it knows every command by name and help line, and imports a command's module only to run it.
Results go to stdout, errors are one line on stderr, and the exit status is an `ExitStatus`.
"""

import sys
from collections.abc import Mapping
from typing import Final, NoReturn

import click

from refundry.cli.base import fail, shared
from refundry.cli.exit_status import ExitStatus
from refundry.cli.lazy import LazyCommand, LazyGroup
from refundry.cli.output import OutputFailed, ReaderGone, safe_output
from refundry.cli.plugin_commands import plugin_commands
from refundry.errors import Invalid, RefundryError

__all__ = ["cli", "main"]

_REFUNDS, _OPERATE, _AUDIT, _RUN, _TOOLS = "Refunds", "Operators", "Records", "Services", "Tools"

COMMANDS: Final = (
    LazyCommand(
        "init",
        "refundry.cli.init:init",
        "Write a commented refundry.toml unless one exists, and create the store that it names.",
        _REFUNDS,
    ),
    LazyCommand("request", "refundry.cli.refunds:request", "Record a refund and make the first attempt.", _REFUNDS),
    LazyCommand(
        "import", "refundry.cli.refunds:import_", "Record many refunds from a CSV file for the workers.", _REFUNDS
    ),
    LazyCommand("show", "refundry.cli.queries:show", "Show a refund and its history.", _REFUNDS),
    LazyCommand("list", "refundry.cli.queries:list_", "List refunds, oldest first.", _REFUNDS),
    LazyCommand(
        "totals",
        "refundry.cli.totals:totals",
        "Sum what was requested, settled, failed and is open, for each account and currency.",
        _REFUNDS,
    ),
    LazyCommand("inquire", "refundry.cli.operators:inquire", "Query the provider about a refund now.", _OPERATE),
    LazyCommand(
        "resolve", "refundry.cli.operators:resolve", "Record an operator's decision: paid or not paid.", _OPERATE
    ),
    LazyCommand("resume", "refundry.cli.operators:resume", "Resume refunds on hold after fixing the cause.", _OPERATE),
    LazyCommand("pause", "refundry.cli.operators:pause", "Send and query nothing for an account.", _OPERATE),
    LazyCommand("unpause", "refundry.cli.operators:unpause", "Resume a paused account.", _OPERATE),
    LazyCommand("work", "refundry.cli.services:work", "Process refunds that are due, until SIGTERM.", _RUN),
    LazyCommand("serve", "refundry.cli.services:serve", "Receive provider notifications, until SIGTERM.", _RUN),
    LazyCommand("status", "refundry.cli.status:status", "Show accounts, workers, audit and store on one screen.", _RUN),
    LazyCommand("events", "refundry.cli.queries:events", "Print the log: of one refund, or all of it.", _AUDIT),
    LazyCommand(
        "evidence",
        "refundry.cli.queries:evidence",
        "Print the stored bytes that an event names by `digest` or `evidence`.",
        _AUDIT,
    ),
    LazyCommand(
        "reconcile",
        "refundry.cli.reconcile:reconcile_",
        "Compare Refundry's records with a provider's CSV report.",
        _AUDIT,
    ),
    LazyCommand(
        "audit",
        "refundry.cli.groups:audit",
        "Verify the audit log, and prove or export it.",
        _AUDIT,
    ),
    LazyCommand(
        "erase",
        "refundry.cli.erase:erase",
        "Erase the reason, names, details and all evidence of a final refund.",
        _AUDIT,
    ),
    LazyCommand(
        "demo",
        "refundry.cli.services:demo",
        "Watch refunds survive injected faults and killed workers, on this machine.",
        _TOOLS,
    ),
    LazyCommand(
        "simulate",
        "refundry.cli.services:simulate",
        "Run a simulated provider on loopback, with a ledger of its own, until SIGTERM.",
        _TOOLS,
    ),
    LazyCommand("plugins", "refundry.cli.groups:plugins", "List plugins, check them or create one.", _TOOLS),
    LazyCommand("completion", "refundry.cli.completion:completion", "Print a shell completion script.", _TOOLS),
)


class _CommandLine(LazyGroup):
    """The commands of Refundry and those of plugins, which are asked only when a list or an unknown name needs them."""

    def available(self, ctx: click.Context) -> Mapping[str, click.Command]:
        """Return the commands of Refundry, then those of plugins."""
        return {**self.commands, **plugin_commands(self.commands, ctx.find_root().obj or ())}


@click.group(cls=_CommandLine, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="refundry", message="refundry %(version)s")
@shared
def cli(config: str | None, as_json: bool, log_level: str | None, log_format: str | None) -> None:
    """Refund through many payment providers: each refund paid at most once, none forgotten, every step on record."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    given = sys.argv[1:] if arguments is None else arguments
    if any("\ud800" <= mark <= "\udfff" for argument in given for mark in argument):
        fail("the arguments are not valid UTF-8; non-ASCII text needs a UTF-8 locale, such as LC_ALL=C.UTF-8")
    try:
        with safe_output():
            sys.exit(cli.main(given, prog_name="refundry", standalone_mode=False, obj=tuple(given)) or ExitStatus.DONE)
    except click.Abort as error:
        # Click takes every EOFError for the end of the input, also that of a bytecode file that is cut off.
        if isinstance(error.__cause__, EOFError):
            raise error.__cause__ from None
        interrupted = isinstance(error.__cause__, KeyboardInterrupt)
        fail("interrupted" if interrupted else "canceled", ExitStatus.INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(ExitStatus.REFUSED)
    except click.ClickException as error:
        fail(error.format_message(), ExitStatus(error.exit_code))
    except RefundryError as error:
        # An error without advice of its own is a bug in Refundry.
        ours = error.next == RefundryError.next
        fail(_with_advice(error), ExitStatus.INTERNAL_ERROR if ours else ExitStatus.REFUSED)
    except ReaderGone:
        sys.exit(ExitStatus.DONE)
    except OutputFailed as error:
        fail(str(error), ExitStatus.INTERNAL_ERROR)


def _with_advice(error: RefundryError) -> str:
    # An `Invalid` names the field and the rule, which is all that its general advice could add.
    return str(error) if error.next == Invalid.next else f"{error} ({error.next})"
