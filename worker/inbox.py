"""Reads stored events into the ledger, and asks vendors for those that did not arrive, and for whom
they send nothing to."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import UTC, datetime
from typing import Any

import structlog

from adapters._base import adapter
from ferryman.policies import policies
from models import jobs
from models.ledger import Ledger
from tasks import _inbox

log = structlog.get_logger()

LOOK_SECONDS = 0.5
TROUBLE_SECONDS = 2.0
# Each worker asks for the same job, by the same key: it happens once.
SCHEDULE_SECONDS = 15.0
SUPPRESSIONS = "sync_suppressions"


class Inbox:
    """One worker process's share of the events. `start()` on its event loop."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._task: asyncio.Task[None] | None = None
        self._asked_at = float("-inf")

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            try:
                await self._schedule()
                if not await _inbox.drain(self._ledger):
                    await asyncio.sleep(LOOK_SECONDS)
            except Exception as error:  # nobody else may be there to read them
                log.warning("inbox.trouble", error=type(error).__name__)
                await asyncio.sleep(TROUBLE_SECONDS)

    async def _schedule(self) -> None:
        if time.monotonic() - self._asked_at < SCHEDULE_SECONDS:
            return
        self._asked_at = time.monotonic()
        for vendor, policy in policies().items():
            if not policy.poll_seconds or not (asked := adapter(vendor)).configured():
                continue
            if asked.lists_events:
                await self._ask(vendor, "poll_events", policy.poll_seconds)
            if SUPPRESSIONS in policy.kinds:
                await self._ask(vendor, SUPPRESSIONS, policy.suppressions_seconds)

    async def _ask(self, vendor: str, kind: str, seconds: float) -> None:
        async with self._ledger.transaction() as connection:
            await jobs.enqueue(connection, _poll(vendor, kind, seconds))


def _poll(vendor: str, kind: str, seconds: float) -> dict[str, Any]:
    now = time.time()
    slot = datetime.fromtimestamp(now - now % seconds, UTC)
    wish: dict[str, Any] = dict.fromkeys(("run_at", "expires_at", "id"))
    key = f"poll:{vendor}:{slot:%Y-%m-%dT%H:%M:%S}"
    return wish | {
        "kind": kind,
        "args": "{}",
        "vendor": vendor,
        "key": key,
        "priority": "low",
    }
