"""Syncs in a ledger, without ends: planned, closed and killed by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from sqlalchemy import text
from uuid_utils.compat import uuid7

from models import sync_parts, sync_plan
from models.engine import dumps
from models.ledger import Ledger
from models.sync_parts import Orders, Taken
from models.sync_plan import PartPlan, Plan, Planned, Segment
from models.walk import Claim, Claimed, Close, Leaving

ROUTES = """
INSERT INTO ferryman.routes (kind, vendor, is_default, prefixes)
VALUES ('sync_objects', 's3', true, '{}') ON CONFLICT DO NOTHING
"""
WORKER = "INSERT INTO ferryman.workers (id, name, lease_until) VALUES (:id, 'test', 'infinity')"
DUE = "UPDATE ferryman.jobs SET run_at = now() WHERE id = :id AND run_at < '9000-01-01'"
ARGS = {"source": "file:///a", "destination": "s3://bucket/c"}


class Syncs:
    """One worker without a process."""

    def __init__(self, ledger: Ledger, worker: UUID) -> None:
        self.ledger = ledger
        self.worker = worker

    async def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        async with self.ledger.transaction() as connection:
            found = await connection.execute(text(query), values)
            return [dict(row) for row in found.mappings()] if found.returns_rows else []

    async def one(self, query: str, **values: Any) -> dict[str, Any]:
        (row,) = await self.rows(query, **values)
        return row

    async def enqueue(self, **more: Any) -> UUID:
        row = await self.one(
            "SELECT ferryman.enqueue('sync_objects', CAST(:args AS jsonb)) AS id",
            args=dumps(ARGS | more),
        )
        found: UUID = row["id"]
        return found

    async def claim(self, id: UUID, kind: str = "sync_objects") -> Claimed:
        """Run it, however long it would have to wait; but not one that is held."""
        for _ in range(100):  # one that a person holds just then is passed over
            await self.rows(DUE, id=id)
            found = await self.ledger.claim(Claim(id, kind, "s3", uuid7(), self.worker, 60))
            if found is not None:
                return found
        raise AssertionError("it was not to be had")

    async def mark(self, claimed: Claimed, step: str) -> None:
        """Its natural doubt, as syncs and their parts have it while they run."""
        await self.ledger.leave(
            Leaving(claimed.id, claimed.fence, step, str(claimed.id), "natural", None, {})
        )

    async def close(
        self, claimed: Claimed, status: str, table: str, become: str, **more: Any
    ) -> Any:
        row = {"job_id": str(claimed.id), "status": become}
        end = {"outcome": status, "answered": ("sync", "transfer"), **more}
        return await self.ledger.close(
            Close(claimed.id, claimed.fence, status, writes={table: [row]}, **end)
        )

    async def batch(self, id: UUID) -> dict[str, Any]:
        """As it is shown. Its counts always sum to its total."""
        shown: dict[str, Any] = (await self.one("SELECT ferryman.batch(:id) AS b", id=id))["b"]
        assert sum(shown["counts"].values()) == shown["total"], shown
        objects = shown["objects"]
        assert objects["kept"] == shown["counts"]["kept"]
        return shown

    async def job(self, id: UUID) -> dict[str, Any]:
        return await self.one("SELECT * FROM ferryman.jobs WHERE id = :id", id=id)

    async def objects(self, id: UUID) -> dict[str, str]:
        """What became of each: `action outcome`."""
        found = await self.rows("SELECT * FROM ferryman.objects WHERE job_id = :id", id=id)
        return {row["key"]: f"{row['action']} {row['outcome']}" for row in found}

    # --- a sync of some objects, cut by hand

    async def begin(self, **more: Any) -> Sync:
        claimed = await self.claim(await self.enqueue(**more))
        async with self.ledger.transaction() as connection:
            plan = await sync_plan.begin(connection, claimed.id, claimed.fence)
        assert plan is not None
        return Sync(self, claimed, plan)


class Sync:
    """One sync job that runs."""

    def __init__(self, syncs: Syncs, claimed: Claimed, plan: Plan) -> None:
        self.syncs, self.claimed, self.plan = syncs, claimed, plan
        self.id = claimed.id
        self.parts: dict[int, UUID] = {}

    async def do(self, function: Any, *args: Any, **more: Any) -> Plan:
        async with self.syncs.ledger.transaction() as connection:
            plan: Plan | None = await function(
                connection, self.id, self.claimed.fence, *args, **more
            )
        assert plan is not None
        self.plan = plan
        return plan

    def cut(
        self, rows: Iterable[Planned], held: Iterable[int] = (), deletes: Iterable[int] = ()
    ) -> Segment:
        """A segment of these rows and the parts that they name."""
        rows = list(rows)
        numbers = sorted({row.part for row in rows if row.part is not None})
        for number in numbers:
            self.parts[number] = uuid7()
        parts = [
            PartPlan(
                self.parts[number],
                number,
                "delete" if number in deletes else "copy",
                held=number in held or number in deletes,
            )
            for number in numbers
        ]
        surplus = sum(row.action == "delete" for row in rows)
        return Segment(self.plan.cursor, rows[-1].key, rows, parts, targets=9, surplus=surplus)

    async def segment(self, rows: Iterable[Planned], **more: Any) -> Plan:
        return await self.do(sync_plan.segment, self.cut(rows, **more))

    async def planned(self, *rows: Planned, **more: Any) -> Plan:
        """All of it in one segment, and the listings have ended."""
        await self.segment(rows, **more)
        return await self.do(sync_plan.planned)

    async def wait(self) -> Any:
        """The parent waits for its parts, as `tasks/sync_objects.py` does."""
        await self.do(sync_plan.waits)
        return await self.syncs.close(
            self.claimed,
            "waiting",
            "syncs",
            "waits",
            outcome="waited",
            delay_seconds=30,
            answered=(),
        )

    async def again(self) -> Plan:
        """The parent runs once more."""
        self.claimed = await self.syncs.claim(self.id)
        return await self.do(sync_plan.begin)

    async def fails(self, **more: Any) -> Any:
        error = {"code": "objects_failed", "message": "not all was copied", "type": "NotAll"}
        return await self.syncs.close(
            self.claimed, "failed", "syncs", "failed", error=error, **more
        )

    async def part(self, number: int) -> Part:
        job = self.parts[number]
        claimed = await self.syncs.claim(job, "sync_objects_part")
        async with self.syncs.ledger.transaction() as connection:
            taken = await sync_parts.take(connection, job, claimed.fence)
        assert taken is not None
        return Part(self.syncs, claimed, taken)


class Part:
    """One part that runs."""

    def __init__(self, syncs: Syncs, claimed: Claimed, taken: Taken) -> None:
        self.syncs, self.claimed, self.taken = syncs, claimed, taken

    async def keys(self, limit: int = 100) -> list[str]:
        async with self.syncs.ledger.transaction() as connection:
            rows = await sync_parts.rows(connection, self.taken, "", limit)
        return [row["key"] for row in rows]

    async def record(self, *rows: dict[str, Any], sent: int = 0) -> Orders | None:
        async with self.syncs.ledger.transaction() as connection:
            return await sync_parts.record(
                connection, self.claimed.id, self.claimed.fence, self.taken, rows, sent
            )

    async def does(self, outcome: str = "done") -> None:
        """All that is left of it, the same way."""
        action = self.taken.action
        rows = [{"key": k, "action": action, "outcome": outcome} for k in await self.keys()]
        assert await self.record(*rows)

    async def ends(self, status: str = "succeeded", become: str = "sent", **more: Any) -> Any:
        return await self.syncs.close(self.claimed, status, "sync_parts", become, **more)

    async def rests(self, seconds: float = 1000) -> Any:
        """It waits for its next attempt, and what it has sent is in doubt."""
        end = Close(self.claimed.id, self.claimed.fence, "waiting", "retry", delay_seconds=seconds)
        return await self.syncs.ledger.close(end)

    async def fails(self, message: str = "not all was copied") -> Any:
        error = {"code": "objects_failed", "message": message, "type": "NotAll"}
        return await self.ends("failed", "failed", error=error)


@asynccontextmanager
async def syncing(url: str) -> AsyncIterator[Syncs]:
    ledger = Ledger(url, max_wait_seconds=3600)
    worker = uuid7()
    async with ledger.transaction() as connection:
        await connection.execute(text(ROUTES))
        await connection.execute(text(WORKER), {"id": worker})
    yield Syncs(ledger, worker)
    await ledger.dispose()


def copy(
    key: str, part: int | None = 1, *, action: str = "copy", size: int = 10, **more: Any
) -> Planned:
    return Planned(key, action, "planned", part, size=size, **more)


def delete(key: str, part: int = 2) -> Planned:
    return Planned(key, "delete", "planned", part, size=5, target_etag="t")


def kept(key: str, **more: Any) -> Planned:
    return Planned(key, "keep", "done", size=3, **more)


def refused(key: str, **more: Any) -> Planned:
    return Planned(key, "refuse", "refused", reason="no", **more)
