"""A bucket with a prefix as one end of a sync."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

from adapters._base import Call, Refused
from adapters._storage import SHA256, SOURCE_ETAG, Content, Storage, Stored, mismatch
from ferryman.locations import Location
from tasks._ends import Entry, Proof, Written


class BucketEnd:
    """`side`: the argument that names it, `source` or `destination`."""

    def __init__(self, storage: Storage, call: Call, location: Location, side: str) -> None:
        self._storage = storage
        self._call = call
        self._side = side
        self.bucket = location.bucket
        self.prefix = f"{location.path}/" if location.path else ""

    async def entries(self) -> AsyncIterator[Entry]:
        try:
            async for stored in self._storage.list(self._call, self.bucket, self.prefix):
                key = stored.key.removeprefix(self.prefix)
                # Consoles show folders by empty objects of that name: they are no content.
                if stored.size or (key and not key.endswith("/")):
                    yield _entry(key, stored)
        except Refused as error:
            if error.code != "bucket_not_found":
                raise
            message = f"{self._side}: {error.message}"
            raise Refused(message, code=error.code, status=error.status) from error

    async def proof(self, entry: Entry) -> Proof:
        """What the bucket can tell of the entry's content."""
        known = entry.metadata
        if known is None:
            key = self.prefix + entry.key
            known = await self._storage.attributes(self._call, self.bucket, key)
        return Proof(known.get(SHA256), entry.etag, known.get(SOURCE_ETAG), entry.crc32c)

    async def matches(self, entry: Entry, proof: Proof) -> bool:
        if entry.etag and entry.etag in (proof.source_etag, proof.etag):
            return True
        return proof.sha256 is not None and (await self.proof(entry)).sha256 == proof.sha256

    async def read(self, entry: Entry) -> Content:
        stored = Stored(
            self.prefix + entry.key,
            entry.size,
            entry.last_modified,
            f'"{entry.etag}"' if entry.etag else None,
            entry.version,
        )
        content = await self._storage.get(self._call, self.bucket, stored)
        attributes = dict(content.attributes)
        if isinstance(content.data, bytes):
            digest = await asyncio.to_thread(_sha256, content.data)
            if attributes.setdefault(SHA256, digest) != digest:
                raise mismatch()
        attributes.pop(SOURCE_ETAG, None)
        if entry.etag:
            attributes[SOURCE_ETAG] = entry.etag
        return Content(content.size, content.data, attributes)

    async def write(self, key: str, content: Content) -> Written:
        etag = await self._storage.put(self._call, self.bucket, self.prefix + key, content)
        return Written(_bare(etag), content.attributes.get(SHA256))

    async def delete(self, key: str) -> None:
        await self._storage.delete(self._call, self.bucket, self.prefix + key)


def _entry(key: str, stored: Stored) -> Entry:
    return Entry(
        key,
        stored.size,
        stored.last_modified,
        _bare(stored.etag),
        version=stored.version,
        crc32c=stored.crc32c,
        metadata=stored.metadata,
    )


def _bare(etag: str | None) -> str | None:
    return etag.strip('"') if etag else None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
