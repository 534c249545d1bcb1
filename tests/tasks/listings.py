"""Ends of a sync that only can be listed: what a scripted bucket or folder holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from tasks._ends import Entry

PAGE = 100


class Listed:
    """An end that lists `entries`, made anew each time it is asked; the other steps of one it has
    not. `at`: called with the number of entries given out until now, before each page."""

    def __init__(
        self,
        entries: Callable[[], Iterable[Entry]],
        *,
        place: str = "s3",
        prefix: str = "",
        page: int = PAGE,
        at: Callable[[int], Any] = lambda _: None,
    ) -> None:
        self.place = place
        self.given = 0
        self.asked: list[str] = []
        self.at = at
        self._entries = entries
        self._prefix = prefix
        self._page = page

    def name(self, key: str) -> str:
        return self._prefix + key

    async def entries(self, after: str = "") -> AsyncIterator[Sequence[Entry]]:
        self.asked.append(after)
        beyond = Entry(after).order
        left = (entry for entry in self._entries() if not after or entry.order > beyond)
        while page := list(islice(left, self._page)):
            await asyncio.sleep(0)
            self.at(self.given)
            self.given += len(page)
            yield page


def keys(*names: str, size: int = 1, **known: Any) -> Callable[[], Iterable[Entry]]:
    """Entries of these names, in order."""
    return lambda: sorted((Entry(n, size, **known) for n in names), key=lambda e: e.order)


def numbered(count: int, *, but: Callable[[int], bool] = lambda _: False, size: int = 1) -> Any:
    """So many entries by their number, but for some."""
    return lambda: (Entry(f"{n:07}", size, etag=f"{n:032x}") for n in range(count) if not but(n))
