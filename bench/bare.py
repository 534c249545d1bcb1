"""The baseline: a stock Celery worker on the threads pool; each task makes one call through a
client of its thread's own (httpx is at its best so), and nothing is persisted anywhere."""

from __future__ import annotations

import os
import tempfile
import threading
from pathlib import Path

import httpx
import redis
from celery import Celery
from celery.signals import worker_ready

from bench.measure import Run, measured, started
from worker.envelope import envelope

QUEUE = "bench"

app = Celery("bench", broker=os.environ.get("BENCH_BROKER", "redis://127.0.0.1:1"))
app.conf.task_default_queue = QUEUE
app.conf.task_ignore_result = True
app.conf.worker_prefetch_multiplier = 1
_local = threading.local()


@app.task(name="ferryman.bench")
def charge() -> None:
    if not hasattr(_local, "client"):
        _local.client = httpx.Client(timeout=30)
    url = f"{os.environ['BENCH_VENDOR']}/v1/payment_intents"
    _local.client.post(url, data={"amount": "1250", "currency": "usd"}).raise_for_status()


@worker_ready.connect
def _ready(**_: object) -> None:
    if path := os.environ.get("FERRYMAN_READY_FILE"):
        Path(path).touch()


def run(broker: str, base_url: str, jobs: int, processes: int, concurrency: int) -> Run:
    """One measured run."""
    command = [
        "-m",
        "celery",
        "-A",
        "bench.bare",
        "worker",
        "-P",
        "threads",
        "-c",
        str(concurrency),
        "--without-mingle",
        "--without-gossip",
        "-l",
        "ERROR",
    ]
    with tempfile.TemporaryDirectory() as folder, redis.Redis.from_url(broker) as queue:
        queue.flushall()
        ready = Path(folder) / "ready"
        env = {"BENCH_BROKER": broker, "BENCH_VENDOR": base_url, "READY": str(ready)}
        with started(
            command,
            env,
            processes,
            lambda number: Path(f"{ready}{number}").exists(),
        ) as workers:
            before = _served(base_url)
            return measured(
                workers, jobs, lambda: _enqueue(queue, jobs), lambda: _served(base_url) - before
            )


def _served(base_url: str) -> int:
    return int(httpx.get(f"{base_url}/served").json()["served"])


def _enqueue(queue: redis.Redis, jobs: int) -> None:
    from uuid import uuid4

    pipeline = queue.pipeline(transaction=False)
    for _ in range(jobs):
        pipeline.lpush(QUEUE, envelope(uuid4(), "bench", QUEUE))
    pipeline.execute()
