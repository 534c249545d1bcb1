"""How many connections to the database a process holds, however much it has to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import psycopg

from api.app import LINES
from tests.harness import Harness, until

WORKER, POOL = 6, 5
HELD = (
    "SELECT count(*) AS n, count(*) FILTER (WHERE wait_event_type = 'Lock') AS waiting"
    " FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = 'ferryman'"
)


@contextmanager
def locked(harness: Harness, table: str) -> Iterator[None]:
    """Nobody else reaches the table meanwhile: who needs it piles up."""
    with psycopg.connect(harness.database) as connection:
        connection.execute(f"LOCK TABLE ferryman.{table} IN ACCESS EXCLUSIVE MODE")
        yield


def test_a_worker_holds_six(harness: Harness) -> None:
    harness.worker(FERRYMAN_CONCURRENCY="200")
    with locked(harness, "customers"):
        jobs = [harness.charge(n=n) for n in range(30)]
        until(lambda: harness.row(HELD)["waiting"] >= 2, what="the domain's connections wait")
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            assert harness.row(HELD)["n"] <= WORKER
    assert harness.all_ended(jobs) == {"succeeded": 30}
    assert harness.row(HELD)["n"] == WORKER


def test_an_api_holds_its_pool(harness: Harness) -> None:
    url = harness.api(FERRYMAN_DATABASE_POOL=str(POOL))
    job = harness.charge()
    paths = ["/v1/jobs", "/v1/vendors", "/metrics", f"/v1/jobs/{job}?wait=0.1"] * 5
    with httpx.Client(base_url=url, timeout=30) as client, ThreadPoolExecutor(20) as threads:
        with locked(harness, "jobs"):
            answers = [threads.submit(client.get, path) for path in paths]
            waiting = POOL - LINES
            until(lambda: harness.row(HELD)["waiting"] == waiting, what="its connections wait")
            assert harness.row(HELD)["n"] <= POOL
        assert {answer.result().status_code for answer in answers} == {200}
    assert harness.row(HELD)["n"] <= POOL
