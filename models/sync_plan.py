"""The plan of a sync: a row an object, cut into jobs, written segment by segment with a cursor.

A sync is a batch whose parent waits: the sync job plans, waits for its parts, and ends. Each
function here takes the parent's `fence` and returns None where the job is another attempt's by
now: nothing was written then. None of them must be called inside `attempt.held()`: they lock by
themselves, jobs in order of id, then parts, then the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from models import sync_ends, sync_segment
from models import sync_statements as sql
from models.engine import dumps
from models.sync_segment import PartPlan, Planned, Segment, unquoted

# A segment is a plan's, wherever it is described.
__all__ = ["Counts", "PartPlan", "Plan", "Planned", "Segment"]

Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How far a sync has come. Counts of parts: `open_copies`, `held_copies` (of the open ones),
    likewise deletes; all others are objects. `refused` with those that clash. `failed`: copies and
    deletes that failed, or that nobody knows of."""

    status: str  # of the batch: 'running', 'paused', 'cancelled'
    cancel_asked: bool
    planned: bool
    cursor: str
    parts: int
    total: int
    targets: int
    surplus: int
    kept: int
    refused: int
    failed: int
    cancelled: int
    open_copies: int
    held_copies: int
    open_deletes: int
    held_deletes: int

    @property
    def stopping(self) -> bool:
        """Somebody wants it stopped."""
        return self.cancel_asked or self.status == "cancelled"


@dataclass(frozen=True)
class Counts:
    """Objects of a sync by what became of them; of a dry run, by what would have."""

    copied: int
    kept: int
    deleted: int
    refused: int
    failed: int
    bytes: int


async def begin(
    connection: AsyncConnection, job: UUID, fence: int, *, bandwidth: int | None = None
) -> Plan | None:
    """The plan as it stands, whatever earlier attempts have made of it. `bandwidth`: bytes per
    second, of all its parts together."""
    if not await _held(connection, job, fence):
        return None
    await connection.execute(sql.ADOPT, {"job": job})
    await connection.execute(sql.LOCK, {"job": job})
    await connection.execute(sql.FORGET, {"job": job})
    await connection.execute(sql.BEGIN, {"job": job, "bandwidth": bandwidth})
    return await _look(connection, job)


async def segment(connection: AsyncConnection, job: UUID, fence: int, made: Segment) -> Plan | None:
    """Write a segment, its parts and their jobs; all of it, or nothing. Safe to repeat: one that
    is written already, or that belongs to a cancelled batch, changes nothing. The parts begin at
    once, but for held ones and those of a paused batch."""
    if await connection.scalar(sql.CALM, {"job": job, "fence": fence}) is None:
        return None
    batch = (await connection.execute(sql.SEEN, {"job": job})).one()
    stands = batch.planned_at is not None or unquoted(batch.cursor or "") != made.after
    if batch.status != "cancelled" and not stands:
        await sync_segment.copy(connection, job, made.rows)
        if parts := sync_segment.parts(made):
            values = {"job": job, "paused": batch.status == "paused", "rows": dumps(parts)}
            await connection.execute(sql.PLAN_PARTS, values)
        await connection.execute(sql.ADD, {"job": job, **sync_segment.sums(made)})
    return await _look(connection, job)


async def planned(connection: AsyncConnection, job: UUID, fence: int) -> Plan | None:
    """The listings have ended: the total stands. Safe to repeat."""
    if not await _held(connection, job, fence):
        return None
    await connection.execute(sql.PLANNED, {"job": job})
    return await _look(connection, job)


async def clashes(connection: AsyncConnection, job: UUID, fence: int) -> Plan | None:
    """Refuse all whose names differ only in case or in Unicode form (the same `fold`), kept ones
    too. To be called before copies are released."""
    if not await _held(connection, job, fence):
        return None
    await connection.execute(sql.CLASHES, {"job": job, "reason": sql.CLASH})
    return await _look(connection, job)


async def release(connection: AsyncConnection, job: UUID, fence: int, action: str) -> Plan | None:
    """Let the held parts of this action begin ('copy' or 'delete')."""
    if not await _held(connection, job, fence, sql.HOLD_HELD):
        return None
    await connection.execute(sql.RELEASE, {"job": job, "action": action})
    return await _look(connection, job)


async def drop(
    connection: AsyncConnection, job: UUID, fence: int, action: str | None, reason: str
) -> Plan | None:
    """Cancel what waits of this action (None: of all), and ask what runs to stop; `reason` goes
    to the objects. What is on its way is still open then: wait for it."""
    if not await _held(connection, job, fence, sql.HOLD_OPEN):
        return None
    row = {"job_id": job, "status": "drop", "action": action, "reason": reason}
    for statement in sync_ends.END_PARTS:
        await connection.execute(statement, {"rows": dumps([row])})
    return await _look(connection, job)


async def waits(connection: AsyncConnection, job: UUID, fence: int) -> Plan | None:
    """The parent is about to wait for its parts: from now on the last of them wakes it. Look at
    the plan that is returned: where nothing is open any more, do not wait."""
    if not await _held(connection, job, fence):
        return None
    await connection.execute(sql.LOCK, {"job": job})
    await connection.execute(sql.AWAIT, {"job": job})
    return await _look(connection, job)


async def counts(connection: AsyncConnection, job: UUID) -> Counts:
    """By what the rows say; reads all of them, so at the end only."""
    row = (await connection.execute(sql.COUNTS, {"job": job})).mappings().one()
    return Counts(**row)


async def left_out(connection: AsyncConnection, job: UUID, limit: int) -> list[Row]:
    """The first objects that were refused or failed: `{"key", "reason"}`."""
    found = await connection.execute(sql.LEFT_OUT, {"job": job, "limit": limit})
    return [dict(row) for row in found.mappings()]


async def _held(
    connection: AsyncConnection, job: UUID, fence: int, statement: Any = sql.HOLD
) -> bool:
    """Whether the job is this attempt's; if so, until the transaction ends."""
    found = (await connection.execute(statement, {"job": job, "fence": fence})).all()
    return any(getattr(row, "ours", True) for row in found)


async def _look(connection: AsyncConnection, job: UUID) -> Plan:
    row = dict((await connection.execute(sql.LOOK, {"job": job})).mappings().one())
    return Plan(**row | {"cursor": unquoted(row["cursor"])})
