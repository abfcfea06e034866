"""The registration of a simulated provider with the command line.

The rule of this module: a plugin names its simulator, its settings and its account; everything else is the same for
every provider.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from refundry.testing.simulator.server import Simulator
from refundry.testing.simulator.settings import Keys, Settings, SimulatorPlugin, account_text, make_keys, with_options

S = TypeVar("S", bound=Settings)


def simulator_plugin(
    simulator: type[Simulator[S]],
    settings: type[S],
    *,
    name: str,
    version: str,
    account: Mapping[str, str | int],
    path: str = "",
    make_keys: Callable[[Path], Keys] = make_keys,
    footer: Callable[[Path], str] = lambda keys_dir: "",
) -> SimulatorPlugin:
    """Return the plugin of a simulator.

    `account` are the settings that only this provider's accounts have, and `path` is what follows the simulator's host
    in their `base_url`. `footer` returns the lines that follow the account in refundry.toml, from the keys directory.
    """

    def account_section(account_name: str, url: str, keys_dir: Path, notify_url: str | None = None) -> str:
        keys = Keys(keys_dir.resolve())
        lines: dict[str, str | int] = {
            "provider": name,
            "base_url": url + path,
            **account,
            "private_key": str(keys.merchant),
            "provider_public_key": str(keys.provider_public),
        }
        if notify_url is not None:
            lines["notify_url"] = notify_url
        return account_text(account_name, lines) + footer(keys.directory)

    @asynccontextmanager
    async def run(host: str, port: int, keys_dir: Path, options: Mapping[str, Any]) -> AsyncIterator[Simulator[S]]:
        initial = settings(host=host, port=port, keys=make_keys(keys_dir))
        async with simulator(with_options(initial, options)) as running:
            yield running

    return SimulatorPlugin(name=name, version=version, account_section=account_section, run=run, make_keys=make_keys)
