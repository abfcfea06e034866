"""Signing in threads, each account apart: a signature that never returns delays no other account.

The rule of this module: it knows what to sign and for which account, and nothing about refunds. A thread cannot be
stopped, so one whose signature hangs is left behind, at most `AT_ONCE` for each account.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Final

import attrs

from refundry.plugin_host.containment import contained
from refundry.provider import ProviderCall, Request

__all__ = ["AT_ONCE", "Signers", "SigningHangs"]

AT_ONCE: Final = 4
"""How many calls of an account are signed at the same time."""
_KEPT: Final = 4
"""How many idle threads wait for the next signature."""

_Signing = tuple[ProviderCall, "asyncio.Future[Request]"]
_Inbox = SimpleQueue["_Lane | None"]


class SigningHangs(Exception):
    """As many signatures of the account as may run at the same time have passed their deadlines and still run."""


@attrs.define(eq=False)
class _Lane:
    """The calls of one account."""

    waiting: deque[_Signing] = attrs.field(factory=deque)
    running: set["asyncio.Future[Request]"] = attrs.field(factory=set)
    threads: int = 0

    def hangs(self) -> bool:
        running = list(self.running)
        return len(running) == AT_ONCE and all(future.done() for future in running)


class Signers:
    """The threads that sign calls, shared by all accounts."""

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}
        self._idle: list[_Inbox] = []
        self._closed = False

    def submit(self, account: str, call: ProviderCall) -> "asyncio.Future[Request]":
        """Sign a call; cancel the future to give it up, as when its deadline has passed.

        The future raises what the plugin raises, always as an `Exception`. Raises `SigningHangs` if no thread of the
        account can be expected to return.
        """
        lane = self._lanes.setdefault(account, _Lane())
        if lane.hangs():
            raise SigningHangs
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Request] = loop.create_future()
        lane.waiting.append((call, future))
        if lane.threads < AT_ONCE:
            self._start(lane, loop)
        return future

    def close(self) -> None:
        """Stop the idle threads; one whose signature hangs does not keep the process alive."""
        self._closed = True
        while self._idle:
            self._idle.pop().put(None)

    def _start(self, lane: _Lane, loop: asyncio.AbstractEventLoop) -> None:
        lane.threads += 1
        inbox = self._idle.pop() if self._idle else self._new_thread(loop)
        inbox.put(lane)

    def _new_thread(self, loop: asyncio.AbstractEventLoop) -> _Inbox:
        inbox: _Inbox = SimpleQueue()
        run = partial(_run, inbox, loop, self._leave)
        threading.Thread(target=run, name="refundry-sign", daemon=True).start()
        return inbox

    def _leave(self, lane: _Lane, inbox: _Inbox) -> None:
        """Take back a thread that found nothing more to sign in its lane."""
        lane.threads -= 1
        if self._closed or len(self._idle) >= _KEPT:
            inbox.put(None)
        else:
            self._idle.append(inbox)
        if lane.waiting:
            self._start(lane, asyncio.get_running_loop())


# --- in a thread ------------------------------------------------------------------------------------------------------


def _run(inbox: _Inbox, loop: asyncio.AbstractEventLoop, leave: Callable[["_Lane", _Inbox], None]) -> None:
    # RuntimeError: the loop has ended meanwhile.
    with suppress(RuntimeError):
        while (lane := inbox.get()) is not None:
            while lane.waiting:
                _sign_next(lane, loop)
            loop.call_soon_threadsafe(leave, lane, inbox)


def _sign_next(lane: _Lane, loop: asyncio.AbstractEventLoop) -> None:
    try:
        call, future = lane.waiting.popleft()
    except IndexError:  # another thread was faster
        return
    if future.done():
        return
    lane.running.add(future)
    try:
        request: Request | Exception = contained(call.sign)
    except Exception as error:  # any exception of a plugin
        request = error
    finally:
        lane.running.discard(future)
    loop.call_soon_threadsafe(_finish, future, request)


def _finish(future: "asyncio.Future[Request]", result: Request | Exception) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
