"""S3 and servers that speak its language: objects. obstore carries what fits into one request,
requests of our own do the rest. Facts: Amazon S3's API reference, 2006-03-01."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from obstore.store import S3Store

from adapters._aws import ID, SECRET, SERVES, TOKEN, region
from adapters._base import Call
from adapters._s3_errors import writing
from adapters._s3_obstore import Bucket
from adapters._s3_remote import Remote
from adapters._s3_requests import INLINE_BYTES
from adapters._s3_uploads import Uploads
from adapters._s3_wire import (
    address,
    check,
    check_attributes,
    decoder,
    document,
    encryption,
    listed,
    text,
)
from adapters._storage import (
    AS_THE_BUCKET,
    Expect,
    Manner,
    Piece,
    Placed,
    Stored,
    mismatch,
    target_changed,
)
from ferryman.policies import policy

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Credential

MOST_BUCKETS = 64
# What S3 gives at most: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
PAGE_KEYS = 1000


class Adapter(Uploads, Remote):
    vendor = "s3"
    base_url = "https://s3.{region}.amazonaws.com"
    base_url_variable = "S3_BASE_URL"
    secrets = (ID, SECRET, TOKEN)

    def __init__(self) -> None:
        super().__init__()
        self._buckets: OrderedDict[tuple[str, ...], Bucket] = OrderedDict()

    async def pages(
        self, call: Call, bucket: str, prefix: str, after: str = ""
    ) -> AsyncIterator[Sequence[Stored]]:
        """Not by obstore: one key with `..` or a control character would end its listing."""
        asked = {"list-type": "2", "encoding-type": "url", "max-keys": str(PAGE_KEYS)}
        asked["prefix"] = prefix
        more = {"start-after": after} if after else {}
        while True:
            answer = await self._ask(call, "GET", address(bucket, **asked, **more))
            page = document(answer, "ListBucketResult")
            decode = decoder(page)
            if rows := [listed(one, decode) for one in page.iterfind("{*}Contents")]:
                yield rows
            if not (token := text(page, "NextContinuationToken")):
                return
            more = {"continuation-token": token}

    async def get(
        self, call: Call, bucket: str, stored: Stored, span: tuple[int, int] | None = None
    ) -> Piece:
        check(stored.key)
        found = await (await self._bucket(bucket)).get(call, stored, span)
        start, end = span or (0, stored.size)
        if len(found.data) != end - start:
            raise mismatch()
        return found

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
        check(key)
        check_attributes(attributes)
        client = await self._bucket(bucket, manner)
        conditional = bool(await self._condition(call, bucket, key, expect))
        if manner.storage_class:
            attributes = {**attributes, "Storage-Class": manner.storage_class}
        with writing():
            placed = await client.put(call, key, data, attributes, expect if conditional else None)
        return await self._proven(call, bucket, key, data, placed)

    async def _proven(
        self, call: Call, bucket: str, key: str, data: bytes, placed: Placed
    ) -> Placed:
        """An ETag is the content's MD5, unless it is encrypted with a key of KMS: then a look must
        do, and that S3 had the content's SHA-256 in the signature."""
        digest = await _md5(data)
        if placed.etag == digest:
            return Placed(placed.etag, placed.version, {"md5": digest})
        known = await self.look(call, bucket, key)
        if known is None or known.etag != placed.etag:
            raise target_changed()
        if known.size != len(data) or "md5" in known.digests:
            # It would be taken for the content that its metadata names.
            await self.delete(call, bucket, [known])
            raise mismatch()
        return Placed(placed.etag, placed.version, known.digests)

    async def _bucket(self, name: str, manner: Manner = AS_THE_BUCKET) -> Bucket:
        """The bucket's client. One made with other settings than today's is not used again."""
        # obstore asks too, but tells of a failure there as of one on the wire.
        await self._keys()
        how = manner.encryption or ""
        known = (name, self.address(), self.fingerprint(), how)
        if known not in self._buckets:
            url = f"{known[1]}/{name}"
            self._buckets[known] = Bucket(self._store(name, known[1], how), self.vendor, url)
            if len(self._buckets) > MOST_BUCKETS:
                self._buckets.popitem(last=False)
        return self._buckets[known]

    def _store(self, name: str, endpoint: str, encrypted: str) -> S3Store:
        numbers = policy(self.vendor)
        config: S3Config = {
            "endpoint": endpoint,
            "region": region(),
            "virtual_hosted_style_request": False,
        }
        if encrypted:
            config["server_side_encryption"], key = encryption(encrypted)
            if key:
                config["sse_kms_key_id"] = key
        return S3Store(
            name,
            config=config,
            client_options={
                # The operator's choice, since the address never comes from a job.
                "allow_http": endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=numbers.connect_seconds),
                "timeout": timedelta(seconds=numbers.timeout_seconds),
            },
            # Exactly one layer retries: the job.
            retry_config={"max_retries": 0},
            credential_provider=self._credential,
        )

    async def _credential(self) -> S3Credential:
        keys = await self._keys()
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.token,
            # Asked again by then, whether or not they expire: that costs nothing.
            "expires_at": datetime.now(UTC) + SERVES,
        }


async def _md5(data: bytes) -> str:
    if len(data) > INLINE_BYTES:
        return await asyncio.to_thread(_md5_of, data)
    return _md5_of(data)


def _md5_of(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
