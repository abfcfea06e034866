"""Work done in groups, as commits are, with no database at all."""

import asyncio
import threading
from collections.abc import Sequence

import attrs
import pytest

from refundry.batching import Grouped
from refundry.errors import StoreError


@attrs.frozen
class Item:
    """Something to write."""

    name: int
    share: float = 0.01


def share(item: Item) -> float:
    return item.share


class Store:
    """Remembers its groups; can be held up, and can fail."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.go = threading.Event()
        self.go.set()
        self.error: Exception | None = None

    def commit(self, items: Sequence[Item]) -> Sequence[int | Exception]:
        """Refuse every second hundred alone, and everything when `error` is set."""
        self.go.wait(10)
        self.groups.append([item.name for item in items])
        if self.error is not None:
            raise self.error
        return [LookupError(item.name) if item.name % 200 == 100 else item.name * 2 for item in items]


async def test_what_arrives_during_a_commit_goes_into_the_next() -> None:
    """The first goes alone; all that came while it was under way share one commit."""
    store = Store()
    group = Grouped("test", store.commit, share)
    store.go.clear()
    first = group.submit(Item(1))
    await asyncio.sleep(0.01)
    others = [group.submit(Item(n)) for n in range(2, 50)]
    await asyncio.sleep(0.01)
    store.go.set()

    assert list(range(2, 100, 2)) == await asyncio.gather(first, *others)
    assert [[1], list(range(2, 50))] == store.groups
    await group.close()


async def test_a_refusal_is_for_one_alone() -> None:
    """One member's error is raised to its caller; the others get their results."""
    store = Store()
    group = Grouped("test", store.commit, share)
    results = await asyncio.gather(*(group.submit(Item(n)) for n in (99, 100, 101)), return_exceptions=True)

    assert [198, 202] == [results[0], results[2]]
    assert isinstance(results[1], LookupError)
    await group.close()


async def test_a_failure_of_the_store_is_for_all_of_the_group() -> None:
    """When the commit fails, every caller of the group gets an error of its own."""
    store = Store()
    store.error = StoreError("store: the disk is full; nothing was stored")
    group = Grouped("test", store.commit, share)
    results = await asyncio.gather(*(group.submit(Item(n)) for n in range(3)), return_exceptions=True)

    assert ["store: the disk is full; nothing was stored"] * 3 == [str(each) for each in results]
    assert 3 == len({id(each) for each in results})

    store.error = None
    assert 10 == await group.submit(Item(5))
    await group.close()


@pytest.mark.parametrize(
    ("items", "sizes"),
    [
        ([Item(n, 0.25) for n in range(5)], [4, 1]),
        ([Item(n, 0.5) for n in range(5)], [2, 2, 1]),
        ([Item(0, 3.0), Item(1)], [1, 1]),
    ],
)
async def test_groups_are_capped(items: list[Item], sizes: list[int]) -> None:
    """The shares of a group do not exceed 1, unless one member's alone does."""
    store = Store()
    group = Grouped("test", store.commit, share)
    await asyncio.gather(*(group.submit(item) for item in items), return_exceptions=True)

    assert sizes == [len(each) for each in store.groups]
    await group.close()


async def test_a_caller_that_goes_away_affects_no_other() -> None:
    """A cancelled write that waits is dropped, one under way is committed, and the others are answered."""
    store = Store()
    group = Grouped("test", store.commit, share)
    store.go.clear()
    under_way = group.submit(Item(1))
    await asyncio.sleep(0.01)
    waiting = [group.submit(Item(n)) for n in (2, 3)]
    await asyncio.sleep(0.01)
    under_way.cancel()
    waiting[0].cancel()
    store.go.set()

    assert 6 == await waiting[1]
    assert [[1], [3]] == store.groups
    await group.close()


async def test_closing_finishes_what_was_asked_and_refuses_the_rest() -> None:
    """What was asked before `close` is committed; afterwards a write is refused."""
    store = Store()
    group = Grouped("test", store.commit, share)
    asked = [group.submit(Item(n)) for n in range(3)]
    await asyncio.sleep(0)
    await group.close()

    assert [0, 2, 4] == await asyncio.gather(*asked)
    with pytest.raises(StoreError, match="closed"):
        await group.submit(Item(9))
    with pytest.raises(StoreError, match="closed"):
        await group.run(lambda: 1)


async def test_other_work_of_the_writer_runs_between_groups() -> None:
    """`run` calls a function in the same thread that commits."""
    store = Store()
    group = Grouped("test", store.commit, share)
    await group.submit(Item(1))
    name = await group.run(lambda: threading.current_thread().name)

    assert name.startswith("refundry-test")
    await group.close()
