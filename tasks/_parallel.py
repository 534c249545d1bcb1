"""Several workers on one stream of items, and how many bytes they may hold in memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")

# Items read ahead, for each worker.
AHEAD = 4


class Budget:
    """Bytes that may be in memory at once; who comes first is served first, so that a large one
    is not passed by small ones for ever."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._left = most
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def held(self, size: int) -> AsyncIterator[None]:
        """Wait for so many bytes, or for all there are."""
        size = min(size, self._most)
        await self._take(size)
        try:
            yield
        finally:
            self._left += size
            self._serve()

    async def _take(self, size: int) -> None:
        if not self._waiting and size <= self._left:
            self._left -= size
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._left += size
            self._serve()
            raise

    def _serve(self) -> None:
        while self._waiting:
            size, turn = self._waiting[0]
            if not turn.done() and size > self._left:
                return
            self._waiting.popleft()
            if not turn.done():
                self._left -= size
                turn.set_result(None)


class Together:
    """Short work of many tasks in a thread, as much at a time as has come meanwhile: to hand over
    each by itself takes longer than to hash a small file. One after the other, on purpose: the
    event loop needs the interpreter too."""

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._waiting: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = deque()
        self._running: asyncio.Task[None] | None = None

    async def run(self, work: Callable[[], Answer]) -> Answer:
        """What the work returns; raises what it does."""
        turn: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, turn))
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        return await turn

    async def _run(self) -> None:
        while self._waiting:
            some = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            wanted = [(work, turn) for work, turn in some if not turn.done()]
            try:
                answers = await asyncio.to_thread(_all, [work for work, _ in wanted])
            except RuntimeError as ended:  # no thread is to be had: the process ends
                answers = [(None, ended)] * len(wanted)
            for (_, turn), (answer, error) in zip(wanted, answers, strict=True):
                if turn.done():
                    continue
                turn.set_result(answer) if error is None else turn.set_exception(error)


def _all(works: Sequence[Callable[[], Any]]) -> list[tuple[Any, Exception | None]]:
    answers: list[tuple[Any, Exception | None]] = []
    for work in works:
        try:
            answers.append((work(), None))
        except Exception as error:  # each is told of its own
            answers.append((None, error))
    return answers


async def in_parallel(
    items: AsyncGenerator[Item],
    work: Callable[[Item], Awaitable[None]],
    workers: int,
    ahead: int | None = None,
) -> None:
    """Do the work on every item, of which so many are read ahead. The first error, the stream's or
    a worker's, ends all the rest and is raised."""
    queue: asyncio.Queue[Item | None] = asyncio.Queue(ahead or AHEAD * workers)

    async def worker() -> None:
        while (item := await queue.get()) is not None:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group, aclosing(items):
            for _ in range(workers):
                group.create_task(worker())
            async for item in items:
                await queue.put(item)
            for _ in range(workers):
                await queue.put(None)
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


async def in_order(
    items: AsyncIterator[Item], work: Callable[[Item], Awaitable[Answer]], ahead: int
) -> AsyncGenerator[Answer]:
    """What the work makes of each item, one after the other, while it is at the next `ahead`."""
    running: deque[asyncio.Task[Answer]] = deque()
    try:
        async for item in items:
            running.append(asyncio.ensure_future(work(item)))
            if len(running) > ahead:
                yield await running.popleft()
        while running:
            yield await running.popleft()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
