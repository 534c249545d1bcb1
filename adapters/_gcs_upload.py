"""How a large object gets into Cloud Storage: in a resumable session, one part after another.

A session that is not ended is no object, costs nothing, and is gone after a week: nobody has to
clean up. Facts: https://cloud.google.com/storage/docs/performing-resumable-uploads
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar
from urllib.parse import urlsplit

import orjson

from adapters._base import Call, Request, Response, Unavailable
from adapters._gcs_objects import (
    OCTETS,
    Digest,
    Resource,
    described,
    generation,
    placed,
    read,
    sums,
)
from adapters._gcs_wire import GOES_ON, JSON, Wire, asks, condition, encrypted, judged
from adapters._storage import (
    AS_THE_BUCKET,
    PART_BYTES,
    Expect,
    Manner,
    Placed,
    Received,
    Upload,
    mismatch,
    no_bucket,
    upload_gone,
)

# A session that has expired, that was never there, or that was cancelled.
GONE = (404, 410, 499)
# What emulators say where they cannot cancel one.
NOT_THERE = 501
KEPT = re.compile(r"bytes=0-(\d+)")


@dataclass(frozen=True)
class Session(Upload):
    """An upload that this process has begun itself: it alone knows the sum of all that was sent.
    Who takes up another's sends no sum, and has to look at the object's own afterwards."""

    digest: Digest = field(default_factory=Digest, compare=False, repr=False)
    kind: str = OCTETS


class Uploads(Wire):
    parts_at_once: ClassVar[int] = 1
    checks_parts: ClassVar[bool] = False

    def part_bytes(self, size: int) -> int:
        """There may be any number of parts; each is held in memory."""
        return PART_BYTES

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
        """Other content than these digests name is refused at the end of the session."""
        told = {"name": key, **sums(digests or {}), **described(attributes, manner)}
        about = {
            "X-Upload-Content-Type": told["contentType"],
            "X-Upload-Content-Length": str(size),
        }
        url = self._upload(bucket, "resumable", key, expect, manner)
        request = asks("POST", url, {**JSON, **about}, orjson.dumps(told))
        answer = await self._ask(call, request, missing=no_bucket(), writes=True)
        # Of the address that it names only this: nothing goes anywhere else than to the vendor.
        named = urlsplit(answer.headers.get("location", ""))
        if not named.query:
            raise Unavailable("the vendor named no session", status=answer.status)
        session, kind = f"{named.path}?{named.query}", told["contentType"]
        return Session(key, session, PART_BYTES, datetime.now(UTC), kind=kind)

    async def received(
        self, call: Call, bucket: str, upload: Upload, size: int
    ) -> Received | Placed | None:
        """Whole parts only: bytes that it has already are ignored when they come again."""
        answer = await self._answer(call, self._question(upload, str(size)))
        if answer.status in GONE:
            return None
        if answer.status != GOES_ON:
            made = read(_judged(answer), "object")
            try:
                await self._prove(call, bucket, upload.key, made, size=size)
            except Unavailable as error:
                if error.code != "checksum_mismatch":
                    raise
                # fake-gcs-server takes the question for the end of the content.
                return None
            return placed(made)
        kept = _held(answer)
        return Received(offset=kept - kept % upload.part_bytes)

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
        ended = offset + len(data) == size
        digest = await asyncio.to_thread(_added, upload, offset, data)
        # With the last part, the sum of all: content that is not ours never becomes an object.
        proof = {"X-Goog-Hash": f"crc32c={digest.base64()}"} if ended and digest else {}
        answer = await self._kept(call, upload, offset, size, data, proof)
        if answer.status == GOES_ON:
            return str(number)
        made = read(answer, "object")
        crc32c = digest.hex() if digest else None
        await self._prove(call, bucket, upload.key, made, size=size, crc32c=crc32c)
        return placed(made)

    async def finish(
        self,
        call: Call,
        bucket: str,
        upload: Upload,
        tags: Mapping[int, str],
        *,
        expect: Expect,
    ) -> Placed:
        """The last part has done it; this asks again."""
        answer = await self._answer(call, self._question(upload, "*"))
        return placed(read(_judged(answer), "object"))

    async def abort(self, call: Call, bucket: str, upload: Upload) -> None:
        request = asks("DELETE", f"{self.address()}{upload.id}", {"Content-Length": "0"})
        try:
            answer = await self._answer(call, request)
        except Unavailable as error:
            if error.status != NOT_THERE:
                raise
            return
        if answer.status not in GONE:
            _judged(answer)

    async def uploads(self, call: Call, bucket: str, key: str) -> Sequence[Upload]:
        return ()

    async def _kept(
        self,
        call: Call,
        upload: Upload,
        offset: int,
        size: int,
        data: bytes,
        proof: Mapping[str, str],
    ) -> Response:
        """Send the part until all of it is kept: it may keep less than it was sent, and says so."""
        end, sent = offset + len(data), offset
        while True:
            span = {"Content-Range": f"bytes {sent}-{end - 1}/{size}", **proof}
            rest = data[sent - offset :]
            answer = _judged(await self._answer(call, self._put(upload, span, rest)))
            if answer.status != GOES_ON or (kept := _held(answer)) >= end:
                return answer
            if kept <= sent:
                raise Unavailable("the vendor kept nothing of what it was sent", status=GOES_ON)
            sent = kept

    def _question(self, upload: Upload, size: str) -> Request:
        return self._put(upload, {"Content-Range": f"bytes */{size}"}, b"")

    def _put(self, upload: Upload, headers: Mapping[str, str], body: bytes) -> Request:
        kind = {"Content-Type": upload.kind if isinstance(upload, Session) else OCTETS}
        return asks("PUT", f"{self.address()}{upload.id}", {**kind, **headers}, body)

    def _upload(self, bucket: str, how: str, key: str, expect: Expect, manner: Manner) -> str:
        # The name stands in the body too; here it tells whoever looks at the calls.
        asked = {"uploadType": how, "name": key, **condition(expect)}
        asked |= encrypted(manner, "kmsKeyName")
        return self._address(f"upload/storage/v1/b/{bucket}/o", asked)

    async def _prove(
        self,
        call: Call,
        bucket: str,
        key: str,
        made: Resource,
        *,
        size: int,
        crc32c: str | None = None,
    ) -> None:
        """Raises Unavailable where what stands there now is not what was sent, and removes it: it
        would be taken for the content that its metadata names."""
        same = crc32c is None or crc32c == placed(made).digests.get("crc32c")
        if same and str(made.get("size")) == str(size):
            return
        if version := generation(made):
            await self._remove(call, bucket, key, version)
        raise mismatch()


def _judged(answer: Response) -> Response:
    if answer.status in GONE:
        raise upload_gone()
    return judged(answer, writes=True)


def _held(answer: Response) -> int:
    """How many bytes a session has. Without a range it has none."""
    found = KEPT.fullmatch(answer.headers.get("range", ""))
    return int(found[1]) + 1 if found else 0


def _added(upload: Upload, offset: int, data: bytes) -> Digest | None:
    """The sum of everything up to the end of this part, where it is known. A part that is sent
    again counts once."""
    digest = upload.digest if isinstance(upload, Session) else None
    if digest is not None and digest.size == offset:
        digest.add(data)
    return digest if digest and digest.size == offset + len(data) else None
