"""Both ends side by side: two listings in key order become one, without holding either."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Protocol

from tasks._base import Refusal
from tasks._ends import Entry

Pair = tuple[Entry | None, Entry | None]


class Listable(Protocol):
    """What of an `End` a plan has to know."""

    def entries(self, after: str = "") -> AsyncIterator[Sequence[Entry]]: ...


async def pairs(source: Listable, target: Listable, after: str = "") -> AsyncGenerator[Pair]:
    """Each key beyond `after` once: what the source has of it, and what the target has. Raises
    Refusal where an end is not listed in order."""
    async with (
        aclosing(_in_order(source, after, "source")) as ours,
        aclosing(_in_order(target, after, "destination")) as theirs,
    ):
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


async def _in_order(end: Listable, after: str, side: str) -> AsyncGenerator[Entry]:
    """One by one. A listing that jumps back would make others' objects look as if they were not in
    the source, and have them deleted: some servers, and S3's directory buckets, list so."""
    last = Entry(after).order if after else None
    async with aclosing(_ahead(end.entries(after))) as batches:
        async for batch in batches:
            for entry in batch:
                if last is not None and entry.order <= last:
                    raise Refusal(
                        "not_supported", f"{side}: it is not listed in the order of its keys"
                    )
                last = entry.order
                yield entry


async def _ahead(batches: AsyncIterator[Sequence[Entry]]) -> AsyncGenerator[Sequence[Entry]]:
    """The same; the next one is fetched while this one is looked through."""
    fetching = asyncio.create_task(_next(batches))
    try:
        while (batch := await fetching) is not None:
            fetching = asyncio.create_task(_next(batches))
            yield batch
    finally:
        fetching.cancel()
        await asyncio.gather(fetching, return_exceptions=True)
        if isinstance(batches, AsyncGenerator):
            await batches.aclose()


async def _next(batches: AsyncIterator[Sequence[Entry]]) -> Sequence[Entry] | None:
    return await anext(batches, None)
