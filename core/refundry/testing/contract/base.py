"""What a check of the contract is: a name, one sentence that holds, and a function that finds out.

The rule of this module: a check passes, is broken, or does not apply, and says why; nothing else can come of it.
"""

from collections.abc import Awaitable, Callable
from typing import Final, Literal, NoReturn

import attrs

from refundry.testing.contract.environment import Subject

Look = Callable[[Subject], Awaitable[None]]
Status = Literal["passed", "failed", "not applicable"]


class Breach(AssertionError):
    """A plugin does not keep to the contract."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name
        self.text = text


class Broken(AssertionError):
    """What a check found to be wrong; whoever runs the check adds its name."""


class NotApplicable(Exception):
    """A check has nothing to look at: the plugin has no such thing."""


@attrs.frozen
class Check:
    """One row of the contract."""

    name: str
    """Stable: what a report, a test and a plugin author call it by."""
    sentence: str
    """What holds of a plugin that passes."""
    look: Look


@attrs.frozen
class Result:
    """What became of one check."""

    name: str
    sentence: str
    status: Status
    text: str = ""
    """Why it failed, or why it does not apply."""


CHECKS: Final[dict[str, Check]] = {}
"""Every check by its name, in the order in which they are run and shown."""


def check(name: str, sentence: str) -> Callable[[Look], Look]:
    """Add a function to the contract."""

    def add(look: Look) -> Look:
        if name in CHECKS:
            raise ValueError(f"two checks are called {name}")
        CHECKS[name] = Check(name, sentence, look)
        return look

    return add


def broken(text: str) -> NoReturn:
    """Say that the plugin breaks the contract here."""
    raise Broken(text)


def demand(holds: bool, text: str) -> None:
    """Say that the plugin breaks the contract here, unless `holds`."""
    if not holds:
        raise Broken(text)
