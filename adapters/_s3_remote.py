"""What S3 does at our word while no content passes through us: copies and deletes.

Facts: https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html, API_DeleteObjects.html
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from adapters._base import Call, Refused, Unavailable, VendorError
from adapters._s3_errors import STATUSES, answered, of_a_write, writing
from adapters._s3_requests import XML, Requests
from adapters._s3_wire import (
    Element,
    address,
    bare,
    check,
    described,
    document,
    doom_of,
    kept,
    text,
)
from adapters._storage import (
    AS_THE_BUCKET,
    Changed,
    Expect,
    Manner,
    Placed,
    Stored,
    changed,
    target_changed,
)
from ferryman.policies import policy

# S3 copies up to 5 GiB in one request, but tells nothing before it has: beyond this it might take
# longer than a request may.
COPY_BYTES = 1024**3
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
MOST_DELETES = 1000


class Remote(Requests):
    """The part of `_storage.Storage` that concerns copies and deletes."""

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
        if stored.size > COPY_BYTES or not stored.etag:
            return None
        headers = _taken(origin, stored) | described(attributes) | kept(manner)
        headers |= await self._condition(call, bucket, key, expect)
        try:
            return await self._copied(call, address(bucket, key), headers)
        except Changed as error:
            raise await self._whose(call, origin, stored, error) from error

    async def delete(
        self, call: Call, bucket: str, doomed: Sequence[Stored]
    ) -> Mapping[str, VendorError]:
        """A server that knows no conditions here may ignore them without a word: moto does."""
        failed: dict[str, VendorError] = {}
        sent: dict[str, str | None] = {}
        for one in doomed:
            try:
                sent[one.key] = await self._deletable(call, bucket, one)
            except Refused as error:
                failed[one.key] = error
        keys = list(sent)
        for start in range(0, len(keys), MOST_DELETES):
            some = {key: sent[key] for key in keys[start : start + MOST_DELETES]}
            failed |= await self._deleted(call, bucket, some)
        return failed

    async def _copied(self, call: Call, where: str, headers: Mapping[str, str]) -> Placed | None:
        with writing():
            try:
                answer = await self._ask(call, "PUT", where, headers)
            except Unavailable as error:
                if error.status != 501:
                    raise
                return None
            copied = document(answer, "CopyObjectResult")
        return Placed(bare(text(copied, "ETag")), answer.headers.get("x-amz-version-id"))

    async def _whose(self, call: Call, origin: str, stored: Stored, error: Changed) -> VendorError:
        """Both ends have a condition, and not every server tells which did not hold."""
        known = await self.look(call, origin, stored.key)
        if known is None or known.etag != stored.etag:
            return changed(error.status)
        return error

    async def _deletable(self, call: Call, bucket: str, one: Stored) -> str | None:
        """The ETag that it must have. Raises Refused for what cannot or must not be deleted."""
        check(one.key)
        if policy(self.vendor).conditional_writes or not one.etag:
            return one.etag
        known = await self.look(call, bucket, one.key)
        if known is not None and known.etag != one.etag:
            raise target_changed()
        return None

    async def _deleted(
        self, call: Call, bucket: str, doomed: Mapping[str, str | None]
    ) -> dict[str, VendorError]:
        body = doom_of(doomed)
        md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        # S3 demands it, though the signature proves more.
        headers = XML | {"Content-MD5": md5}
        answer = await self._ask(call, "POST", address(bucket, delete=""), headers, body)
        told = document(answer, "DeleteResult")
        failed = {text(one, "Key"): _failure(one) for one in told.iterfind("{*}Error")}
        gone = {text(one, "Key") for one in told.iterfind("{*}Deleted")}
        for key in doomed.keys() - failed.keys() - gone:
            failed[key] = Unavailable("the vendor said nothing of this object", status=200)
        return {key: error for key, error in failed.items() if error is not None and key in doomed}


def _taken(origin: str, stored: Stored) -> dict[str, str]:
    """The headers that name the source, and it alone."""
    check(stored.key)
    source = quote(f"/{origin}/{stored.key}", safe="/~")
    if stored.version:
        source += f"?versionId={quote(stored.version, safe='')}"
    return {
        "x-amz-copy-source": source,
        "x-amz-copy-source-if-match": f'"{stored.etag}"',
        "x-amz-metadata-directive": "REPLACE",
    }


def _failure(one: Element) -> VendorError | None:
    """Why a key was not deleted; None: it is gone."""
    code = text(one, "Code")
    if code == "NoSuchKey":
        return None
    return of_a_write(answered(STATUSES.get(code, 400), code))
