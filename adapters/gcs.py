"""Google Cloud Storage: objects, by its JSON API through our own transport. obstore speaks its
XML API, of which emulators know a part. Facts: https://cloud.google.com/storage/docs/json_api
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from uuid import uuid4

import orjson

from adapters._base import Call, Misconfigured, Refused, Throttled, Unavailable, VendorError
from adapters._gcs_objects import (
    TOLD,
    Digest,
    Resource,
    announced,
    described,
    placed,
    read,
    stored,
    sums,
)
from adapters._gcs_upload import Uploads
from adapters._gcs_wire import JSON, asks, condition, encrypted, named
from adapters._storage import (
    AS_THE_BUCKET,
    Expect,
    Manner,
    Piece,
    Placed,
    Stored,
    changed,
    mismatch,
    no_bucket,
)

PAGE_KEYS = 1000
LISTED = f"kind,nextPageToken,items({','.join(TOLD)})"
# Else an object stored as gzip would come unpacked, and longer than it is.
AS_STORED = {"Accept-Encoding": "gzip"}
DELETES_AT_ONCE = 16


class Adapter(Uploads):
    async def pages(
        self, call: Call, bucket: str, prefix: str, after: str = ""
    ) -> AsyncIterator[Sequence[Stored]]:
        begin, token = after.encode(), ""
        while True:
            page = await self._page(call, bucket, prefix, after, token)
            found = [stored(one) for one in page.get("items") or ()]
            # The listing begins with that key itself, where it is still there.
            yield [one for one in found if one.key.encode() > begin]
            token = page.get("nextPageToken") or ""
            if not token:
                return

    async def look(self, call: Call, bucket: str, key: str) -> Stored | None:
        try:
            answer = await self._ask(call, asks("GET", self._object(bucket, key), {}))
        except Refused as error:
            if error.status != 404:
                raise
            return None
        return stored(read(answer, "object"))

    async def get(
        self, call: Call, bucket: str, stored: Stored, span: tuple[int, int] | None = None
    ) -> Piece:
        """The whole only if it is what the vendor's own sum says. A part has none: whoever has put
        all of them together compares with `stored.digests`."""
        start, end = span or (0, stored.size)
        version = {"generation": stored.version} if stored.version else {}
        url = self._object(bucket, stored.key, alt="media", **version)
        headers = dict(AS_STORED)
        if end - start < stored.size:
            headers["Range"] = f"bytes={start}-{end - 1}"
        answer = await self._ask(call, asks("GET", url, headers), missing=changed(404))
        whole = end - start == stored.size
        told = announced(answer.headers.get("x-goog-hash", "")) | dict(stored.digests)
        if len(answer.body) != end - start or (whole and not _is(answer.body, told)):
            raise mismatch()
        return Piece(answer.body)

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
        named(key)
        digest, told = Digest(data).hex(), described(attributes, manner)
        kind, body = _related({"name": key, **sums({"crc32c": digest}), **told}, data)
        request = asks("POST", self._upload(bucket, "multipart", key, expect, manner), kind, body)
        answer = await self._ask(call, request, missing=no_bucket(), writes=True)
        made = read(answer, "object")
        await self._prove(call, bucket, key, made, size=len(data), crc32c=digest)
        return placed(made)

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
        """In as many steps as the vendor needs; a large object between two places needs several."""
        source = {"sourceGeneration": stored.version, "ifSourceGenerationMatch": stored.version}
        asked = {name: value for name, value in source.items() if value}
        asked |= condition(expect) | encrypted(manner, "destinationKmsKeyName")
        body = orjson.dumps(described(attributes, manner))
        step: Resource = {}
        while not step.get("done"):
            if token := step.get("rewriteToken"):
                asked["rewriteToken"] = token
            elif step:
                raise Unavailable("the vendor named no next step of a copy", status=200)
            place = f"{named(stored.key)}/rewriteTo/b/{bucket}/o/{named(key)}"
            url = self._address(f"storage/v1/b/{origin}/o/{place}", asked)
            request = asks("POST", url, JSON, body)
            answer = await self._ask(call, request, missing=changed(404), writes=True)
            step = read(answer, "rewriteResponse")
        made = step.get("resource") or {}
        crc32c = stored.digests.get("crc32c")
        await self._prove(call, bucket, key, made, size=stored.size, crc32c=crc32c)
        return placed(made)

    async def delete(
        self, call: Call, bucket: str, doomed: Sequence[Stored]
    ) -> Mapping[str, VendorError]:
        """Cloud Storage has no request for many: several at once, until one meets what all would
        meet."""
        failed: dict[str, VendorError] = {}
        waiting = iter(doomed)

        async def remove() -> None:
            for one in waiting:
                try:
                    await self._remove(call, bucket, one.key, one.version)
                except VendorError as error:
                    failed[one.key] = error
                    if isinstance(error, Misconfigured | Throttled):
                        failed.update((left.key, error) for left in waiting)

        await asyncio.gather(*(remove() for _ in doomed[:DELETES_AT_ONCE]))
        return failed

    async def _page(self, call: Call, bucket: str, prefix: str, after: str, token: str) -> Resource:
        asked = {"prefix": prefix, "maxResults": str(PAGE_KEYS), "fields": LISTED}
        more = {"startOffset": after, "pageToken": token}
        asked |= {name: value for name, value in more.items() if value}
        request = asks("GET", self._objects(bucket, **asked), {})
        return read(await self._ask(call, request, missing=no_bucket()), "objects")


def _is(data: bytes, told: Mapping[str, str]) -> bool:
    return told.get("crc32c") in (None, Digest(data).hex())


def _related(told: Resource, data: bytes) -> tuple[dict[str, str], bytes]:
    """What is told of an object, and its content, as the two parts of one body."""
    mark = uuid4().hex
    head = f"--{mark}\r\nContent-Type: {JSON['Content-Type']}\r\n\r\n".encode()
    kind = f"\r\n--{mark}\r\nContent-Type: {told['contentType']}\r\n\r\n".encode()
    body = b"".join([head, orjson.dumps(told), kind, data, f"\r\n--{mark}--\r\n".encode()])
    return {"Content-Type": f"multipart/related; boundary={mark}"}, body
