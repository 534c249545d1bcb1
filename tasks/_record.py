"""What a part of a sync writes down while it goes, in short transactions of many rows, and what it
hears of its batch by that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from models import sync_parts
from models.group import is_passing
from models.sync_parts import Orders, Taken
from tasks._base import NotHeld, Transactions

Row = dict[str, Any]
Answer = TypeVar("Answer")

MOST_ROWS = 200
# So long a row may wait for company before it is seen, and an order before it is heard.
LINGER_SECONDS = 0.25
# A database that is restarted meanwhile must not end a sync of hours.
PATIENCE_SECONDS = 60.0
LOOK_AGAIN_SECONDS = 0.5

Statement = Callable[[AsyncConnection], Awaitable[Answer]]


async def patiently(ledger: Transactions, statement: Statement[Answer]) -> Answer:
    """The answer of a short transaction that may be done twice; a ledger that is away is waited
    for a while."""
    loop = asyncio.get_running_loop()
    until = loop.time() + PATIENCE_SECONDS
    while True:
        try:
            async with ledger.transaction() as connection:
                return await statement(connection)
        except DBAPIError as error:
            if not is_passing(error.orig) or loop.time() > until:
                raise
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


class Stop(Exception):
    """The part is not to go on; `orders` say why."""

    def __init__(self, orders: Orders) -> None:
        super().__init__("the part is not to go on")
        self.orders = orders


class Record:
    """The rows of one run of a part."""

    def __init__(self, ledger: Transactions, part_job: UUID, fence: int, taken: Taken) -> None:
        self._ledger = ledger
        self._part_job = part_job
        self._fence = fence
        self._taken = taken
        self._rows: list[Row] = []
        self._sent = 0
        self._writing = asyncio.Lock()
        self._wake = asyncio.Event()
        self._ended = False

    def add(self, row: Row) -> None:
        """What became of one object: `key`, `action`, `outcome`, and what is known of it."""
        self._rows.append(row)
        if len(self._rows) >= MOST_ROWS:
            self._wake.set()

    def sent(self, size: int) -> None:
        """So many bytes have arrived, of whichever object; fewer than none: they count no more."""
        self._sent += size

    @asynccontextmanager
    async def going(self) -> AsyncIterator[None]:
        """While the block lasts, no row waits long to be seen; at its end none is left. Raises Stop
        as soon as the part is not to go on, and NotHeld where it is not ours any more; whatever
        the block was about is cancelled by that."""
        self._ended = False
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep())
                yield
                self._ended = True
                self._wake.set()
        except BaseExceptionGroup as failed:
            await self._last()
            raise failed.exceptions[0] from None
        except asyncio.CancelledError:
            await self._last()
            raise
        if self._rows:
            await self.flush()

    async def flush(self) -> None:
        """Write what has been added so far. Raises as `going` does."""
        async with self._writing:
            rows, self._rows = self._rows, []
            # What was counted too much is taken back with the next rows.
            sent = self._sent if rows else max(0, self._sent)
            self._sent -= sent
            self._wake.clear()
            try:
                orders = await patiently(self._ledger, self._statement(rows, sent))
            except BaseException:
                # Cancelled in the middle: written twice, a row counts once.
                self._rows, self._sent = rows + self._rows, self._sent + sent
                raise
        if orders is None:
            raise NotHeld
        if orders.cancelled or orders.paused:
            raise Stop(orders)

    def _statement(self, rows: list[Row], sent: int) -> Statement[Orders | None]:
        return lambda connection: sync_parts.record(
            connection, self._part_job, self._fence, self._taken, rows, sent
        )

    async def _keep(self) -> None:
        while not self._ended:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), LINGER_SECONDS)
            await self.flush()

    async def _last(self) -> None:
        """What was done by then is on record also where the block was ended."""
        if self._rows:
            with suppress(Stop, NotHeld):
                await self.flush()
