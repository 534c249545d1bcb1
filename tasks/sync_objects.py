"""`sync_objects`: make a folder or a bucket hold what another one holds.

The job itself moves nothing: it lists both ends and plans what its parts (`sync_objects_part`) do,
waits for them, and ends when they have.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from typing import Any, NoReturn, TypeVar, cast
from uuid import UUID

from adapters._base import Refused, Repeat
from ferryman import locations, requests
from models import sync_plan
from models.group import is_away
from models.sync_plan import Counts, Plan, Segment
from tasks._base import Attempt, Done, Job, NotHeld, Refusal, Stopped, Wait
from tasks._bucket import BucketEnd
from tasks._ends import End
from tasks._filters import Filter
from tasks._folder import Folder
from tasks._places import place
from tasks._plan_sync import Rules, plan
from tasks._uploads import Uploads

Row = dict[str, Any]
Found = TypeVar("Found")

STEP = "sync"
# Above this share of the target's objects a delete is more likely a mistake.
MOST_DELETED_PERCENT = 10
MOST_LISTED = 10
# The last part to end wakes the job, and whoever rescues jobs of the dead does where that failed.
LOOK_SECONDS = 300.0


class NotAll(Refused):
    """Some objects were left out for good; `objects` names the first of them, and why."""

    def __init__(self, message: str, *, code: str, objects: list[Row]) -> None:
        super().__init__(message, code=code)
        self.objects = objects

    def as_error(self) -> Row:
        return super().as_error() | {"objects": self.objects}


class SyncObjects(Job[requests.SyncObjects]):
    request = requests.SyncObjects
    deadline_seconds = 6 * 3600.0
    has_parts = True

    async def run(self, attempt: Attempt[requests.SyncObjects]) -> Done:
        try:
            result = await _Run(attempt).steps()
        except Exception as error:
            # While it waits the mark stands: it keeps a job whose parts are under way from expiry.
            if not (isinstance(error, Wait | NotHeld) or is_away(error)):
                attempt.call.answered(STEP)
            raise
        attempt.call.answered(STEP)
        return Done(result)

    def waits(self, id: UUID) -> dict[str, list[Row]]:
        return _moves(id, "waits")

    def refused(self, id: UUID) -> dict[str, list[Row]]:
        return _moves(id, "failed")

    def cancelled(self, id: UUID) -> dict[str, list[Row]]:
        return _moves(id, "cancelled")

    def again(self, id: UUID) -> dict[str, list[Row]]:
        return _moves(id, "again")

    def resolved(self, id: UUID, vendor: str, args: requests.SyncObjects) -> Done:
        return replace(super().resolved(id, vendor, args), writes=_moves(id, "succeeded"))


class _Run:
    """One attempt, from wherever the ledger says that earlier ones have come to."""

    def __init__(self, attempt: Attempt[requests.SyncObjects]) -> None:
        self._attempt = attempt
        self._args = attempt.args
        self._to_bucket = locations.parse(attempt.args.destination).remote

    async def steps(self) -> Row:
        """All of them, but for those that earlier attempts have done; the job's result. Raises Wait
        where its parts have to go first."""
        now = await self._do(sync_plan.begin, bandwidth=self._args.bandwidth)
        if not (now.planned or now.stopping):
            now = await self._plan(now)
        if now.stopping:
            await self._stop()
        if now.held_copies:
            now = await self._do(sync_plan.release, "copy")
        if now.open_copies:
            now = await self._wait("copy")
        if now.held_deletes or self._args.dry_run:
            now = await self._delete(now)
        if now.open_deletes:
            now = await self._wait("delete")
        await self._check(now)
        await self._sweep()
        return _result(self._attempt, await self._look(sync_plan.counts), now)

    async def _plan(self, so_far: Plan) -> Plan:
        source = await place(self._attempt, "source", self._args.source)
        target = await place(self._attempt, "destination", self._args.destination)
        _apart(source, target)
        await _mark(self._attempt)
        rules = self._rules(source, target)
        now = await plan(source, target, rules, so_far, self._store)
        if now.stopping:
            return now
        if rules.folder:
            # Before the plan is told complete: a run that dies in between does it again.
            await self._do(sync_plan.clashes)
        return await self._do(sync_plan.planned)

    def _rules(self, source: End, target: End) -> Rules:
        args, policy = self._args, self._attempt.policy
        # Objects are named as they are in a bucket, also those that lie in a folder beside it.
        named = locations.parse(args.destination if self._to_bucket else args.source)
        return Rules(
            filter=Filter(args.include, args.exclude),
            name=(target if self._to_bucket else source).name,
            bucket=named.bucket or None,
            size=policy.batch_size,
            most_bytes=policy.batch_bytes,
            delete=bool(args.delete),
            compare=args.compare,
            dry_run=bool(args.dry_run),
            folder=not self._to_bucket,
        )

    async def _store(self, made: Segment) -> Plan:
        return await self._do(sync_plan.segment, made)

    async def _wait(self, action: str) -> Plan:
        now = await self._do(sync_plan.waits)
        if now.stopping:
            await self._stop()
        if now.open_copies if action == "copy" else now.open_deletes:
            paused = now.status == "paused"
            reason = "its batch is paused" if paused else f"its parts {action}"
            raise Wait(reason, LOOK_SECONDS, exact=not paused)
        return now

    async def _delete(self, now: Plan) -> Plan:
        """Only if nothing at all was left out, and never more than a share of what is there."""
        await self._check(now)
        limit_deletes(self._args, now)
        return now if self._args.dry_run else await self._do(sync_plan.release, "delete")

    async def _check(self, now: Plan) -> None:
        """Raises when something was left out. A dry run tells of that in its result."""
        if not self._args.dry_run and (now.refused or now.failed or now.cancelled):
            await self._sweep()
            counts = await self._look(sync_plan.counts)
            raise _not_all(counts, now.cancelled, await self._look(sync_plan.left_out, MOST_LISTED))

    async def _stop(self) -> NoReturn:
        await self._do(sync_plan.drop, None, "the sync was cancelled")
        now = await self._do(sync_plan.waits)
        if now.open_copies or now.open_deletes:
            raise Wait("its parts stop", LOOK_SECONDS, exact=True)
        await self._sweep()
        raise Stopped

    async def _sweep(self) -> None:
        """No upload that was begun and never finished is left, however the sync ends."""
        if self._to_bucket and not self._args.dry_run:
            target = await place(self._attempt, "destination", self._args.destination)
            bucket = cast(BucketEnd, target)
            await Uploads(self._attempt.ledger, bucket, self._attempt.id).sweep()

    async def _do(
        self, statement: Callable[..., Awaitable[Plan | None]], *given: Any, **named: Any
    ) -> Plan:
        attempt = self._attempt
        async with attempt.ledger.transaction() as connection:
            now = await statement(connection, attempt.id, attempt.fence, *given, **named)
        if now is None:
            raise NotHeld
        return now

    async def _look(self, statement: Callable[..., Awaitable[Found]], *given: Any) -> Found:
        async with self._attempt.ledger.transaction() as connection:
            return await statement(connection, self._attempt.id, *given)


def _apart(source: End, target: End) -> None:
    """Raises Refusal where a folder lies within the other by a link, which no address tells: each
    sync would copy the copies of the last one."""
    if isinstance(source, Folder) and isinstance(target, Folder) and source.overlaps(target):
        raise Refusal(
            "not_supported", "destination: it must lie outside the source, and not around it"
        )


def limit_deletes(args: requests.SyncObjects, now: Plan) -> None:
    """Raises Refusal where more is surplus than may be deleted."""
    most = MOST_DELETED_PERCENT if args.max_delete is None else args.max_delete
    if not args.force and now.surplus * 100 > now.targets * most:
        raise Refusal(
            "delete_limit",
            f"delete: {now.surplus} of the destination's {now.targets} objects are not in the"
            f" source; more than {most} % are deleted only with a higher `max_delete`, or `force`",
        )


def _not_all(counts: Counts, cancelled: int, objects: list[Row]) -> NotAll:
    given_up = f", {cancelled} were cancelled" if cancelled else ""
    return NotAll(
        f"{counts.refused} objects were refused and {counts.failed} failed{given_up};"
        f" {'the others were' if counts.copied else 'none was'} copied",
        code="keys_refused" if counts.refused else "objects_failed",
        objects=objects,
    )


async def _mark(attempt: Attempt[requests.SyncObjects]) -> None:
    """A dry run leaves nothing behind that would have to be told of."""
    if not attempt.args.dry_run:
        described = {"method": "PUT", "url": attempt.args.destination}
        await attempt.call.act(STEP, described, key=str(attempt.id), repeat=Repeat.NATURAL)


def _moves(id: UUID, status: str) -> dict[str, list[Row]]:
    """What its batch and its parts come to by that."""
    return {"syncs": [{"job_id": str(id), "status": status}]}


def _result(attempt: Attempt[requests.SyncObjects], counts: Counts, now: Plan) -> Row:
    return {
        "id": str(attempt.id),
        "vendor": attempt.vendor,
        **asdict(counts),
        "dry_run": bool(attempt.args.dry_run),
        "batch_id": str(attempt.id),
        "total": now.total,
    }
