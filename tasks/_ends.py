"""The two ends of a sync and what passes between them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from adapters._storage import SHA256, SOURCE_ETAG, Expect, Piece, Placed

OURS = (SHA256, SOURCE_ETAG)


class Unsyncable(Exception):
    """This object cannot be carried over, however often it is tried; the message says why."""


@dataclass(frozen=True)
class Entry:
    """One object or file. `key`: its path below the end's root, with `/` between the parts."""

    key: str
    size: int = 0
    last_modified: datetime | None = None
    etag: str | None = None
    """Without quotes; a folder has none."""
    problem: str | None = None
    """Why it is not to be carried over."""
    path: str | None = None
    """Where a file really lies below the root, when a link leads to it."""
    version: str | None = None
    """What the end calls exactly this content: a generation, or of a file what `stat` tells."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """What the end knows of the content without reading it, in hex, by name: see `Stored`. Of one
    that comes out of the ledger also what `told` adds."""
    attributes: Mapping[str, str] | None = None
    """What belongs to the object beside its content; None: it has to be asked for."""

    @property
    def order(self) -> bytes:
        """Both ends are listed in the order of these bytes, as S3 does."""
        return self.key.encode("utf-8", "surrogateescape")

    @property
    def told(self) -> dict[str, str]:
        """The digests and, by the names that they have there, what ferryman itself has written
        beside the object. This is what the ledger keeps of an entry that is to be compared."""
        known = self.attributes or {}
        return {**self.digests, **{name: known[name] for name in OURS if name in known}}

    def still(self, listed: Entry) -> bool:
        """Whether this is what was listed, by what the listing told."""
        return listed.etag in (None, self.etag) and listed.version in (None, self.version)

    @property
    def expect(self) -> Expect:
        """What must still stand at the target for a write to take its place."""
        return Expect(self.etag, self.version)


class End(Protocol):
    """A folder or a bucket with a prefix. Keys here are below its root or prefix.

    Raises Unsyncable, VendorError, or OSError for what concerns one object."""

    @property
    def place(self) -> str:
        """`s3`, `gs` or `file`."""
        ...

    def entries(self, after: str = "") -> AsyncIterator[Sequence[Entry]]:
        """Everything below the root whose key comes after `after`, in key order, without holding
        it all: many at a time."""
        ...

    async def look(self, entry: Entry) -> Entry | None:
        """What stands under that key now, with all that is known of it; None: nothing."""
        ...

    async def digest(self, entry: Entry, algorithm: str) -> str | None:
        """Of the content as it is now: `sha256`, `md5` or `crc32c`, in hex. None where it would
        have to be fetched first. Raises Unavailable `source_changed` where it moved meanwhile."""
        ...

    async def read(self, entry: Entry, span: tuple[int, int] | None = None) -> Piece:
        """The content of exactly that entry, or its bytes from `span[0]` up to, not including,
        `span[1]`. Raises Unavailable `source_changed`. Of a whole file the attributes bring its
        SHA-256; of a whole object they may be None: then `attributes` is asked."""
        ...

    async def attributes(self, entry: Entry) -> Mapping[str, str]:
        """Content type, cache control and the user's metadata."""
        ...

    async def write(
        self, key: str, data: bytes, attributes: Mapping[str, str], expect: Expect
    ) -> Placed:
        """Store up to PART_BYTES under that key, whole or not at all, if what is expected stands
        there. Raises Changed."""
        ...

    async def delete(self, doomed: Sequence[Entry]) -> Mapping[str, Exception]:
        """Remove what is there only as it was listed; that one is gone is no error. Returns those
        that were not removed, by key."""
        ...

    def name(self, key: str) -> str:
        """The whole key, as the ledger names it where this is the end that counts."""
        ...


@dataclass(frozen=True)
class Sums:
    """The SHA-256 of a whole file and of each of its parts of `part_bytes`, in hex."""

    whole: str
    part_bytes: int
    parts: Sequence[str]


class FolderEnd(End, Protocol):
    """What a folder does with what does not fit into one `write`."""

    async def sums(self, entry: Entry, part_bytes: int) -> Sums:
        """Of exactly that entry. Raises Unavailable `source_changed`."""
        ...

    def landing(self, key: str, expect: Expect) -> AbstractAsyncContextManager[Incoming]:
        """A file on its way in, of any size. Left without `land`, nothing of it stays."""
        ...


class Incoming(Protocol):
    async def write(self, data: bytes) -> None:
        """The next bytes."""
        ...

    async def land(self, size: int, sha256: str | None) -> Placed:
        """Prove size and, where it is known, digest; bring it to the disk, and take the place if
        what is expected stands there. Raises Unavailable `checksum_mismatch`, Changed. `Placed`
        has the file's version and, in its digests, the `sha256` of what was written."""
        ...
