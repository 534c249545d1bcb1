"""Stands between the API and the ledger, and can be silent or cut the line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit


class Proxy:
    """One listening port that leads to PostgreSQL."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._open = asyncio.Event()
        self._open.set()
        self._lines: set[asyncio.StreamWriter] = set()
        self._cut_at: bytes | None = None
        self._freeze_at: bytes | None = None
        self.url = ""

    def freeze(self) -> None:
        """Nothing passes any more, and nobody is told."""
        self._open.clear()

    def thaw(self) -> None:
        self._open.set()

    def cut(self) -> None:
        """Every connection breaks, as at a restart of the database."""
        for line in self._lines:
            line.close()
        self._lines.clear()

    def cut_after(self, words: bytes) -> None:
        """The next message with these words arrives; its answer does not."""
        self._cut_at = words

    def freeze_after(self, words: bytes) -> None:
        """The next message with these words arrives; nothing passes after it."""
        self._freeze_at = words

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        self._lines |= {writer, there[1]}
        await asyncio.gather(self._pass(reader, there[1], writer), self._pass(there[0], writer))
        writer.close()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        asker: asyncio.StreamWriter | None = None,
    ) -> None:
        try:
            while data := await reader.read(65_536):
                await self._open.wait()
                if asker and self._cut_at and self._cut_at in data:
                    self._cut_at = None
                    asker.close()
                writer.write(data)
                await writer.drain()
                if asker and self._freeze_at and self._freeze_at in data:
                    self._freeze_at = None
                    self.freeze()
        except ConnectionError:
            pass
        writer.close()


@asynccontextmanager
async def proxied(url: str) -> AsyncIterator[Proxy]:
    """A proxy to the server of `url`; its own `url` leads through it."""
    proxy = Proxy(url)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    port = server.sockets[0].getsockname()[1]
    proxy.url = urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{port}"))
    try:
        yield proxy
    finally:
        proxy.thaw()
        proxy.cut()
        server.close()
