"""What a vendor receives of a body."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from adapters._base import Request
from adapters._http import Client
from adapters._transport import SLICE_BYTES
from ferryman.policies import policy

Received = list[tuple[bytes, bytes]]


@pytest.fixture
async def received() -> AsyncIterator[tuple[str, Received]]:
    """A server's address, and the head and the body of each request that came."""
    seen: Received = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
        seen.append((head, await reader.readexactly(int(length or 0))))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/object", seen
    server.close()


@pytest.mark.parametrize("size", [0, 1, SLICE_BYTES, SLICE_BYTES + 1, 5 * SLICE_BYTES + 7])
async def test_a_body_arrives_whole_and_announced(
    received: tuple[str, Received], size: int
) -> None:
    url, seen = received
    body = os.urandom(size)
    client = Client(policy("s3"))

    answer = await client.send(Request("PUT", url, {"content-type": "text/plain"}, body), {})
    await client.close()

    [(head, came)] = seen
    assert (answer.status, came) == (200, body)
    assert b"transfer-encoding" not in head
    assert b"content-type: text/plain\r\n" in head


async def test_a_header_in_any_language_arrives_as_it_is(received: tuple[str, Received]) -> None:
    url, seen = received
    client = Client(policy("s3"))

    await client.send(Request("PUT", url, {"x-amz-meta-owner": "Jürgen"}), {})
    await client.close()

    [(head, _)] = seen
    assert "x-amz-meta-owner: jürgen\r\n".encode() in head
