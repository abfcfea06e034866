"""Running the contract: as a whole with a report, or check by check under pytest.

The rule of this module: whatever a plugin does (raise, hang, lie), each check ends and the others still run.
"""

import asyncio
import logging
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from unittest import SkipTest

from refundry.plugin_host.interfaces import SimulatorPlugin
from refundry.provider import ProviderPlugin
from refundry.testing.contract.base import CHECKS, Breach, Check, NotApplicable, Result, Violation
from refundry.testing.contract.environment import Subject

TOO_LONG: Final = 60.0
"""Seconds after which a check is aborted: something in the plugin never returns."""
_AT_ONCE: Final = 4
"""How many checks run concurrently: they wait more than they compute."""


async def check_plugin(
    plugin: ProviderPlugin,
    simulator: SimulatorPlugin,
    *,
    progress: Callable[[Result], None] | None = None,
    keys: Path | None = None,
    only: Collection[str] | None = None,
) -> Sequence[Result]:
    """Run the contract, or `only` the checks with these names; return a result for each, in the order of the table.

    `progress` is called with every result as it arrives. `keys` is a directory in which the simulator's keys are kept
    for the next run; by default they are created in a temporary directory.
    """
    turn = asyncio.Semaphore(_AT_ONCE)

    async def result_of(one: Check, directory: Path) -> Result:
        async with turn:
            await asyncio.to_thread(directory.mkdir)
            result = await _result(one, Subject(plugin, simulator, directory, made))
            if progress is not None:
                progress(result)
            return result

    with tempfile.TemporaryDirectory(prefix="refundry-contract-") as place, _quiet():
        made = keys or Path(place, "keys")
        await asyncio.to_thread(simulator.make_keys, made)
        wanted = [one for one in CHECKS.values() if only is None or one.name in only]
        return await asyncio.gather(*(result_of(one, Path(place, one.name)) for one in wanted))


async def run(name: str, subject: Subject) -> None:
    """Run one check; raise `Breach` if the plugin fails it and `NotApplicable` if it does not apply."""
    try:
        async with asyncio.timeout(TOO_LONG):
            await CHECKS[name].run(subject)
    except Violation as error:
        raise Breach(name, str(error)) from None
    except NotApplicable:
        raise
    except TimeoutError:
        raise Breach(name, f"did not finish within {TOO_LONG:g} seconds") from None
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise Breach(name, f"the plugin or its simulator raised {text}") from error


async def _result(one: Check, subject: Subject) -> Result:
    try:
        await run(one.name, subject)
    except Breach as breach:
        return Result(one.name, one.sentence, "failed", breach.text)
    except NotApplicable as reason:
        return Result(one.name, one.sentence, "not applicable", str(reason))
    return Result(one.name, one.sentence, "passed")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep warnings about deliberately wrong answers off the terminal if logging is not configured."""
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


class ProviderContract:
    """The contract as a test class: subclass it as `Test...` with the fixtures `plugin` and `simulator`.

    Each check is one test; a check that does not apply is skipped with its reason.
    """


def _test_of(name: str, sentence: str) -> Callable[..., None]:
    def test(
        self: ProviderContract,
        plugin: ProviderPlugin,
        simulator: SimulatorPlugin,
        tmp_path: Path,
        tmp_path_factory: Any,
    ) -> None:
        keys = tmp_path_factory.getbasetemp() / f"keys-of-{plugin.name}"
        simulator.make_keys(keys)  # creates missing keys, once for all checks
        try:
            asyncio.run(run(name, Subject(plugin, simulator, tmp_path, keys)))
        except NotApplicable as reason:
            raise SkipTest(str(reason)) from None

    test.__name__ = "test_" + name.replace("-", "_")
    test.__qualname__ = f"{ProviderContract.__name__}.{test.__name__}"
    test.__doc__ = sentence
    return test


for _check in CHECKS.values():
    _test = _test_of(_check.name, _check.sentence)
    setattr(ProviderContract, _test.__name__, _test)
