"""Riders, loads and the workers that die with them, on a real ledger and without a vendor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection
from uuid_utils.compat import uuid7

from models import loads, workers
from models.ledger import Ledger
from models.loads import Disband, Rider
from models.walk import Claim, Claimed, Close, Leaving, Left

TABLES = ("jobs", "loads", "attempts", "sends", "interactions", "workers")
VENDOR, KIND = "mixpanel", "track_event"

RIDERS = """
INSERT INTO ferryman.jobs (id, kind, vendor, args, priority, run_at)
SELECT ferryman.uuid7(), :kind, 'mixpanel', jsonb_build_object('event', n),
       CAST(:priority AS ferryman.priority),
       now() - interval '1 hour' + n * interval '1 ms' + make_interval(secs => :later)
  FROM generate_series(1, :count) AS n
RETURNING id
"""
LOAD = """
INSERT INTO ferryman.jobs (id, kind, vendor, args) VALUES (:id, :kind, 'mixpanel', '{}')
"""
WORKER = """
INSERT INTO ferryman.workers (id, name, lease_until)
VALUES (:id, 'doomed', now() + interval '1 hour')
"""


class Depot:
    """Where riders wait. `send` marks a request as one that may have left."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    async def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        async with self.ledger.transaction() as connection:
            found = await connection.execute(text(query), values)
            return [dict(row) for row in found.mappings()] if found.returns_rows else []

    async def riders(
        self, count: int = 1, *, priority: str = "normal", kind: str = KIND, later: float = 0
    ) -> list[UUID]:
        values = {"count": count, "priority": priority, "kind": kind, "later": later}
        return [row["id"] for row in await self.rows(RIDERS, **values)]

    async def worker(self) -> UUID:
        worker = uuid7()
        await self.rows(WORKER, id=worker)
        return worker

    async def load(self, worker: UUID | None = None, *, kind: str = KIND) -> Claimed:
        """A load that runs, and has taken nobody yet."""
        load, name = uuid7(), f"{kind}_load"
        await self.rows(LOAD, id=load, kind=name)
        worker = worker or await self.worker()
        claimed = await self.ledger.claim(Claim(load, name, VENDOR, uuid7(), worker, 60))
        assert claimed is not None
        return claimed

    async def look(self, most: int = 100, *, kind: str = KIND) -> list[Rider]:
        async with self.ledger.transaction() as connection:
            return await loads.look(connection, VENDOR, kind, most)

    async def take(self, load: Claimed, most: int = 100, *, kind: str = KIND) -> list[Rider]:
        async with self.ledger.transaction() as connection:
            found = await loads.look(connection, VENDOR, kind, most)
            await loads.take(connection, load.id, found, [], records=len(found), bytes=0)
        return found

    async def ride(
        self, most: int = 100, worker: UUID | None = None
    ) -> tuple[Claimed, list[Rider]]:
        load = await self.load(worker)
        return load, await self.take(load, most)

    async def send(
        self, load: Claimed, repeat: str = "natural", seconds: float | None = None
    ) -> None:
        mark = Leaving(load.id, load.fence, "load", "k", repeat, seconds, {"body": "x"})
        assert await self.ledger.leave(mark) is Left.YES

    async def disband(self, load: Claimed, **how: Any) -> None:
        """As the worker does it that finds that the load cannot be delivered."""
        row = asdict(Disband(load.id, **how))
        end = Close(load.id, load.fence, "cancelled", "retry", writes={"loads": [row]})
        assert await self.ledger.close(end) == "cancelled"

    async def settle(self, load: Claimed, odd: Sequence[loads.Odd] = ()) -> int:
        async with self.ledger.transaction() as connection:
            return await loads.settle(
                connection, load.id, load.fence, {"status": "accepted"}, odd, ["load"], []
            )

    async def close(self, load: Claimed) -> None:
        assert await self.ledger.close(Close(load.id, load.fence, "succeeded", "succeeded"))

    async def die(self) -> None:
        await self.rows(
            "UPDATE ferryman.workers SET lease_until = now() - interval '1 s' WHERE name = 'doomed'"
        )

    async def die_and_rescue(self, max_crashes: int = 3) -> dict[UUID, str]:
        """What ended by it: loads are cancelled, riders are only where they end."""
        await self.die()
        async with self.ledger.transaction() as connection:
            rows = await rescue(connection, max_crashes)
        return {row["id"]: row["status"] for row in rows}

    async def row(self, id: UUID) -> dict[str, Any]:
        (found,) = await self.rows("SELECT * FROM ferryman.jobs WHERE id = :id", id=id)
        return found

    async def statuses(self) -> dict[str, int]:
        """How many riders there are of each status."""
        query = """
            SELECT status, count(*)::int AS n FROM ferryman.jobs
             WHERE kind NOT LIKE '%load' GROUP BY status
        """
        return {row["status"]: row["n"] for row in await self.rows(query)}

    async def doubts(self, id: UUID) -> list[dict[str, Any]]:
        query = """
            SELECT attempt, vendor_key, repeat, repeat_until > now() AS repeatable
              FROM ferryman.sends WHERE job_id = :id AND answered_at IS NULL ORDER BY attempt
        """
        return await self.rows(query, id=id)


async def rescue(connection: AsyncConnection, max_crashes: int) -> list[dict[str, Any]]:
    limits = {"max_crashes": max_crashes, "overdue_seconds": 30}
    rows = await loads.mind(connection, **limits)
    return rows + await workers.rescue(connection, looks={}, **limits)


@asynccontextmanager
async def depot(url: str, *, sweep: bool = True) -> AsyncIterator[Depot]:
    """On a ledger that tests share, swept first: a database for each of many small tests takes
    longer than they do. `sweep`: not for a second process on the same one."""
    ledger = Ledger(url, max_wait_seconds=3600)
    made = Depot(ledger)
    for table in TABLES if sweep else ():
        await made.rows(f"DELETE FROM ferryman.{table}")
    yield made
    await ledger.dispose()
