"""Write the page of Alipay's codes: `python -m tests.plugins.alipay.codes_doc` prints it."""

from collections.abc import Iterable

from refundry.provider import Code
from refundry_alipay.codes import INQUIRY_CODES, NOT_DONE, REFUND_CODES

HEADER = """\
# Alipay's codes

Written from `refundry_alipay.codes`; a test compares the two. "status" is the gateway code that Alipay documents the
code with; the same code with another gateway code contradicts itself and is `Unknown`. A sub-code that is not here is
read as its gateway code; a business code (`ACQ.`) that is not here is never taken for a result: it is `Unknown`, and
asked about. Business codes count with and without `ACQ.`.

| class | means | outcome |
| --- | --- | --- |
| OK | the call was answered: `fund_change` or `refund_status` decides | `Settled`, `Unknown` or `NotFound` |
| SAME | nothing is known; the same number may go out again, after a back-off or after "not done" | `Unknown` |
| INQ | the number may have paid with another amount: ask, never send again, call a person | `Unknown` with attention |
| FAIL | this number will never pay | `Failed` |
| FAIL+NEW | the same, and only a new refund over another amount can follow | `Failed` |
| FAIL? | refused, for a reason that is not told: ask, never send again, call a person | `Unknown` with attention |
| CONF | our configuration or contract is wrong: nothing was decided, the account waits | `Blocked`, scope account |
| BUG | refused for a cause that can be mended: nothing moved, this refund waits | `Blocked`, scope request |
| NOT FOUND | the query does not say that the refund is done | `NotFound` |
| UNCHANGED | the query itself failed: nothing is learnt | `Unknown` |

"same id" says when the same number may be sent again, "new id" whether a new refund may follow. In either case Refundry
makes no new number by itself. "breaker" says what waits until a person resumes it.
"""

_COLUMNS = ("code", "status", "class", "same id", "new id", "breaker", "cause", "advice")


def codes_page() -> str:
    """Give the whole page."""
    parts = [
        HEADER,
        _table("Answers to `alipay.trade.refund`", REFUND_CODES.values()),
        _table("Answers to `alipay.trade.fastpay.refund.query`", INQUIRY_CODES.values()),
        _table("No `refund_status` in the answer to a query", [NOT_DONE]),
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
