"""A gate in front of a server: lets so many writes through, holds the rest until it is opened."""

from __future__ import annotations

import http.client
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Lock, Thread
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "server", "date"}
Answer = tuple[int, list[tuple[str, str]], bytes]


class Gate:
    """`puts`: how often each path was written, as the server saw it."""

    def __init__(self, server: str, let_through: int) -> None:
        self.puts: Counter[str] = Counter()
        self._server = urlsplit(server).netloc
        self._left = let_through
        self._opened = Event()
        self._lock = Lock()

    def open(self) -> None:
        self._opened.set()

    def forward(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if method == "PUT":
            self._pass(path)
        connection = http.client.HTTPConnection(self._server, timeout=60)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.getheaders(), answer.read()

    def _pass(self, path: str) -> None:
        with self._lock:
            self._left -= 1
            held = self._left < 0
        if held:
            self._opened.wait(60)
        with self._lock:
            self.puts[path] += 1


@contextmanager
def gate(server: str, let_through: int) -> Iterator[tuple[str, Gate]]:
    """The gate and its address."""
    made = Gate(server, let_through)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP_BY_HOP}
            status, given, answer = made.forward(self.command, self.path, headers, body)
            self.send_response_only(status)
            length = {k.lower(): v for k, v in given}.get("content-length", "0")
            for name, value in given:
                if name.lower() not in HOP_BY_HOP:
                    self.send_header(name, value)
            head = self.command == "HEAD"
            self.send_header("content-length", length if head else str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _forward

        def log_message(self, *_: object) -> None: ...

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    Thread(target=listening.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}", made
    finally:
        made.open()
        listening.shutdown()
        listening.server_close()
