"""What a sync asks of an object store, and what it answers, in our words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Protocol

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
    """Without quotes."""
    version: str | None = None
    """What the vendor calls exactly this content of that key, where it has a word for it."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """What the vendor itself knows of the whole content, in hex: `md5`, `sha256`, `crc32c`,
    `crc64nvme`."""
    attributes: Mapping[str, str] | None = None
    """Content type, cache control and the like, and the user's metadata, each by its name; None:
    they have to be asked for."""


@dataclass(frozen=True)
class Expect:
    """What stands at the target as far as we know: a write does nothing where it is something
    else by now. Both None: nothing stands there."""

    etag: str | None = None
    version: str | None = None


@dataclass(frozen=True)
class Placed:
    """What stands at the target after a write, as the vendor tells it."""

    etag: str | None
    version: str | None = None
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Piece:
    """Some or all of an object's bytes. `attributes`: None where the answer does not tell them."""

    data: bytes
    attributes: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Manner:
    """How objects are to be kept, in the vendor's own words; None: as the bucket does by itself."""

    storage_class: str | None = None
    encryption: str | None = None


AS_THE_BUCKET = Manner()


@dataclass(frozen=True)
class Upload:
    """One object on its way in parts of `part_bytes`, but for the last. `id` may be a capability:
    who knows it can write. So it is shown nowhere."""

    key: str
    id: str = field(repr=False)
    part_bytes: int
    begun_at: datetime | None = None


@dataclass(frozen=True)
class Received:
    """What the vendor holds of an upload: its parts' tags by number from 1, where parts may come
    in any order; or all bytes up to `offset`, where one follows the other."""

    tags: Mapping[int, str] = field(default_factory=dict)
    offset: int = 0


class Changed(Refused):
    """Something else stands at the target than was expected: nothing was written."""

    default_code = "target_changed"


class Storage(Protocol):
    """A vendor that keeps objects in buckets. Everything here is harmless to repeat: a write that
    has happened already raises Changed, and `look` tells whether what stands there is ours.

    Raises, besides what `Call.read` does: Refused with `bucket_not_found` or `not_found`,
    Unavailable with `source_changed` where the object read is not the listed one any more, and
    with `checksum_mismatch` where the bytes are not the announced ones.
    """

    parts_at_once: ClassVar[int]
    """Of one upload; 1: one follows the other."""
    checks_parts: ClassVar[bool]
    """Whether the vendor is told the SHA-256 of each part, and refuses other bytes."""

    def pages(
        self, call: Call, bucket: str, prefix: str, after: str = ""
    ) -> AsyncIterator[Sequence[Stored]]:
        """All objects whose key begins with the prefix and comes after `after` (a whole key), in
        the order of their keys' bytes, a page at a time."""
        ...

    async def look(self, call: Call, bucket: str, key: str) -> Stored | None:
        """The object as it is now, with its attributes; None: there is none."""
        ...

    async def get(
        self, call: Call, bucket: str, stored: Stored, span: tuple[int, int] | None = None
    ) -> Piece:
        """The content of exactly the listed version, or its bytes from `span[0]` up to, not
        including, `span[1]`."""
        ...

    async def put(
        self,
        call: Call,
        bucket: str,
        key: str,
        data: bytes,
        attributes: Mapping[str, str],
        *,
        expect: Expect,
        manner: Manner = AS_THE_BUCKET,
    ) -> Placed:
        """Store up to PART_BYTES under that key, whole or not at all. The vendor is made to check
        what it received. Raises Changed."""
        ...

    async def copy(
        self,
        call: Call,
        bucket: str,
        key: str,
        origin: str,
        stored: Stored,
        attributes: Mapping[str, str],
        *,
        expect: Expect,
        manner: Manner = AS_THE_BUCKET,
    ) -> Placed | None:
        """Let the vendor copy exactly that version of an object out of its bucket `origin`. None:
        it cannot be done there (too large, say), and has to travel through us. Raises Changed."""
        ...

    def part_bytes(self, size: int) -> int:
        """How large the parts of an upload of so many bytes are."""
        ...

    async def begin(
        self,
        call: Call,
        bucket: str,
        key: str,
        size: int,
        attributes: Mapping[str, str],
        *,
        expect: Expect,
        manner: Manner = AS_THE_BUCKET,
        digests: Mapping[str, str] | None = None,
    ) -> Upload:
        """Begin an upload in parts. Nothing is seen of it under the key until it is finished.
        `digests`: what is known of the whole content, as in `Stored`; the vendor is told where it
        checks them."""
        ...

    async def received(
        self, call: Call, bucket: str, upload: Upload, size: int
    ) -> Received | Placed | None:
        """What the vendor holds of the upload of so many bytes; Placed: it is finished; None: it
        is gone, finished or not."""
        ...

    async def part(
        self,
        call: Call,
        bucket: str,
        upload: Upload,
        number: int,
        offset: int,
        size: int,
        data: bytes,
        *,
        sha256: str | None = None,
    ) -> str | Placed:
        """Store a part, the `number`th from 1, which begins at `offset` of `size` bytes in all;
        returns its tag, or the object where the last part completes it. Raises Changed then.
        `sha256`: what it must have, for a vendor that checks parts; None: that of the data."""
        ...

    async def finish(
        self,
        call: Call,
        bucket: str,
        upload: Upload,
        tags: Mapping[int, str],
        *,
        expect: Expect,
    ) -> Placed:
        """Make an object of the parts, all of them. Where the last part did that already this is
        not asked. Raises Changed, and Refused `upload_gone`."""
        ...

    async def abort(self, call: Call, bucket: str, upload: Upload) -> None:
        """Drop an upload and all its parts; that it is gone already is no error."""
        ...

    async def uploads(self, call: Call, bucket: str, key: str) -> Sequence[Upload]:
        """Unfinished uploads to exactly that key, whoever began them; none where the vendor cannot
        list them, and drops them by itself."""
        ...

    async def delete(
        self, call: Call, bucket: str, doomed: Sequence[Stored]
    ) -> Mapping[str, VendorError]:
        """Remove objects, each only as it is listed; that one is gone already is no error. Returns
        those that were not removed, by key: Changed for one that is another by now."""
        ...


def answered(status: int, credentials: str) -> VendorError:
    """The error of an answer with that status, to a request that reads. `credentials`: the setting
    to look at when it is refused."""
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


def denied() -> VendorError:
    # Likewise: the credentials are good, and have no right to this bucket or object.
    return Refused("the credentials have no right to it", code="access_denied", status=403)


def changed(status: int | None = None) -> VendorError:
    return Unavailable("the object changed meanwhile", code="source_changed", status=status)


def target_changed(status: int | None = None) -> Changed:
    return Changed("the destination changed since it was listed", status=status)


def upload_gone() -> VendorError:
    return Refused("the upload is not known any more", code="upload_gone", status=404)


def mismatch() -> VendorError:
    return Unavailable("the content is not the announced one", code="checksum_mismatch")
