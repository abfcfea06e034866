"""The exit statuses of every command.

The rule of this module: a script can decide by the status alone; the text on stderr is for people.
"""

from enum import IntEnum

__all__ = ["ExitStatus"]


class ExitStatus(IntEnum):
    """What the end of a command means; the names are stable, and so are the numbers."""

    DONE = 0
    INTERNAL_ERROR = 1
    """A bug: in Refundry, in a plugin, or one that keeps a refund from being processed."""
    REFUSED = 2
    """Usage, input, configuration, plugin or store error; nothing was partially stored."""
    NOT_PAID = 3
    """`request --wait`: the refund failed, or it needs an operator."""
    NOT_FINAL = 4
    """`request --wait`: no final result in time; workers continue."""
    DIFFERENCE = 5
    """A check found a difference, or a problem."""
    INTERRUPTED = 130
    """Interrupted, or canceled at a prompt."""
