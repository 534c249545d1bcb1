"""Several workers on one stream of items, which is read only a little ahead of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

Item = TypeVar("Item")

# Items read ahead, for each worker.
AHEAD = 4


async def in_parallel(
    items: AsyncGenerator[Item], work: Callable[[Item], Awaitable[None]], workers: int
) -> None:
    """Do the work on every item. The first error, the stream's or a worker's, ends all the rest
    and is raised."""
    queue: asyncio.Queue[Item | None] = asyncio.Queue(AHEAD * workers)

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
