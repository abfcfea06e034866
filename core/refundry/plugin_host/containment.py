"""Calling a plugin so that nothing it raises can end more than the call.

The rule of this module: a plugin's exception is an `Exception`. `SystemExit`, `KeyboardInterrupt` and a cancellation
mean something to the process only if the process itself raises them; from a plugin they are a bug like any other.
"""

from collections.abc import Callable
from typing import TypeVar

__all__ = ["PluginBug", "contained"]

T = TypeVar("T")


class PluginBug(Exception):
    """A plugin raised something that would end a thread, a task or the process."""


def contained(function: Callable[[], T]) -> T:
    """Return what a plugin's function returns; raise `PluginBug` for what it raises that no caller can handle."""
    try:
        return function()
    except StopIteration as error:
        # A future refuses it, and a generator would end quietly.
        raise PluginBug("a plugin raised StopIteration") from error
    except Exception:
        raise
    except BaseException as error:  # a Ctrl-C in these microseconds is lost as well; the next one is not
        raise PluginBug(f"a plugin raised {type(error).__name__}") from error
