"""`python -m bench.bare_events FILE URL [IN_FLIGHT]`: a script that sends events and keeps nothing.

It batches as ferryman does (two thousand events, gzip at its fastest), and posts one request at a
time, as the official SDK's buffered consumer does, or several.
"""

from __future__ import annotations

import gzip
import itertools
import sys
import time
import uuid
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import orjson
import urllib3

SIZE = 2000
HEADERS = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
IMPORT = "/import?strict=1&project_id=1"


def sent(path: Path, url: str, in_flight: int = 1) -> float:
    """The seconds from the first line to the last answer."""
    pool = urllib3.PoolManager(maxsize=in_flight, retries=False)

    def post(body: bytes) -> int:
        return pool.request("POST", url + IMPORT, body=body, headers=HEADERS).status

    began = time.monotonic()
    if in_flight == 1:
        assert {post(body) for body in _bodies(path)} == {200}
        return time.monotonic() - began
    under_way: deque[Future[int]] = deque()
    with ThreadPoolExecutor(in_flight) as threads:
        for body in _bodies(path):
            if len(under_way) == in_flight:
                assert under_way.popleft().result() == 200
            under_way.append(threads.submit(post, body))
        assert {one.result() for one in under_way} <= {200}
    return time.monotonic() - began


def _bodies(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while lines := list(itertools.islice(file, SIZE)):
            yield gzip.compress(orjson.dumps([_event(line) for line in lines]), 1)


def _event(line: bytes) -> dict[str, object]:
    given = orjson.loads(line)
    own = {"time": int(time.time()), "distinct_id": given["user"], "$insert_id": uuid.uuid4().hex}
    return {"event": given["event"], "properties": {**given["properties"], **own}}


if __name__ == "__main__":
    print(sent(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])))
