"""Batching: many small pieces of work share one hop to a thread, for group commit.

The rule of this module: it knows nothing about the work. While a group is being processed it collects what is
submitted, then passes all of it to one thread, and returns to each caller its own result. If a caller is canceled, its
item is dropped unless it was passed on already.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Generic, TypeVar

from refundry.errors import StoreError

__all__ = ["Grouped"]

T = TypeVar("T")
R = TypeVar("R")
V = TypeVar("V")

_Waiting = tuple[T, asyncio.Future[R]]


class Grouped(Generic[T, R]):
    """One thread for all work of one type in a process, such as writing to a store.

    `work` is called in the thread with one group at a time. It returns one result for each member, in order; an
    exception among the results is raised for that member alone, and an exception that it raises is raised for all of
    them. `share` is the part of a group that a member takes: the shares of a group do not exceed 1.
    """

    def __init__(
        self, name: str, work: Callable[[Sequence[T]], Sequence[R | BaseException]], share: Callable[[T], float]
    ) -> None:
        self._work = work
        self._share = share
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"refundry-{name}")
        self._waiting: deque[_Waiting[T, R]] = deque()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False

    def submit(self, item: T) -> asyncio.Future[R]:
        """Add `item` to the next group; return a future with the result of `work` for it."""
        self._check_open()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._waiting.append((item, future))
        if self._idle.is_set():
            self._idle.clear()
            # Not immediately: what else is submitted in this turn of the loop belongs to the same group.
            loop.call_soon(self._next)
        return future

    async def run(self, function: Callable[[], V]) -> V:
        """Call `function` in the thread, between two groups."""
        self._check_open()
        return await asyncio.get_running_loop().run_in_executor(self._thread, function)

    async def close(self) -> None:
        """Process what was submitted, accept nothing more and stop the thread."""
        self._closed = True
        await self._idle.wait()
        await asyncio.get_running_loop().run_in_executor(None, self._thread.shutdown)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("store: it is closed")

    def _next(self) -> None:
        group = self._take()
        if not group:
            self._idle.set()
            return
        members = [item for item, _ in group]
        done = asyncio.get_running_loop().run_in_executor(self._thread, self._work, members)
        done.add_done_callback(partial(self._answer, group))

    def _take(self) -> list[_Waiting[T, R]]:
        group: list[_Waiting[T, R]] = []
        taken = 0.0
        while self._waiting:
            item, future = self._waiting[0]
            taken += self._share(item)
            if group and taken > 1:
                break
            self._waiting.popleft()
            if not future.done():
                group.append((item, future))
        return group

    def _answer(self, group: list[_Waiting[T, R]], done: asyncio.Future[Sequence[R | BaseException]]) -> None:
        error = done.exception()
        results: Sequence[R | BaseException] = done.result() if error is None else [_copy(error) for _ in group]
        for (_, future), result in zip(group, results, strict=True):
            if future.done():
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)
        # Scheduled after the callers above, so that their next items join the next group.
        asyncio.get_running_loop().call_soon(self._next)


def _copy(error: BaseException) -> BaseException:
    """Return an exception of its own for every caller: raising adds to its traceback."""
    if isinstance(error, StoreError):
        copy = StoreError(*error.args)
        copy.__cause__ = error.__cause__
        return copy
    return error
