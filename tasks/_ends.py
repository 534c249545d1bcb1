"""The two ends of a sync and what passes between them."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from adapters._storage import Content

MD5 = re.compile(r"[0-9a-f]{32}")


class Unsyncable(Exception):
    """This object cannot be carried over, however often it is tried; the message says why."""


@dataclass(frozen=True)
class Entry:
    """One object or file. `key`: its path below the end's root, with `/` between the parts."""

    key: str
    size: int = 0
    last_modified: datetime | None = None
    etag: str | None = None
    problem: str | None = None
    """Why it is not to be carried over."""
    path: str | None = None
    """Where a file really lies below the root, when a link leads to it."""
    version: str | None = None
    """What the bucket calls exactly this content."""
    crc32c: str | None = None
    """Of the content, where the bucket's listing tells it."""
    metadata: Mapping[str, str] | None = None
    """Likewise; None: it has to be asked for."""

    @property
    def order(self) -> bytes:
        """Both ends are listed in the order of these bytes, as S3 does."""
        return self.key.encode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Proof:
    """What a bucket knows of an object's content without reading it."""

    sha256: str | None
    etag: str | None
    source_etag: str | None
    crc32c: str | None = None
    """Only 32 bits, but beside an equal size it is what Google's own tools go by."""

    @property
    def md5(self) -> str | None:
        """The ETag of an object stored in one request is its MD5; that of a multipart one, or of
        one encrypted with a key of the customer's, is not, and is never equal to one."""
        return self.etag if self.etag and MD5.fullmatch(self.etag) else None


@dataclass(frozen=True)
class Written:
    """An object that now stands at the destination."""

    etag: str | None
    sha256: str | None


class End(Protocol):
    """A folder or a bucket with a prefix."""

    def entries(self) -> AsyncIterator[Entry]:
        """Everything below the root, in key order, without holding it all."""
        ...

    async def matches(self, entry: Entry, proof: Proof) -> bool:
        """Whether the entry's content is the one that the other end can prove."""
        ...

    async def read(self, entry: Entry) -> Content: ...

    async def write(self, key: str, content: Content) -> Written: ...

    async def delete(self, key: str) -> None: ...
