"""The objects of a sync, as the HTTP API shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

Row = dict[str, Any]

# By the primary key, whose order is that of the listings.
PAGE = text("""
SELECT key, bucket, action, outcome, reason, size, last_modified, etag, version, checksum, at
  FROM ferryman.objects
 WHERE job_id = :batch AND key > CAST(:after AS text)
   AND (CAST(:actions AS text[]) IS NULL OR action = ANY(CAST(:actions AS text[])))
   AND (CAST(:outcomes AS text[]) IS NULL OR outcome = ANY(CAST(:outcomes AS text[])))
 ORDER BY key LIMIT :limit
""")


async def objects(
    connection: AsyncConnection,
    batch: UUID,
    *,
    actions: Sequence[str],
    outcomes: Sequence[str],
    after: str,
    limit: int,
) -> list[Row]:
    """In the order of their keys. `actions`, `outcomes`: any of these, none: all. `after`: the last
    key of the page before."""
    values = {
        "batch": batch,
        "after": after,
        "actions": list(actions) or None,
        "outcomes": list(outcomes) or None,
        "limit": limit,
    }
    return [dict(row) for row in (await connection.execute(PAGE, values)).mappings()]
