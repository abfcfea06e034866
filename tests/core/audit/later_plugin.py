"""A later version of Antom's plugin, for tests that read stored messages again."""

from collections.abc import Callable, Iterator
from typing import Any

import attrs

from refundry.plugin_host import Plugins, hookimpl, load_plugins
from refundry.provider import (
    Answer,
    Notification,
    Outcome,
    Provider,
    ProviderCall,
    ProviderPlugin,
    Terms,
    VerifiedNotification,
)
from refundry_antom.provider import PLUGIN


@attrs.frozen
class LaterProvider:
    """A later version of Antom's provider, which reads some answers differently."""

    inner: Any
    change: Callable[[Outcome], Outcome]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def _read(self, call: ProviderCall) -> ProviderCall:
        def read(answer: Answer) -> Outcome:
            return self.change(call.read(answer))

        return attrs.evolve(call, read=read)

    def refund(self, *arguments: Any) -> ProviderCall:
        return self._read(self.inner.refund(*arguments))

    def inquire(self, *arguments: Any) -> ProviderCall:
        return self._read(self.inner.inquire(*arguments))

    def parse_notification(self, notification: Notification) -> VerifiedNotification:
        notification_read: VerifiedNotification = self.inner.parse_notification(notification)
        return notification_read


def with_change(change: Callable[[Outcome], Outcome]) -> Plugins:
    """Return the plugins of a later version, in which `change` is applied to every outcome of an answer."""

    def build(settings: Any, terms: Terms) -> Provider:
        return LaterProvider(PLUGIN.build(settings, terms), change)

    class Later:
        @hookimpl
        def refundry_providers(self) -> Iterator[ProviderPlugin]:
            yield attrs.evolve(PLUGIN, version="9.9.9", build=build)

    return load_plugins(entry_points=[], extra=[Later()])
