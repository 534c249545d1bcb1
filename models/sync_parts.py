"""Parts of a sync: what each takes, what it has on record, and how the last one wakes the parent.

Locks are taken in this order: jobs, objects, parts, batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman import locations
from models import sync_ends
from models.engine import dumps

Row = dict[str, Any]

HOLD = text("""
SELECT FROM ferryman.jobs WHERE id = :job AND fence = :fence AND status = 'running'
   FOR NO KEY UPDATE
""")
TAKE = text("""
SELECT p.batch_id AS sync, p.part, p.action, p.first_key, p.last_key, p.failed, b.bandwidth,
       s.args, s.vendor,
       CASE WHEN s.status IN ('succeeded', 'failed', 'cancelled') THEN 'cancelled'
            ELSE b.status END AS status
  FROM ferryman.parts p
  JOIN ferryman.batches b ON b.id = p.batch_id
  JOIN ferryman.jobs s ON s.id = b.id
 WHERE p.job_id = :job
""")
# What a killed attempt had carried of objects that are not on record is carried once more.
TAKEN = text("""
UPDATE ferryman.parts p
   SET status = 'sending', reason = NULL, held = false,
       bytes_done = (SELECT coalesce(sum(o.size), 0) FROM ferryman.objects o
                      WHERE o.job_id = p.batch_id AND o.key BETWEEN p.first_key AND p.last_key
                        AND o.part = p.part AND o.action = 'copy' AND o.outcome = 'done')
 WHERE p.job_id = :job AND p.status IN ('waiting', 'sending')
""")
RESTS = text("""
UPDATE ferryman.parts SET status = 'waiting' WHERE job_id = :job AND status = 'sending'
""")
ROWS = text("""
SELECT key, action, size, last_modified, bucket, path, source_etag, source_version, digests,
       target_etag, target_version, target_digests
  FROM ferryman.objects
 WHERE job_id = :sync AND key > :after AND key BETWEEN :first AND :last AND part = :part
   AND outcome = 'planned'
 ORDER BY key LIMIT :limit
""")
# In a dry run what would be copied leaves the part: it is decided, and yet only planned. The keys
# are confined, since without statistics the planner would read the whole sync each time.
RECORD = text("""
WITH r AS (
  SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb))
      AS r(key text, action text, outcome text, reason text, size bigint, etag text, version text,
           checksum text)
), held AS (
  SELECT j.id, j.cancel_at IS NOT NULL OR b.status = 'cancelled'
                 OR s.status IN ('succeeded', 'failed', 'cancelled') AS cancelled,
         b.status = 'paused' AS paused
    FROM ferryman.jobs j JOIN ferryman.batches b ON b.id = j.batch_id
    JOIN ferryman.jobs s ON s.id = b.id
   WHERE j.id = :job AND j.fence = :fence AND j.status = 'running' FOR NO KEY UPDATE OF j
), written AS (
  UPDATE ferryman.objects o
     SET action = r.action, outcome = r.outcome, reason = r.reason,
         size = coalesce(r.size, o.size), etag = coalesce(r.etag, o.etag),
         version = coalesce(r.version, o.version), checksum = coalesce(r.checksum, o.checksum),
         part = CASE r.outcome WHEN 'planned' THEN NULL ELSE o.part END, at = now()
    FROM r
   WHERE o.job_id = :sync AND o.key = r.key AND o.key BETWEEN :first AND :last
     AND o.part = :part AND o.outcome = 'planned'
     AND EXISTS (SELECT FROM held)
  RETURNING o.action, o.outcome, o.size
), sums AS (
  SELECT count(*) AS n,
         count(*) FILTER (WHERE outcome = 'done' AND action <> 'keep') AS done,
         count(*) FILTER (WHERE outcome = 'done' AND action = 'keep') AS kept,
         count(*) FILTER (WHERE outcome IN ('failed', 'refused')) AS failed,
         count(*) FILTER (WHERE outcome = 'planned') AS gone,
         coalesce(sum(size) FILTER (WHERE outcome = 'done' AND action = 'keep'), 0) AS same
    FROM written
), counted AS (
  UPDATE ferryman.parts p
     SET done = p.done + s.done, kept = p.kept + s.kept, failed = p.failed + s.failed,
         size = p.size - s.gone, bytes = p.bytes - s.same, bytes_done = p.bytes_done + :sent
    FROM sums s WHERE p.job_id = :job AND EXISTS (SELECT FROM held) AND (s.n > 0 OR :sent > 0)
), calm AS (
  UPDATE ferryman.jobs j SET crashes = 0
    FROM held h, sums s WHERE j.id = h.id AND j.crashes > 0 AND (s.n > 0 OR :lasting)
)
SELECT cancelled, paused FROM held
""")
# One after the other, by the row's lock: exact over all workers.
TURN = text("""
WITH before AS (
  SELECT greatest(next_at, now()) AS at FROM ferryman.batches
   WHERE id = :sync AND bandwidth IS NOT NULL FOR NO KEY UPDATE
)
UPDATE ferryman.batches b
   SET next_at = f.at + make_interval(secs => CAST(:bytes AS float8) / b.bandwidth)
  FROM before f WHERE b.id = :sync
