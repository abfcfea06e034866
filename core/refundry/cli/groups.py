"""The groups of commands, `audit` and `plugins`.

The rule of this module: names and help lines only, so that listing a group imports none of its commands.
"""

from typing import Final

from refundry.cli.lazy import LazyCommand, LazyGroup

__all__ = ["audit", "plugins"]

audit: Final = LazyGroup(
    "audit",
    help="Verify the audit log, and prove or export it.",
    lazy=(
        LazyCommand("verify", "refundry.cli.audit:verify_", "Verify the log, its checkpoints and its evidence."),
        LazyCommand("export", "refundry.cli.audit:export_", "Export the log for an independent auditor."),
        LazyCommand("prove", "refundry.cli.audit:prove", "Export one refund's history with proofs."),
        LazyCommand("report", "refundry.cli.audit:report_", "Write a table or a page for people to read."),
        LazyCommand("checkpoint", "refundry.cli.audit:checkpoint_", "Print the last signed checkpoint."),
        LazyCommand("replay", "refundry.cli.audit:replay_", "Replay the log with the installed version."),
        LazyCommand("witness", "refundry.cli.witness:witness", "Countersign the log as a second party."),
    ),
)
plugins: Final = LazyGroup(
    "plugins",
    help="List plugins, check them or create one.",
    lazy=(
        LazyCommand("list", "refundry.cli.plugins:plugins_list", "List every installed plugin and what it can do."),
        LazyCommand("check", "refundry.cli.plugins:plugins_check", "Run the contract on an installed provider."),
        LazyCommand("new", "refundry.cli.plugins:plugins_new", "Write a small plugin project that keeps the contract."),
    ),
)
