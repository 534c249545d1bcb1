"""Runs jobs on a real ledger, one attempt at a time, with a scripted vendor and no broker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, TypeVar, cast
from uuid import UUID

from sqlalchemy import text
from uuid_utils.compat import uuid7

from adapters._base import Request
from ferryman.policies import policies
from models.engine import dumps
from models.jobs import ENQUEUE
from models.ledger import Ledger
from tasks._base import jobs
from tests.adapters.doubles import Answer, Vendor
from worker.breakers import Breakers
from worker.execution import Execution
from worker.heartbeat import Lease
from worker.runtime import Runtime

WORKER = "INSERT INTO ferryman.workers (id, name, lease_until) VALUES (:id, 'test', 'infinity')"


class Driver:
    """One worker process without the process. `answer`: what the scripted vendor says; `client`:
    the way to real ones instead, by name."""

    def __init__(
        self,
        ledger: Ledger,
        worker: UUID,
        answer: Callable[[Request], Answer],
        client: Callable[[str], Any] | None = None,
    ) -> None:
        self.ledger = ledger
        self.vendor = Vendor(answer)
        self.runtime = cast(
            Runtime,
            SimpleNamespace(
                ledger=ledger,
                heartbeat=SimpleNamespace(lease=Lease(worker, float("inf"))),
                breakers=Breakers(ledger, policies()),
                client=client or (lambda _: self.vendor),
            ),
        )
        self._kinds = {job.request.kind: job for job in jobs()}

    async def enqueue(self, kind: str, args: dict[str, Any], **options: Any) -> UUID:
        """By the one door; `options` as `ferryman.enqueue` has them."""
        named = dict.fromkeys(("key", "run_at", "vendor", "expires_at", "id")) | options
        named |= {"kind": kind, "args": dumps(args), "priority": "normal"}
        async with self.ledger.transaction() as connection:
            found: UUID = await connection.scalar(ENQUEUE, named)
        return found

    async def claim(self, job_id: UUID) -> Execution:
        """Begin an attempt, however long the job would have to wait for one."""
        await self.rows(
            "UPDATE ferryman.jobs SET run_at = now(),"
            " look_at = CASE WHEN look_at IS NOT NULL THEN least(look_at, now()) END"
            " WHERE id = :id",
            id=job_id,
        )
        (job,) = await self.rows("SELECT kind, vendor FROM ferryman.jobs WHERE id = :id", id=job_id)
        begun = await Execution.begin(self.runtime, self._kinds[job["kind"]], job_id, job["vendor"])
        assert begun is not None, "the job was not to be had"
        return begun

    async def run(self, job_id: UUID) -> dict[str, Any]:
        """One attempt; the job as it is afterwards."""
        execution = await self.claim(job_id)
        try:
            await execution.perform()
        except Exception as error:
            await execution.end(error)
        (job,) = await self.rows("SELECT * FROM ferryman.jobs WHERE id = :id", id=job_id)
        return job

    async def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        async with self.ledger.transaction() as connection:
            found = await connection.execute(text(query), values)
            return [dict(row) for row in found.mappings()] if found.returns_rows else []


Made = TypeVar("Made", bound=Driver)


@asynccontextmanager
async def driving(
    url: str,
    answer: Callable[[Request], Answer],
    client: Callable[[str], Any] | None = None,
) -> AsyncIterator[Driver]:
    """A driver over the ledger at that address."""
    async with driving_as(Driver, url, answer, client) as made:
        yield made


@asynccontextmanager
async def driving_as(
    kind: type[Made],
    url: str,
    answer: Callable[[Request], Answer],
    client: Callable[[str], Any] | None = None,
) -> AsyncIterator[Made]:
    """The same, of that class."""
    ledger = Ledger(url, max_wait_seconds=3600)
    worker = uuid7()
    async with ledger.transaction() as connection:
        await connection.execute(text(WORKER), {"id": worker})
    driver = kind(ledger, worker, answer, client)
    await driver.runtime.breakers.ensure()
    yield driver
    await ledger.dispose()