RETURNING extract(epoch FROM f.at - now())::float8 AS seconds
""")
LEFT_BEHIND = text("""
SELECT b.id FROM ferryman.batches b JOIN ferryman.jobs j ON j.id = b.id
 WHERE b.awaits AND j.status IN ('succeeded', 'failed', 'cancelled')
""")


@dataclass(frozen=True)
class Taken:
    """A part that may go. `args`, `vendor`: those of the sync job. `status`: 'running'; 'paused'
    and 'cancelled' (also: the sync has ended) must not go, nothing was changed but that it rests.
    `failed`: how many of its objects failed, or were refused, in earlier attempts. `bandwidth`:
    bytes per second of all parts together, None: no limit."""

    sync: UUID
    part: int
    action: str  # 'copy' or 'delete'
    status: str
    args: Row
    vendor: str
    first_key: str
    last_key: str
    failed: int
    bandwidth: int | None = None

    @property
    def dry_run(self) -> bool:
        return bool(self.args.get("dry_run"))


@dataclass(frozen=True)
class Orders:
    """What a running part is told when it records: to stop for good, or to wait."""

    cancelled: bool
    paused: bool


async def take(connection: AsyncConnection, part_job: UUID, fence: int) -> Taken | None:
    """The part is about to go. None: it is another attempt's by now, or there is no such part."""
    held = await connection.execute(HOLD, {"job": part_job, "fence": fence})
    if held.one_or_none() is None:
        return None
    row = (await connection.execute(TAKE, {"job": part_job})).mappings().one_or_none()
    if row is None:
        return None
    goes = row["status"] == "running"
    await connection.execute(TAKEN if goes else RESTS, {"job": part_job})
    return Taken(**row)


async def rows(connection: AsyncConnection, taken: Taken, after: str, limit: int) -> list[Row]:
    """The part's next objects beyond `after` ("" at first) of which nothing is on record yet, in
    key order: `{"key", "action", "size", "last_modified", "bucket", "path", "source_etag",
    "source_version", "digests", "target_etag", "target_version", "target_digests"}`."""
    span = {"first": taken.first_key, "last": taken.last_key, "part": taken.part}
    values = {"sync": taken.sync, "after": after, "limit": limit, **span}
    return [dict(row) for row in (await connection.execute(ROWS, values)).mappings()]


async def record(
    connection: AsyncConnection,
    part_job: UUID,
    fence: int,
    taken: Taken,
    rows: Sequence[Row],
    bytes_sent: int = 0,
) -> Orders | None:
    """Write down what became of objects: `{"key", "action", "outcome", "reason"?, "size"?,
    "etag"?, "version"?, "checksum"?}`. None: the lease is lost, and nothing was written.

    `action`: 'copy', 'keep', 'delete', 'refuse'; `outcome`: 'done', 'failed', 'refused', and in a
    dry run 'planned' (it would be copied). `bytes_sent`: what was carried since the last call,
    each byte once, also of objects that are not complete yet. Safe to repeat: what is on record
    counts once (but for `bytes_sent`). No rows: only to hear the orders. Whoever has put an
    object on record is no poison: its crashes are forgotten. So are they where bytes have reached a
    bucket, since its next attempt goes on behind them; in a folder it would begin anew.
    """
    keys = [row["key"] for row in rows]
    values = {
        "first": min(keys, default=""),
        "last": max(keys, default=""),
        "job": part_job,
        "fence": fence,
        "sync": taken.sync,
        "part": taken.part,
        "rows": dumps(list(rows)),
        "sent": bytes_sent,
        "lasting": bytes_sent > 0 and locations.parse(taken.args["destination"]).remote,
    }
    told = (await connection.execute(RECORD, values)).mappings().one_or_none()
    return None if told is None else Orders(**told)


async def turn(connection: AsyncConnection, sync: UUID, n: int) -> float:
    """Ask to carry `n` bytes, where the sync has a bandwidth: seconds to wait before they go."""
    found: float | None = await connection.scalar(TURN, {"sync": sync, "bytes": n})
    return found or 0.0


async def wake(connection: AsyncConnection) -> list[UUID]:
    """Wake each parent that waits for parts and has none left, and end the parts of a parent that
    has ended without them: what was missed at a close. The ids of those parents."""
    woken = list((await connection.execute(sync_ends.WAKE_ALL)).scalars())
    left = list((await connection.execute(LEFT_BEHIND)).scalars())
    if left:
        given = {"rows": dumps([{"job_id": sync, "status": "succeeded"} for sync in left])}
        for statement in sync_ends.END_PARTS:
            await connection.execute(statement, given)
    return woken + left
