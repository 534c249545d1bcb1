"""Uploads in parts as the ledger knows them: one is on record before it is begun, so that it can be
gone on with after a kill, and none is left behind at the vendor."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from uuid_utils.compat import uuid7

from adapters._base import Refused, VendorError
from adapters._storage import Expect, Placed, Received, Upload
from models import multiparts
from models.multiparts import Multipart
from tasks._base import Transactions
from tasks._bucket import BucketEnd
from tasks._ends import Entry
from tasks._record import patiently

# The vendor's clock and the ledger's may differ by so much.
CLOCKS_DIFFER = timedelta(minutes=15)


@dataclass(frozen=True)
class Open:
    """An upload that takes parts, its row in the ledger, and what has arrived of it."""

    row: Multipart
    upload: Upload
    received: Received = field(default_factory=Received)


class Uploads:
    """Those of one sync into one bucket."""

    def __init__(self, ledger: Transactions, target: BucketEnd, sync: UUID) -> None:
        self._ledger = ledger
        self.target = target
        self._sync = sync

    async def resumed(self, name: str, source: str, size: int) -> Open | Placed | None:
        """The upload of that object that was begun before, if it was of the same content; all
        others of the same object are dropped. Placed: it is finished. None: there is none."""
        found: Open | Placed | None = None
        for row in await self._open_of(name):
            if row.upload_id is None:
                await self._drop_lost(row)
            elif found is None and (row.source, row.size) == (source, size):
                found = await self._received(row)
            else:
                await self.drop(row)
        return found

    async def begin(
        self, name: str, entry: Entry, source: str, attributes: dict[str, str], expect: Expect
    ) -> Open:
        """`entry`: what is to be uploaded; its digests are only such as are certain."""
        target = self.target
        row = await self._intend(name, entry, source)
        try:
            upload = await target.storage.begin(
                target.call,
                target.bucket,
                row.target,
                entry.size,
                attributes,
                expect=expect,
                manner=target.manner,
                digests=entry.digests,
            )
        except Refused:
            # There is none, and nobody need look for it.
            await self.end(row, "aborted")
            raise
        await patiently(self._ledger, lambda c: multiparts.begun(c, row.id, upload.id))
        return Open(replace(row, upload_id=upload.id), upload)

    async def end(self, row: Multipart, status: str = "done") -> None:
        await patiently(self._ledger, lambda c: multiparts.ended(c, row.id, status))

    async def drop(self, row: Multipart) -> None:
        """Abort it at the vendor. One that cannot be aborted now stays on record, for the sweep."""
        target = self.target
        with suppress(VendorError):
            if row.upload_id is not None:
                await target.storage.abort(target.call, target.bucket, _upload(row))
            await self.end(row, "aborted")

    async def sweep(self) -> None:
        """Drop all that is open of this sync, and what earlier ones have left in its bucket."""
        strays = await patiently(
            self._ledger, lambda c: multiparts.strays(c, self.target.vendor, self.target.bucket)
        )
        for row in [*await self._open_of(None), *strays]:
            if row.upload_id is None:
                await self._drop_lost(row)
            else:
                await self.drop(row)

    async def _open_of(self, name: str | None) -> list[Multipart]:
        return await patiently(self._ledger, lambda c: multiparts.open_of(c, self._sync, name))

    async def _intend(self, name: str, entry: Entry, source: str) -> Multipart:
        target = self.target
        row = Multipart(
            id=uuid7(),
            job_id=self._sync,
            key=name,
            vendor=self.target.vendor,
            bucket=target.bucket,
            target=target.name(entry.key),
            source=source,
            size=entry.size,
            part_bytes=target.storage.part_bytes(entry.size),
        )
        return await patiently(self._ledger, lambda c: multiparts.intend(c, row))

    async def _received(self, row: Multipart) -> Open | Placed | None:
        target, upload = self.target, _upload(row)
        got = await target.storage.received(target.call, target.bucket, upload, row.size)
        if isinstance(got, Received):
            return Open(row, upload, got)
        await self.end(row, "done" if got else "aborted")
        return got

    async def _drop_lost(self, row: Multipart) -> None:
        """The worker died before the vendor's answer was on record. Whatever was begun to the same
        key since then, and is nobody else's that we know of, is taken for it; the price: another
        program's upload to the same key in the same minutes goes as well."""
        target = self.target
        ours = await patiently(
            self._ledger,
            lambda c: multiparts.known(c, self.target.vendor, target.bucket, row.target),
        )
        since = (row.begun_at or datetime.now(UTC)) - CLOCKS_DIFFER
        with suppress(VendorError):
            for found in await target.storage.uploads(target.call, target.bucket, row.target):
                if found.id not in ours and (found.begun_at is None or found.begun_at >= since):
                    await target.storage.abort(target.call, target.bucket, found)
            await self.end(row, "aborted")


def _upload(row: Multipart) -> Upload:
    return Upload(row.target, row.upload_id or "", row.part_bytes, row.begun_at)
