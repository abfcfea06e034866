"""Where the log of a command goes: lines on stderr, at a level and in a format that the user chooses.

The rule of this module: it is imported by every command, and structlog only once a line is written,
or when a command that runs for long asks for it.
"""

import logging
import os
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Final

from refundry.errors import Invalid
from refundry.logs import LOGGER, Message

__all__ = ["FORMATS", "LEVELS", "prepare_logs", "written_logs"]

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
FORMATS: Final = ("console", "json", "logfmt")
_VARIABLE: Final = "REFUNDRY_LOG"


@contextmanager
def written_logs(level: str | None, format: str | None) -> Iterator[None]:
    """Write log lines to stderr; what is not given comes from `REFUNDRY_LOG`, which has a level, a format or both."""
    for word in filter(None, os.environ.get(_VARIABLE, "").split(",")):
        if word in LEVELS:
            level = level or word
        elif word in FORMATS:
            format = format or word
        else:
            raise Invalid(_VARIABLE, f"{word!r} is not one of {', '.join((*LEVELS, *FORMATS))}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(format or "console"))
    root = logging.getLogger()
    before = root.level, LOGGER.level
    root.addHandler(handler)
    # Other libraries are not asked for more than warnings: their lines may quote what they send.
    root.setLevel(logging.WARNING)
    LOGGER.setLevel((level or "warning").upper())
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before[0])
        LOGGER.setLevel(before[1])


def prepare_logs() -> None:
    """Import what writing a line needs, before a service uses up its file descriptors: an import opens files."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, _Formatter):
            handler.formatter.prepare()


class _Formatter(logging.Formatter):
    """Formats with structlog, which is imported with the first line unless `prepare` was called."""

    def __init__(self, format: str) -> None:
        super().__init__()
        self._format = format
        self._structlog: logging.Formatter | None = None

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line, and a traceback after it in the format `console`."""
        return self.prepare().format(record)

    def prepare(self) -> logging.Formatter:
        """Return the formatter of structlog, which is made once."""
        if self._structlog is None:
            self._structlog = _structlog_formatter(self._format)
        return self._structlog


def _structlog_formatter(format: str) -> logging.Formatter:
    import structlog

    import refundry.formatting  # noqa: F401  # a line needs it

    before: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_fields,
    ]
    processors: list[Any] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    match format:
        case "json":
            processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        case "logfmt":
            order = ["timestamp", "level", "event"]
            processors += [structlog.processors.format_exc_info, structlog.processors.LogfmtRenderer(key_order=order)]
        case _:
            # Not its default traceback, which has the values of local variables.
            traceback, colors = structlog.dev.plain_traceback, sys.stderr.isatty()
            processors.append(
                structlog.dev.ConsoleRenderer(
                    pad_event_to=0, pad_level=False, colors=colors, sort_keys=False, exception_formatter=traceback
                )
            )
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=before, processors=processors)


def _with_fields(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Return a line with the fields of its message, without characters that could end it or move a cursor."""
    from refundry.formatting import plain

    message = line["_record"].msg
    fields = message.fields if isinstance(message, Message) else {}
    event = message.event if isinstance(message, Message) else line["event"]
    shown = {name: plain(str(value)) if isinstance(value, str) else value for name, value in fields.items()}
    return {**shown, **line, "event": plain(event)}
