"""Load for an HTTP endpoint: ready-made requests over kept connections, out of a process of its
own that costs the contestants as little as may be."""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import cast
from urllib.parse import urlsplit

import uvloop

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
END = b"\r\n\r\n"

Make = Callable[[int], bytes]


@dataclass(frozen=True)
class Load:
    """What came of the requests: how many were answered in a second, how long an answer took, and
    how many there were of each status."""

    per_second: float
    p50_ms: float
    p99_ms: float
    statuses: dict[int, int]


def request(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A whole POST as it goes over the wire."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + END + body


def load(url: str, make: Make, *, requests: int, connections: int = 50, warm: int = 1000) -> Load:
    """Send that many requests, the next of each connection as soon as it has its answer; `warm`
    others go before and are not counted. `make` gives the n-th one, and can be pickled."""
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(_run, url, make, requests, connections, warm).result()


def median(runs: list[Load]) -> Load:
    """Each figure's median."""
    statuses: Counter[int] = Counter()
    for run in runs:
        statuses.update(run.statuses)
    return Load(
        statistics.median(run.per_second for run in runs),
        statistics.median(run.p50_ms for run in runs),
        statistics.median(run.p99_ms for run in runs),
        dict(statuses),
    )


def _run(url: str, make: Make, requests: int, connections: int, warm: int) -> Load:
    # Made before the clock starts: a signature costs as much as the rest of a request.
    made = [make(n) for n in range(warm + requests)]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_load(url, made, connections, warm))


async def _load(url: str, made: list[bytes], connections: int, warm: int) -> Load:
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    loop = asyncio.get_running_loop()
    clients = [
        (await loop.create_connection(_Client, parts.hostname, parts.port))[1]
        for _ in range(connections)
    ]
    await _send(clients, iter(made[:warm]))
    for client in clients:
        client.forget()
    began = time.perf_counter()
    await _send(clients, iter(made[warm:]))
    seconds = time.perf_counter() - began
    latencies = [one * 1000 for client in clients for one in client.latencies]
    statuses: Counter[int] = Counter()
    for client in clients:
        statuses.update(client.statuses)
        client.close()
    cuts = statistics.quantiles(latencies, n=100)
    return Load(len(latencies) / seconds, cuts[49], cuts[98], dict(statuses))


async def _send(clients: list[_Client], requests: Iterator[bytes]) -> None:
    await asyncio.gather(*(client.run(requests) for client in clients))


class _Client(asyncio.Protocol):
    """One connection. Reads only what tells an answer's status and its end."""

    def __init__(self) -> None:
        self.latencies: list[float] = []
        self.statuses: list[int] = []
        self._buffer = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def run(self, requests: Iterator[bytes]) -> asyncio.Future[None]:
        """Send requests until there are none left."""
        self._requests = requests
        self._over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._next()
        return self._over

    def forget(self) -> None:
        self.latencies, self.statuses = [], []

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(END)
        if head < 0:
            return
        length = LENGTH.search(self._buffer, 0, head)
        if len(self._buffer) < head + len(END) + (int(length[1]) if length else 0):
            return
        self.latencies.append(time.perf_counter() - self._sent_at)
        self.statuses.append(int(self._buffer[9:12]))
        self._buffer = b""
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._over.done():
            self._over.set_exception(ConnectionError("the server closed a connection"))

    def _next(self) -> None:
        if (request := next(self._requests, None)) is None:
            self._over.set_result(None)
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)
