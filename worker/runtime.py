"""What a worker process holds while it runs: ledger, lease, breakers, connections to vendors."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from dataclasses import dataclass, field
from typing import Any

import structlog

from adapters._base import adapter
from adapters._http import Client
from ferryman.policies import policies, policy
from ferryman.settings import Settings, settings
from models import loads, sync_parts, workers
from models.ledger import Ledger
from models.walk import write
from tasks._base import Job
from tasks._settle import kinds, looks
from worker.breakers import Breakers
from worker.health import Watch
from worker.heartbeat import Heartbeat
from worker.inbox import Inbox
from worker.limits import Rates
from worker.retention import Retention

log = structlog.get_logger()

# A job past its deadline is ended by its own worker; only one whose loop hangs comes to this.
OVERDUE_SECONDS = 30.0
STALE_LOOK_SECONDS = 60.0
COLLECTED_AFTER = (5_000, 20, 20)


@dataclass
class Runtime:
    """One worker process. Made on its event loop by `start()`."""

    settings: Settings
    ledger: Ledger
    heartbeat: Heartbeat
    breakers: Breakers
    kinds: dict[str, Job[Any]]
    _clients: dict[str, Client] = field(default_factory=dict)
    _rescuer: asyncio.Task[None] | None = None
    _watch: Watch | None = None
    _inbox: Inbox | None = None
    _retention: Retention | None = None
    _swept_at: float = float("-inf")

    @classmethod
    async def start(cls) -> Runtime:
        """Open the ledger, take a lease, begin to rescue what dead workers left."""
        chosen = settings()
        url = chosen.resolve_database_url()
        ledger = Ledger(url, max_wait_seconds=chosen.max_wait_seconds)
        await asyncio.to_thread(_prepare)
        rates = Rates(chosen.resolve_broker_url(), policies())
        breakers = Breakers(ledger, policies(), rates, slots=chosen.concurrency)
        await breakers.ensure()
        heartbeat = await asyncio.to_thread(Heartbeat, url, chosen.lease_seconds)
        heartbeat.start()
        runtime = cls(chosen, ledger, heartbeat, breakers, kinds())
        runtime._rescuer = asyncio.create_task(runtime._rescue())
        runtime._inbox = Inbox(ledger)
        runtime._inbox.start()
        runtime._retention = Retention(ledger, days=chosen.retention_days)
        runtime._retention.start()
        _spare_the_collector()
        longest = max(kind.deadline_seconds for kind in kinds().values())
        runtime._watch = Watch(lease_seconds=chosen.lease_seconds, longest_seconds=longest)
        runtime._watch.start()
        return runtime

    async def stop(self) -> None:
        if self._rescuer:
            self._rescuer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._rescuer
        for housekeeper in (self._inbox, self._retention):
            if housekeeper:
                await housekeeper.stop()
        for client in self._clients.values():
            await client.close()
        if self._watch:
            await asyncio.to_thread(self._watch.stop)
        await self.breakers.close()
        await asyncio.to_thread(self.heartbeat.stop)
        await self.ledger.dispose()

    def client(self, vendor: str) -> Client:
        """The vendor's long-lived connections."""
        if vendor not in self._clients:
            self._clients[vendor] = Client(policy(vendor), calls=self.settings.concurrency)
        return self._clients[vendor]

    async def _rescue(self) -> None:
        lease = self.settings.lease_seconds
        while True:
            await asyncio.sleep(lease / 3)
            if self.heartbeat.well_for() < lease:
                continue
            try:
                await self._rescue_once()
            except Exception as error:  # nobody else may be there to rescue
                log.warning("rescue.failed", error=type(error).__name__)

    async def _rescue_once(self) -> None:
        async with self.ledger.transaction() as connection:
            # The riders first: their loads are ended together with what else dead workers held.
            rescued = await loads.mind(
                connection,
                max_crashes=self.settings.max_crashes,
                overdue_seconds=OVERDUE_SECONDS,
            )
            rescued += await workers.rescue(
                connection,
                max_crashes=self.settings.max_crashes,
                overdue_seconds=OVERDUE_SECONDS,
                looks=looks(),
            )
            await write(connection, map(self._writes, rescued))
        async with self.ledger.transaction() as connection:
            woken = await sync_parts.wake(connection)
        for job_id in woken:
            log.warning("sync.woken", job_id=str(job_id))
        for job in await self._expire():
            log.info("job.expired", job_id=str(job["id"]), kind=job["kind"], to=job["status"])
        for job in rescued:
            log.warning("job.rescued", job_id=str(job["id"]), kind=job["kind"], to=job["status"])

    async def _expire(self) -> list[workers.Row]:
        async with self.ledger.transaction() as connection:
            ids = await workers.expired(connection)
            if time.monotonic() - self._swept_at > STALE_LOOK_SECONDS:
                self._swept_at = time.monotonic()
                ids += await workers.stale(connection, self.settings.max_wait_seconds)
            late = await workers.expire(connection, ids, looks=looks()) if ids else []
            await write(connection, map(self._writes, late))
        return late

    def _writes(self, rescued: workers.Row) -> dict[str, list[workers.Row]]:
        kind = self.kinds.get(rescued["kind"])
        if kind is None or rescued["status"] == "waiting":
            return {}
        match rescued["status"]:
            case "unknown":
                return kind.in_doubt(rescued["id"])
            case "cancelled":
                return kind.cancelled(rescued["id"])
        return kind.refused(rescued["id"])


def _prepare() -> None:
    """A vendor's SDK takes some 20 MiB: where there are no credentials it is not loaded."""
    for vendor in policies():
        if adapter(vendor).configured():
            adapter(vendor).prepare()


def _spare_the_collector() -> None:
    """What is loaded by now lives as long as the process: walking through it held the loop up for
    a quarter of a second at a time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTED_AFTER)
