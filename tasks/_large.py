"""Objects that are too large for one request: they go in parts, and on after a kill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from uuid_utils.compat import uuid7

from adapters._base import Refused, VendorError
from adapters._storage import (
    PART_BYTES,
    SHA256,
    SOURCE_ETAG,
    Expect,
    Placed,
    changed,
    mismatch,
)
from tasks._base import Transactions
from tasks._bucket import BucketEnd
from tasks._ends import End, Entry, FolderEnd, Sums, Unsyncable
from tasks._parallel import in_parallel
from tasks._reading import HOLDS, READ_AHEAD, Meter, Reading, Span, spans
from tasks._uploads import Open, Uploads

# After these nothing is left to go on with.
SPOILT = ("source_changed", "checksum_mismatch")


@dataclass(frozen=True)
class Carried:
    """An object that stands at the target now. `sha256`: where all of it went through us."""

    placed: Placed
    size: int
    sha256: str | None


class Large:
    """Carries the large objects of one part of a sync."""

    def __init__(
        self, ledger: Transactions, sync: UUID, source: End, target: End, meter: Meter
    ) -> None:
        self._source = source
        self._target = target
        self._meter = meter
        self._uploads = Uploads(ledger, target, sync) if isinstance(target, BucketEnd) else None

    async def carry(self, name: str, entry: Entry, expect: Expect) -> Carried:
        """`name`: the object's in the ledger. `entry`: as it was looked at just now, with its
        attributes where it is an object. Raises Changed where something else than what is expected
        stands at the target, which may be what was brought there before a kill."""
        if self._uploads is None:
            return await self._to_folder(entry, expect)
        with self._uploads.target.named():
            return await self._to_bucket(self._uploads, name, entry, expect)

    async def _to_folder(self, entry: Entry, expect: Expect) -> Carried:
        target: FolderEnd = self._target  # type: ignore[assignment]
        announced = (entry.attributes or {}).get(SHA256)
        reading = Reading(self._source, entry, self._meter, announced)
        try:
            async with target.landing(entry.key, expect) as incoming:
                async for span, data in reading.pieces(spans(entry.size, PART_BYTES)):
                    await incoming.write(data)
                    reading.arrives(span.size)
                placed = await incoming.land(entry.size, announced)
        except BaseException:
            # Nothing of it stays.
            reading.arrives(-reading.arrived)
            raise
        return Carried(placed, entry.size, reading.sha256)

    async def _to_bucket(
        self, uploads: Uploads, name: str, entry: Entry, expect: Expect
    ) -> Carried:
        attributes, sums = await self._described(uploads.target, entry)
        expected = attributes.get(SHA256)
        identity = _identity(entry, expected)
        opened = await uploads.resumed(name, identity, entry.size)
        if isinstance(opened, Placed):
            await self._prove(uploads.target, entry, opened)
            self._meter.sent(entry.size)
            return Carried(opened, entry.size, expected)
        if opened is None:
            opened = await uploads.begin(name, entry, identity, attributes, expect)
        reading = Reading(self._source, entry, self._meter, expected, _parts(sums, opened))
        try:
            placed = await Sending(uploads.target, opened, reading).run(expect)
        except (VendorError, OSError, Unsyncable) as error:
            if _spoilt(error):
                reading.arrives(-reading.arrived)
                await uploads.drop(opened.row)
            raise
        await uploads.end(opened.row)
        if not reading.whole:
            await self._prove(uploads.target, entry, placed)
        return Carried(placed, entry.size, reading.sha256)

    async def _described(
        self, target: BucketEnd, entry: Entry
    ) -> tuple[dict[str, str], Sums | None]:
        """What is to stand beside the object, with the proofs that ferryman gives to each; and of a
        file the sums of its parts, where the target checks them."""
        known = dict(await self._source.attributes(entry))
        if self._source.place != "file":
            return beside(known, entry), None
        if not target.storage.checks_parts:
            known[SHA256] = await self._source.digest(entry, "sha256") or ""
            return known, None
        source: FolderEnd = self._source  # type: ignore[assignment]
        sums = await source.sums(entry, target.storage.part_bytes(entry.size))
        return known | {SHA256: sums.whole}, sums

    async def _prove(self, target: BucketEnd, entry: Entry, placed: Placed) -> None:
        """Of what went over in two runs no sum was taken on the way: the source is asked for the
        one that the vendor tells. What is not the same must not stand there."""
        name = next((n for n in ("sha256", "md5", "crc32c") if n in placed.digests), None)
        if name is None:
            return
        digest = entry.digests.get(name) or await self._source.digest(entry, name)
        if digest not in (None, placed.digests[name]):
            stands = replace(entry, etag=placed.etag, version=placed.version)
            await target.delete([stands])
            raise mismatch()


class Sending:
    """What has not arrived yet of an upload, on its way."""

    def __init__(self, target: BucketEnd, opened: Open, reading: Reading) -> None:
        self._storage = target.storage
        self._where = target.call, target.bucket, opened.upload
        self._reading = reading
        self._tags = dict(opened.received.tags)
        self._placed: Placed | None = None
        self._size = reading.entry.size
        self._part_bytes = opened.upload.part_bytes
        stretches = spans(self._size, self._part_bytes, opened.received.offset)
        self._wanted = [span for span in stretches if span.number not in self._tags]
        # Counted with what comes now: by itself it is no progress of this run.
        self._before = self._size - sum(span.size for span in self._wanted)

    async def run(self, expect: Expect) -> Placed:
        """Bring it over and make an object of all of it."""
        reading = self._reading
        reading.whole = self._before == 0
        # The parts of a huge object are so large that few of them may be in memory.
        fit = HOLDS // self._part_bytes
        reading.ahead = max(0, min(READ_AHEAD, fit - 2))
        at_once = max(1, min(self._storage.parts_at_once, fit - 4))
        await in_parallel(reading.pieces(self._wanted), self._part, at_once, ahead=1)
        if self._placed is None:
            self._placed = await self._storage.finish(*self._where, self._tags, expect=expect)
        self._arrives(0)
        return self._placed

    async def _part(self, piece: tuple[Span, bytes]) -> None:
        span, data = piece
        told = await self._sent(span, data)
        self._arrives(span.size)
        if isinstance(told, Placed):
            self._placed = told
        else:
            self._tags[span.number] = told

    async def _sent(self, span: Span, data: bytes) -> str | Placed:
        parts = self._reading.parts
        sha256 = parts[span.number - 1] if parts else None
        where = *self._where, span.number, span.start, self._size
        try:
            return await self._storage.part(*where, data, sha256=sha256)
        except VendorError as error:
            if sha256 is None or error.code != "checksum_mismatch":
                raise
            # The file is not what was summed before, whatever its times say.
            raise changed(error.status) from error

    def _arrives(self, size: int) -> None:
        before, self._before = self._before, 0
        self._reading.arrives(before + size)


def _parts(sums: Sums | None, opened: Open) -> Sequence[str]:
    """An upload that an earlier version of ferryman began may have parts of another size."""
    return sums.parts if sums and sums.part_bytes == opened.upload.part_bytes else ()


def beside(known: Mapping[str, str], source: Entry) -> dict[str, str]:
    """The attributes of a copy of an object: its own, and the tag of what it is a copy of."""
    kept = {name: value for name, value in known.items() if name != SOURCE_ETAG}
    return kept | ({SOURCE_ETAG: source.etag} if source.etag else {})


def _identity(entry: Entry, sha256: str | None) -> str:
    """Names exactly this content. An upload of what has no name is never gone on with."""
    if entry.version is None and entry.etag is None:
        return f"run:{uuid7()}"
    if sha256 and entry.etag is None:
        return f"sha256:{sha256}"
    return f"version:{entry.version}" if entry.version else f"etag:{entry.etag}"


def _spoilt(error: Exception) -> bool:
    """Whether nothing is left to go on with."""
    return isinstance(error, Refused | Unsyncable) or getattr(error, "code", None) in SPOILT
