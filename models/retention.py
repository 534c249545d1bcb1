"""What has ended long ago is removed, some at a time, so that no lock is held for long.

Money stays (charges, refunds, and the jobs that made them), and so do the producers' keys: an old
key has no second effect. A batch goes when all of it has ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CursorResult, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

MOST_JOBS = 1000
MOST_ROWS = 10_000
ENDED = "('succeeded', 'failed', 'cancelled')"

# One process at a time; the others find that somebody is at it.
ALONE = text("SELECT pg_try_advisory_xact_lock(727103)")

WINDOW = text(f"""
SELECT j.id, j.created_at, j.batch_id,
       j.status IN {ENDED} AND j.finished_at < :before AS ended,
       EXISTS (SELECT FROM ferryman.charges c WHERE c.id = j.id)
         OR EXISTS (SELECT FROM ferryman.refunds r WHERE r.id = j.id) AS money
  FROM ferryman.jobs j
 WHERE (j.created_at, j.id) > (:at, :id) AND j.created_at < :before
 ORDER BY j.created_at, j.id LIMIT {MOST_JOBS}
""")
OPEN = text(f"""
SELECT EXISTS (SELECT FROM ferryman.jobs j WHERE j.batch_id = :batch
                AND (j.status NOT IN {ENDED} OR j.finished_at >= :before))
    OR EXISTS (SELECT FROM ferryman.multiparts m WHERE m.job_id = :batch AND m.status = 'open')
""")
CHILDREN = text(f"""
SELECT c.id
  FROM (SELECT j.id, coalesce(p.size, 1) AS size,
               sum(coalesce(p.size, 1)) OVER (ORDER BY j.id) AS until
          FROM ferryman.jobs j LEFT JOIN ferryman.parts p ON p.job_id = j.id
         WHERE j.batch_id = :batch AND j.id <> :batch ORDER BY j.id LIMIT {MOST_JOBS}) AS c
 WHERE c.until - c.size < {MOST_ROWS}
""")
# Of the batch itself: those that were set aside, and a sync's objects.
_SOME = f"""
DELETE FROM ferryman.{{0}} WHERE ctid = ANY(ARRAY(
  SELECT ctid FROM ferryman.{{0}} WHERE {{1}} = :batch LIMIT {MOST_ROWS}))
"""
_BY_JOB = dict.fromkeys(("mails", "messages", "objects", "multiparts"), "job_id")
SOME = tuple(
    text(_SOME.format(table, column))
    for table, column in (_BY_JOB | {"set_aside": "batch_id"}).items()
)
BATCH = text("""
WITH minutes AS (DELETE FROM ferryman.batch_minutes WHERE batch_id = :batch)
DELETE FROM ferryman.batches WHERE id = :batch
""")

# A person may just be sending one of them again: it is locked, and stays.
_OF_JOBS = (
    *("attempts", "sends", "interventions", "interactions"),
    *("mails", "messages", "parts", "loads"),
)
_DELETED = ", ".join(
    f"{table} AS (DELETE FROM ferryman.{table} t USING gone g WHERE t.job_id = g.id)"
    for table in _OF_JOBS
)
JOBS = text(f"""
WITH held AS (
  SELECT id FROM ferryman.jobs
   WHERE id = ANY(CAST(:ids AS uuid[])) AND status IN {ENDED} AND finished_at < :before
   ORDER BY id FOR UPDATE SKIP LOCKED
), gone AS (
  DELETE FROM ferryman.jobs j USING held h WHERE j.id = h.id RETURNING j.id, j.kind, j.key
), keys AS (
  DELETE FROM ferryman.job_keys k USING gone g
   WHERE k.kind = g.kind AND k.key = g.key AND k.kind = ANY(CAST(:own AS text[]))
), {_DELETED}
SELECT count(*) FROM gone
""")
INTERACTIONS = text("DELETE FROM ferryman.interactions WHERE job_id = ANY(CAST(:ids AS uuid[]))")

EVENTS = text(f"""
DELETE FROM ferryman.events WHERE ctid = ANY(ARRAY(
  SELECT ctid FROM ferryman.events
   WHERE due_at IS NULL AND received_at < :before LIMIT {MOST_JOBS}))
""")
UPLOADS = text(f"""
WITH old AS (
  DELETE FROM ferryman.uploads WHERE id = ANY(ARRAY(
    SELECT u.id FROM ferryman.uploads u
     WHERE u.rows IS NOT NULL AND u.created_at < :before
       AND NOT EXISTS (SELECT FROM ferryman.jobs j
                        WHERE j.status NOT IN {ENDED} AND j.args ->> 'upload' = u.id::text)
     LIMIT 1))
  RETURNING id
)
DELETE FROM ferryman.upload_pieces p USING old o WHERE p.upload_id = o.id
""")
CHANGES = text("DELETE FROM ferryman.breaker_changes WHERE at < :before")

BEGINNING = (datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))


@dataclass
class Sweep:
    """One walk over all that is older than `before`, in steps. `own`: kinds that ferryman asks for
    by itself, whose keys nobody else gives.

    `done`: there is nothing more. `removed`: jobs, until now."""

    before: datetime
    own: Sequence[str]
    done: bool = False
    removed: int = 0
    _cursor: tuple[datetime, UUID] = BEGINNING
    _batches: list[UUID] = field(default_factory=list)

    async def step(self, connection: AsyncConnection) -> None:
        """One short transaction's worth. While another process sweeps, nothing is left to do."""
        if not await connection.scalar(ALONE):
            self.done = True
        elif self._batches:
            await self._batch(connection, self._batches[-1])
        else:
            await self._window(connection)

    async def _window(self, connection: AsyncConnection) -> None:
        at, last = self._cursor
        found = (await self._run(connection, WINDOW, at=at, id=last)).all()
        if not found:
            await self._rest(connection)
            return
        self._cursor = (found[-1].created_at, found[-1].id)
        self._batches = [row.id for row in found if row.batch_id == row.id]
        ended = [row for row in found if row.ended and row.batch_id is None]
        await self._jobs(connection, [row.id for row in ended if not row.money])
        money = [row.id for row in ended if row.money]
        await connection.execute(INTERACTIONS, {"ids": money})

    async def _batch(self, connection: AsyncConnection, batch: UUID) -> None:
        """Its children first, then what hangs on the batch itself, and last the batch."""
        if (await self._run(connection, OPEN, batch=batch)).scalar_one():
            self._batches.pop()
        elif children := list((await self._run(connection, CHILDREN, batch=batch)).scalars()):
            await self._jobs(connection, children)
        elif not await self._some(connection, batch):
            await self._run(connection, BATCH, batch=batch)
            await self._jobs(connection, [batch])
            self._batches.pop()

    async def _some(self, connection: AsyncConnection, batch: UUID) -> bool:
        for statement in SOME:
            if (await self._run(connection, statement, batch=batch)).rowcount:
                return True
        return False

    async def _jobs(self, connection: AsyncConnection, ids: Sequence[UUID]) -> None:
        gone = await self._run(connection, JOBS, ids=list(ids), own=list(self.own))
        self.removed += gone.scalar_one()

    async def _rest(self, connection: AsyncConnection) -> None:
        await self._run(connection, CHANGES)
        left = [
            (await self._run(connection, statement)).rowcount for statement in (EVENTS, UPLOADS)
        ]
        self.done = not any(left)

    async def _run(
        self, connection: AsyncConnection, statement: TextClause, **values: Any
    ) -> CursorResult[Any]:
        return await connection.execute(statement, {"before": self.before, **values})
