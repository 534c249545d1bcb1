"""How does an answer leave, or not leave? One HTTP exchange, which may also be cut or left silent.

A cut needs the TCP connection itself; ASGI does not offer it, so the server's own protocol class
puts the transport among the scope's extensions.
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from sandbox.vendor import Answer

TRANSPORT = "sandbox.transport"
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER for a close by RST in place of FIN."""


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, with the connection's transport within the application's reach."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = {TRANSPORT: {"transport": self.transport}}


class Exchange:
    """One request being answered."""

    def __init__(self, scope: Message, receive: Receive, send: Send) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send

    async def body(self) -> bytes:
        """The request's whole body."""
        message = await self._receive()
        chunks = [message.get("body", b"")]
        while message.get("more_body"):
            message = await self._receive()
            chunks.append(message.get("body", b""))
        return b"".join(chunks)

    async def reply(self, answer: Answer) -> None:
        await self._start(answer, len(answer.body))
        await self._send({"type": "http.response.body", "body": answer.body})

    async def trickle(self, answer: Answer, seconds: float) -> None:
        """The body byte by byte, with a pause of `seconds` after each."""
        await self._start(answer, len(answer.body))
        for place in range(len(answer.body)):
            if not await self._piece(answer.body[place : place + 1], seconds):
                return
        await self._send({"type": "http.response.body", "body": b""})

    async def flood(self, answer: Answer, piece: int, seconds: float, total: int | None) -> None:
        """The body, then blanks: `total` bytes in all, as the headers promise, or without an end
        until the client leaves. After each `piece` a pause of `seconds`."""
        await self._start(answer, total)
        left = total
        body = answer.body
        while left is None or left > 0:
            size = piece if left is None else min(piece, left)
            part, body = body[:size].ljust(size), body[size:]
            if not await self._piece(part, seconds):
                return
            left = None if left is None else left - size
        await self._send({"type": "http.response.body", "body": b""})

    async def _piece(self, body: bytes, seconds: float) -> bool:
        """Sends a part of the body; False once nobody is there to read the next."""
        await self._send({"type": "http.response.body", "body": body, "more_body": True})
        await asyncio.sleep(seconds)
        return not self._transport().is_closing()

    async def truncate(self, answer: Answer, count: int) -> None:
        """Headers that promise the whole body, `count` bytes of it, and the end of the line."""
        await self._start(answer, len(answer.body))
        part = answer.body[:count]
        await self._send({"type": "http.response.body", "body": part, "more_body": True})
        await self._gone(self._transport().close)

    async def cut(self, *, reset: bool) -> None:
        """Closes the connection without a byte of answer: by FIN, or by RST."""
        transport = self._transport()
        if reset:
            line: socket.socket = transport.get_extra_info("socket")
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        await self._gone(transport.abort)

    async def hang(self) -> None:
        """Says nothing until the client leaves."""
        await self._gone(lambda: None)

    async def _gone(self, leave: Callable[[], None]) -> None:
        leave()
        # uvicorn would answer 500 for an application that returns without an answer, unless it
        # has seen the connection's end.
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _start(self, answer: Answer, length: int | None) -> None:
        """The headers; without a length the body goes out in chunks."""
        headers = [
            (name.lower().encode(), value.encode("latin-1"))
            for name, value in answer.headers.items()
        ]
        if length is not None:
            headers.append((b"content-length", str(length).encode()))
        await self._send(
            {"type": "http.response.start", "status": answer.status, "headers": headers}
        )

    def _transport(self) -> asyncio.Transport:
        transport: asyncio.Transport = self.scope["extensions"][TRANSPORT]["transport"]
        return transport
