"""What people, look-ups and late answers do to a job: cancel, retry, resolve, settle.

Each runs in the caller's transaction, and moves the rows of the job's kind with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters._base import adapter
from ferryman import requests
from ferryman.policies import policies
from models import batches, family
from models import settle as ledger
from models.settle import End, Filters
from models.walk import write
from models.workers import Looks
from tasks._base import Done, Job, jobs

Row = dict[str, Any]

LATE = "it took effect after it had ended as {}: a person should look"
SECOND = "it took effect a second time: a person should look"
CANCELLED = "cancelled by a person"
TWICE = "it may have its effect twice: what was sent before is not known to have had none"


class NoSuchJob(Exception):
    """There is no job with that id."""


class NotAllowed(Exception):
    """The job's state forbids it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@lru_cache
def kinds() -> dict[str, Job[Any]]:
    """Every kind of job by its name."""
    return {job.request.kind: job for job in jobs()}


@lru_cache
def parents() -> list[str]:
    """The kinds whose jobs wait for parts of their own."""
    return [kind for kind, job in kinds().items() if job.has_parts]


@lru_cache
def looks() -> Looks:
    """After how many seconds each kind is looked up at each vendor that can tell."""
    found: Looks = {}
    for vendor, policy in policies().items():
        for kind in adapter(vendor).look_ups:
            found.setdefault(kind, {})[vendor] = policy.look_up_seconds
    return found


async def cancel(
    connection: AsyncConnection, id: UUID, *, who: str, note: str | None = None
) -> bool:
    """Stop a job before its effect, and its parts. True: it is cancelled. False: it runs or is in
    doubt, and ends as cancelled or as succeeded, whichever turns out to be true.

    Raises NoSuchJob, and NotAllowed for a job that has ended or that only a person can resolve.
    """
    row = await _locked_with_parts(connection, id)
    match row["status"]:
        case "cancelled":
            return True
        case "succeeded" | "failed":
            raise NotAllowed(f"it has {row['status']} already")
        case "unknown" if row["look_at"] is None:
            raise NotAllowed("whether it took effect is unknown: find out, and resolve it")
        case "waiting" if row["pending"]:
            became = await ledger.cancel_pending(connection, id)
            await _tell(connection, row, who, "cancel", became, note)
            return False
        case "waiting" if not row["doubtful"]:
            await ledger.cancel(connection, id)
            await write(connection, [_kind(row).cancelled(id)])
            await _tell(connection, row, who, "cancel", "cancelled", note)
            return True
    became = await ledger.ask_to_cancel(connection, row, looks())
    if _kind(row).has_parts:
        over = await batches.cancel(connection, id, note or CANCELLED)
        await write(connection, [_kind(part).cancelled(part["id"]) for part in over])
    await _tell(connection, row, who, "cancel", became, note)
    return False


async def retry(
    connection: AsyncConnection, id: UUID, *, who: str, note: str | None = None
) -> str | None:
    """Send a failed job again under new vendor keys, or an unknown one under its old ones while
    the vendor still dedupes by them. Returns a warning where it does not. Of a job with parts only
    those that failed go again.

    Raises NoSuchJob, and NotAllowed for a job in another state.
    """
    row = await _locked_with_parts(connection, id)
    if row["status"] not in ("failed", "unknown"):
        raise NotAllowed(f"it is {row['status']}; only failed and unknown jobs are sent again")
    if row["proven"]:
        raise NotAllowed("it took effect after it had ended: there is nothing to send again")
    if row["given_up"]:
        raise NotAllowed("its batch is cancelled")
    risky = row["status"] == "unknown" and not row["harmless"]
    fresh = row["status"] == "failed" or risky
    await ledger.again(connection, [id], fresh=fresh)
    await write(connection, [_kind(row).again(id)])
    await _tell(connection, row, who, "retry", "waiting", note)
    return TWICE if risky else None


