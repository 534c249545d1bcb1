"""Google Cloud Storage: objects, by its JSON API through our own transport. obstore speaks its
XML API, of which emulators know a part. Facts: https://cloud.google.com/storage/docs/json_api
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from typing import cast
from urllib.parse import quote, urlencode

import orjson

from adapters import _base
from adapters._base import (
    Call,
    Misconfigured,
    Refused,
    Request,
    Response,
    Throttled,
    Unavailable,
    VendorError,
)
from adapters._gcs_objects import Digest, Resource, attributes, etag, read, stored
from adapters._gcs_upload import GOES_ON, Upload
from adapters._google import VARIABLE, find
from adapters._identity import Identity
from adapters._storage import PART_BYTES, Content, Stored, answered, changed, mismatch, no_bucket

PAGE_KEYS = 1000
LISTED = "kind,nextPageToken,items(name,size,updated,generation,md5Hash,crc32c,metadata)"
# Else an object stored as gzip would come unpacked, and longer than it is.
AS_STORED = {"Accept-Encoding": "gzip"}
# Cloud Storage also says by a 403 that a limit is reached.
LIMITS = {"rateLimitExceeded", "userRateLimitExceeded"}


class Adapter(_base.Adapter):
    vendor = "gcs"
    base_url = "https://storage.googleapis.com"
    base_url_variable = "GCS_BASE_URL"
    secrets = (VARIABLE,)

    def __init__(self) -> None:
        self._identity = Identity("google", find)

    def fingerprint(self) -> str:
        """Another one also when other credentials stand in the same file."""
        try:
            at = os.stat(os.environ.get(VARIABLE, "")).st_mtime_ns
        except (OSError, ValueError):
            at = 0
        return f"{super().fingerprint()}-{at:x}"

    async def list(self, call: Call, bucket: str, prefix: str) -> AsyncIterator[Stored]:
        token = ""
        while True:
            page = await self._page(call, bucket, prefix, token)
            for found in page.get("items") or ():
                yield stored(found)
            token = page.get("nextPageToken") or ""
            if not token:
                return

    async def attributes(self, call: Call, bucket: str, key: str) -> Mapping[str, str]:
        return attributes(await self._object(call, bucket, key, None))

    async def get(self, call: Call, bucket: str, stored: Stored) -> Content:
        """The whole at once up to one part; beyond that part by part, each of the same version."""
        known = await self._object(call, bucket, stored.key, stored.version)
        parts = self._parts(call, bucket, stored, known)
        if stored.size > PART_BYTES:
            return Content(stored.size, parts, attributes(known))
        data = b"".join([part async for part in parts])
        return Content(len(data), data, attributes(known))

    async def put(self, call: Call, bucket: str, key: str, content: Content) -> str | None:
        _check(key)

        async def ask(request: Request) -> Response:
            return await self._ask(call, request, missing=no_bucket())

        upload = Upload(ask, self.address(), bucket, key, content)
        made = await upload.run()
        try:
            upload.prove(made)
        except Unavailable:
            # It would be taken for the content that its metadata names.
            known = str(made.get("generation"))
            await self._remove(call, bucket, key, {"ifGenerationMatch": known})
            raise
        return etag(made)

    async def delete(self, call: Call, bucket: str, key: str) -> None:
        await self._remove(call, bucket, key, {})

    async def _remove(self, call: Call, bucket: str, key: str, asked: Mapping[str, str]) -> None:
        request = Request("DELETE", self._url(bucket, key, asked), {}, opaque=True)
        try:
            await self._ask(call, request)
        except Refused as error:
            if error.status != 404:
                raise

    async def _page(self, call: Call, bucket: str, prefix: str, token: str) -> Resource:
        asked = {"prefix": prefix, "maxResults": str(PAGE_KEYS), "fields": LISTED}
        if token:
            asked["pageToken"] = token
        query = urlencode(asked, quote_via=quote)
        url = f"{self.address()}/storage/v1/b/{bucket}/o?{query}"
        request = Request("GET", url, {}, opaque=True)
        return read(await self._ask(call, request, missing=no_bucket()), "objects")

    async def _object(self, call: Call, bucket: str, key: str, version: str | None) -> Resource:
        asked = {"generation": version} if version else {}
        request = Request("GET", self._url(bucket, key, asked), {}, opaque=True)
        missing = changed(404) if version else None
        return read(await self._ask(call, request, missing=missing), "object")

    async def _parts(
        self, call: Call, bucket: str, stored: Stored, known: Resource
    ) -> AsyncIterator[bytes]:
        """The last part is held back until all of them have proved to be what was stored."""
        digest = Digest()
        for start in range(0, max(stored.size, 1), PART_BYTES):
            end = min(start + PART_BYTES, stored.size)
            data = await self._range(call, bucket, known, (start, end), stored.size)
            digest.add(data)
            if end == stored.size:
                digest.prove(known)
            yield data

    async def _range(
        self, call: Call, bucket: str, known: Resource, span: tuple[int, int], size: int
    ) -> bytes:
        asked = {"alt": "media", "generation": str(known.get("generation"))}
        start, end = span
        headers = dict(AS_STORED)
        if end - start < size:
            headers["Range"] = f"bytes={start}-{end - 1}"
        request = Request("GET", self._url(bucket, known["name"], asked), headers, opaque=True)
        answer = await self._ask(call, request, missing=changed(404))
        if len(answer.body) != end - start:
            raise mismatch()
        return answer.body

    def _url(self, bucket: str, key: str, asked: Mapping[str, str]) -> str:
        _check(key)
        query = f"?{urlencode(asked)}" if asked else ""
        return f"{self.address()}/storage/v1/b/{bucket}/o/{quote(key, safe='')}{query}"

    async def _ask(
        self, call: Call, request: Request, *, missing: VendorError | None = None
    ) -> Response:
        """One exchange that succeeded. `missing`: what a 404 means, if not that of an object."""
        try:
            answer = await call.read(request, credentials=await self._proof())
        except Misconfigured as error:
            raise _forbidden(error) from error
        if answer.status == 404 and missing is not None:
            raise missing
        if answer.status >= 300 and answer.status != GOES_ON:
            raise answered(answer.status, VARIABLE)
        return answer

    async def _proof(self) -> dict[str, str]:
        """The header that tells who asks. An emulator is told nothing, unless a file is named: the
        chain's tokens are for Google, and never go unencrypted to anybody else."""
        emulated = self.address().startswith("http://")
        if emulated and not os.environ.get(VARIABLE):
            return {}
        token = await self._identity.found(self.fingerprint())
        return {"Authorization": f"Bearer {token.text}"}


def _check(key: str) -> None:
    # Within an address these would name something else.
    if key in ("", ".", ".."):
        raise Refused("the object's key has no form that can be asked for", code="invalid_key")


def _forbidden(error: Misconfigured) -> VendorError:
    if error.status is None:
        return error
    body = error.answer.body if error.answer else b""
    if error.status == 403 and LIMITS & _reasons(body):
        return Throttled("the vendor's rate limit is reached", status=403)
    return answered(error.status, VARIABLE)


def _reasons(body: bytes) -> set[str]:
    try:
        errors = cast(list[Resource], orjson.loads(body)["error"]["errors"])
        return {str(one.get("reason")) for one in errors}
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
        return set()
