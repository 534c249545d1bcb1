"""How many bytes a second a sync may move, over all its parts and workers together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

# Bytes are asked for in lumps of at least so long a time, so that each part looks at the ledger a
# few times a second at the most.
LUMP_SECONDS = 0.25

Turn = Callable[[int], Awaitable[float]]


class Bandwidth:
    """`turn` takes a lump of bytes out of what is left and tells for how many seconds to wait
    before they may go; `per_second` None: there is no limit, and it is never asked."""

    def __init__(self, per_second: int | None, turn: Turn) -> None:
        self._per_second = per_second
        self._turn = turn
        self._left = 0
        self._one = asyncio.Lock()

    async def take(self, size: int) -> None:
        """Wait until so many bytes may go."""
        if not self._per_second:
            return
        async with self._one:
            if size > self._left:
                lump = max(size - self._left, int(self._per_second * LUMP_SECONDS))
                seconds = await self._turn(lump)
                self._left += lump
                await asyncio.sleep(seconds)
            self._left -= size
