"""Reading jobs: one, a list, the attempts of one. What the API and the result backend show."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Select, literal_column, select, text, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from models.tables import Attempt, Interaction, Intervention, Job, JobKey, Route

Row = dict[str, Any]

# The published columns, as the client sees a job.
SHOWN: tuple[Any, ...] = (
    Job.id,
    Job.kind,
    Job.vendor,
    Job.status,
    literal_column("ferryman.reason(jobs)").label("reason"),
    Job.priority,
    Job.attempts,
    Job.run_at,
    Job.expires_at,
    literal_column("ferryman.result(jobs)").label("result"),
    Job.error,
    Job.key,
    Job.batch_id,
    Job.created_at,
    Job.finished_at,
)

WITH_ERROR = ("failed", "unknown", "cancelled")

ENQUEUE = text("""
SELECT ferryman.enqueue(:kind, CAST(:args AS jsonb), :key, :run_at, :vendor, :priority,
                        :expires_at, :id)
""")


HELD = text("""
SELECT FROM ferryman.jobs WHERE id = :id AND fence = :fence AND status = 'running' FOR SHARE
""")


class Progress(NamedTuple):
    """`needs_payer`: a payment cannot go on without its payer."""

    status: str
    needs_payer: bool


async def is_held(connection: AsyncConnection, id: UUID, fence: int) -> bool:
    """Whether this attempt still holds the job; if so, until the transaction ends."""
    found = await connection.execute(HELD, {"id": id, "fence": fence})
    return found.one_or_none() is not None


async def status(connection: AsyncConnection, id: UUID) -> str | None:
    """The job's status, or None where there is no such job."""
    found: str | None = await connection.scalar(select(Job.status).where(Job.id == id))
    return found


async def progress(connection: AsyncConnection, ids: Collection[UUID]) -> dict[UUID, Progress]:
    """How far each of these jobs is that there is."""
    acts = Job.result["action_url"].astext.is_not(None)
    query = select(Job.id, Job.status, acts.label("acts")).where(Job.id.in_(ids))
    rows = await connection.execute(query)
    return {row.id: Progress(row.status, bool(row.acts)) for row in rows}


async def enqueue(connection: AsyncConnection, wish: Row) -> UUID:
    """Store a job; the id of the existing one for a known key."""
    found: UUID = await connection.scalar(ENQUEUE, wish)
    return found


async def job(connection: AsyncConnection, id: UUID) -> Row | None:
    """One job as its client sees it."""
    row = (await connection.execute(select(*SHOWN).where(Job.id == id))).mappings().one_or_none()
    return dict(row) if row else None


async def jobs(
    connection: AsyncConnection,
    *,
    filters: Row,
    code: str | None = None,
    since: datetime | None,
    before: UUID | None,
    limit: int,
) -> list[Row]:
    """Jobs, newest first; `before` is the last id of the page before this one."""
    # Not by id: that of a job from a foreign Celery app is random.
    newest = (Job.created_at.desc(), Job.id.desc())
    query: Select[Any] = select(*SHOWN).order_by(*newest).limit(limit)
    for column, value in filters.items():
        query = query.where(getattr(Job, column) == value)
    if "key" in filters:
        query = query.where(Job.id.in_(_named_by(filters["key"])))
    if code is not None:
        # No other status comes with an error: so the index of statuses serves.
        query = query.where(Job.status.in_(WITH_ERROR), Job.error["code"].astext == code)
    if since is not None:
        query = query.where(Job.created_at >= since)
    if before is not None:
        last = select(Job.created_at, Job.id).where(Job.id == before).scalar_subquery()
        query = query.where(tuple_(Job.created_at, Job.id) < last)
    found = (await connection.execute(query)).mappings()
    return [dict(row) for row in found]


def _named_by(key: str) -> Select[UUID]:
    """The jobs that bear a key, whatever their kind, found by the index of keys."""
    kinds = select(Route.kind)
    return select(JobKey.job_id).where(JobKey.key == key, JobKey.kind.in_(kinds))


async def attempts(connection: AsyncConnection, id: UUID) -> list[Row]:
    """The job's attempts, each with its interactions."""
    tries = await connection.execute(
        select(*Attempt.__table__.columns).where(Attempt.job_id == id).order_by(Attempt.number)
    )
    exchanges = await connection.execute(
        select(*Interaction.__table__.columns)
        .where(Interaction.job_id == id)
        .order_by(Interaction.at, Interaction.id)
    )
    rows = [dict(row) for row in exchanges.mappings()]
    return [
        {**row, "interactions": [i for i in rows if i["attempt"] == row["number"]]}
        for row in tries.mappings()
    ]


async def interventions(connection: AsyncConnection, id: UUID) -> list[Row]:
    """What came from outside the job's walk, in the order of time."""
    query = select(*Intervention.__table__.columns).where(Intervention.job_id == id)
    rows = await connection.execute(query.order_by(Intervention.at, Intervention.id))
    return [dict(row) for row in rows.mappings()]


async def batch(connection: AsyncConnection, id: UUID) -> Row | None:
    """A batch with its counts."""
    found: Row | None = await connection.scalar(text("SELECT ferryman.batch(:id)"), {"id": id})
    return found
