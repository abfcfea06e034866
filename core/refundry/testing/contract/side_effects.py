"""Detecting side effects of a plugin.

The rule of this module: every call into C that reaches a clock, randomness, a file or the network is detected, whatever
name the plugin imported it under and whatever it catches.
"""

import gc
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from types import FrameType
from typing import Any, Final

_CLOCKS: Final = frozenset({"now", "utcnow", "today"})
_NAMES: Final = {
    "time": frozenset(
        {
            "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "clock_gettime",
            "clock_gettime_ns", "sleep",
        }
    ),
    "posix": frozenset({"urandom", "getrandom", "open", "read", "write", "stat", "listdir", "scandir", "system"}),
    "nt": frozenset({"urandom", "open", "read", "write", "stat", "listdir", "scandir", "system"}),
    "_io": frozenset({"open", "open_code", "FileIO"}),
    "_socket": frozenset({"getaddrinfo", "gethostbyname", "socket"}),
    "_posixsubprocess": frozenset({"fork_exec"}),
}  # fmt: skip
_ALLOWED_IN: Final = ("logging", "importlib", "_frozen_importlib")
"""Modules whose side effects are not the plugin's: a log record has a time, an import reads a file."""


@contextmanager
def watched() -> Iterator[list[str]]:
    """Yield a list that collects the side effects of this thread while the context is open."""
    touched: list[str] = []

    def see(frame: FrameType, event: str, function: Any) -> None:
        name = _forbidden(function) if event == "c_call" else None
        if name is not None and not _allowed(frame):
            touched.append(f"{name} in {frame.f_globals.get('__name__')}.{frame.f_code.co_name}")

    before, collects = sys.getprofile(), gc.isenabled()
    gc.disable()  # a collection may call into other software, which may look at a clock
    sys.setprofile(see)
    try:
        yield touched
    finally:
        sys.setprofile(before)
        if collects:
            gc.enable()


def _forbidden(function: Any) -> str | None:
    name, owner = getattr(function, "__name__", ""), getattr(function, "__self__", None)
    if name in _CLOCKS and isinstance(owner, type) and issubclass(owner, date):
        return f"{owner.__name__}.{name}"
    if isinstance(owner, random.Random) or type(owner).__module__ == "_socket":
        return f"{type(owner).__name__}.{name}"
    module = getattr(function, "__module__", None)
    return f"{module}.{name}" if module in _NAMES and name in _NAMES[module] else None


def _allowed(frame: FrameType) -> bool:
    found: FrameType | None = frame
    while found is not None:
        if str(found.f_globals.get("__name__", "")).partition(".")[0] in _ALLOWED_IN:
            return True
        found = found.f_back
    return False
