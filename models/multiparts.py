"""Uploads in several parts that we have begun at a vendor, so that none is left behind there.

A row is committed before the vendor is asked for an upload, and says when it has ended. Which
parts have arrived is not written down: the vendor's own list of them is the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

COLUMNS = "id, job_id, key, vendor, bucket, target, source, size, part_bytes, upload_id, begun_at"

INTEND = text(f"""
INSERT INTO ferryman.multiparts
       (id, job_id, key, vendor, bucket, target, source, size, part_bytes, upload_id, status)
VALUES (:id, :job_id, :key, :vendor, :bucket, :target, :source, :size, :part_bytes, :upload_id,
        'open')
RETURNING {COLUMNS}
""")
BEGUN = text("""
UPDATE ferryman.multiparts SET upload_id = :upload_id WHERE id = :id AND status = 'open'
""")
OPEN_OF = text(f"""
SELECT {COLUMNS} FROM ferryman.multiparts
 WHERE job_id = :sync AND (CAST(:key AS text) IS NULL OR key = :key) AND status = 'open'
 ORDER BY begun_at, id
""")
# A sync that is not on record any more has ended as well.
STRAYS = text(f"""
SELECT {COLUMNS} FROM ferryman.multiparts m
 WHERE vendor = :vendor AND bucket = :bucket AND status = 'open'
   AND NOT EXISTS (SELECT FROM ferryman.jobs j
                    WHERE j.id = m.job_id AND j.status NOT IN ('succeeded', 'failed', 'cancelled'))
 ORDER BY begun_at, id
""")
KNOWN = text("""
SELECT upload_id FROM ferryman.multiparts
 WHERE vendor = :vendor AND bucket = :bucket AND target = :target AND status = 'open'
   AND upload_id IS NOT NULL
""")
ENDED = text("""
UPDATE ferryman.multiparts SET status = :status, upload_id = NULL, ended_at = now()
 WHERE id = :id AND status = 'open'
""")


@dataclass(frozen=True)
class Multipart:
    """One upload. `key`: the object's, as in `ferryman.objects`; `target`: its whole key in
    `bucket`. `upload_id`: None while the vendor's answer is not on record. `source`: what is being
    uploaded ('sha256:…', 'etag:…', 'generation:…'): with another one it is not gone on with."""

    id: UUID
    job_id: UUID  # of the sync
    key: str
    vendor: str
    bucket: str
    target: str
    source: str
    size: int
    part_bytes: int
    upload_id: str | None = None
    begun_at: datetime | None = None  # set by the ledger


async def intend(connection: AsyncConnection, made: Multipart) -> Multipart:
    """An upload is about to be asked for; as it stands in the ledger, with `begun_at`."""
    row = (await connection.execute(INTEND, vars(made))).mappings().one()
    return Multipart(**row)


async def begun(connection: AsyncConnection, id: UUID, upload_id: str) -> None:
    """The vendor has answered: commit this before the first part leaves."""
    await connection.execute(BEGUN, {"id": id, "upload_id": upload_id})


async def open_of(
    connection: AsyncConnection, sync: UUID, key: str | None = None
) -> list[Multipart]:
    """Those of a sync (and of one object of it) that have not ended, the oldest first."""
    return await _found(connection, OPEN_OF, {"sync": sync, "key": key})


async def strays(connection: AsyncConnection, vendor: str, bucket: str) -> list[Multipart]:
    """Those in a bucket that have not ended, although their sync has."""
    return await _found(connection, STRAYS, {"vendor": vendor, "bucket": bucket})


async def known(connection: AsyncConnection, vendor: str, bucket: str, target: str) -> set[str]:
    """The ids of all open uploads of ours at this target: of those that nobody knows one may be
    what a killed worker had just begun."""
    values = {"vendor": vendor, "bucket": bucket, "target": target}
    return set((await connection.execute(KNOWN, values)).scalars())


async def ended(connection: AsyncConnection, id: UUID, status: str) -> None:
    """It is 'done' or 'aborted'. The upload id is forgotten: at Google it is as good as a key."""
    await connection.execute(ENDED, {"id": id, "status": status})


async def _found(
    connection: AsyncConnection, query: Any, values: dict[str, Any]
) -> list[Multipart]:
    return [Multipart(**row) for row in (await connection.execute(query, values)).mappings()]
