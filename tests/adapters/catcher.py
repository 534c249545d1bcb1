"""A server on loopback that keeps what an official package sends, and answers what it is told."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from adapters._base import Request


@dataclass
class Caught:
    """One request as it arrived; header names in lower case."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.plain())

    def plain(self) -> bytes:
        zipped = self.headers.get("content-encoding") == "gzip"
        return gzip.decompress(self.body) if zipped else self.body


@dataclass
class Catcher:
    url: str = ""
    status: int = 200
    answer: Any = None
    requests: list[Caught] = field(default_factory=list)

    def last(self) -> Caught:
        return self.requests[-1]


@contextmanager
def catcher(answer: Any, status: int = 200) -> Iterator[Catcher]:
    """The server. Each request gets the same answer, as JSON."""
    kept = Catcher(status=status, answer=answer)

    class Handler(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            parts = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            kept.requests.append(
                Caught(self.command, parts.path, parse_qs(parts.query), headers, body)
            )
            told = json.dumps(kept.answer).encode()
            self.send_response(kept.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    kept.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ours(request: Request) -> Caught:
    """One of our own requests in the same shape."""
    parts = urlsplit(request.url)
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Caught(request.method, parts.path, parse_qs(parts.query), headers, request.body)
