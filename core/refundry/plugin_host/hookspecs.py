"""Every hook that a plugin can implement."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import pluggy

from refundry.plugin_host.interfaces import AnchorPlugin, Observer, SigningKey, SimulatorPlugin
from refundry.provider import ProviderPlugin

if TYPE_CHECKING:
    import click


GROUP: Final = "refundry"


hookspec = pluggy.HookspecMarker(GROUP)


hookimpl = pluggy.HookimplMarker(GROUP)
"""Marks a plugin's functions; `from refundry.plugin_host import hookimpl`."""


class Hooks:
    """Every hook; docs/reference/hooks.md states when each is called and what happens if it fails."""

    @hookspec
    def refundry_providers(self) -> "Iterable[ProviderPlugin]":  # type: ignore[empty-body]  # a specification
        """Return the providers that this plugin provides."""

    @hookspec
    def refundry_simulators(self) -> "Iterable[SimulatorPlugin]":  # type: ignore[empty-body]  # a specification
        """Return the simulators that this plugin provides."""

    @hookspec
    def refundry_observers(self) -> "Iterable[Observer]":  # type: ignore[empty-body]  # a specification
        """Return functions that every event is delivered to once it is durable."""

    @hookspec
    def refundry_commands(self) -> "Iterable[click.Command]":  # type: ignore[empty-body]  # a specification
        """Return commands to add to the `refundry` command line."""

    @hookspec
    def refundry_audit_signer(self) -> "Iterable[SigningKey]":  # type: ignore[empty-body]  # a specification
        """Return keys that can sign the log, for `key = "plugin:NAME"` in `[audit]`."""

    @hookspec
    def refundry_audit_anchors(self) -> "Iterable[AnchorPlugin]":  # type: ignore[empty-body]  # a specification
        """Return anchors for `[[audit.anchors]]`."""
