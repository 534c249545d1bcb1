"""Uploads to S3 in parts, which another run can take up again.

Facts: https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import ClassVar

from adapters._base import Call, Unavailable, VendorError
from adapters._s3_errors import writing
from adapters._s3_requests import XML, Requests
from adapters._s3_wire import (
    UNREADABLE,
    Element,
    address,
    bare,
    decoder,
    described,
    document,
    kept,
    parts_of,
    succeeded,
    text,
)
from adapters._storage import (
    AS_THE_BUCKET,
    PART_BYTES,
    Expect,
    Manner,
    Placed,
    Received,
    Upload,
)

# S3 takes 10,000 parts: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
MOST_PARTS = 9_000
OCTETS = {"Content-Type": "application/octet-stream"}


class Uploads(Requests):
    """The part of `_storage.Storage` that concerns uploads in parts."""

    parts_at_once: ClassVar[int] = 4
    checks_parts: ClassVar[bool] = True

    def part_bytes(self, size: int) -> int:
        return max(PART_BYTES, -(-size // MOST_PARTS))

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
        """S3 looks at the condition when the upload is finished, and is told digests of the parts
        alone."""
        headers = described(attributes) | kept(manner)
        answer = await self._ask(call, "POST", address(bucket, key, uploads=""), headers)
        begun = document(answer, "InitiateMultipartUploadResult")
        if not (name := text(begun, "UploadId")):
            raise Unavailable("the vendor named no upload", status=answer.status)
        return Upload(key, name, self.part_bytes(size))

    async def received(
        self, call: Call, bucket: str, upload: Upload, size: int
    ) -> Received | Placed | None:
        """A part that is not as long as it should be is not told: it is to be sent again."""
        tags: dict[int, str] = {}
        try:
            async for part in self._parts(call, bucket, upload):
                number, tag = int(text(part, "PartNumber")), bare(text(part, "ETag"))
                if tag and int(text(part, "Size")) == _length(upload, number, size):
                    tags[number] = tag
        except VendorError as error:
            if error.code != "upload_gone":
                raise
            return None
        return Received(tags)

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
        """Its SHA-256 is signed: what arrives otherwise is refused."""
        where = address(bucket, upload.key, partNumber=str(number), uploadId=upload.id)
        answer = succeeded(await self._ask(call, "PUT", where, OCTETS, data, sha256))
        if not (tag := bare(answer.headers.get("etag"))):
            raise Unavailable("the vendor named no tag of a part", status=answer.status)
        return tag

    async def finish(
        self,
        call: Call,
        bucket: str,
        upload: Upload,
        tags: Mapping[int, str],
        *,
        expect: Expect,
    ) -> Placed:
        where = address(bucket, upload.key, uploadId=upload.id)
        condition = await self._condition(call, bucket, upload.key, expect)
        with writing():
            answer = await self._ask(call, "POST", where, XML | condition, parts_of(tags))
            try:
                done = document(answer, "CompleteMultipartUploadResult")
            except VendorError as error:
                if error.code != UNREADABLE:
                    raise
                return await self._finished(call, bucket, upload, tags, error)
        etag = bare(text(done, "ETag"))
        return Placed(etag, answer.headers.get("x-amz-version-id"))

    async def abort(self, call: Call, bucket: str, upload: Upload) -> None:
        where = address(bucket, upload.key, uploadId=upload.id)
        answer = await self._ask(call, "DELETE", where)
        if answer.status != 404:
            succeeded(answer)

    async def uploads(self, call: Call, bucket: str, key: str) -> Sequence[Upload]:
        asked = {"uploads": "", "encoding-type": "url", "prefix": key}
        found: list[Upload] = []
        more: dict[str, str] = {}
        while True:
            answer = await self._ask(call, "GET", address(bucket, **asked, **more))
            page = document(answer, "ListMultipartUploadsResult")
            name = decoder(page)
            rows = page.iterfind("{*}Upload")
            found += [_unfinished(key, one) for one in rows if name(text(one, "Key")) == key]
            if text(page, "IsTruncated") != "true":
                return found
            more = {
                "key-marker": name(text(page, "NextKeyMarker")),
                "upload-id-marker": text(page, "NextUploadIdMarker"),
            }

    async def _finished(
        self,
        call: Call,
        bucket: str,
        upload: Upload,
        tags: Mapping[int, str],
        error: VendorError,
    ) -> Placed:
        """The answer broke off, as it may after its 200: does our object stand there?"""
        known = await self.look(call, bucket, upload.key)
        if known is None or known.etag != _etag(tags):
            raise error
        return Placed(known.etag, known.version)

    async def _parts(self, call: Call, bucket: str, upload: Upload) -> AsyncIterator[Element]:
        more: dict[str, str] = {}
        while True:
            where = address(bucket, upload.key, uploadId=upload.id, **more)
            # ListPartsResult; moto and others call it a response.
            page = document(await self._ask(call, "GET", where), "ListParts")
            for part in page.iterfind("{*}Part"):
                yield part
            if text(page, "IsTruncated") != "true":
                return
            more = {"part-number-marker": text(page, "NextPartNumberMarker")}


def _unfinished(key: str, found: Element) -> Upload:
    begun = datetime.fromisoformat(text(found, "Initiated"))
    return Upload(key, text(found, "UploadId"), 0, begun)


def _length(upload: Upload, number: int, size: int) -> int:
    """Of that part of an upload of so many bytes."""
    return min(upload.part_bytes, size - (number - 1) * upload.part_bytes)


def _etag(tags: Mapping[int, str]) -> str:
    """What S3 calls the object that is made of these parts: the MD5 of their MD5s."""
    try:
        joined = b"".join(bytes.fromhex(tags[number]) for number in sorted(tags))
    except ValueError:
        return ""
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(tags)}"
