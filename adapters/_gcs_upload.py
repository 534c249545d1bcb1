"""How content gets into Cloud Storage: at once, or in a resumable session part by part.

A session that is not ended is no object, costs nothing, and is gone after a week: there is nothing
to clean up. Facts: https://cloud.google.com/storage/docs/performing-resumable-uploads
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import quote, urlencode, urlsplit
from uuid import uuid4

import orjson

from adapters._base import Request, Response, Unavailable
from adapters._gcs_objects import Digest, Resource, described, read
from adapters._storage import PART_BYTES, Content, changed

Ask = Callable[[Request], Awaitable[Response]]
OCTETS = "application/octet-stream"
JSON = "application/json; charset=utf-8"
# The session goes on: its part is stored.
GOES_ON = 308


class Upload:
    """One object on its way to the vendor at `address`. `ask` raises what is no success."""

    def __init__(self, ask: Ask, address: str, bucket: str, key: str, content: Content) -> None:
        self._ask = ask
        self._address = address
        self._bucket = bucket
        self._content = content
        self._told = described(key, content.attributes)
        self._type = content.attributes.get("Content-Type", OCTETS)
        self._digest = Digest()

    async def run(self) -> Resource:
        """Returns the object as it now stands."""
        data = self._content.data
        return await (self._whole(data) if isinstance(data, bytes) else self._parts(data))

    def prove(self, made: Resource) -> None:
        """Raises Unavailable where it is not what was sent."""
        self._digest.prove(made)

    async def _whole(self, data: bytes) -> Resource:
        self._digest.add(data)
        told = orjson.dumps({**self._told, "crc32c": self._digest.base64()})
        mark = uuid4().hex
        body = b"".join(
            [
                f"--{mark}\r\nContent-Type: {JSON}\r\n\r\n".encode(),
                told,
                f"\r\n--{mark}\r\nContent-Type: {self._type}\r\n\r\n".encode(),
                data,
                f"\r\n--{mark}--\r\n".encode(),
            ]
        )
        kind = {"Content-Type": f"multipart/related; boundary={mark}"}
        answer = await self._ask(self._request("POST", self._url("multipart"), kind, body))
        return read(answer, "object")

    async def _parts(self, data: AsyncIterator[bytes]) -> Resource:
        session = await self._session()
        sent, total = 0, self._content.size
        async for part, last in _even(data):
            await asyncio.to_thread(self._digest.add, part)
            end = sent + len(part)
            if end > total or last != (end == total):
                break
            # With the last part, the sum of all: content that is not ours never becomes an object.
            proof = {"X-Goog-Hash": f"crc32c={self._digest.base64()}"} if last else {}
            span = {"Content-Range": f"bytes {sent}-{end - 1}/{total}", **proof}
            answer = await self._part(session, part, span)
            if answer.status != GOES_ON:
                return read(answer, "object")
            # It may keep less than it was sent, and says so.
            if answer.headers.get("range") != f"bytes=0-{end - 1}":
                raise Unavailable("the vendor kept a part of what it was sent", status=GOES_ON)
            sent = end
        raise changed()

    async def _session(self) -> str:
        kind = {"Content-Type": JSON, "X-Upload-Content-Type": self._type}
        told = orjson.dumps(self._told)
        answer = await self._ask(self._request("POST", self._url("resumable"), kind, told))
        # Of the address that it names only this: nothing goes anywhere else than to the vendor.
        parts = urlsplit(answer.headers.get("location", ""))
        if not parts.query:
            raise Unavailable("the vendor named no session", status=answer.status)
        return f"{self._address}{parts.path}?{parts.query}"

    async def _part(self, session: str, part: bytes, span: dict[str, str]) -> Response:
        headers = {"Content-Type": self._type, **span}
        return await self._ask(self._request("PUT", session, headers, part))

    def _url(self, how: str) -> str:
        # The name stands in the body too; here it tells whoever looks at the calls.
        asked = urlencode({"uploadType": how, "name": self._told["name"]}, quote_via=quote)
        return f"{self._address}/upload/storage/v1/b/{self._bucket}/o?{asked}"

    @staticmethod
    def _request(method: str, url: str, headers: dict[str, str], body: bytes) -> Request:
        return Request(method, url, headers, body, opaque=True)


async def _even(data: AsyncIterator[bytes]) -> AsyncIterator[tuple[bytes, bool]]:
    """The same in parts of one size, as a session asks for all but the last, and whether it is the
    last: that is known only when the source has ended well."""
    held = bytearray()
    async for chunk in data:
        held += chunk
        while len(held) > PART_BYTES:
            yield bytes(held[:PART_BYTES]), False
            del held[:PART_BYTES]
    if held:
        yield bytes(held), True
