"""Events from a file to the vendor, each a job of its own, beside a script that keeps nothing."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import psycopg
from rich.table import Table

import ferryman
from bench import bare_events
from bench.contest import console
from bench.measure import Workers, reach
from bench.place import Place
from bench.vendor import records_at, served_by, vendor
from bench.walk import new_ledger, workers
from ferryman.settings import settings

EVENTS = 100_000
WARM = 100
LATENCY = 0.1
OPEN = """
SELECT count(*) FROM (SELECT FROM ferryman.jobs
                       WHERE kind = 'track_event' AND status IN ('waiting', 'running') LIMIT 1) AS o
"""
GOOD = "SELECT count(*) FROM ferryman.jobs WHERE kind = 'track_event' AND status = 'succeeded'"

Way = Callable[[Place, Path, int], tuple[float, int]]
"""Seconds, and requests made."""


def main(place: Place) -> None:
    count = place.jobs(EVENTS)
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.jsonl"
        size = write(path, count)
        for _ in range(place.rounds):
            for name, way in WAYS.items():
                found[name].append(way(place, path, count))
    title = f"{count} events of {size} bytes, {LATENCY * 1000:.0f} ms a request"
    least = -(-count // bare_events.SIZE)
    report(f"\n{title}; at least {least} requests; {place.rounds} rounds", count, found)


def report(title: str, count: int, found: dict[str, list[tuple[float, int]]]) -> None:
    table = Table("", "events/s", "/ one at a time", "requests", "events/s of each run")
    rates = {name: [count / seconds for seconds, _ in runs] for name, runs in found.items()}
    base = statistics.median(next(iter(rates.values())))
    for name, each in rates.items():
        middle = statistics.median(each)
        requests = max(number for _, number in found[name])
        runs = ", ".join(f"{rate:.0f}" for rate in each)
        table.add_row(name, f"{middle:.0f}", f"{middle / base:.2f}", str(requests), runs)
    console.print(title, table)


def write(path: Path, count: int) -> int:
    """JSON lines; the bytes of one."""
    with path.open("wb") as out:
        out.writelines(_line(n) for n in range(count))
    return path.stat().st_size // count


def _line(n: int) -> bytes:
    properties = {
        "order": f"order-{n}",
        "amount": n * 7 % 10_000,
        "currency": "eur",
        "shop": "delft",
        "url": f"https://shop.example.com/orders/{n}/thank-you",
        "referrer": "https://search.example.com/",
        "plan": f"plan-{n % 5}",
    }
    event = {"user": f"user-{n % 5000}", "event": "Order placed", "properties": properties}
    return orjson.dumps(event) + b"\n"


def _bare(in_flight: int) -> Way:
    def run(place: Place, path: Path, count: int) -> tuple[float, int]:
        with vendor(LATENCY) as url:
            return bare_events.sent(path, url, in_flight), served_by(url)

    return run


def _ferryman(place: Place, path: Path, count: int) -> tuple[float, int]:
    database = new_ledger(place, "events")
    os.environ["FERRYMAN_DATABASE_URL"] = database
    settings.cache_clear()
    with (
        vendor(LATENCY) as url,
        psycopg.connect(database, autocommit=True) as ledger,
        workers(place, database, url, 1, 50, vendor="mixpanel") as running,
    ):
        # Modules are imported and connections open then.
        ferryman.enqueue_many([_job(_line(n)) for n in range(WARM)])
        _reach(ledger, running, url, WARM)
        before, began = served_by(url), time.monotonic()
        ferryman.enqueue_many(_jobs(path))
        _reach(ledger, running, url, WARM + count)
        seconds = time.monotonic() - began
        if ledger.execute(GOOD).fetchone() != (WARM + count,):
            raise RuntimeError("not every event has succeeded")
        return seconds, served_by(url) - before


def _reach(ledger: psycopg.Connection[tuple[int]], running: Workers, url: str, count: int) -> None:
    """Wait until so many events are at the vendor, and no job is open. To count a hundred thousand
    rows at each look would take what is measured."""
    reach(running, lambda: records_at(url), count)
    while ledger.execute(OPEN).fetchone() != (0,):
        time.sleep(0.02)


def _jobs(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        yield from map(_job, file)


def _job(line: bytes) -> dict[str, Any]:
    return {"kind": "track_event", "args": orjson.loads(line)}


WAYS: dict[str, Way] = {
    "bare, one at a time": _bare(1),
    "bare, four in flight": _bare(4),
    "ferryman": _ferryman,
}
