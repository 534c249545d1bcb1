"""One run of a sync: compare both ends as they are listed, copy in parallel, write it down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import nullcontext

from adapters._base import Misconfigured, Refused, Throttled, VendorError
from adapters._storage import PART_BYTES
from tasks import _keys
from tasks._bucket import BucketEnd
from tasks._ends import Entry, Proof, Unsyncable
from tasks._folder import Folder
from tasks._pairs import pairs
from tasks._parallel import in_parallel
from tasks._record import Record

# Large objects on their way at once: each holds several parts in memory.
LARGE_AT_ONCE = 2
# So many failures in a row, for each transfer at once, are not the objects' own.
STOP_AFTER = 2

Place = Folder | BucketEnd


class Sync:
    """Makes `target` hold what `source` holds; at least one of them is a bucket."""

    def __init__(
        self, source: Place, target: Place, record: Record, *, concurrency: int, dry_run: bool
    ) -> None:
        self.again: VendorError | None = None
        """An error that another run may not meet: not everything is done."""
        self.targets = 0
        """Objects that the target has."""
        self.surplus = 0
        """Of which the source has none."""
        self._source = source
        self._target = target
        self._record = record
        self._concurrency = concurrency
        self._dry_run = dry_run
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self._failed_in_a_row = 0
        held = target if isinstance(target, BucketEnd) else source
        assert isinstance(held, BucketEnd)
        self._bucket = held

    async def copy(self, *, plan_deletes: bool) -> None:
        """Bring over what is new or changed. Raises the error that ends it early: a listing's,
        one that concerns every object, or the last of many in a row."""
        async with self._record.going():
            await in_parallel(self._planned(plan_deletes), self._carry, self._concurrency)

    async def delete(self) -> None:
        """Remove from the target what `copy` planned to. Raises as `copy` does."""
        async with self._record.going():
            await in_parallel(self._to_delete(), self._remove, self._concurrency)

    async def _planned(self, plan_deletes: bool) -> AsyncGenerator[tuple[Entry, Entry | None]]:
        """What is left to look into, once the plain cases are written down."""
        async for source, target in pairs(self._source, self._target):
            self.targets += target is not None
            if source is None:
                if target is not None and plan_deletes:
                    await self._plan_delete(target)
            elif (reason := self._refusal(source, target)) is not None:
                await self._note(source, "refuse", "refused", reason=reason)
            elif target is not None and target.size == source.size:
                yield source, target
            else:
                await self._note(source, "copy", "planned")
                if not self._dry_run:
                    yield source, None

    async def _plan_delete(self, target: Entry) -> None:
        self.surplus += 1
        if (reason := self._refusal(target, None)) is not None:
            await self._note(target, "refuse", "refused", reason=reason)
        else:
            await self._note(target, "delete", "planned", etag=target.etag)

    def _refusal(self, entry: Entry, target: Entry | None) -> str | None:
        problem = entry.problem or (target.problem if target else None)
        return problem or _keys.refusal(self._name(entry))

    async def _carry(self, pair: tuple[Entry, Entry | None]) -> None:
        source, target = pair
        try:
            await self._compare_or_copy(source, target)
        except Unsyncable as why:
            await self._note(source, "refuse", "refused", reason=str(why))
        except (VendorError, OSError) as error:
            await self._failed(source, "copy", error)
        else:
            self._failed_in_a_row = 0

    async def _compare_or_copy(self, source: Entry, target: Entry | None) -> None:
        proof = await self._sameness(source, target) if target else None
        if proof is not None:
            known = {"etag": proof.etag, "checksum": proof.sha256}
            await self._note(source, "keep", "done", **known)
        elif self._dry_run:
            await self._note(source, "copy", "planned")
        else:
            await self._copy(source)

    async def _sameness(self, source: Entry, target: Entry) -> Proof | None:
        """What proves that both hold the same content, if they do."""
        if self._bucket is self._target:
            proof = await self._bucket.proof(target)
            return proof if await self._source.matches(source, proof) else None
        proof = await self._bucket.proof(source)
        return proof if await self._target.matches(target, proof) else None

    async def _copy(self, source: Entry) -> None:
        async with self._large if source.size > PART_BYTES else nullcontext():
            content = await self._source.read(source)
            written = await self._target.write(source.key, content)
        known = {"etag": written.etag or source.etag, "checksum": written.sha256}
        await self._note(source, "copy", "done", size=content.size, **known)

    async def _to_delete(self) -> AsyncGenerator[str]:
        after = ""
        while names := await self._record.to_delete(after):
            for name in names:
                yield name
            after = names[-1]

    async def _remove(self, name: str) -> None:
        entry = Entry(name.removeprefix(self._bucket.prefix))
        try:
            await self._target.delete(entry.key)
        except (VendorError, OSError) as error:
            await self._failed(entry, "delete", error)
        else:
            self._failed_in_a_row = 0
            await self._note(entry, "delete", "done", size=None)

    async def _failed(self, entry: Entry, action: str, error: VendorError | OSError) -> None:
        said = error.message if isinstance(error, VendorError) else error.strerror
        reason = said or type(error).__name__
        await self._note(entry, action, "failed", reason=reason)
        if isinstance(error, OSError):
            return
        self._failed_in_a_row += 1
        if _of_all(error) or self._failed_in_a_row >= STOP_AFTER * self._concurrency:
            raise error
        if not isinstance(error, Refused):
            self.again = error

    async def _note(self, entry: Entry, action: str, outcome: str, **known: object) -> None:
        row = {
            "bucket": self._bucket.bucket,
            "size": entry.size,
            "last_modified": entry.last_modified,
            **known,
        }
        await self._record.add(_keys.shown(self._name(entry)), action, outcome, **row)

    def _name(self, entry: Entry) -> str:
        """The key in the bucket, also of what lies in the folder beside it."""
        return self._bucket.prefix + entry.key


def _of_all(error: VendorError) -> bool:
    """Whether every other object would meet the same."""
    return isinstance(error, Misconfigured | Throttled) or error.code == "bucket_not_found"
