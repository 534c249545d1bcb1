"""The baseline: a stock Celery worker on the threads pool; each task makes one call through the
client that is at its best there, and nothing is persisted anywhere."""

from __future__ import annotations

import json
import os
from typing import Any
from uuid import uuid4

import redis
import urllib3
from celery import Celery
from celery.signals import worker_ready

from bench.measure import Run, measured, ready, started
from bench.place import Place
from bench.vendor import served_by

QUEUE = "bench"
COMMAND = ("-m", "celery", "-A", "bench.bare", "worker", "-P", "threads", "-l", "ERROR")
QUIET = ("--without-mingle", "--without-gossip")
MOST_THREADS = 1000

app = Celery("bench", broker=os.environ.get("BENCH_BROKER", "redis://127.0.0.1:1"))
app.conf.task_default_queue = QUEUE
app.conf.task_ignore_result = True
app.conf.worker_prefetch_multiplier = 1
# With tens of threads httpx takes twice the CPU of a call through this pool.
_pool = urllib3.PoolManager(maxsize=MOST_THREADS, retries=False, timeout=30)


@app.task(name="bench.charge")
def charge() -> None:
    url = f"{os.environ['BENCH_VENDOR']}/v1/payment_intents"
    form = {"amount": "1250", "currency": "usd"}
    answer = _pool.request("POST", url, fields=form, encode_multipart=False)
    if answer.status != 200:
        raise RuntimeError(answer.status)


@worker_ready.connect
def _ready(**_: object) -> None:
    ready()


def run(place: Place, base_url: str, jobs: int, processes: int, concurrency: int) -> Run:
    """One measured run."""
    place.empty_broker()
    env = {"BENCH_BROKER": place.broker, "BENCH_VENDOR": base_url}
    command = [*COMMAND, *QUIET, "-c", str(concurrency)]
    with redis.Redis.from_url(place.broker) as queue, started(command, env, processes) as workers:
        model = _model(place.broker, queue)
        return measured(
            workers, jobs, lambda count: _enqueue(queue, model, count), lambda: served_by(base_url)
        )


def _model(broker: str, queue: redis.Redis) -> dict[str, Any]:
    """A message of Celery's own, sent where no worker reads."""
    with Celery("model", broker=broker) as producer:
        producer.send_task("bench.charge", queue="model")
    written: bytes = queue.lpop("model")  # type: ignore[assignment]
    message: dict[str, Any] = json.loads(written)
    message["properties"]["delivery_info"]["routing_key"] = QUEUE
    return message


def _enqueue(queue: redis.Redis, model: dict[str, Any], jobs: int) -> None:
    """The same message with an id of its own for each job, at once: a loop of `.delay()` would
    keep the workers waiting."""
    pipeline = queue.pipeline(transaction=False)
    for _ in range(jobs):
        name = str(uuid4())
        model["headers"] |= {"id": name, "root_id": name}
        model["properties"] |= {"correlation_id": name, "delivery_tag": str(uuid4())}
        pipeline.lpush(QUEUE, json.dumps(model))
    pipeline.execute()
