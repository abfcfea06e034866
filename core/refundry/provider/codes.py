"""Result codes: the table by which a provider's documented codes become outcomes."""

from enum import StrEnum

import attrs


class CodeClass(StrEnum):
    """What a result code means for the refund."""

    OK = "OK"
    PENDING = "PEND"
    SAME = "SAME"
    INQUIRE = "INQ"
    FAIL = "FAIL"
    FAIL_NEW = "FAIL+NEW"
    FAIL_CHECK = "FAIL?"
    CONF = "CONF"
    BUG = "BUG"
    NOT_FOUND = "NOT FOUND"
    UNCHANGED = "UNCHANGED"


@attrs.frozen(slots=True, kw_only=True)
class Code:
    """One documented result code: a row of the table by which a provider's answers become outcomes."""

    code: str
    status: str
    meaning: CodeClass
    cause: str
    """What happened, in a sentence for people."""
    advice: str
    """What to do about it, in a sentence for people."""
    same_id: str = "never"
    """When the same id may be sent again: `never`, `back-off`, `after inquiry`, `once after the fix`."""
    new_id: str = "never"
    """Whether a new refund may follow: `never`, `manual`, `required`."""
    breaker: str = "none"
    """What must wait with it: `none`, `request`, `account`."""
