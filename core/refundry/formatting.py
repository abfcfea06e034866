"""Values as text and JSON: amounts, times, and text that is safe on a terminal.

The rule of this module: text from a provider is shown without control characters, because it may be hostile.
"""

import json
import os
import re
from datetime import UTC, datetime
from typing import Any, Final

from refundry.money import Money

__all__ = ["counted", "json_line", "kept", "moment", "money", "os_reason", "plain"]

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def money(amount: Money) -> dict[str, str]:
    """Return an amount as a JSON object: a decimal and a currency."""
    return {"value": str(amount), "currency": amount.currency}


def moment(at: datetime) -> str:
    """Return a time in UTC, with microseconds if it has any."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun in the singular or plural: `1 event`, `2 events`, `0 entries`."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def os_reason(error: OSError) -> str:
    """Return the operating system's words for an error, without those of the library that raised it."""
    # The resolver of names has error numbers of its own, which are negative.
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or type(error).__name__


def plain(text: str) -> str:
    """Replace characters that could move a terminal's cursor or change the reading direction."""
    return _CONTROL.sub("\ufffd", text)


def json_line(value: Any) -> str:
    """Write a value as JSON in one line, with the characters escaped that `plain` replaces."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def kept(content: bytes) -> str:
    """Return evidence as text for a terminal: lines stay lines, and all other control characters are escaped."""
    lines = content.decode("utf-8", "backslashreplace").split("\n")
    return "\n".join(_CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", line) for line in lines)
