"""What a person does about a batch: pause, resume, cancel, and retry what failed."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from ferryman.policies import Policy, policy
from models import batches as ledger
from models import settle
from models.jobs import job
from models.walk import write
from tasks import _settle
from tasks._settle import CANCELLED, NotAllowed, kinds, parents

Row = dict[str, Any]

PAUSED = "paused by a person"


class NoSuchBatch(Exception):
    """There is no batch with that id."""


async def pause(
    connection: AsyncConnection, id: UUID, *, who: str, note: str | None = None
) -> None:
    """Let nothing more start; what is on its way ends. Raises NoSuchBatch, NotAllowed."""
    batch = await _locked(connection, id)
    if batch["status"] == "paused":
        return
    if batch["status"] != "running":
        raise NotAllowed(f"it is {batch['status']} already")
    await ledger.pause(connection, id, note or PAUSED)
    await _tell(connection, id, who, "pause", batch["status"], "paused", note)


async def resume(
    connection: AsyncConnection, id: UUID, *, who: str, note: str | None = None
) -> None:
    """Go on where it was paused. Raises NoSuchBatch, NotAllowed."""
    batch = await _locked(connection, id)
    if batch["status"] == "running":
        return
    if batch["status"] != "paused":
        raise NotAllowed(f"it is {batch['status']} already")
    await ledger.resume(connection, id)
    await _tell(connection, id, who, "resume", "paused", "running", note)


async def cancel(
    connection: AsyncConnection, id: UUID, *, who: str, note: str | None = None
) -> None:
    """Send no more of it. What is on its way stops where it can, and else is told as it ends.
    Raises NoSuchBatch, NotAllowed."""
    batch = await _locked(connection, id)
    if batch["status"] == "cancelled":
        return
    if batch["status"] == "done":
        raise NotAllowed("it is done already")
    over = await ledger.cancel(connection, id, note or CANCELLED)
    await write(connection, [kinds()[row["kind"]].cancelled(row["id"]) for row in over])
    if batch["planned_at"] is None or await _waits_for(connection, batch):
        await _settle.cancel(connection, id, who=who, note=note)
        return
    await _tell(connection, id, who, "cancel", batch["status"], "cancelled", note)


async def retry_failed(
    connection: AsyncConnection, id: UUID, *, who: str, note: str | None = None
) -> None:
    """Send to those that failed once more, and to nobody else. Raises NoSuchBatch, NotAllowed."""
    batch = await _locked(connection, id)
    if batch["status"] == "cancelled":
        raise NotAllowed("it is cancelled")
    if batch["kind"] in parents() and not await _waits_for(connection, batch):
        # It ends anew with its parts.
        await _settle.retry(connection, id, who=who, note=note)
        return
    if batch["planned_at"] is None or not batch["counts"]["failed"]:
        raise NotAllowed("none of it has failed")
    rows = await ledger.failed_jobs(connection, id)
    await settle.again(connection, [row["id"] for row in rows], fresh=True)
    await write(connection, [kinds()[row["kind"]].again(row["id"]) for row in rows])
    regrouped = batch["kind"] not in parents() and await _regroup(connection, batch)
    if regrouped or batch["per_minute"]:
        await ledger.release(connection, id)
    if batch["status"] == "paused":
        await ledger.pause(connection, id, batch["reason"])
    await _tell(connection, id, who, "retry", batch["status"], "running", note)


async def _waits_for(connection: AsyncConnection, batch: Row) -> bool:
    """Whether its own job goes on until the parts have ended."""
    if batch["kind"] not in parents():
        return False
    parent = await job(connection, UUID(batch["id"]))
    return parent is not None and parent["status"] in ("waiting", "running")


async def _regroup(connection: AsyncConnection, batch: Row) -> bool:
    """Whether some failed by themselves, and have parts of their own now."""
    bulk = await job(connection, UUID(batch["id"]))
    assert bulk is not None
    limits = policy(bulk["vendor"])
    size = part_size(limits, batch["per_minute"])
    return await ledger.regroup(connection, batch, size=size, most_bytes=limits.batch_bytes)


def part_size(limits: Policy, per_minute: int | None) -> int:
    """How many recipients a request has: with a rate some a minute go, rather than all at its
    beginning."""
    return min(limits.batch_size, max(1, per_minute // 6)) if per_minute else limits.batch_size


async def _locked(connection: AsyncConnection, id: UUID) -> Row:
    await ledger.hold(connection, id)
    if (batch := await ledger.lock(connection, id)) is None:
        raise NoSuchBatch
    return batch


async def _tell(
    connection: AsyncConnection,
    id: UUID,
    who: str,
    action: str,
    was: str,
    became: str,
    note: str | None,
) -> None:
    told = {"job_id": id, "who": who, "action": f"{action} batch", "was": was, "became": became}
    await settle.tell(connection, [{**told, "note": note}])
