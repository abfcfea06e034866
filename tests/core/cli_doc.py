"""Write the page of the command line from click's own tree: `python -m tests.core.cli_doc` prints it."""

from collections.abc import Iterator
from typing import Any

import click

from refundry.cli import cli

HEADER = """\
# The command line

Written from the commands themselves; a test compares the two. `--config FILE` and `--json` may stand before or after
every command that takes them. The configuration is the file of `--config`, else that of the environment variable
`REFUNDRY_CONFIG`, else `refundry.toml` in the current folder. `ID` is Refundry's id of a refund or its
refund_request_id; where two accounts use the same refund_request_id, `--account` says which.

## Exit statuses

| status | means |
| --- | --- |
| 0 | done |
| 1 | a defect: of ours, of a plugin (`plugins list`, `plugins check`), or one that keeps a refund from being advanced \
(`work`) |
| 2 | bad usage, input or configuration, a plugin that cannot be loaded, or a store that refuses to work: one line on \
stderr, nothing half stored. `work`: the configuration lacks an account that has refunds |
| 3 | `request --wait`: the refund failed or needs a person, or its account is blocked |
| 4 | `request --wait`: not final in time; the workers go on |
| 5 | a difference: `demo` (our events and the providers' books, or the audit), `audit verify`, `replay`, \
`witness`, and `reconcile` |

Without `--wait`, `request` exits with 0 once the refund is recorded, whatever its first attempt brought: look at
`status`.

## JSON

Results are on stdout, everything else on stderr. `show`, `request`, `inquire`, `resolve` and `resume ID` print one
object: `id`, `account`, `provider`, `payment`, `amount` (`value`, `currency`), `refund_request_id`, `status`,
`review`, `provider_refund_id`, `settled_at`, `failure` (`code`, `cause`, `advice`) or null, `attempts`, `next`
(`step`, `at`, `reason`) or null, `reason`, `payment_total`, `retry_of`, `request_details`, `requested_by`,
`requested_at`, `settlement_amount`, `quote`, `details`, `notes` (facts that changed nothing: `at`, `code`, `cause`,
`details`), `readings` (where today's plugin reads a kept answer otherwise: `position`, `version`, `field`, `then`,
`now`, `plugin_then`, `plugin_now`, `sender`), and `events`, each with `position`, `version`, `event`, `at` and [its
fields](events.md). `next` is null when the refund is final; with the `step` `manual_review`, `at` is null and nothing
goes on before somebody decides: `reason` says why, also where another refund blocks the account.

`list` prints one object a line: `id`, `account`, `payment`, `amount`, `refund_request_id`, `status`, `review`,
`due_at`, `requested_at`, `updated_at`. `due_at` is null when the refund is final or waits for a person. `list
--unmatched` prints `at`, `account`, `refund_request_id`, `evidence`. `events` prints one event a line, with `refund`.
`evidence` prints `digest` and `base64`. `work` prints `settled` and `failed` (how many ended in this run),
`in_progress` (how many are open and workers drive) and `waiting` (how many are open and wait for a person: themselves,
for their account is blocked, or for it is not in the configuration). `import` prints `rows`, `recorded` (refunds that
this run recorded), `known` (rows whose refund was there already), `dry_run`.

`plugins list` prints for each provider, or for a plugin without one, `name`, `plugin`, `version`, `origin`, `status`
(`ok`, `broken`, `not allowed`), `capabilities` (`operations`, `codes`, `notifications`, `simulator`, `reports`,
`commands`, `hooks`) and `terms`, each null where nothing is known, and `error`. `plugins check` prints a check a line:
`name`, `sentence`, `status` (`passed`, `failed`, `not applicable`), `text`. `plugins new` prints `name`, `directory`,
`files`.

`totals` prints for each account and currency, and with `--by-payment` for each payment, `account`, `payment`,
`currency`, `refunds`, `requested`, `settled`, `failed`, `open`. `erase` prints `id`, `erased` (digests), `shared`,
`everywhere` (no copy is left in the write-ahead log). `reconcile` prints what does not agree (`kind`,
`refund_request_id`, `id`, `line`, `text`), a line each, and then `account` and `summary`. `audit verify` prints [one
object](../howto/audit.md#check-the-store), `audit replay` a line for each finding (`kind`, `where`, `text`).

Without `--json`, `list` prints a table on a terminal, and elsewhere a line for each refund, with tabs between the
columns.
"""


def cli_page() -> str:
    """Give the whole page."""
    sections = [_section(path, command) for path, command in commands()]
    return "\n".join([HEADER, "## Commands", "", *sections])


def commands() -> Iterator[tuple[str, click.Command]]:
    """Give every command that can be run, with the words that call it, in the order of the words."""
    return _below("refundry", cli)


def _below(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name in sorted(command.commands):
        yield from _below(f"{path} {name}", command.commands[name])


def _section(path: str, command: click.Command) -> str:
    arguments = "".join(f" {_metavar(item)}" for item in command.params if isinstance(item, click.Argument))
    text = " ".join((command.help or "").split())
    rows = [_row(option) for option in command.params if isinstance(option, click.Option)]
    rows = [row for row in rows if not row.startswith(("| `--config", "| `--json"))]
    table = ["| option | means |", "| --- | --- |", *rows, ""] if rows else []
    return "\n".join([f"### `{path}{arguments}`", "", text, "", *table])


def _metavar(argument: click.Argument) -> str:
    kind = argument.type
    name = "|".join(map(str, kind.choices)) if isinstance(kind, click.Choice) else (argument.name or "").upper()
    return name if argument.required else f"[{name}]"


def _row(option: click.Option) -> str:
    kind = option.type
    value = "" if option.is_flag else f" {option.metavar or _kind(kind)}"
    choices = f"One of: {', '.join(map(str, kind.choices))}." if isinstance(kind, click.Choice) else ""
    default = f"Default: {option.default}." if option.show_default else ""
    text = " ".join(filter(None, ["Required." if option.required else "", option.help, choices, default]))
    return f"| `{', '.join(option.opts)}{value}` | {text} |"


def _kind(kind: "click.ParamType[Any]") -> str:
    numbers = isinstance(kind, click.types.IntParamType | click.types.FloatParamType)
    return "N" if numbers else "DIR" if isinstance(kind, click.Path) and not kind.file_okay else "TEXT"


if __name__ == "__main__":
    print(cli_page(), end="")
