"""Write the page that shows the transition table: `python -m tests.core.transitions_doc` prints it."""

from refundry.refund import FINAL, TRANSITIONS, Status

HEADER = """\
# Transitions

Generated from `refundry.refund.TRANSITIONS`; a test keeps them in sync. A pair that is not in the table cannot happen:
an event that asks for it is rejected.

![Every transition of a refund: arrows between its statuses, colored by event](../images/transitions.svg)

An `Inquired` event uses the row of its outcome (`inquired pending`, `inquired not_sent`) if there is one, and the
general row `inquired` otherwise. An operator's `Settled` or `Failed` uses the row `... by an operator` if there is one,
and the general row otherwise. "Not sent" uses the row `inquired` while an earlier attempt is unresolved. A refund that
may have been sent before it was recorded begins as `unknown`.
"""


def transitions_page() -> str:
    """Return the whole page: a picture and the table."""
    return "\n".join([HEADER, *_table()]) + "\n"


def _table() -> list[str]:
    rows = [f"| {_name(source)} | {trigger} | {_name(target)} |" for (source, trigger), target in TRANSITIONS.items()]
    return ["| from | by | to |", "| --- | --- | --- |", f"| | requested | {_name(Status.REQUESTED)} |", *rows]


def _name(status: Status) -> str:
    return f"**{status}**" if status in FINAL else str(status)


if __name__ == "__main__":
    print(transitions_page(), end="")
