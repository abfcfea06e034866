"""Telling plugins what was recorded.

The rule of this module: after the commit, in a thread of its own, holding up nobody; an observer that fails is logged.
"""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from refundry.hooks import Plugins
from refundry.journal import Recorded

_log = logging.getLogger("refundry")


class Observer:
    """Calls the `refundry_recorded` hook of every plugin that has one."""

    def __init__(self, plugins: Plugins) -> None:
        self._hook = plugins.manager.hook.refundry_recorded
        self._thread = ThreadPoolExecutor(1, "refundry-observe") if self._hook.get_hookimpls() else None

    def tell(self, recorded: Sequence[Recorded]) -> None:
        """Hand events over; return at once."""
        if self._thread is not None:
            self._thread.submit(self._call, recorded)

    def _call(self, recorded: Sequence[Recorded]) -> None:
        for implementation in self._hook.get_hookimpls():
            try:
                implementation.function(recorded)
            except Exception:
                _log.exception("plugin %r failed to observe", implementation.plugin_name)

    async def close(self) -> None:
        """Finish telling."""
        if self._thread is not None:
            await asyncio.to_thread(self._thread.shutdown)
