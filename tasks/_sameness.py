"""Whether two ends hold the same content, by the cheapest proof that there is. A time is none."""

from __future__ import annotations

from dataclasses import replace

from adapters._storage import SHA256, SOURCE_ETAG
from tasks._ends import End, Entry

# What a vendor knows of the content itself, the strongest first. The last has only 32 bits, but
# beside an equal size it is what Google's own tools go by.
NATIVE = ("sha256", "md5", "crc64nvme", "crc32c")
# The digest that a file is asked for, by the name of what it is compared with.
# What we have written comes last: others may have kept it when they replaced the content.
HASHED = {"sha256": "sha256", "md5": "md5", "crc32c": "crc32c", SHA256: "sha256"}


def same(source: Entry, target: Entry, *, strict: bool = False) -> bool:
    """Whether what is known of both without reading proves them the same. False proves nothing: an
    ETag that looks like an MD5 is none where the object is encrypted with a customer's key, which
    only a look at that object tells. `strict`: the tag of a source that ferryman has written beside
    its copy is no proof."""
    if source.size != target.size or not source.size:
        return source.size == target.size
    ours, theirs = source.told, target.told
    common = [name for name in NATIVE if name in ours and name in theirs]
    if common:
        return all(ours[name] == theirs[name] for name in common)
    if not strict and source.etag and source.etag in (target.etag, theirs.get(SOURCE_ETAG)):
        return True
    return SHA256 in ours and ours[SHA256] == theirs.get(SHA256)


async def compare(
    source_end: End, source: Entry, target_end: End, target: Entry, *, strict: bool = False
) -> Entry | None:
    """The target's entry with all that came to be known of it, if both hold the same content. What
    one end tells of it, a file is hashed for; a bucket is asked about one object only where its
    listing could not prove it."""
    if source.size != target.size:
        return None
    if found := await _proven(source_end, source, target_end, target, strict):
        return found
    asked = await _asked(source_end, source), await _asked(target_end, target)
    if asked == (source, target):
        return None
    return await _proven(source_end, asked[0], target_end, asked[1], strict)


async def _proven(
    source_end: End, source: Entry, target_end: End, target: Entry, strict: bool
) -> Entry | None:
    if same(source, target, strict=strict):
        return target
    if source_end.place == target_end.place == "file":
        digest = await target_end.digest(target, "sha256")
        known = replace(target, digests={"sha256": digest or ""})
        return known if await source_end.digest(source, "sha256") == digest else None
    file_end, file, told = source_end, source, target.told
    if target_end.place == "file":
        file_end, file, told = target_end, target, source.told
    name = next((name for name in HASHED if name in told), None)
    if name is None or await file_end.digest(file, HASHED[name]) != told[name]:
        return None
    return replace(target, digests={**target.digests, HASHED[name]: told[name]})


async def _asked(end: End, entry: Entry) -> Entry:
    """With all that a bucket knows of it, where that has not been told yet."""
    if end.place == "file" or entry.attributes is not None:
        return entry
    return await end.look(entry) or entry
