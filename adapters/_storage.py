"""What a sync asks of an object store, and what it answers, in our words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from adapters._base import Call, Misconfigured, Refused, Throttled, Unavailable, VendorError

# User metadata that ferryman gives to each object it writes, since neither an ETag nor a time
# proves content: the SHA-256 in hex, and for a copy between buckets the ETag of its source.
SHA256 = "ferryman-sha256"
SOURCE_ETAG = "ferryman-source-etag"

# Up to so many bytes an object travels in one request, and beyond in parts of about this size.
PART_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class Stored:
    """An object as its bucket lists it; `key` is whole, as it stands there."""

    key: str
    size: int
    last_modified: datetime | None
    etag: str | None
    version: str | None = None
    """What the vendor calls exactly this content of that key, where it has a word for it."""
    crc32c: str | None = None
    """Of the content, in hex, where the vendor tells it."""
    metadata: Mapping[str, str] | None = None
    """The user's, where the listing brings it."""


@dataclass(frozen=True)
class Content:
    """What is to be stored: all of it at once, or a stream where it is larger than one part.

    A stream that finds its source changed under it raises before its last chunk, so that
    nothing half old and half new is ever complete.
    """

    size: int
    data: bytes | AsyncIterator[bytes]
    attributes: Mapping[str, str] = field(default_factory=dict)
    """Content type, cache control and the like, and the user's metadata."""


class Storage(Protocol):
    """A vendor that keeps objects in buckets. Everything here is harmless to repeat.

    Raises, besides what `Call.read` does: Refused with `bucket_not_found` or `not_found`, and
    Unavailable with `source_changed` when the object is not the listed one any more.
    """

    def list(self, call: Call, bucket: str, prefix: str) -> AsyncIterator[Stored]:
        """All objects whose key begins with the prefix, in the order of their keys' bytes."""
        ...

    async def attributes(self, call: Call, bucket: str, key: str) -> Mapping[str, str]:
        """What is known of an object beside its content."""
        ...

    async def get(self, call: Call, bucket: str, stored: Stored) -> Content:
        """The content of exactly the listed version."""
        ...

    async def put(self, call: Call, bucket: str, key: str, content: Content) -> str | None:
        """Store the content under that key, whole or not at all; returns its ETag."""
        ...

    async def delete(self, call: Call, bucket: str, key: str) -> None:
        """Remove the object; that it is gone already is no error."""
        ...


def answered(status: int, credentials: str) -> VendorError:
    """The error of an answer with that status. `credentials`: the setting to look at when it is
    refused."""
    match status:
        case 404:
            return Refused("there is no such object", code="not_found", status=404)
        case 409 | 412:
            return changed(status)
        case 429:
            return Throttled("the vendor's rate limit is reached", status=429)
        case 401 | 403:
            return Misconfigured(f"{credentials} is not accepted for the bucket", status=status)
    if status >= 500 or status == 408:
        return Unavailable(f"the vendor answered {status}", status=status)
    return Refused(f"the vendor answered {status}", status=status)


def no_bucket() -> VendorError:
    # A typo in one job must not pause the vendor for all, as Misconfigured would.
    return Refused("there is no bucket with that name", code="bucket_not_found", status=404)


def changed(status: int | None = None) -> VendorError:
    return Unavailable("the object changed meanwhile", code="source_changed", status=status)


def mismatch() -> VendorError:
    return Unavailable("the content is not the announced one", code="checksum_mismatch")
