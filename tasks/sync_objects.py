"""`sync_objects`: make a folder or a bucket hold what another one holds."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, cast

from adapters._base import Refused, Repeat
from adapters._storage import Storage
from ferryman import locations, requests
from ferryman.locations import Location
from models.objects import Counts
from tasks._base import Attempt, Done, Job, Refusal
from tasks._bucket import BucketEnd
from tasks._folder import Folder
from tasks._record import Record
from tasks._sync import Place, Sync

# Above this share of the target's objects a delete is more likely a mistake.
MOST_DELETED_PERCENT = 10
MOST_LISTED = 10


class NotAll(Refused):
    """Some objects were left out for good; `objects` names the first of them, and why."""

    def __init__(self, message: str, *, code: str, objects: list[dict[str, Any]]) -> None:
        super().__init__(message, code=code)
        self.objects = objects

    def as_error(self) -> dict[str, Any]:
        return super().as_error() | {"objects": self.objects}


class SyncObjects(Job[requests.SyncObjects]):
    request = requests.SyncObjects
    deadline_seconds = 6 * 3600.0

    async def run(self, attempt: Attempt[requests.SyncObjects]) -> Done:
        source = await _place(attempt, "source", attempt.args.source)
        target = await _place(attempt, "destination", attempt.args.destination)
        record = Record(attempt.ledger, attempt.id)
        sync = Sync(
            source,
            target,
            record,
            concurrency=attempt.policy.concurrency,
            dry_run=bool(attempt.args.dry_run),
        )
        await record.begin()
        if attempt.args.dry_run:
            return Done(result=_result(attempt, await _plan(attempt, sync, record)))
        await _mark(attempt, "sync")
        try:
            counts = await _run(attempt, sync, record)
        finally:
            # Nothing is on its way any more, and the next run compares before it writes.
            attempt.call.answered("sync")
        return Done(result=_result(attempt, counts))


async def _plan(attempt: Attempt[requests.SyncObjects], sync: Sync, record: Record) -> Counts:
    """What a run would do. Raises what a run would, where it is not about single objects."""
    await sync.copy(plan_deletes=bool(attempt.args.delete))
    counts = await record.finish()
    if sync.again is not None:
        raise sync.again
    _limit_deletes(sync)
    return counts


async def _run(attempt: Attempt[requests.SyncObjects], sync: Sync, record: Record) -> Counts:
    """Copy, then delete only if nothing at all was left out."""
    await sync.copy(plan_deletes=bool(attempt.args.delete))
    await _check(sync, record)
    _limit_deletes(sync)
    if sync.surplus:
        # A second mark, since it looks at the lease once more.
        await _mark(attempt, "delete")
        try:
            await sync.delete()
        finally:
            attempt.call.answered("delete")
    return await _check(sync, record)


def _limit_deletes(sync: Sync) -> None:
    if sync.surplus * 100 > sync.targets * MOST_DELETED_PERCENT:
        raise Refusal(
            "delete_limit",
            f"delete: {sync.surplus} of the destination's {sync.targets} objects are not in"
            f" the source; more than {MOST_DELETED_PERCENT} % are never deleted",
        )


async def _check(sync: Sync, record: Record) -> Counts:
    """Raises when something was left out, now or for good."""
    counts = await record.finish()
    if sync.again is not None:
        raise sync.again
    if counts.refused or counts.failed:
        code = "keys_refused" if counts.refused else "objects_failed"
        raise NotAll(
            f"{counts.refused} objects were refused and {counts.failed} failed;"
            f" {'the others were' if counts.copied else 'none was'} copied",
            code=code,
            objects=await record.left_out(MOST_LISTED),
        )
    return counts


async def _mark(attempt: Attempt[requests.SyncObjects], step: str) -> None:
    described = {"method": "PUT", "url": attempt.args.destination}
    await attempt.call.act(step, described, key=str(attempt.id), repeat=Repeat.NATURAL)


async def _place(attempt: Attempt[requests.SyncObjects], side: str, address: str) -> Place:
    """One end. Raises Refusal, which names the side, when it cannot be one."""
    location = locations.parse(address)
    if location.remote:
        _check_vendor(attempt, side, location)
        return BucketEnd(cast(Storage, attempt.adapter), attempt.call, location, side)
    folder = Folder(location.path, attempt.id, target=side == "destination")
    await folder.check()
    return folder


def _check_vendor(attempt: Attempt[requests.SyncObjects], side: str, location: Location) -> None:
    if f"{location.scheme}://" not in attempt.policy.prefixes.values():
        raise Refusal(
            "not_supported", f"{side}: {attempt.vendor} keeps no {location.scheme}:// buckets"
        )


def _result(attempt: Attempt[requests.SyncObjects], counts: Counts) -> dict[str, Any]:
    return {
        "id": str(attempt.id),
        "vendor": attempt.vendor,
        **asdict(counts),
        "dry_run": bool(attempt.args.dry_run),
    }
