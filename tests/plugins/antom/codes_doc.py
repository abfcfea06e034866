"""Write the page of Antom's result codes: `python -m tests.plugins.antom.codes_doc` prints it."""

from collections.abc import Iterable

from refundry.provider import Code
from refundry_antom.codes import INQUIRY_CODES, REFUND_CODES, STATUS_FAIL

HEADER = """\
# Antom's result codes

Written from `refundry_antom.codes`; a test compares the two. "status" is the `resultStatus` that Antom documents with
the code; the same code with another status contradicts itself and is `Unknown`. A code that is not here is never taken
for a result: it is `Unknown`, and asked about.

| class | means | outcome |
| --- | --- | --- |
| OK | done, once the echo of id and amount is compared | `Settled` |
| PEND | Antom has it: ask, never send again | `Pending` |
| SAME | nothing is known; the same id may go out again, after a back-off or after "not found" | `Unknown` |
| INQ | the id may have paid with other data: ask, never send again, call a person | `Unknown` with attention |
| FAIL | this id will never pay | `Failed` |
| FAIL+NEW | the same, and Antom's text names a new id as the way on | `Failed` |
| FAIL? | refused, for a reason that is the system's: ask, never send again, call a person | `Unknown` with attention |
| CONF | our configuration or contract is wrong: nothing was decided, the account waits | `Blocked`, scope account |
| BUG | this one request is wrong: nothing was decided, this refund waits | `Blocked`, scope request |
| NOT FOUND | the inquiry does not find the refund | `NotFound` |
| UNCHANGED | the inquiry itself failed: nothing is learnt | `Unknown` |

"same id" says when the same id may be sent again, "new id" whether a new refund may follow. In either case Refundry
makes no new id by itself. "breaker" says what waits until a person resumes it.
"""

_COLUMNS = ("code", "status", "class", "same id", "new id", "breaker", "cause", "advice")


def codes_page() -> str:
    """Give the whole page."""
    parts = [
        HEADER,
        _table("Answers to `refund`", REFUND_CODES.values()),
        _table("Answers to `inquiryRefund`", INQUIRY_CODES.values()),
        _table("`refundStatus` FAIL, in an inquiry or a notification", [STATUS_FAIL]),
    ]
    return "\n".join(parts)


def _table(title: str, codes: Iterable[Code]) -> str:
    head = [f"## {title}", "", f"| {' | '.join(_COLUMNS)} |", f"|{' --- |' * len(_COLUMNS)}"]
    return "\n".join([*head, *map(_row, codes), ""])


def _row(code: Code) -> str:
    cells = (code.code, code.status, code.meaning, code.same_id, code.new_id, code.breaker, code.cause, code.advice)
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    print(codes_page(), end="")
