"""A list of recipients, planned and sent by ferryman's workers and by plain scripts."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import psycopg
import urllib3

from ferryman import addresses
from ferryman._door import database as door

DOMAINS = 50
IN_FLIGHT = 20
SIZE = 1000


def write_list(path: Path, count: int) -> None:
    """A CSV with 3 % duplicates and 1 % that are no addresses."""
    with path.open("w") as out:
        out.write("to,name,plan,points\n")
        out.writelines(_line(n) for n in range(count))


def _line(n: int) -> str:
    if n % 100 == 50:
        return f"nobody-{n},N{n},free,0\n"
    who = n - 1 if n % 33 == 32 else n
    return f"user{who}@example{who % DOMAINS}.com,N{n},plan{n % 5},{n * 7 % 1000}\n"


def suppress(ledger: psycopg.Connection[Any], count: int) -> None:
    """2 % of such a list."""
    ledger.execute(
        "INSERT INTO ferryman.suppressions (channel, address, reason, source)"
        " SELECT 'email', format('user%%s@example%%s.com', n * 50, n * 50 %% %s), 'manual', 'bench'"
        " FROM generate_series(1, %s) AS n",
        (DOMAINS, count // 50),
    )


@dataclass(frozen=True)
class Planned:
    """Seconds for the upload and for the plan, and the highest memory of the worker in MiB."""

    upload: float
    plan: float
    memory: float


def plan(ledger: psycopg.Connection[Any], url: str, path: Path, worker: int) -> Planned:
    """Upload the list, enqueue it, and wait until it is planned. It is paused: nothing is sent."""
    began = time.monotonic()
    with path.open("rb") as file:
        upload = door(url).upload(file, "csv")["id"]
    uploaded = time.monotonic()
    batch = enqueue(ledger, upload)
    look = "SELECT planned_at FROM ferryman.batches WHERE id = %s"
    while ledger.execute(look, (batch,)).fetchone() in (None, (None,)):
        time.sleep(0.05)
    return Planned(uploaded - began, time.monotonic() - uploaded, peak_mib(worker))


def enqueue(ledger: psycopg.Connection[Any], upload: str) -> UUID:
    """The bulk job's id; its batch is paused before its plan."""
    args = orjson.dumps({"template": "d-bench", "upload": upload}).decode()
    with ledger.transaction():
        row = ledger.execute("SELECT ferryman.enqueue('bulk_email', %s)", (args,)).fetchone()
        assert row is not None
        batch: UUID = row[0]
        ledger.execute("UPDATE ferryman.batches SET status = 'paused' WHERE id = %s", (batch,))
    return batch


def peak_mib(pid: int) -> float:
    """The highest memory that the process ever had."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def plain_plan(path: Path, suppressed: set[str]) -> float:
    """The seconds of a script that reads, checks, cuts into requests, and stores nothing."""
    began = time.monotonic()
    seen: set[str] = set()
    request: list[dict[str, Any]] = []
    for address, data in _rows(path):
        if (known_as := address.lower()) in seen or known_as in suppressed:
            continue
        seen.add(known_as)
        request.append({"to": [{"email": address}], "dynamic_template_data": data})
        if len(request) == SIZE:
            orjson.dumps({"personalizations": request})
            request = []
    return time.monotonic() - began


def _rows(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    with path.open(newline="") as file:
        reader = csv.reader(file)
        names = next(reader)[1:]
        for to, *data in reader:
            try:
                yield addresses.normalised(to.strip()), dict(zip(names, data, strict=True))
            except ValueError:
                continue


def plain_send(url: str, requests: int) -> float:
    """The seconds in which threads post as many such requests, each made when its turn comes."""
    pool = urllib3.PoolManager(maxsize=IN_FLIGHT, retries=False)

    def post(number: int) -> int:
        people = [
            {
                "to": [{"email": f"user{n}@example.com"}],
                "dynamic_template_data": {"name": f"N{n}", "plan": "free", "points": "1"},
                "custom_args": {"ferryman_job": str(number), "ferryman_email": str(n)},
            }
            for n in range(SIZE)
        ]
        body = orjson.dumps({"from": {"email": "bench@example.com"}, "personalizations": people})
        return pool.request("POST", f"{url}/v3/mail/send", body=body).status

    began = time.monotonic()
    with ThreadPoolExecutor(IN_FLIGHT) as threads:
        assert set(threads.map(post, range(requests))) == {202}
    return time.monotonic() - began
