"""A planned batch sent, beside threads that post the same requests: 100 ms a request."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import psycopg
from rich.table import Table

from bench import mail
from bench.contest import console
from bench.measure import Workers, reach
from bench.place import Place
from bench.vendor import served_by, vendor
from bench.walk import new_ledger, workers

MANY = 500_000
LATENCY = 0.1
PROCESSES = 2
RESUME = """
WITH resumed AS (UPDATE ferryman.batches SET status = 'running')
UPDATE ferryman.jobs SET run_at = now(), due_at = now() WHERE kind = 'bulk_email_part'
"""


def main(place: Place) -> None:
    requests = place.jobs(MANY) // mail.SIZE
    rates: dict[str, list[float]] = {"threads": [], "ferryman": []}
    memory = 0.0
    for _ in range(place.rounds):
        with vendor(LATENCY) as url:
            rates["threads"].append(requests * mail.SIZE / mail.plain_send(url, requests))
        with vendor(LATENCY) as url:
            rate, memory = _send(place, url, requests)
            rates["ferryman"].append(rate)
    table = Table("", "mails/s", "/ threads", "mails/s of each run")
    base = statistics.median(rates["threads"])
    for name, found in rates.items():
        middle = statistics.median(found)
        each = ", ".join(f"{rate:.0f}" for rate in found)
        table.add_row(name, f"{middle:.0f}", f"{middle / base:.2f}", each)
    title = f"\n{requests} requests of {mail.SIZE} mails; median of {place.rounds} interleaved runs"
    console.print(title, table)
    console.print(f"the highest memory of a worker: {memory:.0f} MiB")


def _send(place: Place, url: str, requests: int) -> tuple[float, float]:
    """Mails a second from the resume to the last request, and a worker's highest memory."""
    database = new_ledger(place, "mail_send")
    with (
        tempfile.TemporaryDirectory() as folder,
        psycopg.connect(database, autocommit=True) as ledger,
        workers(place, database, url, PROCESSES, 200, vendor="sendgrid") as running,
    ):
        path = Path(folder) / "list.csv"
        mail.write_list(path, requests * mail.SIZE)
        mail.plan(ledger, database, path, running[0].pid)
        return _sent(ledger, url, running), max(mail.peak_mib(one.pid) for one in running)


def _sent(ledger: psycopg.Connection[tuple[int]], url: str, running: Workers) -> float:
    row = ledger.execute("SELECT count(*), sum(size) FROM ferryman.parts").fetchone()
    assert row is not None
    parts, mails = map(int, row)
    began = time.monotonic()
    ledger.execute(RESUME)
    reach(running, lambda: served_by(url), parts)
    return mails / (time.monotonic() - began)
