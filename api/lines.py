"""JSON lines: read from a body while it comes, in bounded pieces, and answered meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

MEDIA_TYPE = "application/x-ndjson"
LONGEST = 1_048_576
CHUNK_LINES, CHUNK_BYTES = 1000, 4 * LONGEST
# Most clients read no answer before they have sent everything: who sends more than this brings
# answers for (some 300,000 lines) must read meanwhile, or is made to wait.
MOST_UNREAD = 16 * LONGEST


class Line(NamedTuple):
    number: int
    content: bytes

    @property
    def too_long(self) -> bool:
        return len(self.content) > LONGEST


class Splitter:
    """Cuts a stream of bytes into lines, leaving out the empty ones. Of a line that is too long
    only as much is kept as tells that it is."""

    def __init__(self) -> None:
        self._number = 0
        self._rest = bytearray()

    def lines(self, part: bytes) -> Iterator[Line]:
        first, *others = part.split(b"\n")
        self._add(first)
        for piece in others:
            yield from self.last()
            self._add(piece)

    def last(self) -> Iterator[Line]:
        """The line at hand, which has ended."""
        self._number += 1
        line = Line(self._number, bytes(self._rest))
        self._rest.clear()
        if line.too_long or line.content.strip():
            yield line

    def _add(self, piece: bytes) -> None:
        self._rest += piece[: LONGEST + 1 - len(self._rest)]


async def chunks(body: AsyncIterator[bytes]) -> AsyncIterator[list[Line]]:
    """The lines of a body, as many at a time as are stored at a time."""
    splitter, chunk, size = Splitter(), list[Line](), 0
    async for part in body:
        for line in splitter.lines(part):
            chunk.append(line)
            size += len(line.content)
            if len(chunk) == CHUNK_LINES or size >= CHUNK_BYTES:
                yield chunk
                chunk, size = [], 0
    chunk += splitter.last()
    if chunk:
        yield chunk


class Answers(Response):
    """Sends answers while the request's body is still read. Starlette's own streaming response
    would take parts of that body for itself while it listens for the connection's end."""

    media_type = MEDIA_TYPE

    def __init__(self, first: bytes, others: AsyncIterator[bytes]) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._others = others
        self._unsent = bytearray(first)
        self._news, self._room = asyncio.Event(), asyncio.Event()
        self._complete = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._collect())
                both.create_task(self._send(send))
        except* ClientDisconnect:
            # What it was not told of is known by its keys.
            pass

    async def _collect(self) -> None:
        async for part in self._others:
            self._unsent += part
            self._news.set()
            while len(self._unsent) > MOST_UNREAD:
                self._room.clear()
                await self._room.wait()
        self._complete = True
        self._news.set()

    async def _send(self, send: Send) -> None:
        while self._unsent or not self._complete:
            part, self._unsent = bytes(self._unsent), bytearray()
            self._room.set()
            if part:
                await send({"type": "http.response.body", "body": part, "more_body": True})
            else:
                await self._news.wait()
            self._news.clear()
        await send({"type": "http.response.body", "body": b"", "more_body": False})
