"""The pages of result codes: one layout for every provider, written from the tables that the plugins use."""

from collections.abc import Iterable, Sequence

from refundry.provider import Code, CodeClass

_MEANINGS = {
    CodeClass.SUCCESS: ("the call succeeded; the message decides once its ids and amount match", "`Succeeded`"),
    CodeClass.PENDING: ("the provider is processing the refund: inquire, never send it again", "`Pending`"),
    CodeClass.RETRY: ("nothing is known; the same id may be sent again, as `same id` allows", "`Unknown`"),
    CodeClass.INDETERMINATE: ("the id may have paid: inquire, never send it again", "`Unknown`, needs review"),
    CodeClass.FAILED: ("the id has not paid and never will", "`DefinitiveFailure`"),
    CodeClass.FAILED_NEW_ID: ("as `FAILED`; only a new refund with a new id can follow", "`DefinitiveFailure`"),
    CodeClass.FAILED_UNCONFIRMED: ("a failure that may not be final: inquire", "`Unknown`, needs review"),
    CodeClass.MISCONFIGURED: ("the configuration or contract is wrong: the account waits", "`Blocked`, scope account"),
    CodeClass.BAD_REQUEST: ("refused until the cause is fixed: this refund waits", "`Blocked`, scope request"),
    CodeClass.NOT_FOUND: ("the inquiry does not find the refund", "`NotFound`"),
    CodeClass.UNCHANGED: ("the call failed and adds no information about the refund", "`Unknown`"),
}
_COLUMNS = {
    "code": "code",
    "status": "status",
    "class": "meaning",
    "same id": "same_id",
    "new id": "new_id",
    "breaker": "breaker",
    "cause": "cause",
    "advice": "advice",
}


def write(title: str, introduction: str, *tables: tuple[str, Iterable[Code]], notes: str = "") -> str:
    """Return the page: the classes that the tables use, the meaning of the columns, and every row of the tables."""
    listed = [(heading, list(rows)) for heading, rows in tables]
    used = {row.meaning for _, rows in listed for row in rows}
    classes = [(meaning, *_MEANINGS[meaning]) for meaning in CodeClass if meaning in used]
    parts = [
        f"# {title}",
        introduction.strip(),
        _table(("class", "meaning", "outcome"), classes),
        _EXPLANATION,
        *([notes.strip()] if notes else []),
    ]
    for heading, rows in listed:
        parts.append(f"## {heading}")
        parts.append(_table(tuple(_COLUMNS), [[getattr(row, field) for field in _COLUMNS.values()] for row in rows]))
    return "\n\n".join(parts) + "\n"


_EXPLANATION = """\
`same id` states when the same id may be sent again: `never`, `after_backoff`, `after_inquiry` (once the provider
reports that it has no record of it) or `after_fix` (once an operator fixed the cause and resumed the refund). `new id`
states whether a new refund may replace this one: `never`, `manual` (if an operator decides so) or `required`. Refundry
never creates a new id. `breaker` states what waits until an operator resumes it: `none`, `request` or `account`."""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
