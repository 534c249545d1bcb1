"""`sync_objects_part`: some of the objects of a sync, copied or deleted."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from adapters._base import Misconfigured, Refused, Repeat, Throttled, VendorError
from adapters._storage import Manner
from ferryman import requests
from models import sync_parts
from models.sync_parts import Taken
from tasks._bandwidth import Bandwidth
from tasks._base import Attempt, Done, Job, NotHeld, Stopped, Wait
from tasks._ends import End, Entry, Unsyncable
from tasks._large import Large
from tasks._parallel import in_parallel
from tasks._places import place
from tasks._reading import Meter
from tasks._record import Record, Stop, patiently
from tasks._transfer import Transfer, key_of, result

Row = dict[str, Any]
Asked = Attempt[requests.SyncObjectsPart]

# Resumed, its jobs are woken; this is for one that comes back from the vendor meanwhile.
PAUSED_SECONDS = 300.0
# Rows read at once, and objects that a vendor is asked to delete at once.
MOST_ROWS = 1000
# So many failures in a row, for each transfer at once, are not the objects' own.
STOP_AFTER = 2
# These are the object's own, however many there are in a row.
ITS_OWN = {
    "access_denied",
    "archived",
    "checksum_mismatch",
    "invalid_key",
    "invalid_metadata",
    "source_changed",
    "source_gone",
    "target_changed",
}
STEP = "transfer"


class SyncObjectsPart(Job[requests.SyncObjectsPart]):
    request = requests.SyncObjectsPart
    deadline_seconds = 6 * 3600.0

    async def run(self, attempt: Asked) -> Done:
        taken = await _take(attempt)
        source = await place(attempt, "source", taken.args["source"])
        target = await place(attempt, "destination", taken.args["destination"], _manner(taken))
        part = Part(attempt, taken, source, target)
        try:
            async with _marked(attempt, taken):
                await part.run()
        except Stop as stop:
            raise Stopped if stop.orders.cancelled else _paused() from None
        return _done(attempt, taken, part)

    def refused(self, id: UUID) -> dict[str, list[Row]]:
        return _ends(id, "failed")

    def cancelled(self, id: UUID) -> dict[str, list[Row]]:
        return _ends(id, "cancelled")

    def again(self, id: UUID) -> dict[str, list[Row]]:
        return _ends(id, "waiting")

    def waits(self, id: UUID) -> dict[str, list[Row]]:
        return _ends(id, "rests")

    def in_doubt(self, id: UUID) -> dict[str, list[Row]]:
        return _ends(id, "unknown")

    def resolved(self, id: UUID, vendor: str, args: requests.SyncObjectsPart) -> Done:
        return Done({"id": str(id), "vendor": vendor, "status": "sent"}, writes=_ends(id, "sent"))


class Part:
    """One run of a part: every row that is still to be done, and what went wrong with them."""

    def __init__(self, attempt: Asked, taken: Taken, source: End, target: End) -> None:
        self.done = 0
        self.failed = taken.failed
        """Objects that were left out for good, also in earlier runs."""
        self.again: VendorError | None = None
        """An error that another run may not meet: not everything is done."""
        self._taken = taken
        self._source = source
        self._target = target
        self._ledger = attempt.ledger
        self._record = Record(attempt.ledger, attempt.id, attempt.fence, taken)
        self._concurrency = taken.args.get("concurrency") or attempt.policy.concurrency
        self._failed_in_a_row = 0
        meter = Meter(Bandwidth(taken.bandwidth, self._turn).take, self._record.sent)
        self._transfer = Transfer(
            source,
            target,
            Large(attempt.ledger, taken.sync, source, target, meter),
            meter,
            strict=taken.args.get("compare") == "checksum",
            again=attempt.fence > 1,
            dry_run=taken.dry_run,
        )

    async def run(self) -> None:
        """Raises the error that ends it early: one that concerns every object, or the last of many
        in a row; Stop, where its batch is not to go on."""
        async with self._record.going():
            if self._taken.action == "delete":
                await in_parallel(self._pages(), self._delete, 1, ahead=1)
            else:
                await in_parallel(self._rows(), self._move, self._concurrency)
        if self.again is not None:
            raise self.again

    async def _pages(self) -> AsyncGenerator[Sequence[Row]]:
        after = ""
        while page := await self._page(after):
            yield page
            after = page[-1]["key"]

    async def _rows(self) -> AsyncGenerator[Row]:
        async for page in self._pages():
            for row in page:
                yield row

    async def _page(self, after: str) -> list[Row]:
        taken = self._taken
        return await patiently(self._ledger, lambda c: sync_parts.rows(c, taken, after, MOST_ROWS))

    async def _turn(self, size: int) -> float:
        sync = self._taken.sync
        return await patiently(self._ledger, lambda c: sync_parts.turn(c, sync, size))

    async def _move(self, row: Row) -> None:
        try:
            self._well(await self._transfer.move(row))
        except (Unsyncable, VendorError, OSError) as error:
            self._ill(row, error)

    async def _delete(self, page: Sequence[Row]) -> None:
        doomed = {key_of(self._source, self._target, row): row for row in page}
        entries = [
            Entry(
                key,
                row["size"] or 0,
                row["last_modified"],
                row["target_etag"],
                version=row["target_version"],
            )
            for key, row in doomed.items()
        ]
        failed = await self._target.delete(entries)
        for key, row in doomed.items():
            if (error := failed.get(key)) is not None:
                self._ill(row, error)
            else:
                self._well(result(row, "delete", "done"))

    def _well(self, row: Row) -> None:
        self._failed_in_a_row = 0
        self.done += 1
        self._record.add(row)

    def _ill(self, row: Row, error: Exception) -> None:
        """One that another run may not meet leaves its row as it is. Raises the error where it is
        not the object's own."""
        if isinstance(error, VendorError):
            self._failed_in_a_row += error.code not in ITS_OWN
            if _of_all(error) or self._failed_in_a_row >= STOP_AFTER * self._concurrency:
                raise error
            if not isinstance(error, Refused):
                self.again = error
                return
        self.failed += 1
        known = {"reason": _reason(error)}
        if isinstance(error, Unsyncable):
            self._record.add(result(row, "refuse", "refused", row["size"], **known))
        else:
            action = "delete" if row["action"] == "delete" else "copy"
            self._record.add(result(row, action, "failed", row["size"], **known))


