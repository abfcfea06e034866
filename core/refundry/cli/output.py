"""Standard output that cannot fail a command after money moved.

The rule of this module: what a terminal cannot show is escaped, and a command that changes something ends as it would
have ended, whether or not anything can be written. A command that only reads fails if its output is incomplete.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

__all__ = ["OutputFailed", "ReaderGone", "continue_without_output", "safe_output"]


class OutputFailed(Exception):
    """The output of a command that only reads could not be written; the text says why."""


class ReaderGone(OutputFailed):
    """Nothing reads the output any more, as after `head`."""


class _Output:
    """Standard output whose errors are reported once, and raised only if the command may end with them."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._failed = False
        self.is_dispensable = False
        """Whether the command continues when nothing can be written."""

    def write(self, text: str) -> int:
        """Write text, unless writing failed before."""
        # Click writes nothing, as bytes and as text, to learn which of them a stream takes, and ignores every error.
        if not isinstance(text, str):
            raise TypeError("not text")
        if text:
            self._attempt(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered, unless writing failed before."""
        self._attempt(self._stream.flush)

    def _attempt(self, action: Callable[..., object], *arguments: object) -> None:
        if self._failed:
            return
        try:
            action(*arguments)
        except OSError as error:
            self._failed = True
            # What is still buffered goes nowhere, or Python would try again at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            reason = f"the output could not be written: {error.strerror}"
            is_closed = isinstance(error, BrokenPipeError)
            if not self.is_dispensable:
                raise (ReaderGone if is_closed else OutputFailed)(reason) from None
            if not is_closed:
                sys.stderr.write(f"refundry: {reason}; the command itself was carried out\n")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def safe_output() -> Iterator[None]:
    """Keep standard output from failing within this context."""
    before, output = sys.stdout, _Output(sys.stdout)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout = output
    try:
        yield
        output.flush()
    except SystemExit:
        output.flush()
        raise
    finally:
        sys.stdout = before


def continue_without_output() -> None:
    """Keep this command running when its output cannot be written, because it changes something."""
    if isinstance(sys.stdout, _Output):
        sys.stdout.is_dispensable = True
