"""What a check of the contract is: a name, one sentence, and the function that tests it.

The rule of this module: a check passes, fails or does not apply, and states why.
"""

from collections.abc import Awaitable, Callable
from typing import Final, Literal, NoReturn

import attrs

from refundry.testing.contract.environment import Subject

CheckFunction = Callable[[Subject], Awaitable[None]]
Status = Literal["passed", "failed", "not applicable"]


class Breach(AssertionError):
    """A plugin violates the contract."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name
        self.text = text


class Violation(AssertionError):
    """What a check found to be wrong; the runner adds the name of the check."""


class NotApplicable(Exception):
    """A check does not apply: the plugin lacks the feature."""


@attrs.frozen
class Check:
    """One row of the contract."""

    name: str
    """Stable: reports, tests and plugin authors refer to it."""
    sentence: str
    """What is true of a plugin that passes."""
    run: CheckFunction


@attrs.frozen
class Result:
    """The result of one check."""

    name: str
    sentence: str
    status: Status
    text: str = ""
    """Why it failed or does not apply."""


CHECKS: Final[dict[str, Check]] = {}
"""Every check by its name, in the order in which checks are run and listed."""


def check(name: str, sentence: str) -> Callable[[CheckFunction], CheckFunction]:
    """Add a function to the contract."""

    def add(run: CheckFunction) -> CheckFunction:
        if name in CHECKS:
            raise ValueError(f"two checks have the name {name}")
        CHECKS[name] = Check(name, sentence, run)
        return run

    return add


def fail(text: str) -> NoReturn:
    """Raise a violation of the contract."""
    raise Violation(text)


def require(holds: bool, text: str) -> None:
    """Raise a violation of the contract unless `holds`."""
    if not holds:
        raise Violation(text)
