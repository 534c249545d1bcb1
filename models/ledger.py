"""The ledger of one process: its connections, and the group commits of the walk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection

from models import walk
from models.engine import async_engine
from models.group import GroupCommit, Line
from models.walk import Claim, Claimed, Close, Leaving, Left, NoEffect, Park

# For the transactions of the domain: reservations, plans, breakers. With the two lines of the
# group commits, the heartbeat's and the relay's connection, a worker process holds six.
CONNECTIONS = 2


class Ledger:
    """Claims, marks, closes and parks jobs, many in one commit; each caller awaits its own."""

    def __init__(self, url: str, *, max_wait_seconds: float) -> None:
        self._engine = async_engine(url, connections=CONNECTIONS, pre_ping=True)
        self._long = asyncio.Semaphore(1)
        self._marks, self._closes = Line(url), Line(url)
        claims = partial(walk.claim, max_wait_seconds=max_wait_seconds)
        self.claim: GroupCommit[Claim, Claimed | None] = GroupCommit(self._marks, claims)
        self.leave: GroupCommit[Leaving, Left] = GroupCommit(
            self._marks, walk.leave, size=walk.size_of
        )
        self.no_effect: GroupCommit[NoEffect, bool] = GroupCommit(self._marks, walk.no_effect)
        self.park: GroupCommit[Park, bool] = GroupCommit(self._marks, walk.park)
        self.close: GroupCommit[Close, str | None] = GroupCommit(self._closes, walk.close)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A transaction of its own, for the domain's statements. Never open during a call."""
        async with self._engine.begin() as connection:
            yield connection

    @asynccontextmanager
    async def long_transaction(self) -> AsyncIterator[AsyncConnection]:
        """The same, for a transaction of many seconds: one at a time, so that a connection is left
        for all others."""
        async with self._long, self.transaction() as connection:
            yield connection

    async def dispose(self) -> None:
        await self._marks.close()
        await self._closes.close()
        await self._engine.dispose()
