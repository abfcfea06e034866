"""Write the page of the command line from click's own tree: `python -m tests.core.cli_doc` prints it."""

from collections.abc import Iterator
from typing import Any, Final

import click

from refundry.cli import cli
from refundry.cli.lazy import LazyCommand

HEADER = """\
# Command line

Generated from the commands; a test keeps them in sync. `--config FILE`, `--json`, `--log-level LEVEL` and `--log-format
FORMAT` can be given before or after every command that accepts them; [Logs](../howto/monitoring.md#logs) has the levels
and formats. The configuration is the file of `--config`, or that of the environment variable
`REFUNDRY_CONFIG`, or `refundry.toml` in the current directory. `ID` is Refundry's ID of a refund or its
refund_request_id; if two accounts use the same refund_request_id, `--account` selects one.

## Exit statuses

| status | meaning |
| --- | --- |
| 0 | done |
| 1 | an internal error, a plugin that is broken (`plugins list`, `plugins check`), or an unexpected error that \
keeps a refund from being advanced (`work`) |
| 2 | usage, input, configuration, plugin or store error: one line on stderr, nothing partially stored. `work`: the \
configuration lacks an account that has refunds |
| 3 | `request --wait`: the refund failed or needs an operator, or its account is blocked |
| 4 | `request --wait`: not final in time; workers continue |
| 5 | a difference: `demo` (Refundry's events and the providers' ledgers, or the audit), `audit verify`, \
`audit replay`, `audit witness` and `reconcile` |
| 130 | interrupted, or canceled at a prompt |

Without `--wait`, `request` exits with 0 once the refund is recorded, whatever its first attempt brought: look at
`status`.

## JSON

Results go to stdout, everything else to stderr. `--json` prints one object, or one object per line. A command may add
keys in any version: ignore the ones you do not know. Times are ISO 8601 in UTC; an amount is an object with `value`, a
decimal text, and `currency`.

### A refund

`show`, `request`, `inquire`, `resolve` and `resume ID` print one object:

{refund}

### Lists

| command | one object per line, with the keys |
| --- | --- |
| `list` | `id`, `account`, `payment`, `amount`, `refund_request_id`, `status`, `review`, `failure`, `due_at` \
(null if the refund is final or on hold), `requested_at`, `updated_at` |
| `list --unmatched` | `at`, `account`, `refund_request_id`, `evidence` |
| `events` | `refund` and the keys of [an event](events.md) |
| `totals` | `account`, `payment` (null without `--by-payment`), `currency`, `refunds`, `requested`, `settled`, \
`failed`, `open` |
| `reconcile` | for each difference `kind`, `refund_request_id`, `id`, `line`, `text`; at the end \
`account`, `format`, `summary` |
| `plugins list` | `name`, `plugin`, `version`, `origin`, `status` (`ok`, `broken`, `not allowed`), `capabilities` \
(`operations`, `codes`, `notifications`, `simulator`, `reports`, `commands`, `hooks`), `terms`, `error` |
| `plugins check` | `name`, `sentence`, `status` (`passed`, `failed`, `not applicable`), `text` |

### Single results

| command | one object with the keys |
| --- | --- |
| `work` | `settled`, `failed` (ended in this run), `in_progress` (open, and processed by workers), `on_hold` (open, \
and waiting for an operator: the refund itself, its account, or an account that is missing from the configuration) |
| `import` | `rows`, `recorded` (by this run), `known` (rows whose refund already existed), \
`totals` (the sum of all rows in each currency), `dry_run` |
| `evidence` | `digest`, `base64` |
| `erase` | `id`, `erased` (digests), `shared`, `everywhere` (no copy is left in the write-ahead log) |
| `audit verify` | see [Audit the log](../howto/audit.md#verify-the-store) |
| `audit replay` | `clean`, and the lists `findings`, `wording` and `unread`, each of `kind`, `where`, `text` |
| `plugins new` | `name`, `directory`, `files` |

Without `--json`, `list` prints a table on a terminal, and one line per refund with tabs between the columns elsewhere.
"""
REFUND: Final = (
    ("id", "text", "Refundry's ID"),
    ("account", "text", "the account, as the configuration names it"),
    ("provider", "text", "the account's provider"),
    ("payment", "text", "the provider's ID of the payment"),
    ("amount", "amount", "the amount to refund"),
    ("refund_request_id", "text", "your ID"),
    ("status", "text", "`requested`, `submitted`, `pending`, `unknown`, `settled` or `failed`"),
    (
        "review",
        "list",
        "why an operator should look: `code` ([all codes](../howto/reviews.md#review-reasons)), `message`, `since`",
    ),
    ("provider_refund_id", "text or null", "the provider's ID of the refund"),
    ("settled_at", "text or null", "the time of settlement as the provider wrote it"),
    (
        "failure",
        "object or null",
        "`code`, `cause`, `advice`, and as the provider reported them `provider_message` and `details` (each can be "
        "null)",
    ),
    ("provider_message", "text or null", "the provider's own explanation of its newest code"),
    ("attempts", "integer", "how often it was sent"),
    ("version", "integer", "how many events it has: what `resolve --version` is compared with"),
    (
        "next",
        "object or null",
        "`step` (`submit`, `inquire`, `manual_review`), `at` (null for `manual_review`), `reason` (`code` "
        "and `message` of what an operator must act on, else null); null if the refund is final",
    ),
    ("reason", "text or null", "the reason given with the request"),
    ("payment_total", "amount or null", "what was paid, as given with the request"),
    ("retry_of", "text or null", "the failed refund that this one replaces"),
    ("request_details", "object or null", "further request fields under the provider's names"),
    ("requested_by", "text", "who requested it"),
    ("requested_at", "time", "when it was recorded"),
    ("settlement_amount", "amount or null", "what was deducted in the settlement currency"),
    ("quote", "object or null", "the exchange rate: `pair`, `price`, `id`, `start`, `expiry`, `guaranteed`"),
    ("details", "object or null", "what else the provider reported about the money"),
    ("notes", "list", "informational facts: `at`, `code`, `cause`, `details`"),
    ("events", "list", "every event: `position`, `version`, `event`, `at` and [its fields](events.md)"),
    (
        "readings",
        "list",
        "where the current plugin would interpret a stored message differently: `position`, `version`, `field`, "
        "`then`, `now`, `plugin_then`, `plugin_now`, `sender`",
    ),
    ("wording", "list", "the same, where only the wording differs"),
)
"""Every key of a refund as JSON, with its type and its meaning."""


def cli_page() -> str:
    """Return the whole page."""
    sections = [_section(path, command) for path, command in commands()]
    rows = [f"| `{key}` | {kind} | {text} |" for key, kind, text in REFUND]
    refund = "\n".join(["| key | type | meaning |", "| --- | --- | --- |", *rows])
    return "\n".join([HEADER.replace("{refund}", refund), "## Commands", "", *sections])


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command that can be run, with the words that call it, in the order of the words."""
    return _below("refundry", cli)


def _below(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, LazyCommand):
        command = command.load()
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name in sorted(command.commands):
        yield from _below(f"{path} {name}", command.commands[name])


def _section(path: str, command: click.Command) -> str:
    arguments = "".join(f" {_metavar(item)}" for item in command.params if isinstance(item, click.Argument))
    text = " ".join((command.help or "").split())
    rows = [_row(option) for option in command.params if isinstance(option, click.Option)]
    rows = [row for row in rows if not row.startswith(("| `--config", "| `--json", "| `--log-"))]
    table = ["| option | meaning |", "| --- | --- |", *rows, ""] if rows else []
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
