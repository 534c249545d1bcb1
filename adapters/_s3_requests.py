"""Requests to S3 of our own, beside obstore's: signed, and journaled like every other vendor's."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from adapters import _base
from adapters._aws import find, region, signed
from adapters._base import Call, Misconfigured, Request, Response
from adapters._identity import Identity
from adapters._s3_wire import address, conditions, seen, succeeded
from adapters._storage import Expect, Stored, target_changed
from ferryman.policies import policy

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials

EMPTY = hashlib.sha256().hexdigest()
# A longer body is hashed in a thread, beside the event loop.
INLINE_BYTES = 128 * 1024
XML = {"Content-Type": "application/xml"}


class Requests(_base.Adapter):
    """What all of S3's adapter stands on."""

    def __init__(self) -> None:
        self._identity = Identity("aws", find)

    def address(self) -> str:
        return super().address().format(region=region())

    async def look(self, call: Call, bucket: str, key: str) -> Stored | None:
        """By our own HEAD: obstore's does not tell the checksums."""
        asked = {"x-amz-checksum-mode": "ENABLED"}
        answer = await self._ask(call, "HEAD", address(bucket, key), asked)
        return None if answer.status == 404 else seen(key, succeeded(answer).headers)

    async def _condition(self, call: Call, bucket: str, key: str, expect: Expect) -> dict[str, str]:
        """The headers of a conditional write; none for a server that knows none, where a look
        before the write has to do."""
        if policy(self.vendor).conditional_writes:
            return conditions(expect)
        await self._stands(call, bucket, key, expect)
        return {}

    async def _stands(self, call: Call, bucket: str, key: str, expect: Expect) -> None:
        known = await self.look(call, bucket, key)
        if (known.etag if known else None) != expect.etag:
            raise target_changed()

    async def _ask(
        self,
        call: Call,
        method: str,
        where: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        sha256: str | None = None,
    ) -> Response:
        """One signed exchange with the vendor; `where`: path and query; `sha256`: the body's, where
        it is known. Returns any answer but those that `Call.read` raises."""
        url = self.address() + where
        request = Request(method, url, headers or {}, body, opaque=True)
        proof = signed(request, await self._keys(), sha256 or await _sha256(body))
        try:
            return await call.read(request, credentials=proof)
        except Misconfigured as error:
            told = error.answer or Response(error.status or 403, {}, b"")
            succeeded(told)
            raise

    async def _keys(self) -> ReadOnlyCredentials:
        return (await self._identity.found(self.fingerprint())).keys


async def _sha256(body: bytes) -> str:
    if not body:
        return EMPTY
    if len(body) <= INLINE_BYTES:
        return hashlib.sha256(body).hexdigest()
    return (await asyncio.to_thread(hashlib.sha256, body)).hexdigest()
