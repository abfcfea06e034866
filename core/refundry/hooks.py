"""How plugins are found: packages announce an entry point in the group `refundry` and register with these hooks.

The rule of this module: loud and contained. Two plugins of one name, a hook that does not exist, a hook that raises and
a plugin that cannot be imported are errors that name the plugin; the others are used all the same.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib import metadata
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import attrs
import pluggy

from refundry.errors import PluginError
from refundry.provider import ProviderPlugin

if TYPE_CHECKING:
    import click

    from refundry.journal import Recorded
    from refundry.testing.simulator import SimulatorPlugin

GROUP: Final = "refundry"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)
"""Marks a plugin's functions; `from refundry.hooks import hookimpl`."""


class Hooks:
    """Every hook there is."""

    @hookspec
    def refundry_providers(self) -> "Iterable[ProviderPlugin]":  # type: ignore[empty-body]  # a specification
        """Give the providers that this plugin brings."""

    @hookspec
    def refundry_simulators(self) -> "Iterable[SimulatorPlugin]":  # type: ignore[empty-body]  # a specification
        """Give the simulators that this plugin brings."""

    @hookspec
    def refundry_recorded(self, events: "Sequence[Recorded]") -> None:
        """Observe events that have just become durable. Raising changes nothing; taking long is not allowed."""

    @hookspec
    def refundry_commands(self) -> "Iterable[click.Command]":  # type: ignore[empty-body]  # a specification
        """Give commands to add to the `refundry` command line."""


@attrs.frozen
class Loaded:
    """One entry point and what became of it."""

    name: str
    distribution: str
    version: str
    error: str | None = None


@attrs.frozen
class Plugins:
    """The plugins of this process."""

    manager: pluggy.PluginManager
    loaded: Sequence[Loaded]
    providers: Mapping[str, ProviderPlugin]
    _raised: dict[tuple[str, str], Loaded] = attrs.field(factory=dict, init=False, repr=False, eq=False)

    @property
    def errors(self) -> Sequence[Loaded]:
        """The plugins that could not be used, or not whole, each with the reason in one line.

        A hook that raises is here once it was asked, which `simulators` and `commands` do.
        """
        return [*(plugin for plugin in self.loaded if plugin.error is not None), *self._raised.values()]

    def provider(self, name: str) -> ProviderPlugin:
        """Give the provider of this name; `PluginError` with the reason if there is none."""
        found = self.providers.get(name)
        if found is not None:
            return found
        broken = next((plugin.error for plugin in self.loaded if plugin.name == name and plugin.error), None)
        known = ", ".join(sorted(self.providers)) or "none"
        raise PluginError(broken or f"no plugin brings the provider {name!r}; there are: {known}")

    def simulators(self) -> "Mapping[str, SimulatorPlugin]":
        """Give every simulator by its name."""
        return _by_name("simulator", self._collect("refundry_simulators"))

    def commands(self) -> "Sequence[click.Command]":
        """Give the commands that plugins add."""
        return [command for _, command in self._collect("refundry_commands")]

    def _collect(self, hook: str) -> list[tuple[str, Any]]:
        found: list[tuple[str, Any]] = []
        for plugin in self.loaded:
            if plugin.error is not None:
                continue
            try:
                given = _collect(self.manager, hook, plugin.name)
                if not all(isinstance(getattr(item, "name", None), str) for _, item in given):
                    raise PluginError("what it gives has no name")
            except (Exception, SystemExit) as error:  # whatever a plugin raises must not stop the others
                self._raised[plugin.name, hook] = _failed(plugin, f"fails in {hook}", error)
            else:
                found += given
        return found


def load_plugins(entry_points: Iterable[metadata.EntryPoint] | None = None, extra: Iterable[object] = ()) -> Plugins:
    """Load every announced plugin, and `extra` objects that have hooks themselves.

    Raises `PluginError` where going on would be a guess: two plugins or two providers of one name. A plugin that fails
    to import, uses an unknown hook or gives no provider is reported in `Plugins.errors`, and the others are used.
    """
    found = sorted(metadata.entry_points(group=GROUP) if entry_points is None else entry_points, key=_origin)
    _refuse_twins(found)
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(Hooks)
    loaded = [_load(manager, entry_point.name, entry_point.load, entry_point) for entry_point in found]
    for plugin in extra:
        name = getattr(plugin, "__name__", type(plugin).__name__)
        if any(other.name == name for other in loaded):
            raise PluginError(f"two plugins are called {name!r}")
        loaded.append(_load(manager, name, partial(_itself, plugin), None))
    named: list[tuple[str, ProviderPlugin]] = []
    for index, plugin in enumerate(loaded):
        if plugin.error is None:
            loaded[index] = _ask_providers(manager, plugin, named)
    return Plugins(manager, tuple(loaded), _by_name("provider", named))


def _itself(plugin: object) -> object:
    return plugin


def _origin(entry_point: metadata.EntryPoint) -> tuple[str, str]:
    return entry_point.name, entry_point.dist.name if entry_point.dist else ""


def _refuse_twins(found: Sequence[metadata.EntryPoint]) -> None:
    # pluggy would silently use one of them.
    for first, second in pairwise(found):
        if first.name == second.name:
            origins = " and ".join(point.dist.name if point.dist else point.value for point in (first, second))
            raise PluginError(f"two plugins are called {first.name!r}: {origins}; remove one of them")


def _load(
    manager: pluggy.PluginManager, name: str, load: Callable[[], object], point: metadata.EntryPoint | None
) -> Loaded:
    dist = point.dist if point is not None else None
    described = Loaded(name, dist.name if dist else "", dist.version if dist else "")
    try:
        plugin = load()
        manager.register(plugin, name)
        _check_hooks(manager, plugin)
    except (Exception, SystemExit) as error:  # whatever a plugin does at import must not stop the others
        manager.unregister(name=name) if manager.has_plugin(name) else None
        return _failed(described, "cannot be loaded", error)
    return described


def _failed(plugin: Loaded, how: str, error: BaseException) -> Loaded:
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return attrs.evolve(plugin, error=f"plugin {plugin.name!r} {how}: {reason}")


def _check_hooks(manager: pluggy.PluginManager, plugin: object) -> None:
    for caller in manager.get_hookcallers(plugin) or ():
        if not caller.has_spec():
            raise PluginError(f"there is no hook {caller.name!r}")


def _ask_providers(manager: pluggy.PluginManager, plugin: Loaded, into: list[tuple[str, ProviderPlugin]]) -> Loaded:
    try:
        given = _collect(manager, "refundry_providers", plugin.name)
        if not all(isinstance(item, ProviderPlugin) for _, item in given):
            raise PluginError("refundry_providers must give ProviderPlugin objects")
        into.extend(given)
    except (Exception, SystemExit) as error:  # as above
        manager.unregister(name=plugin.name)
        return _failed(plugin, "gives no provider", error)
    return plugin


def _collect(manager: pluggy.PluginManager, hook: str, plugin: str) -> list[tuple[str, Any]]:
    implementations = getattr(manager.hook, hook).get_hookimpls()
    return [
        (plugin, item)
        for implementation in implementations
        if implementation.plugin_name == plugin
        for item in implementation.function()
    ]


def _by_name(what: str, named: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for plugin, item in named:
        if item.name in found:
            raise PluginError(f"two plugins bring the {what} {item.name!r}: {origin[item.name]!r} and {plugin!r}")
        found[item.name], origin[item.name] = item, plugin
    return found
