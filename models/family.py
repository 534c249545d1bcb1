"""A job together with its parts, as a person's step takes them."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# A job of these kinds with all its parts, or one of them with its job: in order of id, as whoever
# needs several takes them.
HOLD_FAMILY = text("""
SELECT FROM ferryman.jobs f
 WHERE f.batch_id = (SELECT p.id FROM ferryman.jobs j JOIN ferryman.jobs p ON p.id = j.batch_id
                      WHERE j.id = :id AND p.kind = ANY(CAST(:kinds AS text[])))
   AND f.status <> 'succeeded'
 ORDER BY f.id FOR UPDATE
""")


async def hold(connection: AsyncConnection, id: UUID, kinds: Sequence[str]) -> None:
    """Keep a job and its parts as they are until the transaction ends, if it is of one of these
    kinds or a part of such a one. Call it before one of them is locked by itself."""
    await connection.execute(HOLD_FAMILY, {"id": id, "kinds": list(kinds)})
