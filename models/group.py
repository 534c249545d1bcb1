"""Group commit: statements of many jobs go as one, and each job waits for its own commit.

This is the hot path, so it speaks to psycopg directly: through SQLAlchemy's asyncio layer each
round trip took 500 µs of CPU, where the driver alone takes 100 µs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import accumulate, takewhile
from typing import Any, Generic, TypeVar

import psycopg
from psycopg.rows import dict_row
from sqlalchemy import exc

from models.engine import CONNECT_ARGS

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Connection = psycopg.AsyncConnection[dict[str, Any]]
Statement = Callable[[Connection, Sequence[Item]], Awaitable[Sequence[Answer]]]

# Without a fixed linger the sizes of the groups were bimodal, with long runs of ones.
LINGER_SECONDS = 0.005
MOST = 500
# Bodies of a thousand mails each: a statement must not hold five hundred of them.
MOST_BYTES = 4 * 1024 * 1024
DEADLOCK = "40P01"
# The connection died, the server is going down, or out of disk, memory or connections for now: the
# same group goes again.
LOST_CLASSES = ("08", "53", "57", "58")


class LedgerDown(Exception):
    """The ledger cannot be reached; nothing is known to have been written."""


class Line:
    """One connection to the ledger, kept open, used by one group at a time."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._kept: Connection | None = None
        self._free = asyncio.Lock()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """The connection, in autocommit. One that broke is replaced by the next caller's."""
        async with self._free:
            if self._kept is None or self._kept.closed:
                arguments: dict[str, Any] = {**CONNECT_ARGS}
                self._kept = await psycopg.AsyncConnection.connect(
                    self._url, autocommit=True, row_factory=dict_row, **arguments
                )
                await _prepare(self._kept)
            yield self._kept

    async def close(self) -> None:
        if self._kept is not None:
            with suppress(psycopg.Error):
                await self._kept.close()


class GroupCommit(Generic[Item, Answer]):
    """Collects items for some milliseconds, runs `statement` on them, answers each.

    `statement` returns one answer an item, in order, and must be safe to repeat: after a lost
    connection nobody knows whether the commit arrived, so the group is sent again.
    """

    def __init__(
        self,
        line: Line,
        statement: Statement[Item, Answer],
        *,
        size: Callable[[Item], int] | None = None,
        patience_seconds: float = 60.0,
        linger_seconds: float = LINGER_SECONDS,
    ) -> None:
        self._line = line
        self._statement = statement
        self._size = size
        self._patience = patience_seconds
        self._linger = linger_seconds
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._flusher: asyncio.Task[None] | None = None

    async def __call__(self, item: Item) -> Answer:
        """Run with the next group. Raises LedgerDown when the ledger stays away for too long."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush())
        return await future

    async def _flush(self) -> None:
        try:
            await asyncio.sleep(self._linger)
            while self._waiting:
                most = self._fitting()
                group, self._waiting = self._waiting[:most], self._waiting[most:]
                await self._run(group)
        finally:
            self._flusher = None

    def _fitting(self) -> int:
        """How many of those that wait go in one statement: at least one."""
        if self._size is None:
            return MOST
        sizes = accumulate(self._size(item) for item, _ in self._waiting[:MOST])
        return max(1, sum(1 for _ in takewhile(MOST_BYTES.__ge__, sizes)))

    async def _run(self, group: Sequence[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._persist([item for item, _ in group])
        except Exception as error:
            if len(group) > 1 and not isinstance(error, LedgerDown):
                for one in group:
                    await self._run([one])
            else:
                _refuse(group, error)
            return
        for (_, future), answer in zip(group, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    async def _persist(self, items: Sequence[Item]) -> Sequence[Answer]:
        """The group, again and again while the cause is a deadlock or a lost connection."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._patience
        while True:
            try:
                async with self._line.connection() as connection:
                    return await self._statement(connection, items)
            except psycopg.Error as error:
                if not is_passing(error):
                    raise
                if loop.time() > until:
                    raise LedgerDown("the ledger cannot be reached") from error
            await asyncio.sleep(0.1)


async def _prepare(connection: Connection) -> None:
    """Let the server keep the plans of the few statements that run here: a quarter of its time was
    planning. Not through a PgBouncer, which tells another process id than its server has: the next
    transaction may meet another server."""
    found = await (await connection.execute("SELECT pg_backend_pid() AS pid")).fetchone()
    if found is not None and found["pid"] == connection.info.backend_pid:
        # A plan made while the tables were empty must not read a million rows later.
        await connection.execute("SET enable_seqscan = off")
        connection.prepare_threshold = 0


def is_away(error: BaseException) -> bool:
    """Whether the ledger could not be reached, or not for long enough."""
    if isinstance(error, LedgerDown | exc.TimeoutError):
        return True
    if isinstance(error, exc.DBAPIError):
        return error.connection_invalidated or is_passing(error.orig)
    return isinstance(error, psycopg.Error) and is_passing(error)


def is_passing(error: BaseException | None) -> bool:
    """Whether the same statement may succeed later."""
    if isinstance(error, psycopg.Error) and error.sqlstate:
        return error.sqlstate == DEADLOCK or error.sqlstate.startswith(LOST_CLASSES)
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)


def _refuse(group: Sequence[tuple[Item, asyncio.Future[Answer]]], error: Exception) -> None:
    for _, future in group:
        if not future.done():
            future.set_exception(error)
