"""Storing many jobs at once, with an answer for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from models.engine import dumps

# A key in somebody's open transaction gets this long, then its job is left out.
LOCK_TIMEOUT = text("SET LOCAL lock_timeout = '1s'")
ENQUEUE = text("SELECT id, state, problem FROM ferryman.enqueue_each(CAST(:jobs AS jsonb))")


class Stored(NamedTuple):
    """The id of the job that there is now, or the SQLSTATE and the words of what is wrong."""

    id: UUID | None
    state: str | None
    problem: str | None


async def enqueue_each(connection: AsyncConnection, jobs: Sequence[dict[str, Any]]) -> list[Stored]:
    """Store what can be stored; an answer for each, in order. With ids of their own given, the
    jobs may be stored again after a lost connection."""
    await connection.execute(LOCK_TIMEOUT)
    found = await connection.execute(ENQUEUE, {"jobs": dumps(jobs)})
    return [Stored(*row) for row in found]
