"""The wire between a worker and PostgreSQL, cut when a chosen statement was executed, but before
its answer arrives."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

# What the driver calls a statement that the server keeps; it stands right before its text.
NAME = re.compile(rb"_pg3_\d+\Z")


class Cut:
    """The next connection that sends all of `words`, in this order, loses its last answer."""

    def __init__(self, *words: bytes) -> None:
        self.done = threading.Event()
        self._words = words

    def is_due(self, seen: bytes) -> bool:
        """Whether these bytes of one connection hold all words, and their statement not only
        prepared but bound: else it would be the answer to its preparation that is lost."""
        first = place = seen.find(self._words[0]) if self._words else -1
        if first < 0:
            return False
        named = NAME.search(seen[: seen.rfind(b"\0", 0, first)])
        if named and b"\0" + named[0] + b"\0" not in seen[first:]:
            return False
        for word in self._words:
            if (found := seen.find(word, place)) < 0:
                return False
            place = found + len(word)
        return not self.done.is_set()


class Wire:
    """One listening port that leads to PostgreSQL."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 5432)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._cut = Cut()
        self._cut.done.set()
        login, port = parts.netloc.rpartition("@")[0], self._listening.getsockname()[1]
        self.url = urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{port}"))
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_at(self, *words: bytes) -> Cut:
        self._cut = Cut(*words)
        return self._cut

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                _Line(self, self._listening.accept()[0], socket.create_connection(self._target))

    def is_due(self, seen: bytes) -> Cut | None:
        return self._cut if self._cut.is_due(seen) else None


class _Line:
    """One connection through the wire."""

    def __init__(self, wire: Wire, client: socket.socket, server: socket.socket) -> None:
        self._wire, self._client, self._server = wire, client, server
        self._due: Cut | None = None
        for pump in (self._ask, self._answer):
            threading.Thread(target=pump, daemon=True).start()

    def _ask(self) -> None:
        seen = b""
        with suppress(OSError):
            while data := self._client.recv(65_536):
                seen = (seen + data)[-1_000_000:]
                if self._due is None and (due := self._wire.is_due(seen)):
                    self._due = due
                self._server.sendall(data)
        self._end()

    def _answer(self) -> None:
        with suppress(OSError):
            while data := self._server.recv(65_536):
                if self._due is not None:
                    # It is executed: this is the answer that nobody gets.
                    self._due.done.set()
                    break
                self._client.sendall(data)
        self._end()

    def _end(self) -> None:
        for line in (self._client, self._server):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()


@contextmanager
def wired(url: str) -> Iterator[Wire]:
    """A wire to the server of `url`; its own `url` leads through it."""
    wire = Wire(url)
    try:
        yield wire
    finally:
        wire.close()
