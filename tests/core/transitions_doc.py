"""Write the page that shows the transition table: `python -m tests.core.transitions_doc` prints it."""

from refundry.refund import FINAL, TRANSITIONS, Status

HEADER = """\
# The transitions of a refund

Written from `refundry.refund.TRANSITIONS`; a test compares the two. A pair that is not here cannot happen: an event
that asks for it is refused.

An `Inquired` event moves by its outcome (`inquired pending`, `inquired not_sent`) where the table has such a row, and
by plain `inquired` otherwise. A person's `Settled` or `Failed` moves as `... by a person` where the table has such a
row, and as everybody's otherwise. "Not sent" moves as plain `inquired` while an earlier attempt is in doubt.
"""


def transitions_diagram() -> str:
    """Give the whole page: a diagram (Mermaid) and the table."""
    return "\n".join([HEADER, "```mermaid", *_diagram(), "```", "", *_table()]) + "\n"


def _diagram() -> list[str]:
    arrows = [f"    {source} --> {target}: {trigger}" for (source, trigger), target in TRANSITIONS.items()]
    return ["stateDiagram-v2", f"    [*] --> {Status.REQUESTED}: requested", *arrows]


def _table() -> list[str]:
    rows = [f"| {_name(source)} | {trigger} | {_name(target)} |" for (source, trigger), target in TRANSITIONS.items()]
    return ["| from | by | to |", "| --- | --- | --- |", f"| | requested | {_name(Status.REQUESTED)} |", *rows]


def _name(status: Status) -> str:
    return f"**{status}**" if status in FINAL else str(status)


if __name__ == "__main__":
    print(transitions_diagram(), end="")
