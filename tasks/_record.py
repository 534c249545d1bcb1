"""What is written down of a sync while it goes, in short transactions of many rows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from models import objects
from models.group import is_passing
from tasks._base import Transactions

Row = dict[str, Any]
Answer = TypeVar("Answer")

MOST_ROWS = 200
# So long a row may wait for company before it is seen.
LINGER_SECONDS = 0.25
# A database that is restarted meanwhile must not end a sync of hours.
PATIENCE_SECONDS = 60.0
LOOK_AGAIN_SECONDS = 0.5


class Record:
    """The rows of one run. Two rows for the same key: the later one counts."""

    def __init__(self, ledger: Transactions, job_id: UUID) -> None:
        self.job_id = job_id
        self._ledger = ledger
        self._rows: dict[str, Row] = {}
        self._writing = asyncio.Lock()
        self._since: datetime | None = None

    async def begin(self) -> None:
        self._since = await self._do(objects.now)

    async def add(self, key: str, action: str, outcome: str, **known: Any) -> None:
        self._rows[key] = {
            "job_id": self.job_id,
            "key": key,
            "action": action,
            "outcome": outcome,
            **known,
        }
        if len(self._rows) >= MOST_ROWS:
            await self.flush()

    @asynccontextmanager
    async def going(self) -> AsyncIterator[None]:
        """While the block lasts, no row waits long to be seen; at its end none is left."""
        ended = asyncio.Event()
        keeping = asyncio.create_task(self._keep(ended))
        try:
            yield
        finally:
            ended.set()
            await keeping
            await self.flush()

    async def flush(self) -> None:
        """Write what has been added so far; one at a time, so that the later row stays."""
        async with self._writing:
            rows, self._rows = list(self._rows.values()), {}
            if rows:
                await self._do(lambda connection: objects.write_objects(connection, rows))

    async def finish(self) -> objects.Counts:
        """The counts of the whole job, over all its runs."""
        await self.flush()
        since = self._begun()
        await self._do(lambda connection: objects.forget(connection, self.job_id, since))
        return await self._do(lambda connection: objects.counts(connection, self.job_id))

    async def left_out(self, limit: int) -> list[Row]:
        return await self._do(lambda c: objects.left_out(c, self.job_id, limit))

    async def to_delete(self, after: str) -> list[str]:
        since = self._begun()
        return await self._do(lambda c: objects.to_delete(c, self.job_id, since, after, MOST_ROWS))

    async def _keep(self, ended: asyncio.Event) -> None:
        while not ended.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), LINGER_SECONDS)
            await self.flush()

    def _begun(self) -> datetime:
        if self._since is None:
            raise RuntimeError("the run was not begun")
        return self._since

    async def _do(self, statement: Callable[[AsyncConnection], Awaitable[Answer]]) -> Answer:
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE_SECONDS
        while True:
            try:
                async with self._ledger.transaction() as connection:
                    return await statement(connection)
            except DBAPIError as error:
                if not is_passing(error.orig) or loop.time() > until:
                    raise
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
