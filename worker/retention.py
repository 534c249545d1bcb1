"""Removes what has ended long ago, a little at a time, while the worker does other things."""

from __future__ import annotations

import asyncio
import contextlib
import random
from datetime import UTC, datetime, timedelta

import structlog

from ferryman import requests
from models.ledger import Ledger
from models.retention import Sweep

log = structlog.get_logger()

FIRST_SECONDS = 60.0
EVERY_SECONDS = 3600.0
# Between two steps, so that a sweep takes a small share of the database.
BREATH_SECONDS = 0.05


class Retention:
    """One worker process's share: whoever comes first sweeps. `start()` on its event loop."""

    def __init__(self, ledger: Ledger, *, days: float) -> None:
        self._ledger = ledger
        self._days = days
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._days > 0:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        await asyncio.sleep(FIRST_SECONDS * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load
        while True:
            try:
                await sweep(self._ledger, days=self._days)
            except Exception as error:  # it goes on at the next time
                log.warning("retention.trouble", error=type(error).__name__)
            await asyncio.sleep(EVERY_SECONDS)


async def sweep(ledger: Ledger, *, days: float) -> int:
    """Remove all that ended more than so many days ago; how many jobs that were."""
    own = [name for name, made in requests.kinds().items() if made.internal]
    work = Sweep(datetime.now(UTC) - timedelta(days=days), own)
    while not work.done:
        async with ledger.transaction() as connection:
            await work.step(connection)
        await asyncio.sleep(BREATH_SECONDS)
    if work.removed:
        log.info("retention.removed", jobs=work.removed)
    return work.removed
