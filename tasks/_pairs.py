"""Both ends side by side: two listings in key order become one, without holding either."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tasks._ends import End, Entry

Pair = tuple[Entry | None, Entry | None]


async def pairs(source: End, target: End) -> AsyncIterator[Pair]:
    """Each key once: what the source has of it, and what the target has."""
    ours, theirs = source.entries(), target.entries()
    left, right = await anext(ours, None), await anext(theirs, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left.order < right.order):
            yield left, None
            left = await anext(ours, None)
        elif left is None or right.order < left.order:
            yield None, right
            right = await anext(theirs, None)
        else:
            yield left, right
            left, right = await anext(ours, None), await anext(theirs, None)
