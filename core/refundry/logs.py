"""Log messages: an event with fields, through the standard library's logger `refundry`.

The rule of this module: the library only emits; the program configures levels and formats. A field never holds a key, a
body or personal data.
"""

import json
import logging
import re
from typing import Any, Final

__all__ = ["LOGGER", "Message", "log"]

LOGGER: Final = logging.getLogger("refundry")
_PLAIN: Final = re.compile(r"[\w.:/@+*-]+", re.ASCII)


class Message:
    """What happened, with its fields: a formatter that knows this class can keep them apart."""

    __slots__ = ("event", "fields")

    def __init__(self, event: str, fields: dict[str, Any]) -> None:
        self.event = event
        self.fields = fields

    def __str__(self) -> str:
        """Return the event, then each field as NAME=VALUE, in one line."""
        return " ".join([self.event, *(f"{name}={_shown(value)}" for name, value in self.fields.items())])


def log(level: int, event: str, /, *, error: BaseException | None = None, **fields: Any) -> None:
    """Write an event with those of its fields that are not None; `error` adds its traceback."""
    if LOGGER.isEnabledFor(level):
        known = {name: value for name, value in fields.items() if value is not None}
        LOGGER.log(level, Message(event, known), exc_info=error, stacklevel=2)


def _shown(value: Any) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)
