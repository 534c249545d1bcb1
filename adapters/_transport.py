"""An httpx transport on aiohttp's connections, for one answer that is read to its end.

httpx's own pool collapses with hundreds of calls in flight. One whole exchange has one deadline,
set by the caller: a timer for each read, and a generator for each layer of the answer, took
a third of a call's CPU.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import aiohttp
import httpx
import yarl
from aiohttp.abc import AbstractStreamWriter

# Far above any concurrency of ours: the slots of the pool are the limit, not the connector.
MOST_CONNECTIONS = 1000
# A body that is longer is written so much at a time: at once it would be copied whole and hold up
# the loop. 64 bodies of 8 MiB took 0.6 of the time, and 0.6 of the CPU.
SLICE_BYTES = 256 * 1024
KEEPALIVE_SECONDS = 30


async def _at_once() -> None: ...


leave: ContextVar[Callable[[], Awaitable[None]]] = ContextVar("leave", default=_at_once)
"""Called when a request has its connection and its first byte is about to leave: to connect takes
longer than a rate that is counted exactly allows. What it raises is raised to the caller."""


class TooLong(httpx.StreamError):
    """The answer is longer than the caller reads."""


class Whole(httpx.AsyncByteStream):
    """A body that is here already."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.body


class _Sliced(aiohttp.Payload):
    """A long body."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body)
        self._size = len(body)

    def decode(self, *_: str) -> str:
        raise TypeError("a body is no text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        whole = memoryview(self._value)
        for start in range(0, len(whole), SLICE_BYTES):
            await writer.write(whole[start : start + SLICE_BYTES])


def _body(content: bytes) -> bytes | _Sliced | None:
    if len(content) > SLICE_BYTES:
        return _Sliced(content)
    return content or None


class Transport(httpx.AsyncBaseTransport):
    """One host's connections. Raises aiohttp's own errors: only they tell whether the request
    left, where httpx would call a cut after the effect a ConnectTimeout."""

    def __init__(self, *, connect_seconds: float, most_bytes: int) -> None:
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds)
        self._most_bytes = most_bytes
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        sending = self._connected().request(
            request.method,
            # As it is: another quoting of the same address has another signature.
            yarl.URL(str(request.url), encoded=True),
            headers=request.headers.multi_items(),
            data=_body(request.content),
            allow_redirects=False,
            auto_decompress=request.extensions.get("unpack", True),
            timeout=self._timeout,
        )
        async with sending as answer:
            body = await self._read(answer)
        # No `content=`: httpx would unpack again what aiohttp has unpacked, without a bound.
        return httpx.Response(answer.status, headers=answer.raw_headers, stream=Whole(body))

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        chunks, size = [], 0
        async for chunk in answer.content.iter_any():
            size += len(chunk)
            if size > self._most_bytes:
                answer.close()
                raise TooLong("the answer is longer than is read")
            chunks.append(chunk)
        return b"".join(chunks)

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = _session()
        return self._session


class _Connector(aiohttp.TCPConnector):
    """Connections that wait for leave to be used."""

    async def connect(self, *given: Any, **named: Any) -> aiohttp.connector.Connection:
        while True:
            connection = await super().connect(*given, **named)
            try:
                await leave.get()()
            except BaseException:
                connection.release()
                raise
            if not connection.closed:
                return connection
            connection.release()  # the vendor has closed it meanwhile


def _session() -> aiohttp.ClientSession:
    session = aiohttp.ClientSession(
        connector=_Connector(
            limit=MOST_CONNECTIONS, keepalive_timeout=KEEPALIVE_SECONDS, ttl_dns_cache=60
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        skip_auto_headers=("Accept-Encoding",),
    )
    # aiohttp sends a PUT again, unasked, when a kept connection was cut: executed twice.
    session._retry_connection = False
    return session
