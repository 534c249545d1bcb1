"""A gate in front of an object store: counts what arrives whole, holds requests or their answers at
a chosen point, and loses answers.

What it holds of a client that dies meanwhile never reaches the server, as what is lost on a wire.
"""

from __future__ import annotations

import http.client
import select
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from tests.asked import Asked, Content

HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "server", "date", "expect"}
Answer = tuple[int, list[tuple[str, str]], bytes]
Gone = Callable[[], bool]
Match = Callable[[Asked], bool]


class Lost(ConnectionAbortedError):
    """The client is gone, or gets no answer."""


@dataclass
class Hold:
    """Lets `left` requests pass and keeps those after them, or only their answers. `waiting`: how
    many of them it has."""

    match: Match
    left: int
    answers: bool
    waiting: int = 0
    opened: threading.Event = field(default_factory=threading.Event)


class Gate:
    """`whole`: how often each content went over whole, whatever was said to it."""

    def __init__(self, server: str) -> None:
        self.whole: Counter[Content] = Counter()
        self._server = urlsplit(server).netloc
        self._holds: list[Hold] = []
        self._lost: list[Match] = []
        self._lock = threading.Lock()
        self._own = threading.local()

    def hold(self, match: Match, after: int = 0, *, answers: bool = False) -> Hold:
        """Keep requests like that which come after so many. `answers`: the server has them, and
        nobody hears of it."""
        made = Hold(match, after, answers)
        with self._lock:
            self._holds.append(made)
        return made

    def lose(self, match: Match) -> None:
        """The next of these is done, and its connection is cut before the answer."""
        with self._lock:
            self._lost.append(match)

    def open(self) -> None:
        """Let everything pass that comes, and what was held, but for that of dead clients."""
        with self._lock:
            held, self._holds = self._holds, []
        for hold in held:
            hold.opened.set()

    def exchange(self, asked: Asked, url: str, body: bytes, gone: Gone) -> Answer:
        """Raises Lost where the client is to get no answer."""
        held = self._held(asked)
        if held and not held.answers:
            self._wait(held, gone)
        answer = self._forward(asked.method, url, asked.headers, body)
        content = asked.content
        if content and (content.method == "PUT" or answer[0] < 300):
            with self._lock:
                self.whole[content] += 1
        if held and held.answers:
            self._wait(held, gone)
        if self._loses(asked):
            raise Lost
        return answer

    def _held(self, asked: Asked) -> Hold | None:
        with self._lock:
            for hold in self._holds:
                if hold.match(asked):
                    hold.left -= 1
                    return hold if hold.left < 0 else None
        return None

    def _loses(self, asked: Asked) -> bool:
        with self._lock:
            for match in self._lost:
                if match(asked):
                    self._lost.remove(match)
                    return True
        return False

    def _wait(self, hold: Hold, gone: Gone) -> None:
        with self._lock:
            hold.waiting += 1
        try:
            while not hold.opened.wait(0.05):
                if gone():
                    raise Lost
        finally:
            with self._lock:
                hold.waiting -= 1
        if gone():
            raise Lost

    def _forward(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """By a connection of this thread's own, which is one of a client's."""
        if not hasattr(self._own, "connection"):
            self._own.connection = http.client.HTTPConnection(self._server, timeout=60)
        try:
            self._own.connection.request(method, url, body, dict(headers))
            answer = self._own.connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._own.connection.close()
            raise Lost from error


@contextmanager
def gate(server: str) -> Iterator[tuple[str, Gate]]:
    """The gate's address, and the gate."""
    made = Gate(server)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle(self) -> None:
            with suppress(OSError):
                super().handle()

        def _pass(self) -> None:
            size = int(self.headers.get("content-length", 0))
            try:
                if len(body := self.rfile.read(size)) < size:
                    raise Lost
                answer = made.exchange(self._asked(), self.path, body, self._gone)
                self._answer(*answer)
            except OSError:
                self.close_connection = True

        def _asked(self) -> Asked:
            parts = urlsplit(self.path)
            query = parse_qs(parts.query, keep_blank_values=True)
            headers = _small(self.headers.items())
            return Asked(
                self.command,
                parts.path,
                {name: values[0] for name, values in query.items()},
                {name: value for name, value in headers if name not in HOP_BY_HOP},
            )

        def _gone(self) -> bool:
            ready, _, _ = select.select([self.connection], [], [], 0)
            return bool(ready) and not self.connection.recv(1, socket.MSG_PEEK)

        def _answer(self, status: int, given: list[tuple[str, str]], body: bytes) -> None:
            self.send_response_only(status)
            length = dict(_small(given)).get("content-length", "0")
            for name, value in given:
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            self.send_header("content-length", length if self.command == "HEAD" else str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass

        def log_message(self, *_: object) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

    listening = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}", made
    finally:
        made.open()
        listening.shutdown()
        listening.server_close()


def _small(headers: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> list[tuple[str, str]]:
    """With their names in small letters."""
    return [(name.lower(), value) for name, value in headers]
