"""Names and texts from callers, checked before they are recorded, and the operator who signs a decision.

The rule of this module: pure; every refusal is an `Invalid` that names the field and the rule.
"""

import re
from typing import Final

import attrs

from refundry.errors import Invalid

__all__ = ["Operator", "check_name", "check_text"]

_NAME: Final = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,200}")
_TEXT: Final = re.compile(r"[^\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]{1,2000}")


def check_name(field: str, text: str) -> str:
    """Return an id or a name unchanged if it is one line of 1 to 200 characters; raise `Invalid` if it is not."""
    if not isinstance(text, str) or _NAME.fullmatch(text) is None:
        raise Invalid(field, "must be 1 to 200 characters without control characters")
    return text


def check_text(field: str, text: str) -> str:
    """Return a text for people unchanged if it has 1 to 2000 characters; raise `Invalid` if it does not."""
    if not isinstance(text, str) or _TEXT.fullmatch(text) is None:
        raise Invalid(field, "must be 1 to 2000 characters without control characters")
    return text


def _is_name(_: object, attribute: "attrs.Attribute[str]", value: str) -> None:
    check_name(attribute.name, value)


def _is_text(_: object, attribute: "attrs.Attribute[str]", value: str) -> None:
    check_text(attribute.name, value)


@attrs.frozen(slots=True)
class Operator:
    """An operator and the reason for a decision: both are recorded with it, permanently and in plain text.

    Raises `Invalid` unless `by` is a name (one line of at most 200 characters) and `why` a text (at most 2000).
    """

    by: str = attrs.field(validator=_is_name)
    """The operator's name, or the system that acts for one."""
    why: str = attrs.field(validator=_is_text)
    """What the decision is based on."""
