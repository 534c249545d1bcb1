"""A vendor's server that misbehaves on the wire, and counts what it executed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import Message
from email.parser import HeaderParser

CUT = "cut"
SILENT = "silent"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


def answer(status: int, body: bytes = b"{}", **headers: str) -> bytes:
    """A complete HTTP answer; header names with `_` for `-`."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return (
        f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{lines}\r\n"
    ).encode() + body


@dataclass
class Faulty:
    """`script` holds what each executed request gets: bytes, CUT or SILENT; then `OK` for all.
    `aside`: what some requests ("POST /token") get each time, without being counted."""

    url: str
    script: list[bytes | str] = field(default_factory=list)
    executed: list[str] = field(default_factory=list)
    heads: list[Message] = field(default_factory=list)
    connections: int = 0
    aside: Mapping[str, bytes] = field(default_factory=dict)


@asynccontextmanager
async def faulty(
    *script: bytes | str, aside: Mapping[str, bytes] | None = None
) -> AsyncIterator[Faulty]:
    """The server, on a free port of loopback."""
    state = Faulty("", list(script), aside=aside or {})
    open_writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        state.connections += 1
        open_writers.append(writer)
        while (request := await _request(reader)) is not None:
            if request[0] in state.aside:
                writer.write(state.aside[request[0]])
                continue
            state.executed.append(request[0])
            state.heads.append(request[1])
            step = state.script.pop(0) if state.script else OK
            if step == CUT:
                writer.transport.abort()
                return
            if isinstance(step, bytes):
                writer.write(step)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    state.url = f"http://127.0.0.1:{port}"
    try:
        yield state
    finally:
        server.close()
        for writer in open_writers:
            writer.transport.abort()


async def _request(reader: asyncio.StreamReader) -> tuple[str, Message] | None:
    """One request, read to its end: its method and path, and its headers."""
    try:
        line, _, rest = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").partition("\r\n")
        head = HeaderParser().parsestr(rest)
        if size := int(head.get("content-length", 0)):
            await reader.readexactly(size)
        if "transfer-encoding" in head:
            await reader.readuntil(b"0\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return " ".join(line.split(" ", 2)[:2]), head
