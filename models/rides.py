"""What was tried for a job that rode in loads: requests and answers are on record with the load,
and with the job itself only what went wrong."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from models import jobs
from models.tables import Interaction

Row = dict[str, Any]

# The load that carries it, or did last, where the job has no attempt of its own of that. It ends
# well for the load where each record has its answer, so what became of this one is told instead.
LAST = text("""
SELECT j.fence AS number, a.worker, coalesce(l.taken_at, a.started_at) AS started_at,
       coalesce(l.ended_at, a.finished_at) AS finished_at, j.load, j.id AS job_id,
       CASE WHEN j.status IN ('succeeded', 'failed', 'unknown', 'cancelled') THEN j.status
            ELSE a.outcome END AS outcome, j.error
  FROM ferryman.jobs j JOIN ferryman.attempts a ON a.job_id = j.load
  LEFT JOIN ferryman.loads l ON l.job_id = j.load
 WHERE j.id = :id
   AND NOT EXISTS (SELECT FROM ferryman.attempts o WHERE o.job_id = j.id AND o.load = j.load)
 ORDER BY a.number DESC LIMIT 1
""")


async def attempts(connection: AsyncConnection, id: UUID) -> list[Row]:
    """The job's attempts, each with its interactions: of one in a load, those of the load."""
    found = await jobs.attempts(connection, id)
    last = (await connection.execute(LAST, {"id": id})).mappings()
    found += [{**row, "interactions": []} for row in last]
    loads = {row["load"] for row in found if row["load"]}
    if not loads:
        return found
    exchanges = await connection.execute(
        select(*Interaction.__table__.columns)
        .where(Interaction.job_id.in_(loads))
        .order_by(Interaction.at, Interaction.id)
    )
    rows = [dict(row) for row in exchanges.mappings()]
    for row in found:
        row["interactions"] += [one for one in rows if one["job_id"] == row["load"]]
    return sorted(found, key=lambda row: int(row["number"]))