async def resolve(
    connection: AsyncConnection,
    id: UUID,
    outcome: Literal["succeeded", "failed"],
    *,
    who: str,
    note: str,
) -> None:
    """A person has found out what became of an unknown job. Raises NoSuchJob, NotAllowed."""
    row = await _locked_with_parts(connection, id)
    if row["status"] != "unknown":
        raise NotAllowed(f"it is {row['status']}; only an unknown job is resolved")
    if outcome == "succeeded":
        args = requests.validate(row["kind"], row["args"], internal=True)
        done = _kind(row).resolved(id, row["vendor"], args)
        end, writes = End("succeeded", result=done.result), done.writes
    else:
        end, writes = End("failed", error=_resolved_error()), _kind(row).refused(id)
    await ledger.settle(connection, id, end, leaves=("unknown",))
    await write(connection, [writes])
    await _tell(connection, row, who, "resolve", outcome, note)


async def failed(connection: AsyncConnection, filters: Filters) -> int:
    """How many failed jobs a replay would take."""
    return await ledger.count_failed(connection, filters)


async def retry_failed(
    connection: AsyncConnection, filters: Filters, *, who: str, note: str | None = None
) -> int:
    """Send the failed jobs that are meant again, under new vendor keys; how many."""
    rows = await ledger.lock_failed(connection, filters)
    await ledger.again(connection, [row["id"] for row in rows], fresh=True)
    await write(connection, [_kind(row).again(row["id"]) for row in rows])
    told = [_told({**row, "status": "failed"}, who, "retry", "waiting", note) for row in rows]
    await ledger.tell(connection, told)
    return len(rows)


async def prove(
    connection: AsyncConnection, id: UUID, done: Done, *, who: str, note: str | None = None
) -> bool:
    """The effect is proven, by whatever way it came. The same proof twice does nothing; an effect
    of a job that ended otherwise is recorded and flagged. Raises NoSuchJob.

    True: the job has succeeded by it.
    """
    row = await _locked(connection, id)
    if row["status"] == "succeeded":
        known, seen = (_reference(result) for result in (row["result"], done.result))
        if known and seen and known != seen and await ledger.flag(connection, id, SECOND):
            await _tell(connection, row, who, "second effect", "succeeded", seen)
        return False
    if row["status"] in ("failed", "cancelled"):
        await write(connection, [done.writes])
        if await ledger.flag(connection, id, LATE.format(row["status"])):
            await _tell(connection, row, who, "late proof", row["status"], note)
        return False
    end = End("succeeded", result=done.result)
    settled = await ledger.settle(connection, id, end, leaves=("waiting", "running", "unknown"))
    await write(connection, [done.writes])
    await _tell(connection, row, who, "settle", "succeeded", note)
    return settled


async def disprove(
    connection: AsyncConnection, id: UUID, error: Row, *, who: str, answered: Sequence[str]
) -> bool:
    """The vendor refused what was sent in these steps. False: other requests are in doubt, or
    somebody else runs the job by now. Raises NoSuchJob."""
    row = await _locked(connection, id)
    end = End("failed", error=error, answered=answered)
    if not await ledger.settle(connection, id, end, leaves=("waiting", "unknown")):
        return False
    await write(connection, [_kind(row).refused(id)])
    await _tell(connection, row, who, "settle", "failed", None)
    return True


async def _locked(connection: AsyncConnection, id: UUID) -> Row:
    if (row := await ledger.lock(connection, id)) is None:
        raise NoSuchJob
    return row


async def _locked_with_parts(connection: AsyncConnection, id: UUID) -> Row:
    await family.hold(connection, id, parents())
    return await _locked(connection, id)


def _reference(result: Row | None) -> Any:
    return (result or {}).get("vendor_reference")


def _kind(row: Row) -> Job[Any]:
    return kinds()[row["kind"]]


async def _tell(
    connection: AsyncConnection, row: Row, who: str, action: str, became: str, note: str | None
) -> None:
    await ledger.tell(connection, [_told(row, who, action, became, note)])


def _told(row: Row, who: str, action: str, became: str, note: str | None) -> Row:
    was = row["status"]
    told = {"job_id": row["id"], "who": who, "action": action, "was": was, "became": became}
    return {**told, "note": note}


def _resolved_error() -> Row:
    return {
        "code": "resolved",
        "message": "a person found that it had no effect",
        "type": "Resolved",
    }
