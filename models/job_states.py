"""How many jobs are, in one look: for those who wait for thousands."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from models.tables import Job

Row = dict[str, Any]


async def of(connection: AsyncConnection, ids: Collection[UUID]) -> list[Row]:
    """`{"id", "status", "error"}` of each of these jobs that there is, in no order."""
    query = select(Job.id, Job.status, Job.error).where(Job.id.in_(ids))
    return [dict(row) for row in (await connection.execute(query)).mappings()]
