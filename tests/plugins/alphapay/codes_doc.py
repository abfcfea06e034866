"""Write the page of what AlphaPay's answers mean: `python -m tests.plugins.alphapay.codes_doc` prints it."""

from collections.abc import Iterable

from refundry.provider import Code
from refundry_alphapay.codes import INQUIRY_CODES, REFUND_CODES, REFUND_STATUS

HEADER = """\
# What AlphaPay's answers mean

Written from `refundry_alphapay.codes`; a test compares the two. AlphaPay does not publish its result codes, so none of
them decides anything: the rows `S`, `F` and `U` stand for any code with that `resultStatus`. The codes that were ever
seen are listed below them with the meaning of their status. `SUCCESS` with another status than `S` contradicts itself:
`Unknown`, and a person is called. Codes that begin with `SIM_` are inventions of the simulator.

| class | means | outcome |
| --- | --- | --- |
| OK | done, once the echo of ids and amount is compared | `Settled` |
| PEND | AlphaPay has it: ask, never send again | `Pending` |
| INQ | AlphaPay does not know yet: ask, never send again. `Pending` if it names the refund's `refundId` | `Unknown` |
| FAIL | this id will never pay | `Failed` |
| FAIL? | refused, and its status does not say why: ask, never send again, call a person | `Unknown`, attention |
| NOT FOUND | the inquiry gives no refund; after as many tries as the terms say, a person is called | `NotFound` |
| UNCHANGED | the inquiry itself failed: nothing is learnt | `Unknown` |

The same id is never sent again by itself once a byte of it has left: nobody promises that a repeated
`refundRequestId` pays once. "new id" says whether a new refund may follow; Refundry makes no new id by itself.
"""

_COLUMNS = ("code", "status", "class", "new id", "cause", "advice")


def codes_page() -> str:
    """Give the whole page."""
    parts = [
        HEADER,
        _table("Answers to `refund`", REFUND_CODES.values()),
        _table("Answers to `inquiryRefund`", INQUIRY_CODES.values()),
        _table("`refundStatus`, in an inquiry and in a notification", REFUND_STATUS.values()),
    ]
    return "\n".join(parts)


def _table(title: str, codes: Iterable[Code]) -> str:
    head = [f"## {title}", "", f"| {' | '.join(_COLUMNS)} |", f"|{' --- |' * len(_COLUMNS)}"]
    return "\n".join([*head, *map(_row, codes), ""])


def _row(code: Code) -> str:
    cells = (code.code, code.status, code.meaning, code.new_id, code.cause, code.advice)
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(codes_page(), end="")
