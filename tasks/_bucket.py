"""A bucket with a prefix as one end of a sync."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager

from adapters._base import Call, Refused, VendorError
from adapters._storage import (
    AS_THE_BUCKET,
    Expect,
    Manner,
    Piece,
    Placed,
    Storage,
    Stored,
    changed,
)
from ferryman.locations import Location
from ferryman.policies import reached
from tasks._ends import Entry


class BucketEnd:
    """`side`: the argument that names it, `source` or `destination`."""

    def __init__(
        self,
        storage: Storage,
        call: Call,
        location: Location,
        side: str,
        manner: Manner = AS_THE_BUCKET,
    ) -> None:
        self.storage = storage
        self.call = call
        self.manner = manner
        self.place = location.scheme
        self.vendor = reached(location.scheme)
        self.bucket = location.bucket
        self.prefix = f"{location.path}/" if location.path else ""
        self._side = side

    def name(self, key: str) -> str:
        return self.prefix + key

    @contextmanager
    def named(self) -> Iterator[None]:
        """An error tells whose it is: the other end may be at another vendor."""
        try:
            yield
        except VendorError as error:
            error.vendor = error.vendor or self.vendor
            raise

    async def entries(self, after: str = "") -> AsyncIterator[Sequence[Entry]]:
        beyond = Entry(after).order
        begin = self.name(_text(beyond)) if after else ""
        pages = self.storage.pages(self.call, self.bucket, self.prefix, begin)
        try:
            with self.named():
                async for page in pages:
                    found = (self._listed(stored) for stored in page)
                    yield [e for e in found if e and (not after or e.order > beyond)]
        except Refused as error:
            if error.code == "bucket_not_found":
                error.message = f"{self._side}: {error.message}"
            raise

    async def look(self, entry: Entry) -> Entry | None:
        with self.named():
            stored = await self.storage.look(self.call, self.bucket, self.name(entry.key))
        return None if stored is None else self._entry(stored)

    async def digest(self, entry: Entry, algorithm: str) -> str | None:
        return None

    async def read(self, entry: Entry, span: tuple[int, int] | None = None) -> Piece:
        with self.named():
            return await self.storage.get(self.call, self.bucket, self.stored(entry), span)

    async def attributes(self, entry: Entry) -> Mapping[str, str]:
        """Raises Unavailable `source_changed` where it is another object by now."""
        if entry.attributes is not None:
            return entry.attributes
        found = await self.look(entry)
        if found is None or not found.still(entry):
            raise changed()
        return found.attributes or {}

    async def write(
        self, key: str, data: bytes, attributes: Mapping[str, str], expect: Expect
    ) -> Placed:
        where = self.call, self.bucket, self.name(key)
        with self.named():
            return await self.storage.put(
                *where, data, attributes, expect=expect, manner=self.manner
            )

    async def copy(
        self, origin: BucketEnd, entry: Entry, attributes: Mapping[str, str], expect: Expect
    ) -> Placed | None:
        """Let the vendor of both copy an object of the other. None: it cannot."""
        where = self.call, self.bucket, self.name(entry.key)
        what = origin.bucket, origin.stored(entry)
        with self.named():
            return await self.storage.copy(
                *where, *what, attributes, expect=expect, manner=self.manner
            )

    async def delete(self, doomed: Sequence[Entry]) -> Mapping[str, Exception]:
        asked = [self.stored(entry) for entry in doomed]
        with self.named():
            failed = await self.storage.delete(self.call, self.bucket, asked)
        return {key.removeprefix(self.prefix): error for key, error in failed.items()}

    def stored(self, entry: Entry) -> Stored:
        """The entry in the vendor's terms."""
        return Stored(
            self.name(entry.key),
            entry.size,
            entry.last_modified,
            entry.etag,
            entry.version,
            entry.digests,
            entry.attributes,
        )

    def _listed(self, stored: Stored) -> Entry | None:
        """Consoles show folders by empty objects of that name: they are no content."""
        key = stored.key.removeprefix(self.prefix)
        return self._entry(stored) if stored.size or (key and not key.endswith("/")) else None

    def _entry(self, stored: Stored) -> Entry:
        return Entry(
            stored.key.removeprefix(self.prefix),
            stored.size,
            stored.last_modified,
            stored.etag,
            version=stored.version,
            digests=stored.digests,
            attributes=stored.attributes,
        )


def _text(key: bytes) -> str:
    """As much of a folder's name as a vendor can be asked for: the rest may be no UTF-8."""
    try:
        return key.decode()
    except UnicodeDecodeError as error:
        return key[: error.start].decode()
