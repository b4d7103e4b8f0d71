"""Group commit: what many requests ask of the store at the same time becomes durable in one transaction.

A commit waits for the disk for some milliseconds whether it holds one upload or a thousand. So while one is under
way, whatever arrives is put together, and is the next one: no timer, and an idle store answers at once.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

Item, Result = TypeVar("Item"), TypeVar("Result")

SMOOTHING = 0.2  # of the time that an item takes, from group to group


class Busy(Exception):
    """More is waiting than may wait; come back after `retry_after` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the store is busy; try again in {retry_after} s")
        self.retry_after = retry_after


class GroupCommit(Generic[Item, Result]):
    """Puts items together for a function that takes many at once, on the event loop that first calls `submit`."""

    def __init__(
        self,
        work: Callable[[list[Item]], Sequence[Result]],
        writer: Executor,
        group: int = 2000,
        waiting: int = 20_000,
        observe: Callable[[int, float], None] = lambda items, seconds: None,
    ) -> None:
        """Creates one.

        Args:
          work: takes a group, returns the result of each item in order; runs on `writer`.
          writer: of one thread, which may serve several.
          group: items at which a group is full.
          waiting: items that wait at most.
          observe: told of each group: how many items, how many seconds.
        """
        self._work, self._writer, self._observe = work, writer, observe
        self._group, self._most = group, waiting
        self._queue: deque[tuple[Sequence[Item], asyncio.Future]] = deque()
        self._waiting = 0
        self._seconds = 0.0  # that an item takes
        self._drainer: asyncio.Task | None = None

    @property
    def waiting(self) -> int:
        """Items that were submitted and are not done."""
        return self._waiting

    async def submit(self, items: Sequence[Item]) -> list[Result]:
        """The results of items, once they are done.

        Raises:
          Busy: too many are waiting; nothing was done.
          ValueError: what `work` raised on these items alone; nothing of them was done.
          Exception: anything else that it raised; then nothing of the group was done.
        """
        if not items:
            return []
        if self._waiting + len(items) > self._most:
            raise Busy(max(1, math.ceil(self._waiting * self._seconds)))
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        self._queue.append((items, done))
        self._waiting += len(items)
        if self._drainer is None:
            self._drainer = loop.create_task(self._drain())
        return await done

    async def _drain(self) -> None:
        try:
            while self._queue:
                entries = self._take()
                try:
                    await self._commit(entries)
                finally:
                    self._waiting -= sum(len(items) for items, _ in entries)
        finally:
            self._drainer = None

    async def _commit(self, entries: list[tuple[Sequence[Item], asyncio.Future]]) -> None:
        loop = asyncio.get_running_loop()
        items = [item for some, _ in entries for item in some]
        began = loop.time()
        try:
            results = await loop.run_in_executor(self._writer, self._work, items)
        except ValueError as error:  # of one entry, whose content the others need not suffer for
            if len(entries) > 1:
                for entry in entries:
                    await self._commit([entry])
                return
            _fail(entries, error)
        except Exception as error:
            _fail(entries, error)
        else:
            _deliver(entries, results)
        seconds = loop.time() - began
        self._seconds += SMOOTHING * (seconds / len(items) - self._seconds)
        self._observe(len(items), seconds)

    def _take(self) -> list[tuple[Sequence[Item], asyncio.Future]]:
        entries = [self._queue.popleft()]
        size = len(entries[0][0])
        while self._queue and size + len(self._queue[0][0]) <= self._group:
            entries.append(self._queue.popleft())
            size += len(entries[-1][0])
        return entries


def _deliver(entries: list[tuple[Sequence[Item], asyncio.Future]], results: Sequence[Result]) -> None:
    first = 0
    for items, done in entries:
        if not done.done():  # whoever asked may have gone
            done.set_result(list(results[first : first + len(items)]))
        first += len(items)


def _fail(entries: list[tuple[Sequence[Item], asyncio.Future]], error: Exception) -> None:
    for _, done in entries:
        if not done.done():
            done.set_exception(error)
