"""One object of a sync: compared, copied, proven, and what is to be written down of it."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, replace
from typing import Any

from adapters._base import Refused, Unavailable
from adapters._storage import PART_BYTES, SHA256, Expect, Placed, changed, mismatch
from tasks._bucket import BucketEnd
from tasks._ends import End, Entry, Unsyncable
from tasks._large import Carried, Large, beside
from tasks._parallel import Budget
from tasks._reading import HOLDS, Meter
from tasks._sameness import compare

Row = dict[str, Any]

# Bytes of content in the memory of a worker process at once, over all its parts of syncs.
MEMORY = Budget(256 * 1024 * 1024)
# To hash less takes less than to hand it to a thread.
HASHED_AT_ONCE = 128 * 1024
# From so many bytes on a copy within one vendor is left to it. At S3, below, two small requests
# through the faster library cost less than the two that this takes.
COPIED_THERE = {"s3": 1024 * 1024, "gs": 0}


@dataclass(frozen=True)
class Transfer:
    """What all objects of a part have in common. `strict`: see `_sameness`. `again`: the part has
    run before, so that what its row says of the target may be out of date by our own doing."""

    source: End
    target: End
    large: Large
    meter: Meter
    strict: bool = False
    again: bool = False
    dry_run: bool = False

    async def move(self, row: Row) -> Row:
        """The object of a row of the plan. Returns the row for the record. Raises VendorError,
        Unsyncable or OSError where it could not be moved: Changed, where something else stands at
        the target than was listed, and is not what is to be brought there."""
        source, target = self._source_of(row), self._target_of(row)
        try:
            return await self._move(row, source, target)
        except Unavailable as error:
            if error.code != "source_changed":
                raise
            if (now := await self.source.look(source)) is None:
                raise Refused("it is gone since it was listed", code="source_gone") from error
        # What is there now is as good: it is what a sync that began later would have found.
        return await self._move(row, _sound(now, source), target)

    async def _move(self, row: Row, source: Entry, target: Entry | None) -> Row:
        stands = await self.target.look(source) if self.again else target
        if row["action"] == "compare" and target is None:
            # A person sent it again, who knows that another object stands there by now.
            target = stands
        if stands is not None and (self.again or row["action"] == "compare"):
            same = await compare(self.source, source, self.target, stands, strict=self.strict)
            if same is not None:
                kept = self._kept(row, source, target, same)
                # As if it had been sent now: what a killed run had counted of it is forgotten.
                self.meter.sent(source.size if kept["action"] == "copy" else 0)
                return kept
        if self.dry_run:
            return result(row, "copy", "planned", source.size)
        return await self._copied(row, source, target.expect if target else Expect())

    def _kept(self, row: Row, source: Entry, target: Entry | None, same: Entry) -> Row:
        """It is there: since before the sync, or because it was brought there before a kill."""
        keep = row["action"] == "compare" and target is not None and same.still(target)
        sums = {"etag": same.etag, "version": same.version, "checksum": _sha256_of(same)}
        return result(row, "keep" if keep else "copy", "done", source.size, **sums)

    async def _copied(self, row: Row, source: Entry, expect: Expect) -> Row:
        try:
            carried = await self._carry(row["key"], source, expect)
        except Refused as error:
            if error.code not in ("target_changed", "upload_gone"):
                raise
            # It may be our own, brought there by a request whose answer was lost.
            stands = await self.target.look(source)
            same = stands and await compare(self.source, source, self.target, stands)
            if same is None and error.code == "upload_gone":
                # Somebody dropped it: it begins anew in the next run.
                raise Unavailable(error.message, code=error.code) from error
            if same is None:
                raise
            # The parts of a large one have been counted.
            self.meter.sent(source.size if source.size <= PART_BYTES else 0)
            return self._kept(row, source, None, same)
        placed = carried.placed
        tag = placed.etag or source.etag
        known = {"etag": tag, "version": placed.version, "checksum": carried.sha256}
        return result(row, "copy", "done", carried.size, **known)

    async def _carry(self, name: str, source: Entry, expect: Expect) -> Carried:
        origin = self._origin(source)
        if origin is None and source.size <= PART_BYTES:
            async with MEMORY.held(source.size):
                return await self._small(source, expect)
        seen = await self._seen(source)
        if origin is not None and (placed := await self._by_vendor(origin, seen, expect)):
            self.meter.sent(seen.size)
            return Carried(placed, seen.size, (seen.attributes or {}).get(SHA256))
        async with MEMORY.held(min(seen.size, HOLDS)):
            if seen.size > PART_BYTES:
                return await self.large.carry(name, seen, expect)
            return await self._small(seen, expect)

    async def _small(self, source: Entry, expect: Expect) -> Carried:
        await self.meter.take(source.size)
        piece = await self.source.read(source)
        known = piece.attributes
        if known is None:
            known = await self.source.attributes(source)
        attributes = dict(known) if self.source.place == "file" else beside(known, source)
        # Of a file it is known already.
        digest = attributes.get(SHA256) if self.source.place == "file" else None
        digest = digest or await _sha256(piece.data)
        if attributes.setdefault(SHA256, digest) != digest:
            raise mismatch()
        placed = await self.target.write(source.key, piece.data, attributes, expect)
        self.meter.sent(len(piece.data))
        return Carried(placed, len(piece.data), digest)

    def _origin(self, source: Entry) -> BucketEnd | None:
        """The source, where its vendor can be left to copy the object by itself."""
        here = self.source
        if not isinstance(here, BucketEnd) or here.place != self.target.place:
            return None
        return here if source.size >= COPIED_THERE[here.place] else None

    async def _by_vendor(self, origin: BucketEnd, seen: Entry, expect: Expect) -> Placed | None:
        assert isinstance(self.target, BucketEnd)
        attributes = beside(seen.attributes or {}, seen)
        return await self.target.copy(origin, seen, attributes, expect)

    async def _seen(self, source: Entry) -> Entry:
        """The entry with all that is known of it now, before much is read. A file may be another by
        now than the listed one, which is as good; an object is asked for by what was listed."""
        seen = await self.source.look(source)
        if seen is None:
            raise changed()
        if self.source.place != "file" and not seen.still(source):
            raise changed()
        return _sound(seen, source)

    def _source_of(self, row: Row) -> Entry:
        return Entry(
            self._key(row),
            row["size"] or 0,
            row["last_modified"],
            row["source_etag"],
            path=row["path"],
            version=row["source_version"],
            digests=row["digests"] or {},
        )

    def _target_of(self, row: Row) -> Entry | None:
        """What the listing saw at the target; the size is told only of what is to be compared."""
        etag, version = row["target_etag"], row["target_version"]
        if etag is None and version is None:
            return None
        size, digests = row["size"] or 0, row["target_digests"] or {}
        return Entry(self._key(row), size, etag=etag, version=version, digests=digests)

    def _key(self, row: Row) -> str:
        return key_of(self.source, self.target, row)


def _sound(seen: Entry, source: Entry) -> Entry:
    """The source as it was just seen. Raises Unsyncable where it is no file any more."""
    if seen.problem is not None:
        raise Unsyncable(seen.problem)
    return replace(seen, key=source.key, path=source.path)


def key_of(source: End, target: End, row: Row) -> str:
    """The key below both roots; in the ledger it is the whole one of the bucket that counts."""
    counts = source if target.place == "file" else target
    return str(row["key"]).removeprefix(counts.name(""))


def result(row: Row, action: str, outcome: str, size: int | None = None, **known: Any) -> Row:
    """What is to be written down of an object."""
    return {"key": row["key"], "action": action, "outcome": outcome, "size": size, **known}


async def _sha256(data: bytes) -> str:
    if len(data) <= HASHED_AT_ONCE:
        return hashlib.sha256(data).hexdigest()
    return await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())


def _sha256_of(entry: Entry) -> str | None:
    told = entry.told
    return told.get("sha256") or told.get(SHA256)
