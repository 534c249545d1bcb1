"""New jobs as an application posts them, one by one and in bulk, and the two servers that take
them."""

from __future__ import annotations

import contextlib
import secrets
import time
from functools import partial

import orjson
import urllib3

from bench.http_load import Make, request
from bench.webhook import server

PATH = "/v1/jobs"
TOKEN = "bench"
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
LINES = {**HEADERS, "Content-Type": "application/x-ndjson"}
# The limit stands in the way of the requests, but not in that of the figures.
RATE = "1000000"


def requests(*, keyed: bool) -> Make:
    """Makes requests for charges, each with a key of its own or without one."""
    return partial(posted, secrets.token_hex(6) if keyed else None)


def posted(run: str | None, n: int) -> bytes:
    return request(PATH, HEADERS, orjson.dumps(job(run, n)))


def job(run: str | None, n: int) -> dict[str, object]:
    args = {
        "customer": f"user-{n}",
        "amount": 1250 + n % 1000,
        "currency": "usd",
        "payment_method": "pm_card_visa",
    }
    made: dict[str, object] = {"kind": "charge", "args": args}
    return made | ({} if run is None else {"key": f"order-{run}-{n}"})


def bulk(url: str, jobs: int, *, keyed: bool) -> float:
    """Post so many lines as one body, and read all answers; lines a second. Raises RuntimeError
    where one is missing."""
    run = secrets.token_hex(6) if keyed else None
    body = b"".join(orjson.dumps(job(run, n)) + b"\n" for n in range(jobs))
    began = time.perf_counter()
    answer = urllib3.request(
        "POST", f"{url}{PATH}/bulk", body=body, headers=LINES, retries=False, timeout=300
    )
    seconds = time.perf_counter() - began
    if answer.data.count(b'{"id"') != jobs:
        raise RuntimeError(f"{jobs} lines were sent, answered was {answer.data[:200]!r}")
    return jobs / seconds


def ours(database: str) -> contextlib.AbstractContextManager[str]:
    """`python -m api` as it is."""
    environment = {
        "FERRYMAN_DATABASE_URL": database,
        "FERRYMAN_API_TOKEN": TOKEN,
        "FERRYMAN_API_RATE": RATE,
        "FERRYMAN_BROKER_URL": "",
    }
    return server(("-m", "api"), environment)


def plain(database: str) -> contextlib.AbstractContextManager[str]:
    """The same endpoints as one writes them without a thought of their speed."""
    command = ("-m", "uvicorn", "bench.post_plain:app", "--loop", "uvloop")
    options = ("--http", "httptools", "--log-level", "error", "--no-access-log")
    return server((*command, *options), {"BENCH_DATABASE": database, "BENCH_TOKEN": TOKEN})
