"""How plugins are found: packages announce an entry point in the group `refundry` and register with these hooks.

The rule of this module: loud and contained. Two plugins of one name, a hook that does not exist, a hook that raises and
a plugin that cannot be imported are errors that name the plugin; the others are used all the same. What the
configuration does not allow is known by its metadata alone: no line of it runs.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from importlib import metadata
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import attrs
import pluggy

from refundry.errors import ConfigError, PluginError
from refundry.plugin_host.interfaces import AnchorPlugin, Observer, SigningKey, SimulatorPlugin
from refundry.provider import ProviderPlugin

if TYPE_CHECKING:
    import click

from refundry.plugin_host.hookspecs import GROUP, Hooks


@attrs.frozen
class Loaded:
    """One entry point and what became of it."""

    name: str
    distribution: str
    version: str
    error: str | None = None
    allowed: bool = True
    """False: the configuration leaves it out, so nothing of it was imported."""

    @property
    def usable(self) -> bool:
        """Return whether its hooks are called."""
        return self.allowed and self.error is None


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
        """Return the provider of this name; raise `PluginError` with the reason if it is not available."""
        found = self.providers.get(name)
        if found is not None:
            return found
        plugin = next((plugin for plugin in self.loaded if plugin.name == name and not plugin.usable), None)
        if plugin is not None:
            raise PluginError(plugin.error or f"the plugin {name!r} is installed, and `plugins` does not allow it")
        known = ", ".join(sorted(self.providers)) or "none"
        left_out = ", ".join(sorted({plugin.name for plugin in self.loaded if not plugin.allowed}))
        also = f"; not allowed by `plugins`: {left_out}" if left_out else ""
        raise PluginError(f"no installed plugin has the provider {name!r}; there are: {known}{also}")

    def simulators(self) -> "Mapping[str, SimulatorPlugin]":
        """Return every simulator by its name."""
        return _by_name("simulator", self._collect("refundry_simulators"))

    def commands(self) -> "Sequence[click.Command]":
        """Return the commands that plugins add."""
        from click import Command  # only the command line needs it

        return [command for _, command in self._collect("refundry_commands", Command)]

    def brought(self, hook: str, plugin: str) -> Sequence[str]:
        """Return the names of what a plugin gives through one of the hooks that give something."""
        return [item.name for name, item in self._collect(hook) if name == plugin]

    def hooks_of(self, plugin: str) -> Sequence[str]:
        """Return the names of the hooks that a plugin has."""
        callers = self.manager.get_hookcallers(self.manager.get_plugin(plugin)) or ()
        return sorted(caller.name for caller in callers)

    def signing_keys(self) -> "Sequence[SigningKey]":
        """Return the keys of plugins that can sign the log."""
        return list(_by_name("signing key", self._collect("refundry_audit_signer")).values())

    def observers(self) -> Sequence[Observer]:
        """Return the observers of all plugins."""
        return list(_by_name("observer", self._collect("refundry_observers", Observer)).values())

    def anchors(self) -> "Sequence[AnchorPlugin]":
        """Return the anchors that plugins bring."""
        return list(_by_name("anchor", self._collect("refundry_audit_anchors")).values())

    def _collect(self, hook: str, kind: type = object) -> list[tuple[str, Any]]:
        found: list[tuple[str, Any]] = []
        for plugin in self.loaded:
            if not plugin.usable:
                continue
            try:
                given = _collect(self.manager, hook, plugin.name)
                if not all(isinstance(getattr(item, "name", None), str) for _, item in given):
                    raise PluginError("what it returns has no name")
                if not all(isinstance(item, kind) for _, item in given):
                    raise PluginError(f"what it returns is not of type {kind.__name__}")
            except (Exception, SystemExit) as error:  # whatever a plugin raises must not stop the others
                self._raised[plugin.name, hook] = _failed(plugin, f"fails in {hook}", error)
            else:
                found += given
        return found


def load_plugins(
    entry_points: Iterable[metadata.EntryPoint] | None = None,
    extra: Iterable[object] = (),
    *,
    allow: Collection[str] | None = None,
) -> Plugins:
    """Load every announced plugin whose name `allow` holds (None: all), and `extra` objects that have hooks themselves.

    Raises `PluginError` if continuing would be a guess: two plugins or two providers of one name, or an object in
    `extra` that cannot be used; and `ConfigError` for a name in `allow` that no plugin has. A plugin that fails to
    import, uses an unknown hook or returns something else than a provider is reported in `Plugins.errors`, and the
    others are used.
    """
    found = sorted(metadata.entry_points(group=GROUP) if entry_points is None else entry_points, key=_origin)
    given = [(getattr(plugin, "__name__", type(plugin).__name__), plugin) for plugin in extra]
    _refuse_unknown_names(allow, [*(point.name for point in found), *(name for name, _ in given)])
    wanted = [point for point in found if _allows(allow, point)]
    _refuse_duplicates(wanted)
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(Hooks)
    loaded = [_load(manager, _described(point), point.load) for point in wanted]
    for name, plugin in given:
        if any(other.name == name for other in loaded):
            raise PluginError(f"two plugins are called {name!r}")
        passed = _load(manager, Loaded(name, "", ""), partial(_itself, plugin))
        if passed.error is not None:
            # It was passed in code: an error of the call, not of an installation.
            raise PluginError(passed.error)
        loaded.append(passed)
    named: list[tuple[str, ProviderPlugin]] = []
    asked = [_ask_providers(manager, one, named) if one.usable else one for one in loaded]
    left_out = [attrs.evolve(_described(point), allowed=False) for point in found if not _allows(allow, point)]
    return Plugins(manager, (*asked, *left_out), _by_name("provider", named))


def _itself(plugin: object) -> object:
    return plugin


def _origin(entry_point: metadata.EntryPoint) -> tuple[str, str]:
    return entry_point.name, entry_point.dist.name if entry_point.dist else ""


def _allows(allow: Collection[str] | None, point: metadata.EntryPoint) -> bool:
    return allow is None or point.name in allow


def _refuse_unknown_names(allow: Collection[str] | None, names: Collection[str]) -> None:
    for name in allow or ():
        if name not in names:
            known = ", ".join(sorted(set(names))) or "none"
            raise ConfigError("plugins", f"names {name!r}, and no such plugin is installed; there are: {known}")


def _refuse_duplicates(found: Sequence[metadata.EntryPoint]) -> None:
    # pluggy would silently use one of them.
    for first, second in pairwise(found):
        if first.name == second.name:
            origins = " and ".join(point.dist.name if point.dist else point.value for point in (first, second))
            raise PluginError(f"two plugins are called {first.name!r}: {origins}; remove one of them")


def _described(point: metadata.EntryPoint) -> Loaded:
    return Loaded(point.name, point.dist.name if point.dist else "", point.dist.version if point.dist else "")


def _load(manager: pluggy.PluginManager, described: Loaded, load: Callable[[], object]) -> Loaded:
    try:
        plugin = load()
        manager.register(plugin, described.name)
        _check_hooks(manager, plugin)
    except (Exception, SystemExit) as error:  # whatever a plugin does at import must not stop the others
        manager.unregister(name=described.name) if manager.has_plugin(described.name) else None
        return _failed(described, "cannot be loaded", error)
    return described


def _failed(plugin: Loaded, how: str, error: BaseException) -> Loaded:
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return attrs.evolve(plugin, error=f"plugin {plugin.name!r} {how}: {reason}")


def _check_hooks(manager: pluggy.PluginManager, plugin: object) -> None:
    callers = manager.get_hookcallers(plugin)
    if not callers:
        raise PluginError("it has no hook; mark its functions with refundry.plugin_host.hookimpl")
    for caller in callers:
        if caller.spec is None:
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
