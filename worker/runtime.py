"""What a worker process holds while it runs: ledger, lease, breakers, connections to vendors."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import Any

import structlog

from adapters._http import Client
from ferryman.policies import policies, policy
from ferryman.settings import Settings, settings
from models import workers
from models.engine import dumps
from models.ledger import Ledger
from models.walk import WRITERS
from tasks._base import Job, jobs
from worker.breaker import Breakers
from worker.heartbeat import Heartbeat

log = structlog.get_logger()

# A job past its deadline is ended by its own worker; only one whose loop hangs comes to this.
OVERDUE_SECONDS = 30.0


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

    @classmethod
    async def start(cls) -> Runtime:
        """Open the ledger, take a lease, begin to rescue what dead workers left."""
        chosen = settings()
        url = chosen.resolve_database_url()
        ledger = Ledger(url, max_wait_seconds=chosen.max_wait_seconds)
        breakers = Breakers(ledger, policies())
        await breakers.ensure()
        heartbeat = await asyncio.to_thread(Heartbeat, url, chosen.lease_seconds)
        heartbeat.start()
        kinds = {job.request.kind: job for job in jobs()}
        runtime = cls(chosen, ledger, heartbeat, breakers, kinds)
        runtime._rescuer = asyncio.create_task(runtime._rescue())
        return runtime

    async def stop(self) -> None:
        if self._rescuer:
            self._rescuer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._rescuer
        for client in self._clients.values():
            await client.close()
        await asyncio.to_thread(self.heartbeat.stop)
        await self.ledger.dispose()

    def client(self, vendor: str) -> Client:
        """The vendor's long-lived connections."""
        if vendor not in self._clients:
            self._clients[vendor] = Client(policy(vendor))
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
            rescued = await workers.rescue(
                connection,
                max_crashes=self.settings.max_crashes,
                overdue_seconds=OVERDUE_SECONDS,
            )
            for table, write in WRITERS.items():
                rows = [row for job in rescued for row in self._writes(job).get(table, ())]
                if rows:
                    await connection.execute(write, {"rows": dumps(rows)})
        for job in rescued:
            log.warning("job.rescued", job_id=str(job["id"]), kind=job["kind"], to=job["status"])

    def _writes(self, rescued: workers.Row) -> dict[str, list[workers.Row]]:
        kind = self.kinds.get(rescued["kind"])
        if kind is None or rescued["status"] == "waiting":
            return {}
        ended = kind.refused if rescued["status"] == "failed" else kind.in_doubt
        return ended(rescued["id"])
