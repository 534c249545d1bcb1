"""A vendor of payments, mail and events reduced to its latency: the same for every contestant."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import itertools
import os
import socket
import time
from collections.abc import Iterator
from urllib.parse import parse_qs

import orjson
import urllib3
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.measure import spawn, until

LATENCY = float(os.environ.get("BENCH_LATENCY", "0.05"))
UVICORN = ("-m", "uvicorn", "bench.vendor:app", "--log-level", "error", "--loop", "uvloop")
# Kept open: a client made anew for each look would take half a core from the contestants.
_asker = urllib3.PoolManager(retries=False, timeout=5)
numbers = itertools.count(1)
served = records = 0


@contextlib.contextmanager
def vendor(latency: float) -> Iterator[str]:
    """The vendor, in a process of its own; its address. `latency` in seconds."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*UVICORN, "--http", "httptools", "--backlog", "4096", "--port", str(port)]
    process = spawn(command, {"BENCH_LATENCY": str(latency)})
    base_url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _answers(base_url))
        yield base_url
    finally:
        process.terminate()
        process.wait()


def served_by(base_url: str) -> int:
    """How many payments, or requests with mail or events, the vendor has taken so far."""
    return int(_asker.request("GET", f"{base_url}/served").json()["served"])


def records_at(base_url: str) -> int:
    """How many events the vendor has taken so far."""
    return int(_asker.request("GET", f"{base_url}/served").json()["records"])


def _answers(base_url: str) -> bool:
    try:
        return served_by(base_url) >= 0
    except urllib3.exceptions.HTTPError:
        return False


async def customers(_: Request) -> Response:
    return _answer({"id": "cus_bench", "object": "customer"})


async def payment_intents(request: Request) -> Response:
    global served  # noqa: PLW0603 - one process, one count
    form = parse_qs((await request.body()).decode())
    await asyncio.sleep(LATENCY)
    served += 1
    return _answer(
        {
            "id": f"pi_{next(numbers)}",
            "object": "payment_intent",
            "status": "succeeded",
            "amount": int(form["amount"][0]),
            "currency": form["currency"][0],
            "created": int(time.time()),
        }
    )


async def mails(request: Request) -> Response:
    """Read and not looked at: what is measured must not wait for a fake."""
    global served  # noqa: PLW0603 - one process, one count
    await request.body()
    await asyncio.sleep(LATENCY)
    served += 1
    return Response(status_code=202, headers={"X-Message-Id": f"m-{next(numbers)}"})


async def events(request: Request) -> Response:
    """Counted, since the answer tells how many."""
    global served, records  # noqa: PLW0603 - one process, one count
    taken = gzip.decompress(await request.body()).count(b'"$insert_id"')
    await asyncio.sleep(LATENCY)
    served += 1
    records += taken
    return _answer({"code": 200, "num_records_imported": taken, "status": "OK"})


async def count(_: Request) -> Response:
    return _answer({"served": served, "records": records})


def _answer(body: dict[str, object]) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")


app = Starlette(
    routes=[
        Route("/v1/customers", customers, methods=["POST"]),
        Route("/v1/payment_intents", payment_intents, methods=["POST"]),
        Route("/v3/mail/send", mails, methods=["POST"]),
        Route("/import", events, methods=["POST"]),
        Route("/served", count),
    ]
)