@asynccontextmanager
async def _marked(attempt: Asked, taken: Taken) -> AsyncIterator[None]:
    """A dry run writes nothing that anybody could be in doubt of."""
    if taken.dry_run:
        yield
        return
    described = {"method": "PUT", "url": taken.args["destination"]}
    await attempt.call.act(STEP, described, key=str(attempt.id), repeat=Repeat.NATURAL)
    try:
        yield
    finally:
        # Nothing is on its way any more, and the next run looks before it writes.
        attempt.call.answered(STEP)


async def _take(attempt: Asked) -> Taken:
    async with attempt.ledger.transaction() as connection:
        taken = await sync_parts.take(connection, attempt.id, attempt.fence)
    if taken is None:
        raise NotHeld
    if taken.status == "paused":
        raise _paused()
    if taken.status == "cancelled":
        raise Stopped
    return taken


def _paused() -> Wait:
    return Wait("its batch is paused", PAUSED_SECONDS)


def _done(attempt: Asked, taken: Taken, part: Part) -> Done:
    """Raises Refused where something was left out, so that a person can have just that done
    again."""
    if part.failed:
        message = f"{part.failed} of the part's objects were left out"
        raise Refused(message, code="objects_failed")
    told = {
        "batch_id": str(taken.sync),
        "part": taken.part,
        "vendor": attempt.vendor,
        "status": "sent",
        "count": part.done,
    }
    return Done(told, writes=_ends(attempt.id, "sent"))


def _ends(id: UUID, status: str) -> dict[str, list[Row]]:
    return {"sync_parts": [{"job_id": str(id), "status": status}]}


def _manner(taken: Taken) -> Manner:
    return Manner(taken.args.get("storage_class"), taken.args.get("encryption"))


def _of_all(error: VendorError) -> bool:
    """Whether every other object would meet the same."""
    return isinstance(error, Misconfigured | Throttled) or error.code == "bucket_not_found"


def _reason(error: Exception) -> str:
    said = error.strerror if isinstance(error, OSError) else str(error)
    return said or type(error).__name__
